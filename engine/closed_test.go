package engine

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/netio"
)

// closing ends an engine in each way there is.
var closing = map[string]func(t *testing.T, e *Engine){
	"Close": func(t *testing.T, e *Engine) {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	},
	"a failure": func(_ *testing.T, e *Engine) {
		e.fail(errors.New("planted"))
		<-e.Done()
	},
}

// An engine that has closed says so by every method, at once. Status said Leader, and
// a lane that was opened beside the last turn took requests that nobody answers.
func TestAClosedEngineSaysSo(t *testing.T) {
	for _, threads := range []Threads{Fused, Threaded} {
		for name, end := range closing {
			t.Run(threads.String()+" "+name, func(t *testing.T) { closedEngine(t, threads, end) })
		}
	}
}

func closedEngine(t *testing.T, threads Threads, end func(*testing.T, *Engine)) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	e, err := New().Journal(journal.Memory).StateMachine(&counter{}).Threads(threads).
		Advertise("here").Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	lane, err := e.Lane(LaneConfig{Cells: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lane.Write(number(1)); err != nil { // the lane is full
		t.Fatal(err)
	}
	lane.Flush()
	end(t, e)
	closedErr := func(err error) bool { return errors.Is(err, ErrClosed) }
	four := at(4, "127.0.0.1:1")
	calls := map[string]func() bool{
		"Engine.AddMember":     func() bool { return closedErr(e.AddMember(ctx, four, Voter)) },
		"Engine.DemoteMember":  func() bool { return closedErr(e.DemoteMember(ctx, 1)) },
		"Engine.PromoteMember": func() bool { return closedErr(e.PromoteMember(ctx, 1)) },
		"Engine.RemoveMember":  func() bool { return closedErr(e.RemoveMember(ctx, 1)) },
		"Engine.ReplaceMember": func() bool { return closedErr(e.ReplaceMember(ctx, 1, four)) },
		"Engine.UpdateMember":  func() bool { return closedErr(e.UpdateMember(ctx, four)) },
		"Engine.Membership": func() bool {
			m := e.Membership()
			return m.Change == "" && len(m.Members) == 1 && !m.Members[0].Connected
		},
		"Engine.Close": func() bool { // again
			first := e.Close()
			return first == nil && e.Close() == nil
		},
		"Engine.Shutdown": func() bool { return e.Shutdown(ctx) == nil },
		"Engine.Changed": func() bool { // there will be no change
			select {
			case <-e.Changed():
				return false
			default:
				return true
			}
		},
		"Engine.CommandMax": func() bool { return e.CommandMax() >= 0 },
		"Engine.Refused":    func() bool { return e.Refused() == 0 },
		"Engine.Done":       func() bool { <-e.Done(); return true },
		"Engine.Err":        func() bool { e.Err(); return true },
		"Engine.Lane":       func() bool { _, err := e.Lane(LaneConfig{}); return closedErr(err) },
		"Engine.Leadership": func() bool {
			leads, leader, address := e.Leadership()
			return !leads && leader == 0 && address == ""
		},
		"Engine.Memory": func() bool { n, _ := e.Memory(); return n > 0 },
		"Engine.Propose": func() bool {
			_, err := e.Propose(ctx, number(1))
			return closedErr(err) && errors.Is(err, ErrNotApplied)
		},
		"Engine.OpenSnapshot": func() bool {
			_, err := e.OpenSnapshot(1)
			return closedErr(err)
		},
		"Engine.Read": func() bool {
			_, err := e.Read(ctx, nil)
			return closedErr(err) && errors.Is(err, ErrNotApplied)
		},
		"Engine.Disk":      func() bool { _, _, bounded := e.Disk(); return !bounded },
		"Engine.Discovery": func() bool { return len(e.Discovery().Servers) == 0 },
		"Engine.Durations": func() bool {
			w, _ := e.Durations()
			return len(w.Counts) > len(w.Bounds)
		},
		"Engine.Slowest": func() bool { _, _ = e.Slowest(); return true },
		"Engine.StageTimes": func() bool {
			return len(e.StageTimes().Since(nil)) == len(e.Status().Stages)
		},
		"Engine.SetKeepAlive": func() bool {
			e.SetKeepAlive(time.Minute)
			return true
		},
		"Engine.SetMaxConnections": func() bool { e.SetMaxConnections(1); return true },
		"Engine.SetSnapshotAfter":  func() bool { e.SetSnapshotAfter(0); return true },
		"Engine.StopServing":       func() bool { return closedErr(e.StopServing()) },
		"Engine.Ready":             func() bool { return closedErr(e.Ready(ctx)) },
		"Engine.ResetStages":       func() bool { e.ResetStages(); return true },
		"Engine.ReloadSecret":      func() bool { return closedErr(e.ReloadSecret()) },
		"Engine.SetSecret":         func() bool { return closedErr(e.SetSecret(secretOf("x"))) },
		"Engine.Snapshot": func() bool {
			_, err := e.Snapshot(ctx)
			return closedErr(err)
		},
		"Engine.Status": func() bool {
			s := e.Status()
			return s.Role == Stopped && s.Leader == 0 && s.LeaderAddress == "" &&
				s.Role.String() == "stopped" && s.ID == 1 && s.Applied > 0
		},
		"Engine.Transfer":  func() bool { return closedErr(e.Transfer(ctx, 0)) },
		"Lane.Write":       func() bool { _, err := lane.Write(number(1)); return closedErr(err) },
		"Lane.Read":        func() bool { _, err := lane.Read(nil, 0); return closedErr(err) },
		"Lane.ReadLocal":   func() bool { _, err := lane.ReadLocal(nil); return closedErr(err) },
		"Lane.Flush":       func() bool { lane.Flush(); return true },
		"Lane.Next":        func() bool { _, more := lane.Next(); return more },
		"Lane.Release":     func() bool { lane.Release(); return lane.Outstanding() <= 1 },
		"Lane.Cells":       func() bool { return lane.Cells() == 1 },
		"Lane.Memory":      func() bool { return lane.Memory() > 0 },
		"Lane.Outstanding": func() bool { return lane.Outstanding() <= 1 },
	}
	for _, of := range []reflect.Type{reflect.TypeFor[*Engine](), reflect.TypeFor[*Lane]()} {
		for i := range of.NumMethod() {
			name := of.Elem().Name() + "." + of.Method(i).Name
			if calls[name] == nil {
				t.Errorf("%s is not called", name)
			} else if !calls[name]() {
				t.Errorf("%s does not say that the engine is closed", name)
			}
		}
	}
}

// A lane that is opened while the engine closes is refused, or ended.
func TestLanesOpenedBesideClosing(t *testing.T) {
	for range 20 {
		e, err := New().Journal(journal.Memory).StateMachine(&counter{}).
			Start(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		var opening sync.WaitGroup
		lanes := make([]*Lane, 8)
		for i := range lanes {
			opening.Go(func() {
				l, err := e.Lane(LaneConfig{Cells: 8, Bytes: 1, Queries: 1, Replies: 1})
				if err != nil && !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
				lanes[i] = l
			})
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		opening.Wait()
		for _, l := range lanes {
			if l == nil {
				continue
			}
			if _, err := l.Write(number(1)); !errors.Is(err, ErrClosed) {
				t.Fatal("a lane of a closed engine takes a command: ", err)
			}
		}
	}
}

// A ctx that is over before the call keeps it from doing anything: a command was
// proposed and applied all the same, and said to be unknown.
func TestACtxThatIsOver(t *testing.T) {
	sm := &counter{}
	e, err := New().Journal(journal.Memory).StateMachine(sm).Start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := e.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	asked := e.Status().Last
	for name, call := range map[string]func(context.Context) error{
		"Propose": func(ctx context.Context) error {
			_, err := e.Propose(ctx, number(1))
			return err
		},
		"Read":     func(ctx context.Context) error { _, err := e.Read(ctx, nil); return err },
		"Ready":    e.Ready,
		"Transfer": func(ctx context.Context) error { return e.Transfer(ctx, 0) },
	} {
		for range 100 {
			err := call(over)
			if !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnknown) {
				t.Fatalf("%s: %v", name, err)
			}
			var failed *Error
			if errors.As(err, &failed) != (name == "Propose" || name == "Read") {
				t.Fatalf("%s: %v", name, err)
			}
			if failed != nil && !errors.Is(err, ErrNotApplied) {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	dir := t.TempDir() + "/data"
	if _, err := New().Dir(dir).StateMachine(sm).Start(over); !errors.Is(err, context.Canceled) {
		t.Errorf("Start: %v", err)
	}
	if _, err := e.Propose(ctx, number(7)); err != nil {
		t.Fatal(err)
	}
	if sum, commands := sm.state(); sum != 7 || commands != 1 || e.Status().Applied != asked+1 {
		t.Errorf("%d commands were applied, sum %d", commands, sum)
	}
}

// An engine that fails while it starts is closed, and Start returns all the same.
func TestAFailureBesideStart(t *testing.T) {
	for range 10 {
		e, err := New().Journal(journal.Memory).StateMachine(&counter{}).
			Serve("127.0.0.1:0", func(env Env) netio.Acceptor {
				env.OnTick(func() { env.Engine.fail(errors.New("planted")) })
				return func(*netio.Conn) netio.Handler { return nil }
			}).Start(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		<-e.Done()
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
