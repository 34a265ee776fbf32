package replica

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// The model keeps whole logs. A mutation is (first, entries); an entry is a
// unique number unless a mutation brings back a suffix seen before, as a
// third leader does. The truth: an index is durable when a crash now would
// leave, up to it, exactly the log that is current.
type model struct {
	rng     *rand.Rand
	log     []uint64   // the current log: entry identities, index i at i-1
	states  [][]uint64 // the log after mutation k; states[0] is the start
	commit  int
	unique  uint64
	seen    [][]uint64 // whole logs seen, to bring suffixes back from
	firsts  []uint64
	reached int
}

// mutate invents the next mutation and returns its form.
func (m *model) mutate() (first uint64, count uint32) {
	switch m.rng.IntN(10) {
	case 0: // hard state alone
		first = uint64(len(m.log)) + 1
	case 1: // truncation, then nothing
		first = uint64(m.commit+m.rng.IntN(len(m.log)-m.commit+1)) + 1
		m.log = m.log[:first-1]
	case 2: // conflict: cut and replace
		first = uint64(m.commit+m.rng.IntN(len(m.log)-m.commit+1)) + 1
		m.log = m.fresh(m.log[:first-1], 1+m.rng.IntN(4))
		count = uint32(len(m.log)) - uint32(first) + 1
	case 3, 4: // a suffix seen before returns
		if len(m.seen) == 0 {
			return m.mutate()
		}
		old := m.seen[m.rng.IntN(len(m.seen))]
		common := 0
		for common < len(old) && common < len(m.log) && old[common] == m.log[common] {
			common++
		}
		if common < m.commit || common == len(old) {
			return m.mutate()
		}
		end := common + 1 + m.rng.IntN(len(old)-common)
		first, count = uint64(common)+1, uint32(end-common)
		m.log = append(slices.Clone(m.log[:common]), old[common:end]...)
	case 5: // restore: the log is lost up to an index above its end or not
		first = uint64(m.commit) + 1
		count = uint32(1 + m.rng.IntN(6))
		m.log = m.fresh(m.log[:m.commit], int(count))
		m.commit = len(m.log)
	default: // append
		first = uint64(len(m.log)) + 1
		count = uint32(1 + m.rng.IntN(4))
		m.log = m.fresh(m.log, int(count))
	}
	m.log = slices.Clone(m.log)
	m.seen = append(m.seen, m.log)
	m.states = append(m.states, m.log)
	return first, count
}

func (m *model) fresh(log []uint64, n int) []uint64 {
	log = slices.Clone(log)
	for range n {
		m.unique++
		log = append(log, m.unique)
	}
	return log
}

// truth is the longest prefix of the current log that a crash would leave
// now and that no later write in the queue makes untrue on its way: writes
// reach the disk in order, so every state from the reached one on may be the
// one that a crash leaves.
func (m *model) truth() uint64 {
	safe := len(m.log)
	for _, s := range m.states[m.reached:] {
		n := 0
		for n < len(s) && n < len(m.log) && s[n] == m.log[n] {
			n++
		}
		safe = min(safe, n)
	}
	return uint64(safe)
}

func TestDurableIndexIsNeverEarly(t *testing.T) {
	late, wrongNaive, steps := 0, 0, 0
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 7))
		m := &model{rng: rng, states: [][]uint64{nil}}
		l := newLine(0)
		naive := uint64(0)
		for seq := uint64(0); seq < 60; {
			if rng.IntN(2) == 0 {
				seq++
				first, count := m.mutate()
				m.firsts = append(m.firsts, first)
				l.publish(seq, first, first+uint64(count)-1)
			} else if m.reached < int(seq) {
				m.reached += 1 + rng.IntN(int(seq)-m.reached)
				l.reach(uint64(m.reached))
				naive = uint64(len(m.states[m.reached]))
			}
			if safe := int(l.index()); safe > m.commit && rng.IntN(4) == 0 {
				m.commit += rng.IntN(safe - m.commit + 1)
			}
			got, want := l.index(), m.truth()
			if got > want {
				t.Fatalf("seed %d seq %d: durable index %d, a crash leaves only %d", seed, seq, got,
					want)
			}
			// A returning suffix may be safe although the rule, which looks
			// at first alone, says not yet; with the queue empty they agree.
			if m.reached == int(seq) && got != want {
				t.Fatalf("seed %d seq %d: all durable, index %d, log ends at %d", seed, seq, got,
					want)
			}
			if got < want {
				late++
			}
			if naive > want {
				wrongNaive++
			}
			steps++
		}
	}
	if wrongNaive == 0 {
		t.Fatal("the model never caught the naive rule " +
			"(index of the last completed write): it has no teeth")
	}
	t.Logf("%d steps; rule conservative in %d; naive rule wrong in %d", steps, late, wrongNaive)
}

func TestReturningSuffixIsNotVouchedForByTheOldWrite(t *testing.T) {
	l := newLine(25)
	l.publish(1, 26, 40) // 26..40 of term 5
	l.publish(2, 26, 25) // cut
	l.publish(3, 26, 40) // the same entries return
	l.reach(1)
	if got := l.index(); got != 25 {
		t.Fatalf("after the first write: durable index %d, want 25", got)
	}
	l.reach(2)
	if got := l.index(); got != 25 {
		t.Fatalf("after the cut: durable index %d, want 25", got)
	}
	l.reach(3)
	if got := l.index(); got != 40 {
		t.Fatalf("after the return: durable index %d, want 40", got)
	}
}
