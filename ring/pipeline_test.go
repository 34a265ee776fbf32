//go:build !interleave

package ring

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// cell is an event that keeps who has seen it.
type cell struct {
	producer, n uint64
	seen        uint64
}

// rig is a pipeline whose stages hold every event against what came before.
type rig struct {
	t    *testing.T
	p    *Pipeline[cell]
	size int
}

// stage checks that nothing is lost, repeated or overtaken, and that the
// stages it follows have seen every event. The bit of a stage in cell.seen is
// set only where no other stage runs beside it.
func (r *rig) stage(name string, bit, need uint64, follows ...*Stage[cell]) *Stage[cell] {
	next := uint64(1)
	counts := map[uint64]uint64{}
	return r.p.Stage(name, func(b Batch[cell]) error {
		if b.First != next || b.Len() < 1 || b.Len() > r.size {
			return fmt.Errorf("%d events from %d, expected from %d", b.Len(), b.First, next)
		}
		head, tail := b.Slices()
		if len(head)+len(tail) != b.Len() || &head[0] != b.At(b.First) {
			return fmt.Errorf("pieces of %d and %d for %d", len(head), len(tail), b.Len())
		}
		for seq, c := range b.All() {
			if counts[c.producer]++; counts[c.producer] != c.n {
				return fmt.Errorf("event %d: number %d of producer %d, expected %d", seq, c.n,
					c.producer, counts[c.producer])
			}
			if c.seen&need != need {
				return fmt.Errorf("event %d was seen by %b, %b come before", seq, c.seen, need)
			}
			if bit != 0 { // others may read beside it
				c.seen |= bit
			}
		}
		for _, up := range follows {
			if up.Passed() < b.Last {
				return fmt.Errorf("event %d is here before stage %s has passed it", b.Last,
					up.Name())
			}
		}
		next = b.Last + 1
		return nil
	}, follows...)
}

var shapes = []struct {
	name string
	add  func(r *rig)
}{
	{"one", func(r *rig) { r.stage("a", 1, 0) }},
	{"three stages", func(r *rig) { r.stage("c", 4, 3, r.stage("b", 2, 1, r.stage("a", 1, 0))) }},
	{"multicast", func(r *rig) { r.stage("a", 0, 0); r.stage("b", 0, 0); r.stage("c", 0, 0) }},
	{"diamond", func(r *rig) {
		a := r.stage("a", 1, 0)
		r.stage("d", 4, 1, r.stage("b", 0, 1, a), r.stage("c", 0, 1, a))
	}},
}

func halt(t *testing.T, p interface{ Halt(context.Context) error }) {
	t.Helper()
	if err := p.Halt(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestPipelinesLoseAndRepeatNothing(t *testing.T) {
	events := uint64(3000)
	if testing.Short() {
		events = 300
	}
	for _, shape := range shapes {
		for _, slots := range []int{2, 4, 256} {
			for _, producers := range []int{1, 2, 3} {
				for _, wait := range []Wait{Park, Adaptive, Yield} {
					name := fmt.Sprintf("%s/%d slots/%d producers/%v",
						shape.name, slots, producers, wait)
					t.Run(name, func(t *testing.T) {
						cfg := Config{Slots: slots, Producers: producers, Wait: wait}
						p, err := NewPipeline[cell](cfg)
						if err != nil {
							t.Fatal(err)
						}
						shape.add(&rig{t: t, p: p, size: slots})
						in, err := p.Start()
						if err != nil {
							t.Fatal(err)
						}
						var wg sync.WaitGroup
						for id := range uint64(producers) {
							wg.Go(func() { produce(t, in, id, events, slots) })
						}
						wg.Wait()
						halt(t, p)
						for _, s := range p.Stats() {
							if s.Passed != events*uint64(producers) || s.Depth != 0 {
								t.Errorf("%+v", s)
							}
						}
					})
				}
			}
		}
	}
}

// produce publishes events in claims of one to three, some of them only if
// there is room.
func produce(t *testing.T, in *Producer[cell], id, events uint64, slots int) {
	for n := uint64(1); n <= events; {
		size := int(min(events-n+1, n%3+1, uint64(slots)))
		var first uint64
		var err error
		if n%5 == 0 {
			ok := false
			for !ok && err == nil {
				if first, ok, err = in.TryClaim(size); !ok {
					runtime.Gosched()
				}
			}
		} else {
			first, err = in.Claim(size)
		}
		if err != nil {
			t.Error(err)
			return
		}
		if n%2 == 0 {
			for i := range uint64(size) {
				*in.At(first + i) = cell{producer: id, n: n + i}
			}
		} else {
			head, tail := in.Slots(first, size)
			for i := range head {
				head[i] = cell{producer: id, n: n + uint64(i)}
			}
			for i := range tail {
				tail[i] = cell{producer: id, n: n + uint64(len(head)+i)}
			}
		}
		if err := in.Publish(first, size); err != nil {
			t.Error(err)
			return
		}
		n += uint64(size)
	}
}

// A claim published out of turn is delivered in turn.
func TestManyDeliversInOrderOfClaims(t *testing.T) {
	m := NewMany[int](8)
	var gate Sequence
	m.Gate(&gate)
	a, _ := m.TryClaim(3)
	b, _ := m.TryClaim(1)
	c, _ := m.TryClaim(2)
	if a != 1 || b != 4 || c != 5 || m.Claimed() != 6 {
		t.Fatal(a, b, c)
	}
	m.Publish(c, 2)
	if got := m.Available(0); got != 0 {
		t.Fatalf("%d available before the first claim is published", got)
	}
	m.Publish(a, 3)
	if got := m.Available(0); got != 3 {
		t.Fatalf("%d available", got)
	}
	if _, ok := m.TryClaim(3); ok {
		t.Fatal("claimed a slot that the gate has not passed")
	}
	m.Publish(b, 1)
	if got := m.Available(3); got != 6 {
		t.Fatalf("%d available", got)
	}
	gate.Store(6)
	if first, ok := m.TryClaim(8); !ok || first != 7 {
		t.Fatal(first, ok)
	}
	if got := m.Available(6); got != 6 {
		t.Fatalf("an old mark is believed: %d", got)
	}
	if last := m.Close(); last != 14 || m.Close() != 14 {
		t.Fatal(last)
	}
	if _, ok := m.TryClaim(1); ok {
		t.Fatal("claimed of a closed ring")
	}
}

var errHandler = errors.New("the disk failed")

// However a handler fails, whoever claims, publishes or halts is told, with
// the stage and the batch, and nobody waits for ever.
func TestAFailingHandlerSurfaces(t *testing.T) {
	for _, c := range []struct {
		name string
		fail func() error
		is   func(error) bool
	}{
		{"error", func() error { return errHandler },
			func(err error) bool { return errors.Is(err, errHandler) }},
		{"panic with an error", func() error { panic(errHandler) },
			func(err error) bool { return errors.Is(err, errHandler) }},
		{"panic", func() error { panic("no") }, func(err error) bool {
			var p *PanicError
			return errors.As(err, &p) && p.Value == "no" &&
				strings.Contains(string(p.Stack), "pipeline_test.go")
		}},
		{"goexit", func() error { runtime.Goexit(); return nil }, func(err error) bool {
			var p *PanicError
			return errors.As(err, &p) && p.Value == nil
		}},
	} {
		for _, producers := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s/%d producers", c.name, producers), func(t *testing.T) {
				p, _ := NewPipeline[cell](Config{Slots: 4, Producers: producers})
				before := p.Stage("before", func(Batch[cell]) error { return nil })
				p.Stage("second", func(b Batch[cell]) error {
					if b.Last >= 10 {
						return c.fail()
					}
					return nil
				}, before)
				in, err := p.Start()
				if err != nil {
					t.Fatal(err)
				}
				var wg sync.WaitGroup
				for range producers {
					wg.Go(func() {
						for { // a full ring and a failed stage must not hold it for ever
							first, err := in.Claim(1)
							if err == nil {
								err = in.Publish(first, 1)
							}
							if err != nil {
								checkStageError(t, err, c.is)
								return
							}
						}
					})
				}
				wg.Wait()
				<-p.Done()
				checkStageError(t, p.Err(), c.is)
				checkStageError(t, p.Halt(context.Background()), c.is)
			})
		}
	}
}

func checkStageError(t *testing.T, err error, is func(error) bool) {
	t.Helper()
	var s *StageError
	if !errors.As(err, &s) || s.Stage != "second" || s.Last < 10 || s.First > s.Last || !is(err) {
		t.Errorf("%v", err)
	}
}

func TestHaltDrains(t *testing.T) {
	gate := make(chan struct{})
	p, _ := NewPipeline[cell](Config{Slots: 16})
	var passed atomic.Int64
	p.Stage("slow", func(b Batch[cell]) error {
		<-gate
		passed.Add(int64(b.Len()))
		return nil
	})
	in, _ := p.Start()
	first, _ := in.Claim(10)
	if err := in.Publish(first, 10); err != nil {
		t.Fatal(err)
	}
	halted := make(chan error)
	go func() { halted <- p.Halt(context.Background()) }()
	for {
		if _, ok, err := in.TryClaim(1); err != nil {
			if ok || !errors.Is(err, ErrHalted) {
				t.Fatal(ok, err)
			}
			break
		} else if !ok {
			runtime.Gosched() // full: the halt is not there yet
		}
	}
	close(gate)
	if err := <-halted; err != nil || passed.Load() != 10 {
		t.Fatal(err, passed.Load())
	}
	halt(t, p) // again
}

// An event published after Halt reaches nobody, and its producer knows.
func TestAPublishThatComesTooLateIsRefused(t *testing.T) {
	p, _ := NewPipeline[cell](Config{Slots: 4})
	var passed atomic.Int64
	p.Stage("a", func(b Batch[cell]) error { passed.Add(int64(b.Len())); return nil })
	in, _ := p.Start()
	first, _ := in.Claim(1)
	halt(t, p)
	if err := in.Publish(first, 1); !errors.Is(err, ErrHalted) || passed.Load() != 0 {
		t.Fatal(err, passed.Load())
	}
	if _, err := in.Claim(1); !errors.Is(err, ErrHalted) {
		t.Fatal(err)
	}
}

func TestHaltBeforeStart(t *testing.T) {
	p, _ := NewPipeline[cell](Config{Slots: 4})
	p.Stage("a", func(Batch[cell]) error { return nil })
	halt(t, p)
	if _, err := p.Start(); !errors.Is(err, ErrHalted) {
		t.Fatal(err)
	}
}

// With several producers a claim that is open when Halt comes is waited for.
func TestHaltWaitsForOpenClaims(t *testing.T) {
	p, _ := NewPipeline[cell](Config{Slots: 4, Producers: 2})
	var passed atomic.Int64
	p.Stage("a", func(b Batch[cell]) error { passed.Add(int64(b.Len())); return nil })
	in, _ := p.Start()
	first, _ := in.Claim(2)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	p.close()
	if err := in.Publish(first, 2); err != nil {
		t.Fatal(err)
	}
	halt(t, p)
	if err := p.Halt(ended); err != nil || passed.Load() != 2 {
		t.Fatal(err, passed.Load())
	}
}

func TestHaltThatRunsOutOfTimeTellsWhatIsLeft(t *testing.T) {
	gate := make(chan struct{})
	p, _ := NewPipeline[cell](Config{Slots: 8})
	p.Stage("stuck", func(Batch[cell]) error { <-gate; return nil })
	in, _ := p.Start()
	first, _ := in.Claim(3)
	if err := in.Publish(first, 3); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var d *DrainError
	if err := p.Halt(ctx); !errors.As(err, &d) || d.Stage != "stuck" || d.Left != 3 ||
		!errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	close(gate)
	<-p.Done()
}

func TestConfigurationsThatCannotWork(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		says string
	}{
		{Config{Slots: 3}, "3 slots: a power of two"},
		{Config{}, "0 slots: a power of two"},
		{Config{Slots: 1}, "1 slots: a power of two"},
		{Config{Slots: 4, Wait: 9}, "no wait strategy 9"},
		{Config{Slots: 4, Producers: -1}, "-1 producers"},
	} {
		var e *ConfigError
		if _, err := NewPipeline[int](c.cfg); !errors.As(err, &e) ||
			!strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c.cfg, err)
		}
	}
	none := func(Batch[int]) error { return nil }
	p, _ := NewPipeline[int](Config{Slots: 2})
	if _, err := p.Start(); err == nil || !strings.Contains(err.Error(), "without stages") {
		t.Error(err)
	}
	other, _ := NewPipeline[int](Config{Slots: 2})
	p.Stage("a", none, other.Stage("b", none))
	const foreign = "stage a follows one of another pipeline"
	if _, err := p.Start(); err == nil || !strings.Contains(err.Error(), foreign) {
		t.Error(err)
	}
	p, _ = NewPipeline[int](Config{Slots: 2})
	p.Stage("a", none)
	in, err := p.Start()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Start(); err == nil || !strings.Contains(err.Error(), "started before") {
		t.Error(err)
	}
	for _, n := range []int{0, -1, 3} {
		var e *ClaimError
		if _, err := in.Claim(n); !errors.As(err, &e) || e.Wanted != n {
			t.Errorf("claim of %d: %v", n, err)
		}
	}
	halt(t, p)
	for name, want := range map[string]Wait{"park": Park, "adaptive": Adaptive, "yield": Yield,
		"spin": Spin} {
		if got, err := ParseWait(name); err != nil || got != want || got.String() != name {
			t.Error(name, got, err)
		}
	}
	if _, err := ParseWait("sleep"); err == nil {
		t.Error("sleep is no strategy")
	}
}

// Goroutines that spin need a core each and one to spare: with fewer, one that
// spins keeps from running the very one it waits for.
func TestSpinningIsRefusedWithoutTheCores(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	build := func(stages int) error {
		p, _ := NewPipeline[int](Config{Slots: 2, Wait: Spin})
		for range stages {
			p.Stage("s", func(Batch[int]) error { return nil })
		}
		_, err := p.Start()
		if err == nil {
			halt(t, p)
		}
		return err
	}
	if err := build(1); err != nil {
		t.Fatal(err)
	}
	const few = "3 spinning goroutines need GOMAXPROCS of at least 4, it is 3; use park"
	if err := build(2); err == nil || !strings.Contains(err.Error(), few) {
		t.Fatal(err)
	}
}

// Depth and time waited tell who holds up whom.
func TestStatsNameTheSlowStage(t *testing.T) {
	gate := make(chan struct{})
	p, _ := NewPipeline[cell](Config{Slots: 8, MaxBatch: 1})
	a := p.Stage("a", func(Batch[cell]) error { return nil })
	p.Stage("b", func(Batch[cell]) error { <-gate; return nil }, a)
	in, _ := p.Start()
	for range 8 {
		first, _ := in.Claim(1)
		if err := in.Publish(first, 1); err != nil {
			t.Fatal(err)
		}
	}
	for a.Passed() < 8 {
		runtime.Gosched()
	}
	s := p.Stats()
	if len(s) != 3 || s[0].Name != "producers" || s[0].Depth != 8 || s[1].Depth != 0 ||
		s[2].Name != "b" || s[2].Depth != 8 {
		t.Fatalf("%+v", s)
	}
	claimed := make(chan error)
	go func() {
		first, err := in.Claim(1)
		if err == nil {
			err = in.Publish(first, 1)
		}
		claimed <- err
	}()
	for p.Stats()[0].Waits == 0 {
		runtime.Gosched()
	}
	for p.Stats()[0].Waited < time.Microsecond { // it counts while it lasts
		runtime.Gosched()
	}
	close(gate)
	if err := <-claimed; err != nil {
		t.Fatal(err)
	}
	halt(t, p)
}

func TestPipelinesDoNotAllocate(t *testing.T) {
	for _, producers := range []int{1, 2} {
		p, _ := NewPipeline[uint64](Config{Slots: 64, Producers: producers})
		sum := uint64(0)
		a := p.Stage("a", func(b Batch[uint64]) error {
			for _, v := range b.All() {
				sum += *v
			}
			return nil
		})
		in, err := p.Start()
		if err != nil {
			t.Fatal(err)
		}
		n := testing.AllocsPerRun(100, func() {
			for range 100 { // more than fit: claims wait
				first, err := in.Claim(3)
				if err != nil {
					t.Error(err)
				}
				*in.At(first), *in.At(first + 1), *in.At(first + 2) = 1, 1, 1
				if err := in.Publish(first, 3); err != nil {
					t.Error(err)
				}
			}
			for a.Passed()%300 != 0 {
				runtime.Gosched()
			}
		})
		halt(t, p)
		if n != 0 || sum != 101*300 {
			t.Errorf("%d producers: %v allocations, sum %d", producers, n, sum)
		}
	}
}
