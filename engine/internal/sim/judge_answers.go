package sim

import (
	"encoding/binary"

	"github.com/ringraft/ringraft/engine/internal/pipeline"
)

type opState uint8

const (
	waiting opState = iota
	applied
	notApplied
	unknown
)

// operation is one client request and what became of it.
type operation struct {
	client     int
	host       uint64
	life, lane int // its process there, and the lane
	kind       uint8
	key        int
	after      int  // the command whose answer it waits for
	local      bool // a read of what its member has applied
	gaveUp     bool
	early      bool // a read before the leader's no-op was committed
	state      opState
	invoked    int64
	returned   int64
	tookEffect int64  // when it was first applied
	floor      uint64 // the judge's floor when it was invoked
	last       uint64 // of a read: where its member's log ended then
	appliedAt  uint64 // of a command: its index
	value      uint64 // answered
	index      uint64 // answered
}

// answer: every outcome is true, and the history is linearizable. The log is
// the witness: in its order commands follow real time, a read shows the state
// at the index it names, and that is not before anything a client knew.
func (j *judge) answer(h *host, id int, c *pipeline.Completion) {
	w := j.w
	o := &j.ops[id]
	if o.state != waiting {
		w.fail("one reply per request", "operation %d is answered again", id)
		return
	}
	o.returned = w.now
	j.refusesAll(h, id, c)
	w.trace = mix(w.trace, uint64(id)<<8|uint64(c.Outcome)<<4|uint64(c.Reason))
	if w.out != nil {
		w.logf("client %d hears from n%d: operation %d on key %d: %v %v", o.client, h.id, id, o.key,
			c.Outcome, c.Reason)
	}
	j.answered[c.Outcome]++
	switch c.Outcome {
	case pipeline.NotApplied:
		o.state = notApplied
		j.refused(o, id, c)
	case pipeline.Unknown:
		o.state = unknown
		w.hit(OutcomeUnknown)
	case pipeline.Applied:
		o.state = applied
		if len(c.Reply) != 16 {
			w.fail("true outcomes", "operation %d: a reply of %d bytes", id, len(c.Reply))
			return
		}
		le := binary.LittleEndian
		o.index, o.value = le.Uint64(c.Reply), le.Uint64(c.Reply[8:])
		w.trace = mix(w.trace, o.index^o.value<<32)
		if o.kind == opGet {
			if o.local {
				w.hit(ReadLocally)
			} else {
				w.hit(ReadConfirmed)
				if o.early {
					w.hit(ReadWaitedForNoOp)
				}
				j.confirmed(h, o, id)
			}
			j.readAnswer(o, id)
			j.laneOrder(o, id)
		} else {
			j.writeAnswer(o, id)
		}
		j.floor = max(j.floor, o.index)
	}
}

func (j *judge) refused(o *operation, id int, c *pipeline.Completion) {
	w := j.w
	if o.appliedAt != 0 {
		w.fail("true outcomes", "operation %d is at %d, its client is told: %v", id, o.appliedAt,
			c.Reason)
	}
	switch c.Reason {
	case pipeline.Superseded:
		w.hit(Superseded)
	case pipeline.NoSpace:
		w.hit(NoSpaceRefused)
	case pipeline.NotLeader:
		w.hit(NotLeaderRefused)
		if o.kind == opGet {
			w.hit(ReadRefused)
		}
	}
}

func (j *judge) writeAnswer(o *operation, id int) {
	if o.appliedAt != o.index || o.index <= o.floor {
		j.w.fail("linearizable",
			"operation %d is said to be at %d, is at %d; clients had been told of %d",
			id, o.index, o.appliedAt, o.floor)
	}
	if v := j.valueAt(o.key, o.index); v != o.value {
		j.w.fail("linearizable", "operation %d at %d is answered %d instead of %d", id, o.index,
			o.value, v)
	}
}

func (j *judge) readAnswer(o *operation, id int) {
	if o.after != 0 && j.ops[o.after].state == waiting {
		j.w.fail("own writes", "read %d is answered before command %d, for which it waits", id,
			o.after)
	}
	if o.index < o.floor && !o.local {
		j.w.fail("linearizable",
			"read %d shows index %d, clients had been told of %d before it began",
			id, o.index, o.floor)
	}
	if v := j.valueAt(o.key, o.index); v != o.value {
		j.w.fail("linearizable", "read %d shows %d at %d instead of %d", id, o.value, o.index, v)
	}
}

// laneOrder: a read sees no write that was added to its lane after it.
func (j *judge) laneOrder(read *operation, id int) {
	for later := id + 1; later < len(j.ops); later++ {
		o := &j.ops[later]
		if o.kind == opGet || o.appliedAt == 0 || o.lane != read.lane || o.life != read.life ||
			o.host != read.host {
			continue
		}
		if o.appliedAt <= read.index {
			j.w.fail("a lane is one order",
				"read %d shows index %d, and with it command %d, which came later and is at %d", id,
				read.index, later, o.appliedAt)
		}
		j.w.hit(ReadKeptPlace)
	}
}

// valueAt is what a key held after an index.
func (j *judge) valueAt(key int, index uint64) uint64 {
	h := j.history[key]
	for i := len(h) - 1; i >= 0; i-- {
		if h[i].index <= index {
			return h[i].value
		}
	}
	return 0
}

// vanished: the process has ended, and nobody will answer.
func (j *judge) vanished(id int) {
	if o := &j.ops[id]; o.state == waiting {
		o.state = unknown
		j.answered[pipeline.Unknown]++
	}
}
