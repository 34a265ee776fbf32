package sim

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// Shrink looks for a smaller plan that breaks the same promise: fewer faults
// first, then a calmer network, then a smaller cluster and load. It ends when
// nothing more can go, or when the budget is spent.
func Shrink(p *Plan, f *Failure, budget time.Duration, out io.Writer) (*Plan, *Failure) {
	s := &shrinker{plan: p.clone(), failure: f, until: time.Now().Add(budget), out: out,
		run: func(p *Plan) *Failure { return Run(p, nil).Failure }}
	s.shorten()
	for again := true; again && !s.over(); {
		again = s.faults()
		again = s.simplify() || again
	}
	return s.plan, s.failure
}

type shrinker struct {
	plan    *Plan
	failure *Failure
	until   time.Time
	out     io.Writer
	runs    int
	run     func(p *Plan) *Failure
}

func (p *Plan) clone() *Plan {
	c := *p
	c.Clients, c.Faults = slices.Clone(p.Clients), slices.Clone(p.Faults)
	return &c
}

func (s *shrinker) over() bool { return time.Now().After(s.until) }

// try keeps a plan if it still breaks the same promise.
func (s *shrinker) try(p *Plan) bool {
	if s.over() {
		return false
	}
	s.runs++
	f := s.run(p)
	if f == nil || f.Judge != s.failure.Judge {
		return false
	}
	s.plan, s.failure = p, f
	if s.out != nil {
		fmt.Fprintf(s.out, "run %4d: %2d faults, %d members, %d clients, fails at %s\n", s.runs,
			len(p.Faults), p.Members, len(p.Clients), seconds(s.failure.At))
	}
	return true
}

// shorten drops what comes after the failure.
func (s *shrinker) shorten() {
	c := s.plan.clone()
	c.Faults = slices.DeleteFunc(c.Faults, func(f Fault) bool { return f.At > s.failure.At })
	c.Duration = min(c.Duration, s.failure.At+sec)
	s.try(c)
}

// faults takes faults away, in halves, quarters, … and one by one (ddmin).
func (s *shrinker) faults() (removed bool) {
	for size := max(1, len(s.plan.Faults)/2); size >= 1 && !s.over(); size /= 2 {
		for at := 0; at < len(s.plan.Faults) && !s.over(); {
			c := s.plan.clone()
			c.Faults = slices.Delete(c.Faults, at, min(at+size, len(c.Faults)))
			if s.try(c) {
				removed = true
			} else {
				at += size
			}
		}
	}
	return removed
}

// simplify tries plainer values one at a time.
func (s *shrinker) simplify() (removed bool) {
	for _, change := range []func(p *Plan){
		func(p *Plan) { p.Loss = 0 },
		func(p *Plan) { p.Repeat = 0 },
		func(p *Plan) { p.Corrupt = 0 },
		func(p *Plan) { p.Echo = 0 },
		func(p *Plan) { p.Partial = 0 },
		func(p *Plan) { p.Inside = 0 },
		func(p *Plan) { p.Skew = 0 },
		func(p *Plan) { p.ReadDelay = 0 },
		func(p *Plan) { p.Datagrams = false },
		func(p *Plan) { p.Serial = false },
		func(p *Plan) { p.Down = 0 },
		func(p *Plan) { p.Lanes = 1 },
		func(p *Plan) { p.Clients = p.Clients[:(len(p.Clients)+1)/2] },
		func(p *Plan) { p.Members = min(p.Members, 3) },
		func(p *Plan) { p.Joiners = min(p.Joiners, 1) },
		func(p *Plan) { p.Slots = 256 },
		func(p *Plan) { p.FrameBytes = p.Inbox / 8 },
		func(p *Plan) { p.Clients[0].Burst = max(1, p.Clients[0].Burst/2) },
		func(p *Plan) { p.Duration = p.Duration * 3 / 4 },
	} {
		c := s.plan.clone()
		change(c)
		if c.equal(s.plan) {
			continue
		}
		removed = s.try(c) || removed
	}
	return removed
}

func (p *Plan) equal(q *Plan) bool { return fmt.Sprint(*p) == fmt.Sprint(*q) }
