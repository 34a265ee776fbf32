package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringraft/ringraft/internal/simdisk"
	"github.com/ringraft/ringraft/journal/device"
)

// onSim is the smallest journal, on a disk that loses what was not synced.
func onSim(fs device.FS, mode Mode) Config {
	c := tiny(fs)
	c.Mode = mode
	return c
}

// crashes enumerates: power goes at every operation of a history of openings,
// appends, conflicts, recycling, seals, and again during recovery.
type crashes struct {
	t      *testing.T
	mode   Mode
	rng    *rand.Rand
	h      *history
	acked  uint64 // newest mutation acknowledged
	hard   Hard   // acknowledged
	keep   uint64 // what compaction or a snapshot may not have taken begins at or below
	points int
	states int
	gentle int // states tried at each point
}

// none keeps nothing that was not synced.
func none() bool { return false }

// keeps are ways to lose what was not synced.
func (c *crashes) keeps() []func() bool {
	all := []func() bool{
		none,
		func() bool { return true },
		func() bool { return c.rng.IntN(2) == 0 },
		func() bool { return c.rng.IntN(8) != 0 },
		func() bool { return c.rng.IntN(8) == 0 },
	}
	if c.gentle >= len(all) {
		return all
	}
	c.rng.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	return all[:c.gentle]
}

// watch crashes copies of the disk at its every operation.
func (c *crashes) watch(disk *simdisk.Disk, depth int) {
	disk.SetBefore(func(op *simdisk.Op) error {
		if !op.Kind.Changes() || op.Name == "probe" {
			return nil
		}
		if op.Name == "segment.new" && op.Kind == simdisk.Write && c.rng.IntN(4) != 0 {
			return nil // zeros, sixteen times over
		}
		c.points++
		for _, keep := range c.keeps() {
			at := fmt.Sprintf("%v %s at %d", op.Kind, op.Name, op.Off)
			c.verify(disk.Crash(simdisk.Keep(keep)), at, depth)
		}
		return nil
	})
}

// verify recovers what power left, goes on writing, and recovers that.
func (c *crashes) verify(disk *simdisk.Disk, where string, depth int) {
	c.t.Helper()
	c.states++
	if depth > 0 && c.rng.IntN(4) == 0 {
		again := disk.Crash(simdisk.Keep(func() bool { return true }))
		inner := *c
		inner.gentle, inner.states = 1, 0
		inner.watch(again, depth-1)
		if j, _, err := Open(onSim(again, c.mode)); err == nil {
			j.segments.made.Wait()
		}
		c.states += inner.states
	}
	j, rec, log, err := recovered(onSim(disk, c.mode))
	if err != nil {
		c.t.Fatalf("power cut in %s, acknowledged %d: %v", where, c.acked, err)
	}
	if rec.Probation {
		c.t.Fatalf("power cut in %s: costs the vote: %+v", where, rec)
	}
	ok := false
	for seq := c.acked; seq < uint64(len(c.h.logs)) && !ok; seq++ {
		want := c.h.logs[seq]
		ok = int(rec.Last) == len(want) && slices.Equal(log, want[rec.First-1:])
	}
	if len(c.h.logs) == 0 {
		ok = rec.Fresh
	}
	if m := rec.Snapshot; rec.First > m.Index+1 || rec.Commit < m.Index || rec.Last < m.Index ||
		j.Snapshot() != m {
		c.t.Fatalf("power cut in %s: the log does not stand behind its snapshot: %+v", where, rec)
	}
	if rec.First > c.keep {
		c.t.Fatalf("power cut in %s: the log begins at %d, kept from %d on", where, rec.First,
			c.keep)
	}
	if !ok || rec.Hard.Term < c.hard.Term || rec.Hard.Term == c.hard.Term &&
		rec.Hard.Vote != c.hard.Vote {
		c.t.Fatalf("power cut in %s: recovered %+v %v\nacknowledged %d %+v", where, rec, log,
			c.acked, c.hard)
	}
	if c.rng.IntN(3) != 0 {
		return
	}
	w := &writer{t: c.t, j: j, last: rec.Last}
	for range 2 + c.rng.IntN(6) { // over the next segment too
		w.put(rec.Hard.Term+1, w.last+1, 1, 900)
		w.flush()
	}
	lost := disk.Crash(simdisk.Keep(none))
	if j, rec, err = Open(onSim(lost, c.mode)); err != nil || rec.Last != w.last {
		c.t.Fatalf("power cut in %s, then %d more: %+v %v", where, w.last, rec, err)
	}
	check(c.t, j, max(rec.First, w.last-3), w.last)
}

// JRN-7: power goes at every operation on the disk, also of recovery, and what
// was not synced is kept or lost in several ways.
func TestJRN7PowerCutAtEveryOperation(t *testing.T) {
	rounds, gentle := 2, 2
	if testing.Short() {
		rounds, gentle = 1, 1
	}
	if long {
		rounds, gentle = 16, 5
	}
	var points, states atomic.Int64
	each(rounds, func(seed int) {
		c := &crashes{t: t, mode: Mode(seed % 4), rng: rand.New(rand.NewPCG(uint64(seed), 7)),
			h: &history{}, keep: 1, gentle: gentle}
		c.run()
		points.Add(int64(c.points))
		states.Add(int64(c.states))
	})
	t.Logf("%d operations, %d power cuts", points.Load(), states.Load())
	if long && states.Load() < 100_000 {
		t.Error("too few")
	}
}

func (c *crashes) run() {
	disk := simdisk.New()
	c.watch(disk, 2)
	var seq, last uint64
	for opening := range 3 {
		j, rec := mustOpen(c.t, onSim(disk, c.mode))
		if opening > 0 && rec.Last != last {
			c.t.Fatalf("opening %d: %+v, last was %d", opening, rec, last)
		}
		w := &writer{t: c.t, j: j, seq: seq, last: last}
		for i := range 7 {
			first, n := w.last+1, 1+c.rng.IntN(3)
			if at := w.last - min(w.last, uint64(c.rng.IntN(2))); c.rng.IntN(4) == 0 &&
				at > max(3, j.mark.Index) {
				first, n = at, c.rng.IntN(2)
			}
			term := uint64(1 + opening*10 + i)
			switch c.rng.IntN(8) {
			case 0: // a snapshot is restored: the log begins anew behind it
				first, n = w.last+1+uint64(c.rng.IntN(20)), 0
				c.keep = first
				c.h.restore(w, term, first-1)
			case 1:
				if err := j.SetMetadata(slices.Repeat([]byte{byte(term)},
					c.rng.IntN(metadataMax))); err != nil {
					c.t.Error(err)
				}
			}
			if first <= w.last+1 {
				c.h.mutate(w, term, first, n, 60+c.rng.IntN(900))
			}
			w.flush()
			c.acked, c.hard = w.seq, Hard{Term: term, Vote: 1}
			if c.rng.IntN(3) == 0 && w.last > 6 {
				compact(c.t, j, w.last-4)
				c.keep = max(c.keep, w.last-4)
			}
			if c.rng.IntN(4) == 0 {
				w.seal()
			}
		}
		seq, last = w.seq, w.last
		if err := j.Close(); err != nil {
			c.t.Fatal(err)
		}
	}
}

// JRN-7 again with groups that queue: power goes at every operation of a writer
// that lags behind a stage which fills, compacts and seals meanwhile.
func TestJRN7PowerCutWithGroupsQueued(t *testing.T) {
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	if long {
		rounds = 64
	}
	var points, states, queued atomic.Int64
	each(rounds, func(seed int) {
		c := &crashes{t: t, mode: Mode(seed % 4), rng: rand.New(rand.NewPCG(uint64(seed), 77)),
			h: &history{}, keep: 1, gentle: 2}
		queued.Add(int64(c.queue()))
		points.Add(int64(c.points))
		states.Add(int64(c.states))
	})
	t.Logf("%d operations, %d power cuts, %d times with two groups queued", points.Load(),
		states.Load(), queued.Load())
	if queued.Load() < int64(rounds) {
		t.Error("too little was queued to prove anything")
	}
}

// queue drives one journal whose device works when it likes.
func (c *crashes) queue() (queued int) {
	disk, clock := simdisk.New(), &simdisk.Manual{}
	d := simdisk.NewDevice(clock)
	cfg := onSim(disk, c.mode)
	cfg.Device = d
	j, _ := mustOpen(c.t, cfg)
	w := &writer{t: c.t, j: j}
	c.h.logs, c.h.hard = append(c.h.logs, nil), append(c.h.hard, Hard{})
	c.watch(disk, 1)
	step := func() {
		if d.Queued() == 2 {
			queued++
		}
		c.acked = j.Durable()
		c.hard = c.h.hard[c.acked]
		clock.Step()
		w.poll()
	}
	for i := range 60 {
		for d.Queued() == 2 || c.rng.IntN(3) == 0 && d.Queued() > 0 {
			step()
		}
		first, n := w.last+1, 1+c.rng.IntN(3)
		if c.rng.IntN(5) == 0 && w.last > 1 && w.last >= c.keep {
			first, n = w.last, c.rng.IntN(2)
		}
		if c.rng.IntN(12) == 0 {
			for j.Busy() {
				step()
			}
			c.h.mutate(w, uint64(1+i), w.last+1, 1, 500)
			w.poll() // the log has a part of it, and it waits for a write
			c.keep = max(c.keep, w.last+1) + uint64(c.rng.IntN(6))
			c.h.restore(w, uint64(1+i), c.keep-1)
			for j.Busy() {
				step()
			}
			first, n = w.last+1, 1
		}
		c.h.mutate(w, uint64(1+i), first, n, 60+c.rng.IntN(1200))
		if c.rng.IntN(3) == 0 && w.last > c.keep+6 && c.h.settled(j, w.last-6) {
			c.keep = w.last - 5
			compact(c.t, j, c.keep)
		}
		w.poll()
		if c.rng.IntN(9) == 0 {
			w.now += int64(time.Second) // time for a seal, if nothing is under way
			w.poll()
		}
	}
	for d.Queued() > 0 || j.Busy() {
		step()
	}
	return queued
}

// JRN-8: the copies of the state file, each one old, new, torn, garbage or another
// member's: the vote never goes back, and no two that agree are needed to
// refuse.
func TestJRN8StateFileEveryCombination(t *testing.T) {
	fs := newDisk()
	cfg := small(fs)
	j, _ := mustOpen(t, cfg)
	w := &writer{t: t, j: j}
	w.put(1, 1, 1, 50)
	w.flush()
	older := slices.Clone(fs.Data(stateName)[:4096])
	for range 2 {
		w.put(2, w.last+1, 1, 50)
		w.flush()
		w.seal()
	}
	newer := slices.Clone(fs.Data(stateName)[:4096])
	torn := slices.Concat(newer[:64], older[64:])
	garbage := slices.Repeat([]byte{0xa5}, 4096)
	o, _ := decodeState(newer)
	o.id.Replica = 99
	other := make([]byte, 4096)
	o.encode(other)
	kinds := [5][]byte{older, newer, torn, garbage, other}
	counts := map[string]int{}
	for c := range 625 {
		disk, n := fs.Clone(), [5]int{}
		for k, v := 0, c; k < 4; k, v = k+1, v/5 {
			copy(disk.Data(stateName)[k*4096:], kinds[v%5])
			n[v%5]++
		}
		_, rec, err := Open(small(disk))
		var wrong *IdentityError
		switch {
		case n[1] >= 2 && n[4] >= 2:
			counts["two of each"]++
			if !errors.Is(err, ErrState) {
				t.Errorf("case %d %v: %v", c, n, err)
			}
		case n[4] >= 2:
			counts["another member's"]++
			if !errors.As(err, &wrong) {
				t.Errorf("case %d %v: %v", c, n, err)
			}
		case n[1] >= 2 || n[0] >= 2:
			counts["opened"]++
			if err != nil || rec.Hard != (Hard{2, 1}) || rec.Last != w.last || rec.Probation {
				t.Errorf("case %d %v: %+v %v", c, n, rec, err)
			}
		default:
			counts["refused"]++
			if !errors.Is(err, ErrState) {
				t.Errorf("case %d %v: %+v %v", c, n, rec, err)
			}
		}
	}
	t.Log(counts)
}

// JRN-4, JRN-5: every block of a sealed journal, written to every other place
// or rolled back to any earlier generation, the last one too: found, or
// harmless because it is the same.
func TestJRN4And5MisdirectedAndRolledBackBlocks(t *testing.T) {
	fs := newDisk()
	j, _ := mustOpen(t, tiny(fs))
	w, h := &writer{t: t, j: j}, &history{}
	var generations []*simdisk.Disk
	for range 4 {
		work(w, h, 12)
		w.seal()
		generations = append(generations, fs.Clone())
		compact(t, j, w.last-6)
		work(w, h, 7)
		generations = append(generations, fs.Clone())
	}
	work(w, h, 24)
	w.seal()
	want := h.logs[len(h.logs)-1]
	type place struct {
		name string
		off  int
	}
	var places []place
	names, _ := fs.List()
	for _, n := range names {
		for off := 0; strings.HasSuffix(n, ".seg") && off < len(fs.Data(n)); off += 4096 {
			places = append(places, place{n, off})
		}
	}
	stale := func(p place) []byte { // what stood there before what stands there now
		now := fs.Data(p.name)[p.off:][:4096]
		for g := range generations {
			if old := generations[len(generations)-1-g].Data(p.name); old != nil &&
				!bytes.Equal(old[p.off:][:4096], now) {
				return old[p.off:][:4096]
			}
		}
		return make([]byte, 4096)
	}
	var mu sync.Mutex
	var misdirected, left, rolledBack [2]int // harmless, damage
	try := func(c *simdisk.Disk, count *[2]int, what string) {
		_, rec, log, err := recovered(tiny(c))
		var lost *DamageError
		mu.Lock()
		defer mu.Unlock()
		switch {
		case errors.As(err, &lost):
			count[1]++
		case err == nil && slices.Equal(log, want[rec.First-1:]) && !rec.Probation:
			count[0]++
		default:
			t.Errorf("%s: %v %+v %v", what, err, rec, log)
		}
	}
	pairs := len(places) * len(places)
	step := sample(1, 29)
	each(pairs/step, func(n int) {
		from, to := places[n*step/len(places)], places[n*step%len(places)]
		if from == to {
			return
		}
		c := fs.Clone()
		copy(c.Data(to.name)[to.off:][:4096], fs.Data(from.name)[from.off:])
		again := c.Clone()
		try(c, &misdirected, fmt.Sprintf("%v written to %v", from, to))
		copy(again.Data(from.name)[from.off:][:4096], stale(from))
		try(again, &left, fmt.Sprintf("%v written to %v and not to its place", from, to))
	})
	for g, early := range generations {
		each(len(places), func(n int) {
			p := places[n]
			if old := early.Data(p.name); old != nil {
				c := fs.Clone()
				copy(c.Data(p.name)[p.off:p.off+4096], old[p.off:])
				try(c, &rolledBack, fmt.Sprintf("%v rolled back to generation %d", p, g))
			}
		})
	}
	t.Logf("%d blocks: misdirected %d harmless, %d found; with their own place left as it was "+
		"%d harmless, %d found; "+
		"rolled back to %d generations %d harmless, %d found", len(places), misdirected[0],
		misdirected[1], left[0], left[1], len(generations), rolledBack[0], rolledBack[1])
	if len(places) < 64 || misdirected[1] == 0 || left[1] <= misdirected[1] || rolledBack[1] == 0 {
		t.Error("too little to prove anything")
	}
}

// A full group waits behind the one being written; durability is in order.
func TestFullGroupQueuesBehindTheWrite(t *testing.T) {
	clock := &simdisk.Manual{}
	d := simdisk.NewDevice(clock)
	cfg := small(simdisk.New())
	cfg.Device, cfg.Foreground = d, true
	j, _ := mustOpen(t, cfg)
	w := &writer{t: t, j: j}
	for range 12 {
		for {
			recs := recordsOf(w.last+1, 1, 900)
			b := Batch{Hard: Hard{1, 1}, First: w.last + 1, Count: 1, Term: 1, Sequence: w.seq + 1}
			if !j.Append(&b, recs) {
				break
			}
			w.last, w.seq = w.last+1, w.seq+1
		}
		w.now++
		j.Poll(w.now, false)
	}
	if d.Queued() != 2 || j.Durable() != 0 || j.WriteAge(w.now) <= 0 {
		t.Fatalf("%d queued, durable %d, age %v", d.Queued(), j.Durable(), j.WriteAge(w.now))
	}
	if _, err := j.NewReader().Read(1, 1); !errors.Is(err, ErrNotYet) {
		t.Fatal(err)
	}
	seen := uint64(0)
	for clock.Step() {
		w.now++
		j.Poll(w.now, false)
		if j.Durable() <= seen {
			t.Fatalf("durable %d after %d", j.Durable(), seen)
		}
		seen = j.Durable()
	}
	if seen != w.seq || w.seq < 20 {
		t.Fatalf("durable %d of %d", seen, w.seq)
	}
	check(t, j, 1, w.last)
	w.now += int64(time.Second)
	j.Poll(w.now, false)
	clock.Step()
	j.Poll(w.now, false)
	if !j.Idle() || j.NextDeadline() != 0 {
		t.Fatal("not idle after the seal")
	}
}
