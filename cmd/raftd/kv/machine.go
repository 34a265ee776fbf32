package kv

import (
	"fmt"
	"math"
	"strconv"
	"sync/atomic"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/netio/resp"
)

// Replies are in the internal form of package resp, whatever protocol a client speaks: the protocol
// of a connection is not replicated state. The server renders them for each client. They are never
// stored, so their form may change from one version to the next.
//
// Large values, and replies that are large because of many small values, are not in the reply but
// kept by the machine under a number that the reply has: whoever takes the reply must Take each of
// them, and Release it when it was sent.

// Texts of error replies.
const (
	errMalformed = "ERR malformed command in the log"
	errNotInt    = "ERR value is not an integer or out of range"
	errOverflow  = "ERR increment or decrement would overflow"
	errTooLong   = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
	errTooLarge  = "ERR the value would have %d bytes, which is over the limit of %d (--max-value)"
	errBigReply  = "ERR the reply would have %d bytes, which is over the limit of %d: " +
		"ask for less at once"
)

// Limits that are part of the replicated behaviour: all replicas must agree on them.
const (
	// MaxValue is the longest value in bytes that an APPEND without a limit of its own may build,
	// as in Redis. The server sends none any more, but logs may hold some.
	MaxValue = 512 << 20
	// MaxReply is the longest reply in bytes. A member that forwards for its clients has a whole
	// reply in memory, which is why there is a limit; it is eight of the longest values.
	MaxReply = 128 << 20
)

// replyApart is how many bytes of small values a reply may have before it is kept apart.
const replyApart = 64 << 10

// integerRoom is spare room for a value made by INCR, so that it grows digits in place.
const integerRoom = 20

// Machine is the replicated state. Apply, Read and Snapshot are called by one goroutine, as
// engine.Snapshotter says; Keys, Memory, ViewMemory and ViewWait may be called by any.
type Machine struct {
	pairs   pairs
	applied uint64 // index of the newest command applied; no-ops of the engine do not count
	number  [20]byte
	discard []byte // where replies go that nobody waits for
	found   []foundValue

	keys, memory atomic.Int64 // published once per batch

	view       atomic.Pointer[View] // the one that is not closed
	viewBudget atomic.Int64
	viewWait   atomic.Int64 // ns; see ViewWait
}

var _ engine.Snapshotter = (*Machine)(nil)

// New returns an empty machine.
func New() *Machine {
	m := &Machine{}
	m.viewBudget.Store(ViewBudget)
	m.pairs.number = 1
	m.pairs.reset()
	return m
}

// Keys is the number of keys after the newest batch.
func (m *Machine) Keys() int64 { return m.keys.Load() }

// Memory estimates the bytes that keys and values take, after the newest batch.
func (m *Machine) Memory() int64 { return m.memory.Load() }

// Apply carries out committed commands in index order.
func (m *Machine) Apply(entries []engine.Entry, replies *engine.Replies) {
	if len(entries) == 0 {
		return
	}
	v := m.lockView()
	defer v.unlock()
	v.count(len(entries))
	if replies.Wanted() {
		for i := range entries {
			replies.End(m.execute(entries[i].Data, replies.Begin(), true))
		}
	} else {
		for i := range entries {
			m.discard = m.execute(entries[i].Data, m.discard[:0], false)
		}
	}
	m.applied = entries[len(entries)-1].Index
	m.publish()
}

func (m *Machine) publish() {
	m.keys.Store(int64(m.pairs.count()))
	m.memory.Store(m.pairs.memory())
}

// execute carries out one command and appends its reply to b. Without wanted the reply may be cut
// short.
func (m *Machine) execute(cmd, b []byte, wanted bool) []byte {
	if len(cmd) == 0 {
		return resp.AppendError(b, errMalformed)
	}
	rest := body(cmd[1:])
	switch Op(cmd[0]) {
	case OpSet:
		return m.set(rest, b, wanted)
	case OpIncrBy:
		return m.incrBy(rest, b)
	case OpSetNX:
		return m.setNX(rest, b)
	case OpGetDel:
		return m.getDel(rest, b, wanted)
	case OpMSet:
		return m.mset(rest, b)
	case OpMSetNX:
		return m.msetNX(rest, b)
	case OpAppend:
		return m.append(rest, b, MaxValue)
	case OpAppendMax:
		return m.appendMax(rest, b)
	case OpDel:
		return m.del(rest, b)
	case OpFlushAll:
		if len(rest) != 0 {
			break
		}
		m.pairs.reset()
		return resp.AppendOK(b)
	}
	return resp.AppendError(b, errMalformed)
}

func (m *Machine) set(rest body, b []byte, wanted bool) []byte {
	if len(rest) == 0 || rest[0] > SetNX|SetXX|SetGet || rest[0]&(SetNX|SetXX) == SetNX|SetXX {
		return resp.AppendError(b, errMalformed)
	}
	flags := rest[0]
	rest = rest[1:]
	key, value, ok := rest.pair()
	if !ok {
		return resp.AppendError(b, errMalformed)
	}
	if flags == 0 {
		m.pairs.set(key, value, 0)
		return resp.AppendOK(b)
	}
	old, exists := m.pairs.get(key)
	if flags&SetGet != 0 {
		if old.size() > MaxReply {
			return appendBigReply(b, old.size())
		}
		if wanted { // before the old value is overwritten in place
			b = m.appendValue(b, old, exists)
		}
	}
	store := flags&(SetNX|SetXX) == 0 || exists == (flags&SetXX != 0)
	if store {
		m.pairs.set(key, value, 0)
	}
	switch {
	case flags&SetGet != 0:
		return b
	case store:
		return resp.AppendOK(b)
	}
	return resp.AppendNull(b)
}

func (m *Machine) setNX(rest body, b []byte) []byte {
	key, value, ok := rest.pair()
	if !ok {
		return resp.AppendError(b, errMalformed)
	}
	if _, exists := m.pairs.get(key); exists {
		return resp.AppendInt(b, 0)
	}
	m.pairs.set(key, value, 0)
	return resp.AppendInt(b, 1)
}

func (m *Machine) getDel(rest body, b []byte, wanted bool) []byte {
	key, ok := rest.key()
	if !ok {
		return resp.AppendError(b, errMalformed)
	}
	old, exists := m.pairs.get(key)
	if old.size() > MaxReply {
		return appendBigReply(b, old.size())
	}
	if wanted {
		b = m.appendValue(b, old, exists)
	}
	m.pairs.delete(key)
	return b
}

func (m *Machine) mset(rest body, b []byte) []byte {
	if n, ok := rest.strings(); !ok || n%2 != 0 {
		return resp.AppendError(b, errMalformed)
	}
	m.storeAll(rest)
	return resp.AppendOK(b)
}

func (m *Machine) storeAll(rest body) {
	for len(rest) > 0 {
		key, _ := rest.next()
		value, _ := rest.next()
		m.pairs.set(key, value, 0)
	}
}

func (m *Machine) msetNX(rest body, b []byte) []byte {
	if n, ok := rest.strings(); !ok || n%2 != 0 {
		return resp.AppendError(b, errMalformed)
	}
	for walk := rest; len(walk) > 0; {
		key, _ := walk.next()
		walk.next()
		if _, exists := m.pairs.get(key); exists {
			return resp.AppendInt(b, 0)
		}
	}
	m.storeAll(rest)
	return resp.AppendInt(b, 1)
}

// appendMax is APPEND with the limit that the member had that received it. The limit travels in the
// command because members may differ in theirs, and must all do the same.
func (m *Machine) appendMax(rest body, b []byte) []byte {
	limit, ok := rest.uvarint()
	if !ok {
		return resp.AppendError(b, errMalformed)
	}
	return m.append(rest, b, min(limit, MaxValue))
}

func (m *Machine) append(rest body, b []byte, limit uint64) []byte {
	key, tail, ok := rest.pair()
	if !ok {
		return resp.AppendError(b, errMalformed)
	}
	old, exists := m.pairs.get(key)
	switch size := old.size() + len(tail); {
	case uint64(size) > limit && limit == MaxValue:
		return resp.AppendError(b, errTooLong)
	case uint64(size) > limit:
		return resp.AppendError(b, fmt.Sprintf(errTooLarge, size, limit))
	case !exists:
		m.pairs.set(key, tail, 0)
		return resp.AppendInt(b, int64(size))
	}
	return resp.AppendInt(b, int64(m.pairs.append(key, tail)))
}

func (m *Machine) incrBy(rest body, b []byte) []byte {
	key, ok := rest.next()
	if !ok {
		return resp.AppendError(b, errMalformed)
	}
	delta, ok := rest.varint()
	if !ok || len(rest) != 0 {
		return resp.AppendError(b, errMalformed)
	}
	var v int64
	old := m.pairs.find(key)
	if old.buf != nil {
		// a large one is empty here, and no number
		if v, ok = ParseInt(m.pairs.valueOf(old).small); !ok {
			return resp.AppendError(b, errNotInt)
		}
	}
	if delta > 0 && v > math.MaxInt64-delta || delta < 0 && v < math.MinInt64-delta {
		return resp.AppendError(b, errOverflow)
	}
	v += delta
	digits := strconv.AppendInt(m.number[:0], v, 10)
	m.pairs.replace(key, digits, integerRoom-len(digits), old)
	return resp.AppendInt(b, v)
}

func (m *Machine) del(rest body, b []byte) []byte {
	if _, ok := rest.strings(); !ok {
		return resp.AppendError(b, errMalformed)
	}
	deleted := int64(0)
	for len(rest) > 0 {
		key, _ := rest.next()
		if m.pairs.delete(key) {
			deleted++
		}
	}
	return resp.AppendInt(b, deleted)
}

func (m *Machine) appendValue(b []byte, v value, exists bool) []byte {
	switch {
	case !exists:
		return resp.AppendNull(b)
	case v.large != nil:
		return resp.AppendKept(b, m.pairs.pins.pin(v.large, 0, v.large.size))
	}
	return resp.AppendBulk(b, v.small)
}

func appendBigReply(b []byte, size int) []byte {
	return resp.AppendError(b, fmt.Sprintf(errBigReply, size, MaxReply))
}

// Execute carries out one command outside any log and returns its reply: for tests of what sits on
// top.
func Execute(m *Machine, cmd []byte) []byte {
	defer m.lockView().unlock()
	defer m.publish()
	return m.execute(cmd, nil, true)
}
