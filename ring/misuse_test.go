//go:build !interleave

package ring

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// thrown is what f panicked with, nil if it did not.
func thrown(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

// A claim of nothing would hand the same slot to the next one too; a negative
// one would take back what others hold.
func TestARingRefusesClaimsOfNothing(t *testing.T) {
	one, many := New[int](4), NewMany[int](4)
	for _, n := range []int{0, -1, math.MinInt} {
		for name, claim := range map[string]func(){
			"Ring": func() { one.TryClaim(n) },
			"Many": func() { many.TryClaim(n) },
		} {
			if e, ok := thrown(claim).(*ClaimError); !ok || e.Wanted != n || e.Slots != 4 {
				t.Errorf("%s: a claim of %d: %v", name, n, e)
			}
		}
	}
	for _, n := range []int{5, math.MaxInt} {
		if _, ok := one.TryClaim(n); ok {
			t.Errorf("Ring: a claim of %d", n)
		}
		if _, ok := many.TryClaim(n); ok {
			t.Errorf("Many: a claim of %d", n)
		}
	}
	if a, ok := one.TryClaim(4); a != 1 || !ok {
		t.Error(a, ok)
	}
	if a, ok := many.TryClaim(4); a != 1 || !ok {
		t.Error(a, ok)
	}
}

// What was not claimed, or is published already, is not published: consumers
// would read what nobody has written, or the cursor would fall.
func TestARingRefusesPublishesOfWhatWasNotClaimed(t *testing.T) {
	one := New[int](8)
	one.TryClaim(4)
	one.Publish(2)
	for _, last := range []uint64{0, 1, 2, 5, math.MaxUint64} {
		if _, ok := thrown(func() { one.Publish(last) }).(*PublishError); !ok {
			t.Errorf("published %d", last)
		}
	}
	if one.Publish(4); one.Cursor().Load() != 4 {
		t.Error(one.Cursor().Load())
	}
	many := NewMany[int](8)
	many.TryClaim(1)
	many.TryClaim(3)
	many.Publish(1, 1)
	for _, c := range []struct {
		first uint64
		n     int
	}{{0, 1}, {1, 1}, {2, 0}, {2, -1}, {2, 4}, {2, 9}, {5, 1}, {9, 1}, {2, math.MaxInt},
		{math.MaxUint64, 2}} {
		if e, ok := thrown(func() { many.Publish(c.first, c.n) }).(*PublishError); !ok ||
			e.First != c.first || e.Count != c.n {
			t.Errorf("published %v", c)
		}
	}
	if many.Publish(2, 3); many.Available(0) != 4 {
		t.Error(many.Available(0))
	}
}

// A producer that publishes the wrong thing is told, and may go on.
func TestAPipelineRefusesMisuse(t *testing.T) {
	for _, producers := range []int{1, 2} {
		t.Run(fmt.Sprint(producers), func(t *testing.T) {
			p, _ := NewPipeline[uint64](Config{Slots: 8, Producers: producers})
			var sum uint64
			p.Stage("a", func(b Batch[uint64]) error {
				for _, v := range b.All() {
					sum += *v
				}
				return nil
			})
			in, err := p.Start()
			if err != nil {
				t.Fatal(err)
			}
			a, _ := in.Claim(2)
			b, _ := in.Claim(1)
			*in.At(a), *in.At(a + 1), *in.At(b) = 1, 10, 100
			wrong := []struct {
				first uint64
				n     int
			}{{a, 0}, {a, -1}, {a, 4}, {a, 9}, {0, 1}, {b + 1, 1}, {math.MaxUint64, 1},
				{a, math.MaxInt}}
			if producers == 1 { // with several, claims are published in any order
				wrong = append(wrong, struct {
					first uint64
					n     int
				}{b, 1})
			}
			for _, w := range wrong {
				var e *PublishError
				if err := in.Publish(w.first, w.n); !errors.As(err, &e) || e.First != w.first ||
					e.Count != w.n {
					t.Errorf("publish of %v: %v", w, err)
				}
			}
			for _, n := range []int{0, -1, 9, math.MinInt} {
				if _, ok := thrown(func() { in.Slots(a, n) }).(*ClaimError); !ok {
					t.Errorf("%d slots", n)
				}
			}
			if err := errors.Join(in.Publish(a, 2), in.Publish(b, 1)); err != nil {
				t.Error(err)
			}
			var e *PublishError
			if err := in.Publish(b, 1); !errors.As(err, &e) {
				t.Errorf("published twice: %v", err)
			}
			if halt(t, p); sum != 111 {
				t.Errorf("sum %d", sum)
			}
		})
	}
}

// A record of negative length, or one given back before it was taken, would
// break the ring for both ends.
func TestBytesRefuseMisuse(t *testing.T) {
	b := NewBytes(64)
	for n, misuse := range map[string]func(){
		"reserve":        func() { b.Reserve(-1) },
		"commit":         func() { b.Reserve(8); b.Commit(-1) },
		"commit more":    func() { b.Reserve(8); b.Commit(9) },
		"release untold": func() { b.Release(8) },
	} {
		if thrown(misuse) == nil {
			t.Error(n)
		}
	}
	for _, n := range []int{57, math.MaxInt, math.MinInt} {
		if b.Reserve(n) != nil {
			t.Errorf("reserved %d of 64", n)
		}
	}
	copy(b.Reserve(5), "alive")
	b.Commit(5)
	b.Publish()
	rec, pos, ok := b.Next()
	if b.Release(pos); !ok || string(rec) != "alive" || b.Pending() != 0 {
		t.Errorf("%q, %d pending", rec, b.Pending())
	}
}

// One producer whose own open claims leave no room would wait for itself.
func TestAClaimThatWaitsForItselfIsRefused(t *testing.T) {
	p, _ := NewPipeline[int](Config{Slots: 4})
	p.Stage("a", func(Batch[int]) error { return nil })
	in, _ := p.Start()
	first, _ := in.Claim(3)
	var e *ClaimError
	if _, err := in.Claim(2); !errors.As(err, &e) || e.Open != 3 {
		t.Fatal(err)
	}
	if _, ok, err := in.TryClaim(2); ok || !errors.As(err, &e) {
		t.Fatal(ok, err)
	}
	if err := in.Publish(first, 3); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Claim(2); err != nil {
		t.Fatal(err)
	}
	halt(t, p)
}

func TestAPipelineStartsOnce(t *testing.T) {
	p, _ := NewPipeline[int](Config{Slots: 2})
	p.Stage("a", func(Batch[int]) error { return nil })
	var started atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := p.Start(); err == nil {
				started.Add(1)
			}
		})
	}
	if wg.Wait(); started.Load() != 1 {
		t.Fatalf("started %d times", started.Load())
	}
	if e, ok := thrown(func() { p.Stage("late", nil) }).(*ConfigError); !ok {
		t.Fatal(e)
	}
	halt(t, p)
}

// However Start and several Halts meet, either nothing runs or all has ended.
func TestStartRacesHalt(t *testing.T) {
	for range 300 {
		p, _ := NewPipeline[int](Config{Slots: 2, Producers: 2})
		p.Stage("a", func(Batch[int]) error { return nil })
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { halt(t, p) })
		}
		in, err := p.Start()
		if wg.Wait(); err != nil && !errors.Is(err, ErrHalted) {
			t.Fatal(err)
		}
		if err == nil {
			<-p.Done()
			if _, err := in.Claim(1); !errors.Is(err, ErrHalted) {
				t.Fatal(err)
			}
		}
	}
}

// What publish said went through did, and nothing else, wherever the halt
// comes.
func TestHaltRacesPublish(t *testing.T) {
	for _, producers := range []int{1, 3} {
		for round := range 200 {
			p, _ := NewPipeline[int](Config{Slots: 4, Producers: producers})
			var passed, published atomic.Int64
			p.Stage("a", func(b Batch[int]) error { passed.Add(int64(b.Len())); return nil })
			in, _ := p.Start()
			var wg sync.WaitGroup
			for range producers {
				wg.Go(func() {
					for {
						first, err := in.Claim(2)
						if err == nil {
							err = in.Publish(first, 2)
						}
						if errors.Is(err, ErrHalted) {
							return
						}
						if err != nil {
							t.Error(err)
							return
						}
						published.Add(2)
					}
				})
			}
			for passed.Load() < int64(round) {
				runtime.Gosched()
			}
			halt(t, p)
			if wg.Wait(); passed.Load() != published.Load() {
				t.Fatalf("%d producers: %d passed, %d published", producers, passed.Load(),
					published.Load())
			}
		}
	}
}

// A context that has ended is no failure where nothing is left to do.
func TestHaltWithAnEndedContext(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for range 100 {
		p, _ := NewPipeline[int](Config{Slots: 4})
		a := p.Stage("a", func(Batch[int]) error { return nil })
		in, _ := p.Start()
		first, _ := in.Claim(4)
		if err := in.Publish(first, 4); err != nil {
			t.Fatal(err)
		}
		for a.Passed() < 4 {
			runtime.Gosched()
		}
		if err := p.Halt(ended); err != nil {
			t.Fatal(err)
		}
		<-p.Done()
	}
}

// A handler that claims on its own ring waits for itself once the ring is
// full: the one stall that the ring cannot see. Halt ends it.
func TestAHandlerThatWaitsForItself(t *testing.T) {
	p, _ := NewPipeline[int](Config{Slots: 4, Producers: 2})
	var in *Producer[int]
	var told atomic.Value
	ready, stuck := make(chan struct{}), make(chan struct{})
	p.Stage("a", func(b Batch[int]) error {
		<-ready
		for {
			first, ok, err := in.TryClaim(1)
			if !ok && err == nil { // full now, by this very handler
				close(stuck)
				first, err = in.Claim(1)
			}
			if err != nil {
				told.Store(err)
				return err
			}
			if err := in.Publish(first, 1); err != nil {
				return err
			}
		}
	})
	in, _ = p.Start()
	first, _ := in.Claim(1)
	if err := in.Publish(first, 1); err != nil {
		t.Fatal(err)
	}
	close(ready)
	<-stuck
	err := p.Halt(context.Background())
	var s *StageError
	if !errors.As(err, &s) || !errors.Is(err, ErrHalted) || told.Load() != ErrHalted {
		t.Fatal(err)
	}
	<-p.Done()
}

// A stage that waits awake is starved as much as one that sleeps, and says so.
func TestWaitsWithoutSleepAreTimedToo(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	for _, wait := range []Wait{Yield, Spin} {
		p, _ := NewPipeline[int](Config{Slots: 2, Wait: wait})
		p.Stage("a", func(Batch[int]) error { return nil })
		in, err := p.Start()
		if err != nil {
			t.Fatal(err)
		}
		for p.Stats()[1].Waited < time.Microsecond { // while it lasts
			runtime.Gosched()
		}
		first, _ := in.Claim(1)
		if err := in.Publish(first, 1); err != nil {
			t.Fatal(err)
		}
		halt(t, p)
		if s := p.Stats()[1]; s.Waits == 0 || s.Waited < time.Microsecond {
			t.Errorf("%v: %+v", wait, s)
		}
	}
}
