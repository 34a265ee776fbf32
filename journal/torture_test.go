package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/ringraft/ringraft/internal/simdisk"
	"github.com/ringraft/ringraft/journal/record"
)

// turning is a journal whose segments go round and round, with what it must
// hold after each mutation.
type turning struct {
	t     *testing.T
	rng   *rand.Rand
	fs    *simdisk.Disk
	j     *Journal
	w     *writer
	tail  []string // data of the newest entries, with their terms
	base  uint64   // index of the first of them
	term  uint64
	snaps [64]snapshot // by caller sequence
	image []byte       // of a write that happened
}

type snapshot struct {
	seq, last uint64
	hard      Hard
	tail      []string
	base      uint64
}

func newTurning(t *testing.T, seed uint64) *turning {
	fs := newDisk()
	j, _ := mustOpen(t, tiny(fs))
	return &turning{t: t, rng: rand.New(rand.NewPCG(seed, 66)), fs: fs, j: j,
		w: &writer{t: t, j: j}, base: 1, term: 1}
}

// mutate appends, over the newest entry sometimes, what a client may store:
// bytes of its own, or the image of a block that is a valid batch.
func (r *turning) mutate() {
	first, n := r.w.last+1, 1+r.rng.IntN(3)
	if r.rng.IntN(6) == 0 && first > r.base+4 {
		first--
		n = r.rng.IntN(2)
		r.term++
	}
	if r.rng.IntN(9) == 0 {
		r.term++
	}
	r.tail = r.tail[:first-r.base]
	var recs []byte
	for i := range uint64(n) {
		data := slices.Repeat([]byte{byte(first + i)}, r.rng.IntN(900))
		if r.rng.IntN(3) == 0 && len(r.image) > 0 {
			data = r.image
		}
		data = append(fmt.Appendf(nil, "%d/%d ", first+i, r.term), data...)
		recs = record.AppendCommand(recs, data)
		r.tail = append(r.tail, string(data))
	}
	b := Batch{Hard: Hard{r.term, 1}, First: first, Count: uint32(n), Term: r.term,
		Sequence: r.w.seq + 1}
	if n == 0 {
		b.Term = 0
	}
	r.w.seq++
	r.w.last = first + uint64(n) - 1
	r.snaps[r.w.seq%64] = snapshot{r.w.seq, r.w.last, b.Hard, slices.Clone(r.tail), r.base}
	for !r.j.Append(&b, recs) {
		r.w.poll()
		if r.j.Err() != nil {
			return
		}
	}
}

// verify holds what a journal recovered against what it may hold.
func (r *turning) verify(j *Journal, rec *Recovery, acked, issued uint64) error {
	if rec.Probation || rec.Damaged {
		return fmt.Errorf("costs the vote: %+v", rec)
	}
	if rec.First > r.base {
		return fmt.Errorf("begins at %d, kept from %d on", rec.First, r.base)
	}
	var log []string
	for it := j.Iterate(rec.First); it.Index() < rec.Last; {
		if !it.Next() {
			return it.Err()
		}
		log = append(log, string(it.Entry().Data))
	}
	for seq := acked; seq <= issued; seq++ {
		s := &r.snaps[seq%64]
		if s.seq != seq || s.last != rec.Last || rec.Hard.Term < r.snaps[acked%64].hard.Term {
			continue
		}
		from := max(rec.First, s.base)
		if slices.Equal(log[from-rec.First:], s.tail[from-s.base:]) {
			return nil
		}
	}
	return fmt.Errorf("%d..%d is nothing that mutations %d to %d left: %+v", rec.First, rec.Last,
		acked, issued, rec)
}

// compact lets old segments go round, and forgets what is in them.
func (r *turning) compact() {
	if r.w.last < r.base+12 {
		return
	}
	keep := r.w.last - 8
	compact(r.t, r.j, keep)
	r.tail = append([]string(nil), r.tail[keep-r.base:]...)
	r.base = keep
}

// JRN-6: ten thousand turns of the ring of segments (make torture; 60
// otherwise), power gone in every write. Nothing of an earlier turn comes back,
// also when clients stored perfect images of blocks that were valid once.
func TestJRN6TurnsOfTheRing(t *testing.T) {
	turns, journals := 60, 4
	if testing.Short() {
		turns = 12
	}
	if long {
		turns, journals = 10_000, 16
	}
	var cuts, done atomic.Int64
	each(journals, func(seed int) {
		r := newTurning(t, uint64(seed))
		r.mutate()
		r.w.flush()
		segments := func() uint64 {
			return uint64(len(r.j.segments.live) + len(r.j.segments.spares))
		}
		for r.j.state.last < uint64(turns/journals)*segments() {
			r.fs.SetBefore(onWrite(func(name string, b []byte, off int64) error {
				x := &write{before: r.fs.Clone(), name: name, off: off, buf: slices.Clone(b)}
				acked, issued := r.j.Durable(), r.w.seq
				all := tears(r.rng, len(b)/sectorBytes)
				disk := x.tear(all[r.rng.IntN(len(all))])
				cuts.Add(1)
				j, rec, err := Open(tiny(disk))
				if err == nil {
					err = r.verify(j, rec, acked, issued)
				}
				if err != nil {
					t.Errorf("journal %d, turn %d: power went in %s at %d, acknowledged %d: %v",
						seed, r.j.state.last, name, off, acked, err)
					return syscall.EIO
				}
				if name != stateName {
					r.image = append(r.image[:0], b[:min(len(b), 2500)]...)
				}
				return nil
			}))
			for range 4 {
				r.mutate()
				r.w.flush()
			}
			if r.rng.IntN(5) == 0 {
				r.w.seal()
			}
			r.compact()
			if r.j.Err() != nil {
				t.Errorf("journal %d: %v", seed, r.j.Err())
				return
			}
		}
		done.Add(int64(turns / journals))
	})
	t.Logf("%d turns, %d power cuts", done.Load(), cuts.Load())
	if cuts.Load() < int64(10*turns) {
		t.Error("too few")
	}
}

// JRN-9: one write or sync fails, once; the device works again at once. From
// then on nothing is acknowledged, nothing is tried again, and the next opening
// believes only what it reads from the device.
func TestJRN9FirstErrorIsTheLast(t *testing.T) {
	runs := 60
	if long {
		runs = 1000
	}
	var poisoned atomic.Int64
	each(runs, func(seed int) {
		rng := rand.New(rand.NewPCG(uint64(seed), 99))
		mode := []Mode{Direct, DirectFdatasync, BufferedFdatasync, BufferedDsync}[seed%4]
		disk := simdisk.New()
		j, _ := mustOpen(t, onSim(disk, mode))
		w, h := &writer{t: t, j: j}, &history{}
		work(w, h, 4)
		at, failed, after := rng.IntN(30), false, 0
		disk.SetBefore(func(op *simdisk.Op) error {
			if op.Kind != simdisk.Write && op.Kind != simdisk.Sync {
				return nil
			}
			if failed {
				after++
				return nil
			}
			if at--; at < 0 {
				failed = true
				return syscall.EIO
			}
			return nil
		})
		for i := 0; j.Err() == nil && i < 60; i++ {
			h.mutate(w, 9, w.last+1, 1+rng.IntN(2), 60+rng.IntN(900))
			w.poll()
			w.poll()
			if rng.IntN(6) == 0 && w.last > 4 {
				compact(t, j, w.last-3)
			}
		}
		if !failed || j.Err() == nil {
			t.Errorf("run %d: failed %v, error %v", seed, failed, j.Err())
			return
		}
		poisoned.Add(1)
		acked, tried := j.Durable(), after
		for range 8 {
			w.poll()
		}
		if b := (Batch{Hard: Hard{9, 1}, First: w.last + 1, Count: 1, Term: 9,
			Sequence: w.seq + 1}); j.Append(&b, recordsOf(w.last+1, 9, 10)) {
			t.Errorf("run %d: a poisoned journal takes mutations", seed)
		}
		if j.Durable() != acked || after != tried || !errors.Is(j.Err(), syscall.EIO) {
			t.Errorf("run %d: durable %d, was %d; %d operations after the error, %v", seed,
				j.Durable(), acked, after-tried, j.Err())
		}
		disk.SetBefore(nil)
		none := func() bool { return false }
		half := func() bool { return rng.IntN(2) == 0 }
		all := func() bool { return true }
		for _, keep := range []func() bool{none, half, all} {
			_, rec, log, err := recovered(onSim(disk.Crash(simdisk.Keep(keep)), mode))
			if err != nil || rec.Probation {
				t.Errorf("run %d: %+v %v", seed, rec, err)
				return
			}
			ok := false
			for seq := acked; seq < uint64(len(h.logs)) && !ok; seq++ {
				ok = int(rec.Last) == len(h.logs[seq]) &&
					slices.Equal(log, h.logs[seq][rec.First-1:])
			}
			if !ok {
				t.Errorf("run %d: acknowledged %d, recovered %d..%d", seed, acked, rec.First,
					rec.Last)
			}
		}
	})
	t.Logf("%d runs", poisoned.Load())
	if poisoned.Load() < int64(runs) {
		t.Error("too few")
	}
}
