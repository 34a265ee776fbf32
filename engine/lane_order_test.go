package engine

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/ringraft/ringraft/journal"
)

// newest is a state machine that keeps the number in the newest command.
type newest struct{ value uint64 }

func (m *newest) Apply(entries []Entry, replies *Replies) {
	for i := range entries {
		m.value = binary.LittleEndian.Uint64(entries[i].Data)
		if replies.Wanted() {
			replies.End(binary.LittleEndian.AppendUint64(replies.Begin(), m.value))
		}
	}
}

func (m *newest) Read(_, dst []byte) []byte {
	return binary.LittleEndian.AppendUint64(dst, m.value)
}

// orderedLane is a lane whose writes bear the numbers 1, 2, 3, …: the only ones that its
// state machine executes. So a read says which of them it sees.
type orderedLane struct {
	t       *testing.T
	lane    *Lane
	random  *rand.Rand
	writes  uint64 // added
	last    uint64 // request of the newest
	acked   uint64 // newest write that was answered
	reads   map[uint64]span
	broken  int
	checked int
}

// span is what a read may see: writes from least to most.
type span struct{ least, most uint64 }

func (o *orderedLane) write() {
	request, err := o.lane.Write(number(o.writes + 1))
	if err != nil {
		o.t.Fatal(err)
	}
	o.writes++
	o.last = request
}

// read adds a read that names its lane's newest write, or none.
func (o *orderedLane) read(own bool) {
	s := span{o.acked, o.writes}
	after := uint64(0)
	if own {
		after, s.least = o.last, o.writes
	}
	request, err := o.lane.Read(nil, after)
	if err != nil {
		o.t.Fatal(err)
	}
	o.reads[request] = s
}

// take takes the completions that are there.
func (o *orderedLane) take() {
	for c, ok := o.lane.Next(); ok; c, ok = o.lane.Next() {
		if c.Outcome != Applied {
			o.t.Fatalf("request %d: %v, %v", c.Request, c.Outcome, c.Reason)
		}
		value := binary.LittleEndian.Uint64(c.Reply)
		s, isRead := o.reads[c.Request]
		if !isRead {
			o.acked = max(o.acked, value)
			continue
		}
		delete(o.reads, c.Request)
		if o.checked++; value < s.least || value > s.most {
			if o.broken++; o.broken < 4 {
				o.t.Errorf("request %d sees write %d, and may see %d to %d", c.Request, value,
					s.least, s.most)
			}
		}
	}
	o.lane.Release()
}

// until takes completions until no more than so many requests are outstanding. It
// does not sleep: the shorter the time between an answer and the next flush, the
// more often that falls into a turn of the replica.
func (o *orderedLane) until(outstanding int) {
	for deadline := time.Now().Add(time.Minute); ; {
		if o.take(); o.lane.Outstanding() <= outstanding {
			return
		}
		if runtime.Gosched(); time.Now().After(deadline) {
			o.t.Fatalf("%d requests without an answer", o.lane.Outstanding())
		}
	}
}

// A read sees no later write of its lane, whenever the owner flushes: the replica may
// be anywhere in its turn.
func TestReadsSeeNoLaterWriteOfTheirLane(t *testing.T) {
	pairs := 40000
	if testing.Short() {
		pairs = 4000
	}
	for _, c := range []struct {
		name    string
		threads Threads
		members int
	}{
		{"one member, fused", Fused, 1},
		{"one member, threaded", Threaded, 1},
		{"three members, fused", Fused, 3},
		{"three members, threaded", Threaded, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOrderedLane(t, c.members, c.threads)
			n := pairs
			if c.members > 1 {
				n /= 10
			}
			for range n {
				o.read(false)
				o.write()
				o.lane.Flush()
				o.until(0)
			}
			pairs := o.broken
			for range n {
				for range 1 + o.random.IntN(4) {
					switch o.random.IntN(4) {
					case 0:
						o.read(o.last != 0)
					case 1:
						o.read(false)
					default:
						o.write()
					}
					if o.random.IntN(3) == 0 {
						o.lane.Flush()
					}
				}
				o.lane.Flush()
				o.until(o.random.IntN(16))
			}
			o.until(0)
			if o.broken > 0 {
				t.Errorf("%d of %d reads are broken, %d of them one at a time", o.broken, o.checked,
					pairs)
			}
			t.Logf("%d reads, %d writes", o.checked, o.writes)
		})
	}
}

func newOrderedLane(t *testing.T, members int, threads Threads) *orderedLane {
	c := newCluster(t, members, func(b *Builder) {
		b.Threads(threads).StateMachine(&newest{}).Journal(journal.Memory)
	})
	lane, err := c.engines[c.leader()].Lane(LaneConfig{Cells: 256})
	if err != nil {
		t.Fatal(err)
	}
	return &orderedLane{t: t, lane: lane, reads: map[uint64]span{},
		random: rand.New(rand.NewPCG(1, uint64(members)))}
}
