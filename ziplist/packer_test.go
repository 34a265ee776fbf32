package ziplist

import (
	"fmt"
	"testing"
)

// write appends n entries of about 60 bytes from first on that name their era.
func write(t *testing.T, s *Store, term, first uint64, n, era int) (log []entry) {
	t.Helper()
	for i := range n {
		log = append(log, entry{term, fmt.Sprintf("era %d, entry number %d of these, and some "+
			"more to fill it up", era, i)})
		if _, err := s.Append(term, first+uint64(i), 1, encode(log[i:])); err != nil {
			t.Fatal(err)
		}
	}
	return log
}

// The same indices are written, packed and read again and again: no block of
// an earlier time is taken for one of now, and what was written again is
// packed again.
func TestTheSamePlaceInAnotherEra(t *testing.T) {
	s := New(Config{ChunkBytes: 4096, HotBytes: 1}, 1)
	var c Cursor
	for era := range 2 * cacheSlots {
		log := write(t, s, uint64(era+1), 1, 70, era)
		s.Pack(s.Last())
		if s.Stats().Packed != 1 {
			t.Fatalf("era %d: %+v", era, s.Stats())
		}
		check(t, s, &c, log[:1], 1, 1, 10)
		if era%2 == 0 {
			s.Truncate(0)
		} else {
			s.Reset(1)
		}
		if s.First() != 1 || s.Last() != 0 || s.Stats().Held() != 0 {
			t.Fatalf("era %d: %+v", era, s.Stats())
		}
	}
}

// A chunk that is cut, evicted or written anew while it is being packed stays
// what it is by then.
func TestOvertakenWhilePacking(t *testing.T) {
	for _, how := range []string{"cut inside", "cut at its end", "cut away", "written anew",
		"reset", "evicted"} {
		var task func()
		s := New(Config{ChunkBytes: 4096, HotBytes: 1, BudgetBytes: 9000,
			Background: func(f func()) bool { task = f; return true }}, 1)
		log := write(t, s, 1, 1, 120, 1)
		s.Pack(s.Last())
		last := s.view.Load().pieces[0].last()
		if task == nil || last >= 110 {
			t.Fatal("nothing to pack")
		}
		var held Cursor
		run, err := s.Read(&held, 1, last, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		bytes := string(run.Records)
		switch how {
		case "cut inside":
			s.Truncate(20)
			log = append(log[:20:20], write(t, s, 2, 21, 90, 2)...)
		case "cut at its end":
			s.Truncate(last)
			log = append(log[:last:last], write(t, s, 1, last+1, 90, 2)...)
		case "cut away":
			s.Truncate(0)
			log = nil
		case "written anew":
			s.Truncate(0)
			log = write(t, s, 2, 1, 120, 2)
		case "reset":
			s.Reset(1)
			log = write(t, s, 2, 1, 120, 2)
		case "evicted":
			log = append(log, write(t, s, 1, 121, 60, 2)...)
			if s.Evict(s.Last()); s.First() == 1 {
				t.Fatal("nothing was evicted")
			}
		}
		s.Retire(0, s.Last())
		s.Retire(0, s.Last()) // so that memory goes round, but for what the task reads
		for task != nil {
			f := task
			task = nil
			f()
			s.Pack(s.Last())
		}
		check(t, s, new(Cursor), log, 1, s.First(), 300)
		back(t, s, log, 1)
		if st := s.Stats(); st.Held() != s.bytes || how != "cut away" && how != "evicted" &&
			st.Packed == 0 {
			t.Errorf("%s: %d bytes counted: %+v", how, s.bytes, st)
		}
		if how != "evicted" && string(run.Records) != bytes { // there, all counted as applied
			t.Errorf("%s: what was read changed", how)
		}
		if err := s.Verify(); err != nil {
			t.Errorf("%s: %v", how, err)
		}
	}
}

// Pack leaves alone what is hot, open, or holds anything above what is cold.
func TestOnlyTheColdIsPacked(t *testing.T) {
	s := New(Config{ChunkBytes: 4096, HotBytes: 3 * 4096}, 1)
	write(t, s, 1, 1, 700, 1)
	pieces := s.view.Load().pieces
	if len(pieces) < 8 {
		t.Fatal(len(pieces))
	}
	for i, p := range pieces[:len(pieces)-1] {
		s.Pack(p.last() - 1)
		if n := s.Stats().Packed; n != min(i, len(pieces)-3) {
			t.Fatalf("cold below the end of piece %d: %d are packed", i, n)
		}
		s.Pack(p.last())
		if n := s.Stats().Packed; n != min(i+1, len(pieces)-3) {
			t.Fatalf("cold to the end of piece %d of %d: %d are packed", i, len(pieces), n)
		}
	}
	s.Pack(^uint64(0))
	if n := s.Stats().Packed; n != len(pieces)-3 {
		t.Fatalf("%d of %d packed, three are hot", n, len(pieces))
	}
}

// A refusal is asked about again after some bytes, not some calls: at once
// while nothing is appended, and soon where appends are few and large.
func TestAskedAgainAfterARefusal(t *testing.T) {
	asked, take := 0, false
	s := New(Config{ChunkBytes: 4096, HotBytes: 1, Background: func(f func()) bool {
		asked++
		if take = !take; !take { // every second time
			f()
		}
		return !take
	}}, 1)
	write(t, s, 1, 1, 700, 1)
	cold := s.Stats().Pieces - 1
	calls := 0
	for ; s.Stats().Packed < cold && calls < 1000; calls++ {
		s.Pack(s.Last())
	}
	if calls > 3*cold {
		t.Errorf("%d calls to pack %d chunks while nothing was appended", calls, cold)
	}

	for _, c := range []struct{ size, most int }{{64 << 10, 8}, {100, 4 << 10}} {
		asked = 0
		s = New(Config{HotBytes: 1, Background: func(func()) bool { asked++; return false }}, 1)
		for s.Stats().Pieces < 2 {
			one(t, s, 1, c.size)
		}
		s.Pack(s.Last())
		n := 0
		for first := asked; asked == first && n < 10_000; n++ {
			one(t, s, 1, c.size)
			s.Pack(s.Last())
		}
		if n > c.most || n < c.most/4 {
			t.Errorf("asked again after %d commands of %d bytes, want %d at most", n, c.size,
				c.most)
		}
	}
}
