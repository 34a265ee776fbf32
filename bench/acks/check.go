// Package acks checks that no acknowledged write is lost: writers keep a ledger while members are
// killed and started, and every key is read back afterwards. docs/bench.md describes the check.
package acks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
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

// ErrViolated means that the check found a broken promise; the report says
// which.
var ErrViolated = errors.New("the check failed")

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

// load writes for d. It returns early, with its error, when ctx ends.
func (c *checker) load(ctx context.Context, d time.Duration) error {
	began := time.Now()
	c.gaps.begin(began)
	limited, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var running sync.WaitGroup
	for _, w := range c.writers {
		running.Go(func() { w.run(limited) })
	}
	running.Wait()
	c.gaps.success(time.Now()) // a silence until the end counts too
	c.seconds = time.Since(began).Seconds()
	return ctx.Err()
}

// verify reads all keys back, each writer its own.
func (c *checker) verify(ctx context.Context) (verdict, error) {
	var mu sync.Mutex
	var sum verdict
	var first error
	var running sync.WaitGroup
	for _, w := range c.writers {
		running.Go(func() {
			v, err := w.verify(ctx)
			mu.Lock()
			defer mu.Unlock()
			sum.add(v)
			if first == nil {
				first = err
			}
		})
	}
	running.Wait()
	return sum, first
}

// agreement is what the members said when they agreed.
type agreement struct {
	index  string
	digest string // "" when the servers have no digest
	took   time.Duration
}

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
			return a, fmt.Errorf("%s has applied %s, %s has applied %s", addresses[0], a.index,
				address, index)
		}
		if digest != a.digest {
			return a, fmt.Errorf("at index %s the states differ: %s %s, %s %s",
				index, addresses[0], a.digest, address, digest)
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
// members agree and that no acknowledged write is missing. It prints a report
// and returns ErrViolated when a promise was broken.
func Check(ctx context.Context, cfg Config, out io.Writer) error {
	c := newChecker(&cfg)
	if err := c.load(ctx, cfg.Duration); err != nil {
		return err
	}
	return c.judge(ctx, cfg.Settle, bench.NewPrinter(out))
}

// judge is the second half of a check: agreement, reading back, the report.
func (c *checker) judge(ctx context.Context, settle time.Duration, p *bench.Printer) error {
	p.Line("gap", "%.0f ms at most without a success", float64(c.gaps.longest.Microseconds())/1e3)
	a, agreed := agree(ctx, c.addresses, settle)
	reading, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	v, err := c.verify(reading)
	p.Line("writes", "%s acknowledged (%s/s), %s unknown (%s of them took effect), %s refused",
		bench.Grouped(int64(v.acked)), bench.Grouped(int64(float64(v.acked)/max(c.seconds, 1e-9))),
		bench.Grouped(int64(v.unknown)), bench.Grouped(int64(v.late)),
		bench.Grouped(int64(v.refused)))
	p.Line("errors", "%s", bench.ErrorText(c.classes.n))
	p.Line("read back", "%s lost, %s wrong, %s refused but executed",
		bench.Grouped(int64(v.lost)), bench.Grouped(int64(v.wrong)),
		bench.Grouped(int64(v.executed)))
	for _, text := range v.examples {
		p.Line("", "%s", text)
	}
	if agreed == nil {
		p.Line("agreement", "%d members at index %s after %.1f s, %s", len(c.addresses), a.index,
			a.took.Seconds(), a.digest)
	} else {
		p.Line("agreement", "NONE: %v", agreed)
	}
	for _, e := range []error{p.Err(), ctx.Err(), err} {
		if e != nil {
			return e
		}
	}
	if v.acked == 0 {
		return fmt.Errorf("%w: nothing was acknowledged", ErrViolated)
	}
	if v.bad() || agreed != nil {
		return ErrViolated
	}
	p.Line("verdict", "OK: every acknowledged write is there, and the members agree")
	return p.Err()
}
