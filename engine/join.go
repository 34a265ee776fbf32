package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/link"
)

// A directory that joins a cluster is made with the cluster's id, and with metadata that
// name this member as the only learner of nobody. That stays until its log has a
// configuration. Such a directory founds nothing, whatever it is started with, and its
// core has no configuration: it follows whoever leads, and neither votes nor campaigns.

const (
	// askLimit is how long one address may take to say which cluster it belongs to.
	askLimit = 3 * time.Second
	// askAgain is the pause before all addresses are asked once more.
	askAgain = 500 * time.Millisecond
	// askLines is how long it takes until it is said again that nobody has answered.
	askLines = 5 * time.Second
	// joinMax is how many addresses may be asked.
	joinMax = 64
)

// Join makes an empty directory one of a cluster that there is already. The addresses are
// those of some of its members; whoever answers first says which cluster it is. Start waits
// for that as long as its ctx lets it, which may be for ever. Then this member waits to be added by
// Engine.AddMember on the leader; until then it neither votes nor campaigns, and
// Status.Joining says so. Listen is needed, and is where the members reach it. Without
// Members: those are for a new cluster.
//
// A directory keeps its cluster, so that Join need not be given again, and nothing comes of
// it then. One that was made for a new cluster which is not founded yet is refused.
func (b *Builder) Join(addresses ...string) *Builder { b.join = addresses; return b }

// checkJoin refuses addresses that lead nowhere, and what does not go with them.
func (b *Builder) checkJoin() error {
	if len(b.join) == 0 {
		return nil
	}
	refuse := func(format string, args ...any) error {
		return &ConfigError{"Join", fmt.Sprintf(format, args...)}
	}
	if len(b.join) > joinMax {
		return refuse("%d addresses; at most %d", len(b.join), joinMax)
	}
	for _, a := range b.join {
		if err := checkDialable(a); err != nil {
			return refuse("address %q: %v", a, err)
		}
	}
	if len(b.members) > 0 {
		return refuse("Members is given, too, which is for a new cluster: give one of the two")
	}
	if b.listen == "" {
		return refuse("Listen is not given: the members have to be told where they reach this one")
	}
	if err := checkDialable(b.listen); err != nil {
		return refuse("the members are to reach this one where Listen says, at %q: %v",
			b.listen, err)
	}
	return nil
}

// lookUp asks the addresses of Join, one after the other and again and again, until one
// says which cluster it belongs to, and who is in it.
func (e *Engine) lookUp(ctx context.Context) (c config.Config, err error) {
	told := time.Now().Add(askAgain - askLines)
	addresses := strings.Join(e.b.join, ", ")
	for {
		for _, a := range e.b.join {
			c, failed := e.ask(ctx, a)
			if failed == nil {
				return c, nil
			}
			if ctx.Err() == nil || err == nil {
				err = failed
			}
		}
		if ctx.Err() != nil {
			return c, fmt.Errorf("engine: no member at %s has said which cluster this is: %w: %w",
				addresses, ctx.Err(), err)
		}
		if now := time.Now(); now.Sub(told) >= askLines {
			told = now
			e.log.Info("waiting for a member at "+addresses+" to say which cluster this is",
				"err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(askAgain):
		}
	}
}

// ask asks one address.
func (e *Engine) ask(ctx context.Context, address string) (c config.Config, err error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	cluster, data, err := link.Ask(ctx, address, e.b.id, e.b.listen, e.b.secret.keys)
	if err != nil {
		return c, err
	}
	c, err = config.Decode(data)
	c.Cluster = cluster
	switch {
	case err != nil:
		return c, fmt.Errorf("%s: %w", address, err)
	case len(c.Voters) == 0:
		return c, fmt.Errorf("%s: %w", address, link.ErrNotFounded)
	case e.b.cluster != 0 && e.b.cluster != cluster:
		return c, fmt.Errorf("%s belongs to cluster %016x, not to %016x", address, cluster,
			e.b.cluster)
	}
	e.log.Info("joining a cluster", "cluster", fmt.Sprintf("%016x", cluster), "asked", address,
		"members", membersOf(&c))
	return c, nil
}

// waiting is what the metadata of a directory say that joins.
func (e *Engine) waiting(cluster uint64) config.Config {
	return config.Config{Cluster: cluster,
		Learners: []config.Member{{ID: e.b.id, Address: e.b.listen, Witness: e.b.witness}}}
}

// isFound reports that the cluster which this one joins has a member of its id, with the
// directory that was there before.
func (e *Engine) isFound() bool {
	return slices.ContainsFunc(e.found, func(m config.Member) bool { return m.ID == e.b.id })
}

// waits reports whether metadata are those of a directory that joins.
func waits(c *config.Config) bool { return len(c.Voters) == 0 && len(c.Learners) > 0 }
