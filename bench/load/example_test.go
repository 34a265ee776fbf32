package load_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/bench/load"
)

// memory is a system of its own kind: a map that one goroutine keeps.
type memory struct{}

func (memory) Open(_ context.Context, p *bench.Plan) ([]load.Session, error) {
	done, err := load.NewCompletions(p)
	if err != nil {
		return nil, err
	}
	s := &memorySession{Completions: done, values: make(map[uint64][]byte)}
	s.more.L = &s.mu
	s.running.Go(s.serve)
	return []load.Session{s}, nil
}

func (memory) System() bench.System {
	return bench.System{Name: "a map in memory", Inside: "a map", Local: true,
		Fields:      map[string]any{"target": "map"},
		Durability:  bench.Durability{OK: false, Text: "NO: memory"},
		Consistency: "linearizable: one goroutine reads and writes"}
}

func (memory) Close() error { return nil }

// memorySession queues requests for the goroutine that has the map, which adds
// the answers to Completions: that is the session's Take and Wait.
type memorySession struct {
	*load.Completions
	taken []load.Request // by Submit, until Flush

	mu      sync.Mutex
	more    sync.Cond
	queue   []load.Request
	ended   bool
	running sync.WaitGroup
	values  map[uint64][]byte // the goroutine's
}

func (s *memorySession) Submit(requests []load.Request) int {
	s.taken = append(s.taken, requests...) // all fit
	return len(requests)
}

func (s *memorySession) Flush() {
	s.mu.Lock()
	s.queue = append(s.queue, s.taken...)
	s.mu.Unlock()
	s.more.Signal()
	s.taken = s.taken[:0]
}

func (s *memorySession) serve() {
	var work []load.Request
	var done []load.Completion
	for {
		s.mu.Lock()
		for len(s.queue) == 0 && !s.ended {
			s.more.Wait()
		}
		if s.ended {
			s.mu.Unlock()
			return
		}
		work, s.queue = s.queue, work[:0]
		s.mu.Unlock()
		done = done[:0]
		for _, r := range work {
			c := load.Completion{ID: r.ID}
			if r.Kind == load.Write {
				s.values[r.Key] = append(s.values[r.Key][:0], r.Value...)
			} else {
				c.Bytes = int32(len(s.values[r.Key]))
			}
			done = append(done, c)
		}
		s.Add(done...)
	}
}

func (s *memorySession) Close() error {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.more.Signal()
	s.running.Wait()
	return s.Completions.Close()
}

// A system that raftbench does not know is measured by a program of its own,
// with a Target that takes about a hundred lines.
func ExampleRun() {
	p := bench.Plan{Outstanding: 64, ValueBytes: 128, Keys: 1000, Sets: 1, Gets: 3,
		Duration: 100 * time.Millisecond, Warmup: 10 * time.Millisecond, Seed: 1}
	r, err := load.Run(context.Background(), memory{}, p, load.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("errors:", bench.ErrorText(r.Errors))
	fmt.Println("something was answered:", r.Ops > 0 && r.Latency.Max() > 0)
	fmt.Println(strings.ReplaceAll(p.Text(&r.System), " · ", "\n"))
	// Output:
	// errors: none
	// something was answered: true
	// a map in memory
	// closed loop, 64 outstanding
	// 128 B
	// set:get 1:3
	// 1,000 keys
	// 100ms after 10ms of warm-up
}
