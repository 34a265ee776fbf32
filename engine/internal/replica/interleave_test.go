//go:build interleave

package replica

import (
	"fmt"
	"testing"

	"github.com/ringraft/ringraft/internal/interleave"
)

// These tests try every order in which an owner's calls of its lane, turns of the
// replica and apply may touch the memory they share:
// go test -tags interleave ./engine/internal/replica

// laneProgram is what an owner does, a letter for each call: w a write, r a read, o a
// read that names the newest write, l a local read, f a flush.
type laneProgram struct {
	name, calls string
	apart       bool // apply is a thread of its own
	preemptions int  // 0: no bound
}

// laneRun is one run of a program, with what its reads may see.
type laneRun struct {
	*world
	writes int
	last   uint64
	reads  map[uint64]sight
}

// sight is the numbers of the writes that a read may see.
type sight struct{ least, most int }

func (c *laneProgram) explore(t *testing.T, limit int) *interleave.Result {
	bound := c.preemptions
	if bound == 0 {
		bound = interleave.Unbounded
	}
	return interleave.Bounded(limit, bound, func(w *interleave.World) {
		r := newLaneRun(t)
		w.Go("owner", func() { r.owner(c.calls) })
		w.Go("replica", func() {
			for range 2 {
				r.now++
				r.r.Turn(r.now, All)
				if !c.apart {
					r.r.cfg.Apply.Poll()
				}
			}
		})
		if c.apart {
			w.Go("apply", func() {
				for range 2 {
					r.r.cfg.Apply.Poll()
				}
			})
		}
		w.Finally(r.check)
	})
}

// newLaneRun is a cluster of one whose lane has answered a write, which is write 1,
// and a read: every shared word was touched. A turn of the replica takes a command
// all the way, as it does where the loop writes by itself.
func newLaneRun(t *testing.T) *laneRun {
	r := &laneRun{world: &world{t: t}, reads: map[uint64]sight{}}
	r.cluster([]string{"1", "segment", "16"})
	r.lead()
	r.disk.quick = true
	r.owner("wrf")
	if err := r.check(); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *laneRun) owner(calls string) {
	l := r.lanes[0]
	for _, c := range calls {
		var request uint64
		var err error
		s := sight{0, r.writes}
		switch c {
		case 'w':
			r.writes++
			r.last, err = l.Write(fmt.Appendf(nil, "w%d", r.writes))
		case 'r':
			request, err = l.Read(nil, 0)
		case 'o':
			s.least = r.writes
			request, err = l.Read(nil, r.last)
		case 'l':
			request, err = l.ReadLocal(nil)
		case 'f':
			l.Flush()
		}
		if err != nil {
			interleave.Fail("%c: %v", c, err)
		}
		if request != 0 {
			r.reads[request] = s
		}
	}
}

// check takes all answers and holds the reads against the order of the lane.
func (r *laneRun) check() error {
	r.settle()
	r.world.write(nil)
	if r.failed != nil {
		return r.failed
	}
	l := r.lanes[0]
	for c := l.Next(); c != nil; c = l.Next() {
		s, isRead := r.reads[c.Request]
		if !isRead {
			continue
		}
		seen := 0
		if _, err := fmt.Sscanf(string(c.Reply), "sees w%d", &seen); err != nil && s.least > 0 {
			return fmt.Errorf("request %d: %v, %q", c.Request, c.Outcome, c.Reply)
		}
		if seen < s.least || seen > s.most {
			return fmt.Errorf("request %d sees write %d, and may see %d to %d", c.Request, seen,
				s.least, s.most)
		}
	}
	l.Release()
	if n := l.Outstanding(); n != 0 {
		return fmt.Errorf("%d requests without an answer", n)
	}
	return nil
}

func TestEveryOrderOfALaneAndItsReplica(t *testing.T) {
	for _, c := range []laneProgram{
		{name: "a read before a write", calls: "rwf"},
		{name: "flushed one after the other", calls: "rfwf"},
		{name: "a read between writes", calls: "wfrwf"},
		{name: "a read of an own write", calls: "wofwf"},
		{name: "a local read", calls: "lwf"},
		{name: "apply apart, a read before a write", calls: "rwf", apart: true, preemptions: 2},
		{name: "apply apart, a read of an own write", calls: "worwf", apart: true, preemptions: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := c.explore(t, 1e6)
			if r.Failure != "" || r.Cut {
				t.Fatal(r, r.Cut)
			}
			t.Log(r)
		})
	}
}
