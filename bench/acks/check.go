// Package acks checks that no acknowledged write is lost: writers keep a ledger while members are
// killed and started, and every key is read back afterwards. docs/bench.md describes the check.
package acks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/bench/resp"
)

// Config is what the lost-ack checker does.
type Config struct {
	Addrs    []string
	Writers  int
	Depth    int           // keys a writer has outstanding
	Duration time.Duration // of the load
	Settle   time.Duration // at most, for the members to agree afterwards
}

// How a check ends that proved nothing good; the report says more.
var (
	ErrViolated   = errors.New("the check failed")               // a broken promise
	ErrNotChecked = errors.New("not checked")                    // not all could be read back
	ErrNothing    = errors.New("nothing was acknowledged")       // nor can be lost
	ErrNoMember   = errors.New("not checked: no server answers") // before the load
)

// checker is the load of unique keys with its ledgers, and what is done with
// them afterwards.
type checker struct {
	addresses []string
	prefix    string
	depth     int
	writers   []*writer
	gaps      gaps
	classes   classes
	seconds   float64
}

func newChecker(cfg *Config) *checker {
	c := &checker{addresses: cfg.Addrs, depth: cfg.Depth,
		prefix: "check:" + strconv.FormatInt(time.Now().UnixNano(), 36)}
	for i := range cfg.Writers {
		c.writers = append(c.writers, &writer{check: c, number: i, target: i % len(cfg.Addrs)})
	}
	return c
}

// reachable asks the members before the load: one that answers is enough.
func (c *checker) reachable() error {
	var faults []string
	for _, a := range c.addresses {
		n, err := resp.Dial(a, time.Second)
		if err == nil {
			_, _, err = n.Do(replyTimeout, "PING")
			n.Close()
		}
		if err == nil {
			return nil
		}
		faults = append(faults, a+": "+err.Error())
	}
	return fmt.Errorf("%w: %s", ErrNoMember, strings.Join(faults, "; "))
}

// load writes for d, or until ctx ends.
func (c *checker) load(ctx context.Context, d time.Duration) {
	began := time.Now()
	c.gaps.begin(began)
	limited, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var running sync.WaitGroup
	for _, w := range c.writers {
		running.Go(func() { w.run(limited) })
	}
	running.Wait()
	c.gaps.end(time.Now())
	c.seconds = time.Since(began).Seconds()
}

// verify reads all keys back, each writer its own, until the context ends.
func (c *checker) verify(ctx context.Context) (sum verdict) {
	var mu sync.Mutex
	var running sync.WaitGroup
	for _, w := range c.writers {
		running.Go(func() {
			v := w.verify(ctx)
			mu.Lock()
			defer mu.Unlock()
			sum.add(v)
		})
	}
	running.Wait()
	return sum
}

// agreement is what the members said when they agreed.
type agreement struct {
	index  string
	digest string // "" when the servers have no digest
	took   time.Duration
}

// errDiffer means that all members told their state, and that it differs.
var errDiffer = errors.New("states differ")

const agreePoll = 50 * time.Millisecond

// agree waits until every member has applied the same index and has the same
// digest of its state.
func agree(ctx context.Context, addresses []string, limit time.Duration) (agreement, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		a, err := compare(addresses)
		if err == nil {
			a.took = time.Since(began)
			return a, nil
		}
		if ctx.Err() != nil {
			return a, fmt.Errorf("the members did not agree within %v: %w", limit, err)
		}
		bench.Sleep(ctx, agreePoll)
	}
}

func compare(addresses []string) (a agreement, err error) {
	for i, address := range addresses {
		index, digest, err := stateOf(address)
		if err != nil {
			return a, fmt.Errorf("%s: %w", address, err)
		}
		if i == 0 {
			a.index, a.digest = index, digest
		}
		if index != a.index {
			return a, fmt.Errorf("%w: %s has applied %s, %s has applied %s", errDiffer,
				addresses[0], a.index, address, index)
		}
		if digest != a.digest {
			return a, fmt.Errorf("%w at index %s: %s %s, %s %s", errDiffer, index, addresses[0],
				a.digest, address, digest)
		}
	}
	return a, nil
}

// stateOf is a member's applied index and the digest of its state.
func stateOf(address string) (index, digest string, err error) {
	n, err := resp.Dial(address, time.Second)
	if err != nil {
		return "", "", err
	}
	defer n.Close()
	m, err := n.Info(time.Second, "raft")
	if err != nil {
		return "", "", err
	}
	index = m["raft_last_applied_index"]
	if index == "" {
		return "", "", errors.New("INFO names no raft_last_applied_index")
	}
	_, raw, err := n.Do(5*time.Second, "RAFT.DIGEST")
	if err != nil {
		return "", "", err
	}
	list := resp.Elements(raw)
	for i := 0; i+1 < len(list); i += 2 {
		switch list[i] {
		case "applied_index":
			index = list[i+1]
		default:
			digest += list[i] + " " + list[i+1] + " "
		}
	}
	return index, digest, nil
}

// Check writes unique keys to a running cluster, then makes sure that its
// members agree and that no acknowledged write is missing. It prints a report,
// and returns nil only when all of it was proved. When ctx ends, it prints
// what it knows and returns the context's error.
func Check(ctx context.Context, cfg Config, out io.Writer) error {
	c := newChecker(&cfg)
	if err := c.reachable(); err != nil {
		return err
	}
	c.load(ctx, cfg.Duration)
	return c.judge(ctx, cfg.Settle, bench.NewPrinter(out))
}

// judge is the second half of a check: agreement, reading back, the report.
func (c *checker) judge(ctx context.Context, settle time.Duration, p *bench.Printer) error {
	var n counts
	for _, w := range c.writers {
		n.add(&w.ledger)
	}
	interrupted := ctx.Err() != nil
	if interrupted {
		p.Line("PARTIAL", "interrupted after %.1f s of load", c.seconds)
	}
	p.Line("gap", "%s", c.gaps.text())
	p.Line("writes", "%s acknowledged (%s/s), %s unknown, %s refused", grouped(n.acked),
		bench.Of(float64(n.acked), c.seconds).Grouped(), grouped(n.unknown), grouped(n.refused))
	p.Line("errors", "%s", bench.ErrorText(c.classes.n))
	a, agreed := agreement{}, ctx.Err()
	if !interrupted {
		a, agreed = agree(ctx, c.addresses, settle)
	}
	reading, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	v := c.verify(reading)
	v.report(p, &n)
	switch {
	case agreed == nil:
		p.Line("agreement", "%d members at index %s after %.1f s, %s", len(c.addresses), a.index,
			a.took.Seconds(), a.digest)
	case ctx.Err() != nil:
		p.Line("agreement", "not checked: interrupted")
	default:
		p.Line("agreement", "NONE: %v", agreed)
	}
	err := v.decide(&n, agreed)
	switch {
	case ctx.Err() != nil && !v.bad():
		err = ctx.Err()
		p.Line("verdict", "NONE: interrupted")
	case err != nil:
		p.Line("verdict", "NONE: %v", err)
	default:
		p.Line("verdict", "OK: every acknowledged write is there, and the members agree")
	}
	return errors.Join(err, p.Err())
}

func grouped(n int) string { return bench.Grouped(int64(n)) }

// report prints what reading back showed, of so many keys.
func (v *verdict) report(p *bench.Printer, n *counts) {
	read, all := v.acked+v.unknown+v.refused, n.acked+n.unknown+n.refused
	if read == 0 {
		p.Line("read back", "nothing: not checked")
		return
	}
	p.Line("read back", "%s of %s keys: %s lost, %s wrong, %s refused but executed; %s unknown "+
		"ones took effect", grouped(read), grouped(all), grouped(v.lost), grouped(v.wrong),
		grouped(v.executed), grouped(v.late))
	if v.acked < n.acked {
		p.Line("", "%s acknowledged ones could not be read back: whether they are there is not "+
			"known", grouped(n.acked-v.acked))
	}
	for _, text := range v.examples {
		p.Line("", "%s", text)
	}
}

// decide is what a check ends with.
func (v *verdict) decide(n *counts, agreed error) error {
	switch {
	case v.bad():
		return fmt.Errorf("%w: %s lost, %s wrong, %s refused but executed", ErrViolated,
			grouped(v.lost), grouped(v.wrong), grouped(v.executed))
	case n.acked == 0:
		return ErrNothing
	case v.acked < n.acked || v.refused < n.refused:
		return fmt.Errorf("%w: %s of %s keys could not be read back", ErrNotChecked,
			grouped(n.acked-v.acked+n.refused-v.refused), grouped(n.acked+n.refused))
	case errors.Is(agreed, errDiffer):
		return fmt.Errorf("%w: %w", ErrViolated, agreed)
	case agreed != nil:
		return fmt.Errorf("%w: %w", ErrNotChecked, agreed)
	}
	return nil
}
