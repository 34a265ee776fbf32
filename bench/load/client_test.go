package load

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ringraft/ringraft/bench"
)

// scripted is a target and its one session, which answers at once, takes no
// more than room requests at a time, and checks what it is given.
type scripted struct {
	t       *testing.T
	room    int
	class   func(n int) string // of the n-th answer
	waitErr error

	plan    *bench.Plan
	waiting []Completion
	live    map[uint32]bool
	most, n int
	unsent  bool
	closed  int
}

func (s *scripted) Open(_ context.Context, p *bench.Plan) ([]Session, error) {
	s.plan, s.live = p, make(map[uint32]bool)
	return []Session{s}, nil
}

func (s *scripted) System() bench.System {
	return bench.System{Name: "scripted", Inside: "nothing"}
}

func (s *scripted) Submit(requests []Request) int {
	taken := min(len(requests), max(0, s.room-len(s.live)))
	for _, r := range requests[:taken] {
		if s.live[r.ID] || int(r.ID) >= s.plan.Outstanding {
			s.t.Errorf("request %d is outstanding, or out of range", r.ID)
		}
		if (r.Kind == Write) != (len(r.Value) == s.plan.ValueBytes) ||
			r.Key >= uint64(max(s.plan.Keys, 1)) {
			s.t.Errorf("request %+v", r)
		}
		s.live[r.ID] = true
		s.n++
		c := Completion{ID: r.ID}
		if s.class != nil {
			c.Class = s.class(s.n)
		}
		s.waiting = append(s.waiting, c)
		s.unsent = true
	}
	s.most = max(s.most, len(s.live))
	return taken
}

func (s *scripted) Flush() { s.unsent = false }

func (s *scripted) Take(done []Completion) int {
	if s.unsent {
		s.t.Error("requests were not flushed")
	}
	n := copy(done, s.waiting)
	for _, c := range s.waiting[:n] {
		delete(s.live, c.ID)
	}
	s.waiting = s.waiting[:copy(s.waiting, s.waiting[n:])]
	return n
}

func (s *scripted) Wait(d time.Duration) error {
	if len(s.waiting) == 0 {
		time.Sleep(min(d, time.Millisecond))
	}
	return s.waitErr
}

func (s *scripted) Close() error {
	s.closed++
	return nil
}

func testPlan() bench.Plan {
	return bench.Plan{Outstanding: 1000, ValueBytes: 16, Keys: 10, Sets: 1, Gets: 1,
		Duration: 200 * time.Millisecond, Warmup: time.Millisecond, Seed: 1}
}

// In both loops a session may take any part of what it is offered: every
// request is answered once, and no more than the plan's are outstanding.
func TestASessionTakesWhatItCan(t *testing.T) {
	for _, rate := range []float64{0, 20_000} {
		for _, room := range []int{1, 300, 1000} {
			s := &scripted{t: t, room: room}
			p := testPlan()
			if p.Rate = rate; rate > 0 { // what is due is sent within the duration, or not at all
				p.Duration = time.Second
			}
			r, err := Run(t.Context(), s, p, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if r.Ops == 0 || len(r.Errors) != 0 || s.most > room || len(s.live) != 0 ||
				s.closed != 2 {
				t.Errorf("rate %v, room %d: %d successes, %v, at most %d outstanding, %d at the "+
					"end, closed %d times", rate, room, r.Ops, r.Errors, s.most, len(s.live),
					s.closed)
			}
			if rate == 0 && room == 1000 && s.most != 1000 {
				t.Errorf("a closed loop had %d outstanding at most", s.most)
			}
			if due := rate * p.Duration.Seconds(); rate > 0 &&
				float64(r.Latency.TotalCount()) < due-1 {
				t.Errorf("%d latencies of %v requests that were due", r.Latency.TotalCount(), due)
			}
		}
	}
}

func TestFailuresAreNoGoodput(t *testing.T) {
	s := &scripted{t: t, room: 1000, class: func(n int) string {
		if n%2 == 0 {
			return "refused"
		}
		return ""
	}}
	r, err := Run(t.Context(), s, testPlan(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if failed := r.Errors["refused"]; failed == 0 || failed > r.Ops+1000 || r.Ops > failed+1000 {
		t.Errorf("%d successes, %v", r.Ops, r.Errors)
	}
}

func TestASessionEndsTheRun(t *testing.T) {
	broken := errors.New("broken")
	s := &scripted{t: t, waitErr: broken}
	p := testPlan()
	p.Duration = time.Hour // neither run comes to its end
	if _, err := Run(t.Context(), s, p, Options{}); !errors.Is(err, broken) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s = &scripted{t: t, room: 1}
	if _, err := Run(ctx, s, p, Options{}); !errors.Is(err, context.Canceled) || s.closed != 2 {
		t.Errorf("%v, closed %d times", err, s.closed)
	}
}

func TestCompletionsComeFromAnyGoroutine(t *testing.T) {
	for _, rate := range []float64{0, 1000} {
		c, err := NewCompletions(&bench.Plan{Rate: rate})
		if err != nil {
			t.Fatal(err)
		}
		const n = 5000
		go func() {
			for i := range uint32(n) {
				c.Add(Completion{ID: i})
			}
		}()
		var done [64]Completion
		for next := uint32(0); next < n; {
			k := c.Take(done[:])
			for _, d := range done[:k] {
				if d.ID != next {
					t.Fatalf("completion %d, want %d", d.ID, next)
				}
				next++
			}
			if k == 0 {
				if err := c.Wait(time.Minute); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
