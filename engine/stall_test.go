package engine

import (
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringraft/ringraft/journal"
)

// One request at a time, each sent from the completion of the one before: if
// any wake-up on the way is lost, nobody else brings the next.
func TestOneAtATimeNeverStalls(t *testing.T) {
	for _, th := range []Threads{Fused, Threaded} {
		t.Run(th.String(), func(t *testing.T) {
			c := newCluster(t, 3, func(b *Builder) { b.Threads(th).Journal(journal.Direct) })
			c.add(0)
			e := c.engines[c.leader()]
			var lane *Lane
			var done atomic.Int64
			const n = 6000
			turn := func() {
				for {
					d, ok := lane.Next()
					if !ok {
						break
					}
					if d.Outcome != Applied {
						t.Errorf("%+v", d)
					}
					lane.Release()
					if done.Add(1) < n {
						if _, err := lane.Write(number(1)); err != nil {
							t.Error(err)
						}
						lane.Flush()
					}
				}
			}
			notify := turn
			if th == Threaded { // the owner is a goroutine of its own
				bell, quit := make(chan struct{}, 1), make(chan struct{})
				defer close(quit)
				notify = func() {
					select {
					case bell <- struct{}{}:
					default:
					}
				}
				go func() {
					for {
						select {
						case <-bell:
							turn()
						case <-quit:
							return
						}
					}
				}()
			}
			lane, err := e.Lane(LaneConfig{Notify: notify})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := lane.Write(number(1)); err != nil {
				t.Fatal(err)
			}
			lane.Flush()
			last, since := int64(0), time.Now()
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for done.Load() < n {
				<-tick.C
				if d := done.Load(); d != last {
					last, since = d, time.Now()
				} else if time.Since(since) > 4*time.Second {
					var b strings.Builder
					_ = pprof.Lookup("goroutine").WriteTo(&b, 1) // to explain the failure
					for _, x := range c.engines {
						s := x.Status()
						t.Logf("%v leader %d term %d last %d durable %d commit %d applied %d %+v",
							s.Role, s.Leader, s.Term, s.Last, s.Durable, s.Commit, s.Applied,
							s.Members)
						t.Logf("waiting %v ready %d stored %d", x.member.Apply().Waiting(),
							x.member.Apply().Ready().Load(), x.member.Apply().Applied().Load())
					}
					t.Fatalf("stalled after %d\n%s", d, b.String())
				}
			}
		})
	}
}
