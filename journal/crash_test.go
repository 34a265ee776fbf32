package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"testing"

	"github.com/ringraft/ringraft/internal/simdisk"
	"github.com/ringraft/ringraft/journal/device"
	"github.com/ringraft/ringraft/journal/record"
)

// tiny is the smallest journal that has several segments.
func tiny(fs device.FS) Config {
	c := small(fs)
	c.SegmentBytes, c.GroupBytes, c.Foreground = 4*4096, 3000, true // nothing beside the stage
	return c
}

// entries reads the whole log as "index/term" texts.
func entries(j *Journal, first, last uint64) (out []string, err error) {
	it := j.Iterate(first)
	for it.Index() < last {
		if !it.Next() {
			return nil, it.Err()
		}
		text, rest, _ := bytes.Cut(it.Entry().Data, []byte{' '})
		if len(bytes.Trim(rest, string([]byte{byte(it.Index())}))) != 0 {
			return nil, fmt.Errorf("entry %d has changed bytes", it.Index())
		}
		if !bytes.HasSuffix(text, fmt.Append(nil, "/", it.Term())) {
			return nil, fmt.Errorf("entry %d is %s, its run of term %d", it.Index(), text,
				it.Term())
		}
		out = append(out, string(text))
	}
	return out, nil
}

// history is what a workload did: the log after each mutation.
type history struct {
	logs [][]string // by caller sequence
	hard []Hard
}

func (h *history) mutate(w *writer, term, first uint64, n, size int) {
	h.begin()
	log := slices.Clone(h.logs[len(h.logs)-1])
	log = log[:first-1]
	for i := range uint64(n) {
		log = append(log, fmt.Sprintf("%d/%d", first+i, term))
	}
	h.logs = append(h.logs, log)
	h.hard = append(h.hard, Hard{term, 1})
	w.put(term, first, n, size)
}

func (h *history) begin() {
	if len(h.logs) == 0 {
		h.logs, h.hard = append(h.logs, nil), append(h.hard, Hard{})
	}
}

func (h *history) restore(w *writer, term, last uint64) {
	h.begin()
	h.logs = append(h.logs, make([]string, last)) // of which nothing is read
	h.hard = append(h.hard, Hard{term, 1})
	w.restore(term, last)
}

// settled reports that an entry is durable, and that nothing on its way to the disk
// overrules it.
func (h *history) settled(j *Journal, i uint64) bool {
	durable, newest := h.logs[j.Durable()], h.logs[len(h.logs)-1]
	return uint64(len(durable)) >= i && durable[i-1] == newest[i-1]
}

// work writes some batches with conflicts among them, over several segments. A
// batch says that everything before it is committed, so a conflict begins in
// the newest.
func work(w *writer, h *history, batches int) {
	for i := range batches {
		h.mutate(w, uint64(1+i/4), w.last+1, 1+i%3, 100+i*37%900)
		w.flush()
		if i%5 == 4 {
			h.mutate(w, uint64(1+i/4), w.last-uint64(min(1, i%3)), 1, 60)
			w.flush()
		}
	}
}

func recovered(cfg Config) (*Journal, *Recovery, []string, error) {
	j, rec, err := Open(cfg)
	if err != nil {
		return nil, nil, nil, err
	}
	log, err := entries(j, rec.First, rec.Last)
	return j, rec, log, err
}

// each runs f for 0..n-1 on all processors. Its heap is small and full of
// garbage: collected less often, it takes half the time.
func each(n int, f func(i int)) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	var wg sync.WaitGroup
	next := make(chan int, 64)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// JRN-2: every bit of every file, one at a time, through a whole recovery: a
// sealed journal of 64 KiB and a spare, of 256 KiB for make torture, and one whose
// last batch nothing promises.
func TestJRN2EveryBitFlip(t *testing.T) {
	t.Run("sealed", func(t *testing.T) {
		batches, quota := 6, 512<<10
		if long {
			batches, quota = 36, 2<<20
		}
		if n := flipEveryBit(t, true, batches, sample(1, 797)); n < quota && !testing.Short() {
			t.Errorf("%d flips", n)
		}
	})
	t.Run("not sealed", func(t *testing.T) {
		if n := flipEveryBit(t, false, 6, sample(37, 797)); n < 512<<10 && long {
			t.Errorf("%d flips", n)
		}
	})
}

func flipEveryBit(t *testing.T, sealed bool, batches, step int) (total int) {
	fs := newDisk()
	j, _ := mustOpen(t, tiny(fs))
	w, h := &writer{t: t, j: j}, &history{}
	work(w, h, batches)
	if sealed {
		w.seal()
	}
	want, prev := h.logs[len(h.logs)-1], h.logs[len(h.logs)-2]
	names, err := fs.List() // all: state, live segments and spares
	if err != nil || len(j.segments.live) < 3 {
		t.Fatalf("%d live segments, %v", len(j.segments.live), err)
	}
	damage, shorter := 0, 0
	for _, name := range names {
		size, step := len(fs.Data(name)), step
		if !long && !slices.ContainsFunc(j.segments.live, func(g *segment) bool {
			return g.name == name
		}) && name != stateName {
			step = max(step, 37) // a spare counts for nothing
		}
		var mu sync.Mutex
		each(size*8/step, func(k int) {
			bit := k * step
			c := fs.Clone()
			c.Data(name)[bit/8] ^= 1 << (bit % 8)
			_, rec, log, err := recovered(tiny(c))
			mu.Lock()
			defer mu.Unlock()
			total++
			var lost *DamageError
			switch {
			case errors.As(err, &lost), errors.Is(err, ErrState):
				damage++
			case err != nil:
				t.Errorf("%s bit %d: %v", name, bit, err)
			case slices.Equal(log, want):
			case !sealed && slices.Equal(log, prev) && rec.Probation:
				shorter++ // the very last batch, not yet promised: not silently
			default:
				t.Errorf("%s bit %d: recovered %v (%+v), want %v", name, bit, log, rec, want)
			}
		})
	}
	t.Logf("%d files, %d flips: %d damage verdicts, %d cut the unpromised last batch, the rest "+
		"harmless", len(names), total, damage, shorter)
	if damage == 0 || sealed && shorter > 0 || !sealed && shorter == 0 {
		t.Errorf("%d verdicts, %d shorter", damage, shorter)
	}
	return total
}

// JRN-1: every file cut at every length.
func TestJRN1EveryTruncation(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, tiny(fs))
	w, h := &writer{t: t, j: j}, &history{}
	work(w, h, 6)
	w.seal()
	names := []string{stateName}
	for _, seg := range j.segments.live {
		names = append(names, seg.name)
	}
	step, cases := sample(1, 61), 0
	for _, name := range names {
		cases += len(fs.Data(name)) / step
		each(len(fs.Data(name))/step, func(k int) {
			c := fs.Clone()
			c.Truncate(name, k*step)
			_, _, log, err := recovered(tiny(c))
			var lost *DamageError
			if name == stateName && err == nil && slices.Equal(log, h.logs[len(h.logs)-1]) {
				return // two good copies are left
			}
			if !errors.As(err, &lost) && !errors.Is(err, ErrState) {
				t.Errorf("%s cut to %d bytes: %v", name, k*step, err)
			}
		})
	}
	t.Logf("%d files, %d truncations", len(names), cases)
	if cases < 64<<10 && !testing.Short() {
		t.Errorf("%d cases", cases)
	}
}

// write is one recorded write and the disk before it.
type write struct {
	before *simdisk.Disk
	name   string
	off    int64
	buf    []byte
	acked  uint64 // newest mutation acknowledged before it
	issued uint64 // newest mutation that may be in it
}

// recording makes every write of a journal a point at which power may go.
func recording(fs *simdisk.Disk, acked, issued func() uint64) *[]write {
	out := &[]write{}
	fs.SetBefore(onWrite(func(name string, b []byte, off int64) error {
		*out = append(*out, write{fs.Clone(), name, off, slices.Clone(b), acked(), issued()})
		return nil
	}))
	return out
}

// tear applies a subset of a write's sectors to the disk before it.
func (w *write) tear(keep func(sector int) bool) *simdisk.Disk {
	c := w.before.Clone()
	f, err := c.Open(w.name, device.Flags{})
	if err != nil {
		panic(err)
	}
	for at := 0; at < len(w.buf); at += sectorBytes {
		if keep(at / sectorBytes) {
			if err := f.WriteAt(w.buf[at:at+sectorBytes], w.off+int64(at)); err != nil {
				panic(err)
			}
		}
	}
	return c
}

// tears are the ways to lose parts of a write that are tried for each.
func tears(rng *rand.Rand, n int) []func(int) bool {
	at := rng.IntN(max(n, 1))
	bits := rng.Uint64()
	return []func(int) bool{
		func(int) bool { return false },
		func(s int) bool { return s < at },
		func(s int) bool { return s >= at },
		func(s int) bool { return s != at },
		func(s int) bool { return s == at },
		func(s int) bool { return bits>>(s%64)&1 == 1 },
		func(int) bool { return true },
	}
}

func TestJRN6PowerCutAtEveryWrite(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	fs := newDisk()
	j, _ := mustOpen(t, tiny(fs))
	w, h := &writer{t: t, j: j}, &history{}
	work(w, h, 12) // some segments before recycling begins
	writes := recording(fs, j.Durable, func() uint64 { return uint64(len(h.logs) - 1) })
	for range 40 {
		work(w, h, 3)
		compact(t, j, w.last-2) // whole segments go round
		if rng.IntN(2) == 0 {
			w.seal()
		}
	}
	fs.SetBefore(nil)
	if len(j.segments.live) > 6 {
		t.Fatalf("%d live segments: nothing was recycled", len(j.segments.live))
	}
	cases := 0
	for i := range *writes {
		x := &(*writes)[i]
		for _, keep := range tears(rng, len(x.buf)/sectorBytes) {
			cases++
			disk := x.tear(keep)
			checkCrash(t, h, x, disk, rng, 2)
		}
	}
	t.Logf("%d writes, %d power cuts", len(*writes), cases)
}

// checkCrash recovers a disk as power left it; while depth lasts, recovery
// itself loses power at one of its writes, again and again.
func checkCrash(t *testing.T, h *history, x *write, disk *simdisk.Disk, rng *rand.Rand, depth int) {
	t.Helper()
	if depth > 0 {
		again := disk.Clone()
		inner := recording(again, func() uint64 { return 0 }, func() uint64 { return 0 })
		if _, _, err := Open(tiny(again)); err == nil && len(*inner) > 0 {
			y := (*inner)[rng.IntN(len(*inner))]
			if y.name != "probe" && y.name != "segment.new" {
				keep := tears(rng, len(y.buf)/sectorBytes)[rng.IntN(7)]
				checkCrash(t, h, x, y.tear(keep), rng, depth-1)
			}
		}
	}
	_, rec, log, err := recovered(tiny(disk))
	if err != nil {
		t.Fatalf("%s at %d, acknowledged %d: %v", x.name, x.off, x.acked, err)
	}
	if rec.Probation {
		t.Fatalf("%s at %d: a power cut alone must not cost the vote: %+v", x.name, x.off, rec)
	}
	for seq := x.acked; seq <= x.issued; seq++ {
		want := h.logs[seq]
		if int(rec.Last) == len(want) && slices.Equal(log, want[rec.First-1:]) {
			if rec.Hard.Term < h.hard[x.acked].Term {
				t.Fatalf("hard state went back: %+v, acknowledged %+v", rec.Hard, h.hard[x.acked])
			}
			return
		}
	}
	t.Fatalf("%s at %d: recovered %d..%d %v\nacknowledged %d: %v", x.name, x.off, rec.First,
		rec.Last, log, x.acked, h.logs[x.acked])
}

// JRN-3: every way to tear the last batch, with each lost sector holding old bytes,
// zeros or garbage: it is whole, or it never was.
func TestJRN3EveryTornSubset(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, tiny(fs))
	w, h := &writer{t: t, j: j}, &history{}
	work(w, h, 3)
	writes := recording(fs, j.Durable, func() uint64 { return uint64(len(h.logs) - 1) })
	h.mutate(w, 9, w.last+1, 1, 4200) // two blocks
	w.flush()
	fs.SetBefore(nil)
	x := (*writes)[len(*writes)-1] // the batch; the state file went before
	n := len(x.buf) / sectorBytes

	free := 12 // sectors that vary; the rest follows them
	if long {
		free = n
	}
	if n != 16 {
		t.Fatalf("%d sectors", n)
	}
	whole, cut := h.logs[len(h.logs)-1], h.logs[len(h.logs)-2]
	for fill := range 3 {
		each(1<<free, func(bits int) {
			disk := x.tear(func(s int) bool { return bits>>(s%free)&1 == 1 })
			data := disk.Data(x.name)[x.off:]
			for s := range n {
				if bits>>(s%free)&1 == 0 && fill > 0 {
					sector := data[s*sectorBytes : (s+1)*sectorBytes]
					clear(sector)
					if fill == 2 {
						for i := range sector {
							sector[i] = byte(bits + i*7)
						}
					}
				}
			}
			_, rec, log, err := recovered(tiny(disk))
			if err != nil || rec.Probation || !slices.Equal(log, whole) && !slices.Equal(log, cut) {
				t.Errorf("sectors %b, lost ones hold %d: %v %+v %v", bits, fill, err, rec, log)
			}
		})
	}
	t.Logf("%d torn writes", 3<<free)
}

// JRN-3: the last write torn inside a sector, from the front or from the back. It
// is cut, as torn or on probation, or whole; never another log.
func TestJRN3TornInsideASector(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, tiny(fs))
	w, h := &writer{t: t, j: j}, &history{}
	work(w, h, 3)
	writes := recording(fs, j.Durable, func() uint64 { return uint64(len(h.logs) - 1) })
	h.mutate(w, 9, w.last+1, 1, 4200) // two blocks
	w.flush()
	x := (*writes)[len(*writes)-1]
	whole, cut := h.logs[len(h.logs)-1], h.logs[len(h.logs)-2]
	doubts := 0
	for at := 8; at < len(x.buf); at += 8 {
		if at%sectorBytes == 0 {
			continue
		}
		for _, front := range []bool{true, false} {
			disk := x.before.Clone()
			b := disk.Data(x.name)[x.off:]
			if front {
				copy(b[:at], x.buf)
			} else {
				copy(b[at:], x.buf[at:])
			}
			_, rec, log, err := recovered(tiny(disk))
			if err != nil || !slices.Equal(log, cut) && !slices.Equal(log, whole) ||
				slices.Equal(log, whole) && rec.Probation {
				t.Fatalf("torn at %d, the front is there %v: %v %+v %v", at, front, err, rec, log)
			}
			if rec.Probation {
				doubts++
			}
		}
	}
	t.Logf("%d writes torn inside a sector, %d of them cost the vote",
		2*(len(x.buf)/8-len(x.buf)/sectorBytes), doubts)
}

// JRN-8: old, new, torn and empty copies of the state file, decoded.
func TestJRN8StateFileMatrix(t *testing.T) {
	enc := func(s state) []byte {
		b := make([]byte, stateBytes)
		s.encode(b)
		return b
	}
	older := state{sequence: 4, id: testID, hard: Hard{3, 1}}
	newer := state{sequence: 5, id: testID, hard: Hard{4, 2}}
	torn := slices.Concat(enc(newer)[:50], enc(older)[50:])
	kinds := [][]byte{enc(older), enc(newer), torn, make([]byte, stateBytes)}
	for c := range 256 {
		copies := [][]byte{kinds[c&3], kinds[c>>2&3], kinds[c>>4&3], kinds[c>>6&3]}
		count := [4]int{}
		for k := range 4 {
			count[c>>(2*k)&3]++
		}
		got, err := chooseState(copies)
		s := got.state
		switch {
		case err == nil && count[1] > 0 && got.seen < newer.sequence:
			t.Errorf("case %d: sequence %d may be used again", c, newer.sequence)
		case err == nil && count[1] >= 2 && len(got.bad) != 4-count[1]:
			t.Errorf("case %d: mends %v", c, got.bad)
		case count[1] >= 2 && (err != nil || s != newer):
			t.Errorf("case %d: two new copies: %+v %v", c, s, err)
		case count[1] < 2 && count[0] >= 2 && (err != nil || s != older):
			t.Errorf("case %d: two old copies: %+v %v", c, s, err)
		case count[0] < 2 && count[1] < 2 && err == nil:
			t.Errorf("case %d: no two agree, yet %+v", c, s)
		}
	}
	other := newer
	other.hard.Vote = 3
	if _, err := chooseState([][]byte{enc(newer), enc(newer), enc(other),
		enc(other)}); !errors.Is(err, ErrState) {
		t.Errorf("two different records of one sequence: %v", err)
	}
}

func TestRulesDecideEveryCombination(t *testing.T) {
	count := [verdicts]int{}
	for c := range 128 {
		f := facts{c&1 != 0, c&2 != 0, c&4 != 0, c&8 != 0, c&16 != 0, c&32 != 0, c&64 != 0}
		v, _ := judge(f)
		count[v]++
		whole := f.header && f.sums
		switch {
		case whole && f.chain != (v == keep):
			t.Errorf("%+v: %v", f, v)
		case !whole && (f.promised || f.unreadable) != (v == damaged):
			t.Errorf("%+v: %v", f, v)
		case !whole && !f.promised && !f.allTags && v == rot:
			t.Errorf("%+v: %v", f, v)
		}
	}
	for v, n := range count {
		if n == 0 {
			t.Errorf("no combination is %v", verdict(v))
		}
	}
}

// JRN-6: a client may store bytes that look like a batch; they must not become one.
func TestJRN6PayloadThatLooksLikeABatch(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, small(fs))
	w := &writer{t: t, j: j}
	w.put(1, 1, 2, 300)
	w.flush()
	seg := j.segments.current()
	image := slices.Clone(fs.Data(seg.name)[:8192])
	for i := range 6 {
		image = append(image, image[:4096+i*512]...)
	}
	var recs []byte
	recs = record.AppendCommand(recs, image[:7000])
	b := Batch{Hard: Hard{1, 1}, First: 3, Count: 1, Term: 1, Sequence: 99}
	if !j.Append(&b, recs) {
		t.Fatal("refused")
	}
	w.flush()
	before := int64(0)
	for cut := j.position - 8192; cut < j.position; cut += 512 {
		c := fs.Clone()
		clear(c.Data(seg.name)[cut : cut+512]) // a sector of the last batch was never written
		_, rec, err := Open(small(c))
		if err != nil || rec.Last != 2 && rec.Last != 3 {
			t.Fatalf("sector at %d: %+v %v", cut, rec, err)
		}
		before++
	}
	if before == 0 {
		t.Fatal("nothing was tried")
	}
}

func TestPoisonedByTheFirstError(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, small(fs))
	w := &writer{t: t, j: j}
	w.put(1, 1, 2, 300)
	w.flush()
	durable := j.Durable()
	broken := errors.New("input/output error")
	fs.SetBefore(onWrite(func(string, []byte, int64) error { return broken }))
	w.put(1, 3, 2, 300)
	w.poll()
	w.poll()
	fs.SetBefore(nil) // the device works again; nobody may believe it
	for range 5 {
		w.poll()
	}
	if !errors.Is(j.Err(), broken) || j.Durable() != durable {
		t.Fatalf("durable %d (was %d), error %v", j.Durable(), durable, j.Err())
	}
	if b := (Batch{First: 5, Sequence: 7}); j.Append(&b, nil) {
		t.Fatal("a poisoned journal takes mutations")
	}
	_, rec, err := Open(small(fs))
	if err != nil || rec.Last < 2 {
		t.Fatalf("%+v %v", rec, err)
	}
}

func TestAmnesiaAndMissingSegments(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, tiny(fs))
	w, h := &writer{t: t, j: j}, &history{}
	work(w, h, 10)
	w.seal()
	c := fs.Clone()
	if err := c.Remove(stateName); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(tiny(c)); !errors.Is(err, ErrAmnesia) {
		t.Fatalf("without a state file: %v", err)
	}
	for _, seg := range j.segments.live {
		c := fs.Clone()
		if err := c.Remove(seg.name); err != nil {
			t.Fatal(err)
		}
		var lost *DamageError
		if _, _, err := Open(tiny(c)); !errors.As(err, &lost) {
			t.Fatalf("without %s: %v", seg.name, err)
		}
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	cfg := small(device.NewMemory())
	cfg.SegmentBytes, cfg.GroupBytes = 64<<20, 64<<10
	j, _ := mustOpen(t, cfg)
	recs := record.AppendCommand(nil, make([]byte, 128))
	b := Batch{Hard: Hard{1, 1}, Count: 1, Term: 1}
	now := int64(0)
	run := func() {
		for range 100 {
			b.First, b.Sequence = b.First+1, b.Sequence+1
			if !j.Append(&b, recs) {
				t.Fatal("refused")
			}
		}
		now++
		j.Poll(now, false)
	}
	run()
	run()
	// averaged: the index of batches doubles now and then
	if n := testing.AllocsPerRun(200, run); n > 0 {
		t.Fatalf("%v allocations per 100 mutations", n)
	}
}

func BenchmarkAppend(b *testing.B) {
	cfg := small(device.NewMemory())
	cfg.SegmentBytes, cfg.GroupBytes, cfg.Mode = 8<<20, 256<<10, Memory
	j, _ := mustOpen(b, cfg)
	recs := record.AppendCommand(nil, make([]byte, 128))
	m := Batch{Hard: Hard{1, 1}, Count: 1, Term: 1}
	now := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		m.First, m.Sequence = m.First+1, m.Sequence+1
		for !j.Append(&m, recs) {
			now++
			j.Poll(now, false)
			j.segments.made.Wait()
		}
	}
}
