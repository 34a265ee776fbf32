package engine

import (
	"fmt"
	"slices"

	"github.com/ringraft/ringraft/engine/internal/config"
)

// A directory that joins a cluster is made with the cluster's id, and with metadata that
// name this member as the only learner of nobody. That stays until its log has a
// configuration. Such a directory founds nothing, whatever it is started with, and its
// core has no configuration: it follows whoever leads, and neither votes nor campaigns.

// Join makes an empty directory one of a cluster that there is already. The addresses are
// those of some of its members; a name may stand for several, and is looked up anew each
// time they are asked. Start waits for an answer as long as its ctx lets it, which may be for
// ever. If the members admit servers that ask (AdmitLearners), this one is a learner then,
// with the id that it was given or, without ID, one that the leader gives it. If not, it needs an
// ID, and waits to be added by Engine.AddMember on the leader; until then it neither votes
// nor campaigns, and Status.Joining says so. Listen is needed, and is where the members
// reach it. Without Members: those are for a new cluster. A Witness needs an ID, and waits to be
// added in any case.
//
// A directory keeps its cluster, so that Join need not be given again, and nothing comes of
// it then. One that was made for a new cluster which is not founded yet is refused.
func (b *Builder) Join(addresses ...string) *Builder { b.join = addresses; return b }

// checkJoin refuses addresses that lead nowhere, and what does not go with them.
func (b *Builder) checkJoin() error {
	option := "Join"
	switch {
	case len(b.join) > 0:
	case b.expect > 0:
		option = "Expect"
	case b.discovery.Group != "" && len(b.members) == 0:
		option = "Discover"
	default:
		return nil
	}
	refuse := func(format string, args ...any) error {
		return &ConfigError{option, fmt.Sprintf(format, args...)}
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
	listen, _ := b.reached() // checkDiscovery has told what is wrong with the interface
	if err := checkDialable(listen); err != nil {
		return refuse("the members are to reach this one where Listen says, at %q: %v",
			b.listen, err)
	}
	return nil
}

// waiting is what the metadata of a directory say that joins.
func (e *Engine) waiting(cluster uint64) config.Config {
	return config.Config{Cluster: cluster,
		Learners: []config.Member{{ID: e.b.id, Address: e.b.listen, Witness: e.b.witness}}}
}

// isFound reports that the cluster which this one joins has a member of its id, with another
// directory, that was there before.
func (e *Engine) isFound() bool {
	return slices.ContainsFunc(e.found.members, func(m config.Member) bool {
		return m.ID == e.b.id && m.Directory != e.recovery.Directory
	})
}

// waits reports whether metadata are those of a directory that joins.
func waits(c *config.Config) bool { return len(c.Voters) == 0 && len(c.Learners) > 0 }
