package rings

import (
	"context"
	"fmt"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/ring"
)

// handOff carries single events from one goroutine to another that waits.
// give hands one over; taken is called with it in the other goroutine.
type handOff struct {
	name  string
	start func(taken func(int64)) (give func(int64) error, stop func() error, err error)
}

// handOffs measures how long an event takes that finds the consumer waiting,
// sent by a goroutine that sleeps in between, and what an idle consumer burns.
func (c *Config) handOffs(ctx context.Context, say func(string)) ([]*Idle, error) {
	ways := []handOff{{"channel", channelHandOff}, {"mutex+cond queue", queueHandOff}}
	for _, w := range []ring.Wait{ring.Park, ring.Adaptive, ring.Yield, ring.Spin} {
		ways = append(ways, ringHandOff(w))
	}
	list := make([]*Idle, len(ways))
	lazy, busy := make([]*bench.Histogram, len(ways)), make([]*bench.Histogram, len(ways))
	for i, w := range ways {
		list[i], lazy[i], busy[i] = &Idle{Way: w.name}, bench.NewHistogram(), bench.NewHistogram()
	}
	for rep := range c.Reps {
		for i, w := range ways {
			say(fmt.Sprintf("hand-off, %s, run %d of %d", w.name, rep+1, c.Reps))
			if list[i].Note != "" {
				continue
			}
			burnt, err := c.handOff(ctx, w, lazy[i], busy[i])
			if refused, ok := err.(*ring.ConfigError); ok {
				list[i].Note = refused.Why
				continue
			}
			if err != nil {
				return nil, err
			}
			list[i].burnt = append(list[i].burnt, burnt)
		}
	}
	for i := range ways {
		list[i].Sleeping, list[i].Busy = handOffTimes(lazy[i]), handOffTimes(busy[i])
		sum := 0.0
		for _, v := range list[i].burnt {
			sum += v
		}
		list[i].Burnt = bench.Of(sum, float64(len(list[i].burnt)))
	}
	return list, nil
}

func handOffTimes(h *bench.Histogram) HandOff {
	return HandOff{P50: bench.Percentile(h, 50), P99: bench.Percentile(h, 99),
		Max: bench.Percentile(h, 100)}
}

// handOff is one run of one way: what it burns while idle, then events from a
// sender that sleeps before and after each, so that its processor is free for
// whom it wakes, then from one that never leaves its processor.
func (c *Config) handOff(ctx context.Context, w handOff,
	lazy, busy *bench.Histogram) (burnt float64, err error) {
	took := make(chan int64, 1)
	give, stop, err := w.start(func(sent int64) { took <- bench.Clock() - sent })
	if err != nil {
		return 0, err
	}
	record := func(h *bench.Histogram, ns int64) {
		bench.Record(h, ns, 1)
	}
	idle, cpu := bench.Clock(), bench.ProcessCPU()
	bench.Sleep(ctx, c.Duration)
	burnt = 100 * float64(bench.ProcessCPU()-cpu) / float64(bench.Clock()-idle)
	for range c.Paced {
		if bench.Sleep(ctx, c.Pace); ctx.Err() != nil {
			_ = stop()
			return 0, ctx.Err()
		}
		if err := give(bench.Clock()); err != nil {
			return 0, err
		}
		record(lazy, <-took)
	}
	for range c.Paced / 2 {
		for until := bench.Clock() + int64(c.Pace); bench.Clock() < until; {
		}
		if ctx.Err() != nil {
			_ = stop()
			return 0, ctx.Err()
		}
		if err := give(bench.Clock()); err != nil {
			return 0, err
		}
		record(busy, lookFor(took))
	}
	return burnt, stop()
}

// lookFor receives without giving the processor away.
func lookFor(c chan int64) int64 {
	for {
		select {
		case v := <-c:
			return v
		default:
			continue // the processor is kept on purpose
		}
	}
}

func channelHandOff(taken func(int64)) (func(int64) error, func() error, error) {
	c, done := make(chan int64, 64), make(chan struct{})
	go func() {
		defer close(done)
		for v := range c {
			taken(v)
		}
	}()
	return func(v int64) error { c <- v; return nil },
		func() error { close(c); <-done; return nil }, nil
}

func queueHandOff(taken func(int64)) (func(int64) error, func() error, error) {
	q, done := newCondQueue(64), make(chan struct{})
	go func() {
		defer close(done)
		for v := make([]int64, 1); q.pop(v) == 1; {
			taken(v[0])
		}
	}()
	return func(v int64) error { q.push([]int64{v}); return nil },
		func() error { q.close(); <-done; return nil }, nil
}

func ringHandOff(wait ring.Wait) handOff {
	start := func(taken func(int64)) (give func(int64) error, stop func() error, err error) {
		p, err := ring.NewPipeline[int64](ring.Config{Slots: 64, Wait: wait})
		if err != nil {
			return nil, nil, err
		}
		p.Stage("taker", func(b ring.Batch[int64]) error {
			for _, v := range b.All() {
				taken(*v)
			}
			return nil
		})
		in, err := p.Start()
		if err != nil {
			return nil, nil, err
		}
		give = func(v int64) error {
			first, err := in.Claim(1)
			if err != nil {
				return err
			}
			*in.At(first) = v
			return in.Publish(first, 1)
		}
		return give, func() error { return p.Halt(context.Background()) }, nil
	}
	return handOff{"ring, " + wait.String(), start}
}
