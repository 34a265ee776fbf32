package ziplist

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ringraft/ringraft/journal/record"
)

// marked is an entry that says which it is: its index, its term, how often its
// index was written before, and bytes that follow from these.
func marked(dst []byte, index, term uint64, gen uint32, size int) []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, 20+size), index)
	b = binary.LittleEndian.AppendUint64(b, term)
	b = binary.LittleEndian.AppendUint32(b, gen)
	for range size {
		b = append(b, byte(index)^byte(gen))
	}
	return record.AppendCommand(dst, b)
}

// verify reads a run of marked entries. It calls see with each.
func verify(run Run, see func(index uint64, gen uint32)) error {
	b, index := run.Records, run.First
	for ; len(b) > 0; index++ {
		var e record.Entry
		n, err := record.Parse(b, &e)
		if err != nil || len(e.Data) < 20 {
			return fmt.Errorf("entry %d: %x: %w", index, b[:min(len(b), 40)], err)
		}
		i, term, gen := binary.LittleEndian.Uint64(e.Data), binary.LittleEndian.Uint64(e.Data[8:]),
			binary.LittleEndian.Uint32(e.Data[16:])
		if i != index || term != run.Term {
			return fmt.Errorf("entry %d of term %d, want %d of %d", i, term, index, run.Term)
		}
		for _, c := range e.Data[20:] {
			if c != byte(index)^byte(gen) {
				return fmt.Errorf("entry %d was overwritten: %x", index, e.Data)
			}
		}
		see(index, gen)
		b = b[n:]
	}
	if index != run.First+uint64(run.Count) {
		return fmt.Errorf("%d entries, %d were said", index-run.First, run.Count)
	}
	return nil
}

// traffic is a writer that does all it may, in random order, with readers
// beside it. What it appends is committed, or cut again.
type traffic struct {
	t       *testing.T
	s       *Store
	rng     *rand.Rand
	term    uint64
	seq     uint64
	gens    []atomic.Uint32 // by index: how often it was written
	commit  atomic.Uint64   // nothing up to here is cut
	applied atomic.Uint64   // by the reader that applies
	tasks   sync.WaitGroup
	done    atomic.Bool
	actor   Cursor // of a slow member, read by the writer itself
	at      uint64
	reused  int // times that memory was ready to be used again
}

func newTraffic(t *testing.T, seed uint64, entries int) *traffic {
	w := &traffic{t: t, rng: rand.New(rand.NewPCG(seed, 21)), term: 1,
		gens: make([]atomic.Uint32, entries+1), at: 1}
	w.s = New(Config{ChunkBytes: 2048, BudgetBytes: 32 << 10, HotBytes: 4096,
		Codec: Codec(seed % 3), Background: func(task func()) bool {
			if w.rng.IntN(3) == 0 {
				return false
			}
			w.tasks.Go(task)
			return true
		}}, 1)
	return w
}

// step is one turn. reuse: memory is used again once it was applied.
func (w *traffic) step(reuse bool) {
	s := w.s
	w.seq++
	s.Mark(w.seq)
	switch w.rng.IntN(12) {
	case 0: // a new leader cuts anywhere behind what is committed
		if n := s.Last() - w.commit.Load(); n > 0 {
			s.Truncate(s.Last() - w.rng.Uint64N(n+1))
		}
		w.term++
	case 1:
		s.Evict(s.Last())
	case 2:
		applied := uint64(0)
		if reuse {
			applied = w.applied.Load()
		}
		s.Retire(w.seq-1, applied)
		w.reused += len(s.free)
	case 3, 4:
		w.commit.Store(w.commit.Load() + w.rng.Uint64N(s.Last()-w.commit.Load()+1))
	case 5, 6:
		// else nearly all is evicted before its turn
		for w.commit.Load() > w.applied.Load()+500 && !w.t.Failed() {
			runtime.Gosched()
		}
		if w.rng.IntN(2) == 0 {
			w.tasks.Wait()
		}
		s.Pack(w.applied.Load())
	case 7:
		w.feed()
	default:
		w.append()
	}
}

func (w *traffic) append() {
	first := w.s.Last() + 1
	n := uint64(1 + w.rng.IntN(20))
	if first+n >= uint64(len(w.gens)) {
		return
	}
	var b []byte
	for i := range n {
		size := w.rng.IntN(60)
		if w.rng.IntN(2000) == 0 {
			size = 3000
		}
		b = marked(b, first+i, w.term, w.gens[first+i].Add(1), size)
	}
	if _, err := w.s.Append(w.term, first, uint32(n), b); err != nil {
		w.t.Error(err)
	}
}

// feed reads on for a member that is behind, as an actor does between two
// turns of the writer.
func (w *traffic) feed() {
	if w.at < w.s.First() || w.at > w.s.Last() {
		w.at = w.s.First()
	}
	run, err := w.s.Read(&w.actor, w.at, w.s.Last(), 500)
	if errors.Is(err, ErrNotYet) {
		return
	}
	if err == nil {
		err = verify(run, w.current)
	}
	if err != nil {
		w.t.Errorf("fed from %d on: %v", w.at, err)
	}
	w.at += uint64(run.Count)
}

func (w *traffic) current(index uint64, gen uint32) {
	if g := w.gens[index].Load(); g != gen {
		w.t.Errorf("entry %d: the one written %d times before, not %d", index, gen, g)
	}
}

// apply reads what is committed, once, in order, and looks at it again before
// it counts as applied.
func (w *traffic) apply() {
	var c Cursor
	for !w.done.Load() || w.applied.Load() < w.commit.Load() {
		ready, from := w.commit.Load(), w.applied.Load()+1
		if from > ready {
			runtime.Gosched()
			continue
		}
		run, err := w.s.Read(&c, from, ready, 1500)
		if errors.Is(err, ErrCompacted) && !errors.Is(err, ErrDamaged) { // the journal has it
			w.applied.Store(min(ready, w.s.First()-1))
			continue
		}
		for range 2 {
			if err == nil {
				err = verify(run, w.current)
			}
			runtime.Gosched()
		}
		if err != nil {
			w.t.Errorf("apply from %d to %d: %v", from, ready, err)
			return
		}
		w.applied.Store(run.First + uint64(run.Count) - 1)
	}
}

func (w *traffic) run(turns int, reuse bool) {
	for range turns {
		w.step(reuse)
		if w.t.Failed() {
			break
		}
		if w.rng.IntN(16) == 0 {
			runtime.Gosched()
		}
	}
	w.done.Store(true)
}

func turns(many int) int {
	if testing.Short() {
		return many / 3
	}
	return many
}

// TestApplyBesideTheWriter: memory goes round while one goroutine applies and
// the writer cuts, packs and evicts, and feeds a slow member.
func TestApplyBesideTheWriter(t *testing.T) {
	unpacked, reused := uint64(0), 0
	for seed := range uint64(4) {
		w := newTraffic(t, seed, 1<<20)
		var wg sync.WaitGroup
		wg.Go(w.apply)
		w.run(turns(60_000), true)
		wg.Wait()
		w.tasks.Wait()
		if t.Failed() {
			t.Fatalf("seed %d: %+v", seed, w.s.Stats())
		}
		unpacked, reused = unpacked+w.s.Stats().Unpacked, reused+w.reused
	}
	if unpacked == 0 || reused == 0 {
		t.Errorf("%d blocks unpacked, %d buffers used again: too little to prove anything",
			unpacked, reused)
	}
}

// TestReadersOfAnything: with memory left to the collector any reader may ask
// for anything, and what it was given stays as it was.
func TestReadersOfAnything(t *testing.T) {
	w := newTraffic(t, 5, 1<<20)
	var wg sync.WaitGroup
	wg.Go(w.apply)
	wg.Go(func() { w.iterate(1) })
	wg.Go(func() { w.iterate(2) })
	wg.Go(w.hold)
	w.run(turns(60_000), false)
	wg.Wait()
	w.tasks.Wait()
	if st := w.s.Stats(); st.Unpacked == 0 {
		t.Fatalf("%+v", st)
	}
}

func ignore(uint64, uint32) {}

// iterate walks to and fro.
func (w *traffic) iterate(seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 22))
	for !w.done.Load() && !w.t.Failed() {
		first := w.s.First()
		it := w.s.Iterate(first + rng.Uint64N(w.s.Last()+2-min(first, w.s.Last()+1)))
		for range 50 {
			runtime.Gosched() // the writer has the right of way
			step := it.Next
			if rng.IntN(2) == 0 {
				step = it.Prev
			}
			for range rng.IntN(60) {
				if !step() {
					break
				}
				if err := verify(Run{Term: it.Term(), First: it.Index(), Count: 1,
					Records: it.Record()}, ignore); err != nil {
					w.t.Errorf("iterator: %v", err)
				}
			}
			if err := it.Err(); err != nil && !errors.Is(err, ErrCompacted) &&
				!errors.Is(err, ErrNotYet) || errors.Is(err, ErrDamaged) {
				w.t.Error(err)
			}
		}
	}
}

// hold keeps runs from anywhere for long.
func (w *traffic) hold() {
	rng := rand.New(rand.NewPCG(1, 23))
	var c Cursor
	var held [64]Run
	for !w.done.Load() && !w.t.Failed() {
		runtime.Gosched()
		first := w.s.First()
		i := first + rng.Uint64N(w.s.Last()+2-min(first, w.s.Last()+1))
		run, err := w.s.Read(&c, i, i+100, 700)
		if err == nil {
			err = verify(run, ignore)
		}
		if err != nil && !errors.Is(err, ErrCompacted) && !errors.Is(err, ErrNotYet) ||
			errors.Is(err, ErrDamaged) {
			w.t.Errorf("entry %d: %v", i, err)
		}
		k := rng.IntN(len(held))
		if err := verify(held[k], ignore); held[k].Count > 0 && err != nil {
			w.t.Errorf("held: %v", err)
		}
		held[k] = run
		if term, e, err := w.s.Get(i); err == nil && (binary.LittleEndian.Uint64(e.Data) != i ||
			binary.LittleEndian.Uint64(e.Data[8:]) != term) {
			w.t.Errorf("get %d: %x", i, e.Data)
		}
	}
}
