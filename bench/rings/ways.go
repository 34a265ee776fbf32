package rings

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ringraft/ringraft/ring"
)

// way is one way to hand events over. run calls begin when all memory is
// there and before the first goroutine is, and returns the sum of what the
// last stage was given.
type way struct {
	name string
	run  func(s *shape, batch int, events int64, begin func()) (sum int64, err error)
}

// ways are those that make sense at that batch; the first is what the others
// are compared with.
func (c *Config) ways(batch int) []way {
	list := []way{{"channel", c.channels}}
	if batch > 1 {
		list = append(list, way{"channel of slices", c.slices})
	}
	return append(list, way{"mutex+cond queue", c.queues}, way{"ring", c.rings})
}

var errTorn = errors.New("the two sides of a diamond differ")

// channels sends every value on its own: what most programs do.
func (c *Config) channels(s *shape, _ int, events int64, begin func()) (int64, error) {
	heads, ins, outs := edges(s, func() chan int64 { return make(chan int64, c.Slots) })
	begin()
	var stages, producers sync.WaitGroup
	var sum int64
	var torn error
	for i := range s.stages {
		stages.Go(func() {
			in, more, out := ins[i][0], ins[i][1:], outs[i]
			var acc int64
			for v := range in {
				for _, m := range more {
					if w := <-m; w != v {
						torn = errTorn
					}
				}
				acc += v
				for _, o := range out {
					o <- v
				}
			}
			for _, o := range out {
				close(o)
			}
			if i == len(s.stages)-1 {
				sum = acc
			}
		})
	}
	for range s.producers {
		producers.Go(func() {
			for v := int64(1); v <= events/int64(s.producers); v++ {
				for _, h := range heads {
					h <- v
				}
			}
		})
	}
	producers.Wait()
	for _, h := range heads {
		close(h)
	}
	stages.Wait()
	return sum, torn
}

// maxBatch is the largest batch that can be compared.
const maxBatch = 256

// slices sends batches of values; the last stage gives the slices back, so
// that nothing is allocated. They lie side by side, as the ring's slots do.
func (c *Config) slices(s *shape, batch int, events int64, begin func()) (int64, error) {
	depth := max(1, c.Slots/batch)
	heads, ins, outs := edges(s, func() chan []int64 { return make(chan []int64, depth) })
	pool := make(chan []int64, depth+2*len(s.stages)+s.producers)
	memory := make([]int64, cap(pool)*batch)
	for i := range cap(pool) {
		pool <- memory[i*batch : (i+1)*batch : (i+1)*batch]
	}
	begin()
	var stages, producers sync.WaitGroup
	var sum int64
	var torn error
	for i := range s.stages {
		stages.Go(func() {
			in, more, out := ins[i][0], ins[i][1:], outs[i]
			var acc int64
			for b := range in {
				for _, m := range more {
					if w := <-m; &w[0] != &b[0] {
						torn = errTorn
					}
				}
				for _, v := range b {
					acc += v
				}
				for _, o := range out {
					o <- b
				}
				if len(out) == 0 {
					pool <- b
				}
			}
			for _, o := range out {
				close(o)
			}
			if i == len(s.stages)-1 {
				sum = acc
			}
		})
	}
	for range s.producers {
		producers.Go(func() {
			for v := int64(1); v <= events/int64(s.producers); {
				b := <-pool
				for k := range b {
					b[k] = v
					v++
				}
				for _, h := range heads {
					h <- b
				}
			}
		})
	}
	producers.Wait()
	for _, h := range heads {
		close(h)
	}
	stages.Wait()
	return sum, torn
}

// queues hand over under a mutex: a batch is one lock, and who takes, takes all
// there is, up to maxBatch.
func (c *Config) queues(s *shape, batch int, events int64, begin func()) (int64, error) {
	heads, ins, outs := edges(s, func() *condQueue { return newCondQueue(c.Slots) })
	begin()
	var stages, producers sync.WaitGroup
	var sum int64
	var torn error
	for i := range s.stages {
		stages.Go(func() {
			in, more, out := ins[i][0], ins[i][1:], outs[i]
			var got, other [maxBatch]int64
			var acc int64
			for {
				n := in.pop(got[:])
				if n == 0 {
					break
				}
				for _, m := range more {
					for k := 0; k < n; {
						o := m.pop(other[:n-k])
						if o == 0 || other[0] != got[k] {
							torn = errTorn
							return
						}
						k += o
					}
				}
				for _, v := range got[:n] {
					acc += v
				}
				for _, o := range out {
					o.push(got[:n])
				}
			}
			for _, o := range out {
				o.close()
			}
			if i == len(s.stages)-1 {
				sum = acc
			}
		})
	}
	for range s.producers {
		producers.Go(func() {
			var vs [maxBatch]int64
			for v := int64(1); v <= events/int64(s.producers); {
				for k := range vs[:batch] {
					vs[k] = v
					v++
				}
				for _, h := range heads {
					h.push(vs[:batch])
				}
			}
		})
	}
	producers.Wait()
	for _, h := range heads {
		h.close()
	}
	stages.Wait()
	return sum, torn
}

// condQueue is a bounded queue of values under a mutex, a power of two of them.
type condQueue struct {
	mu       sync.Mutex
	room     sync.Cond
	work     sync.Cond
	v        []int64
	in, out  uint64
	finished bool
}

func newCondQueue(n int) *condQueue {
	q := &condQueue{v: make([]int64, n)}
	q.room.L, q.work.L = &q.mu, &q.mu
	return q
}

// push waits for room for all of vs.
func (q *condQueue) push(vs []int64) {
	q.mu.Lock()
	for q.in-q.out+uint64(len(vs)) > uint64(len(q.v)) {
		q.room.Wait()
	}
	k := copy(q.v[q.in&uint64(len(q.v)-1):], vs)
	copy(q.v, vs[k:]) // over the end
	q.in += uint64(len(vs))
	q.mu.Unlock()
	q.work.Signal()
}

// pop takes up to len(to) values; 0 when the queue was closed and is empty.
func (q *condQueue) pop(to []int64) int {
	q.mu.Lock()
	for q.in == q.out && !q.finished {
		q.work.Wait()
	}
	n := int(min(q.in-q.out, uint64(len(to))))
	k := copy(to[:n], q.v[q.out&uint64(len(q.v)-1):])
	copy(to[k:n], q.v)
	q.out += uint64(n)
	q.mu.Unlock()
	q.room.Broadcast()
	return n
}

func (q *condQueue) close() {
	q.mu.Lock()
	q.finished = true
	q.mu.Unlock()
	q.work.Broadcast()
}

// rings is ring.Pipeline.
func (c *Config) rings(s *shape, batch int, events int64, begin func()) (int64, error) {
	p, err := ring.NewPipeline[int64](ring.Config{Slots: c.Slots, Producers: s.producers,
		Wait: c.Wait})
	if err != nil {
		return 0, err
	}
	sums := make([]struct {
		v int64
		_ [15]int64 // a cache line pair of its own, as a stage's other state has
	}, len(s.stages))
	stages := make([]*ring.Stage[int64], len(s.stages))
	for i, follows := range s.stages {
		var up []*ring.Stage[int64]
		for _, f := range follows {
			up = append(up, stages[f])
		}
		stages[i] = p.Stage(fmt.Sprint("stage ", i+1), func(b ring.Batch[int64]) error {
			var acc int64
			head, tail := b.Slices()
			for _, v := range head {
				acc += v
			}
			for _, v := range tail {
				acc += v
			}
			sums[i].v += acc
			return nil
		}, up...)
	}
	begin()
	in, err := p.Start()
	if err != nil {
		return 0, err
	}
	var producers sync.WaitGroup
	var failed error
	for range s.producers {
		producers.Go(func() {
			for v := int64(1); v <= events/int64(s.producers); {
				first, err := in.Claim(batch)
				if err != nil {
					failed = err
					return
				}
				if batch == 1 {
					*in.At(first) = v
					v++
				} else {
					head, tail := in.Slots(first, batch)
					for k := range head {
						head[k] = v
						v++
					}
					for k := range tail {
						tail[k] = v
						v++
					}
				}
				if err := in.Publish(first, batch); err != nil {
					failed = err
					return
				}
			}
		})
	}
	producers.Wait()
	if err := errors.Join(failed, p.Halt(context.Background())); err != nil {
		return 0, err
	}
	return sums[len(sums)-1].v, nil
}
