package kv

import "github.com/ringraft/ringraft/netio/resp"

// Read answers one query between two batches, appending the reply to dst. It changes nothing.
func (m *Machine) Read(query, dst []byte) []byte {
	if len(query) == 0 {
		return resp.AppendError(dst, errMalformed)
	}
	defer m.lockView().unlock()
	rest := body(query[1:])
	switch Op(query[0]) {
	case OpGet:
		if key, ok := rest.key(); ok {
			v, exists := m.pairs.get(key)
			if v.size() > MaxReply {
				return appendBigReply(dst, v.size())
			}
			return m.appendValue(dst, v, exists)
		}
	case OpMGet:
		if n, ok := rest.strings(); ok {
			return m.mget(rest, n, dst)
		}
	case OpStrlen:
		if key, ok := rest.key(); ok {
			v, _ := m.pairs.get(key)
			return resp.AppendInt(dst, int64(v.size()))
		}
	case OpExists:
		if _, ok := rest.strings(); ok {
			return m.exists(rest, dst)
		}
	case OpType:
		if key, ok := rest.key(); ok {
			if _, exists := m.pairs.get(key); exists {
				return resp.AppendSimple(dst, "string")
			}
			return resp.AppendSimple(dst, "none")
		}
	case OpGetRange:
		return m.getRange(rest, dst)
	case OpDBSize:
		if len(rest) == 0 {
			return resp.AppendInt(dst, int64(m.pairs.count()))
		}
	case OpDigest:
		if len(rest) == 0 {
			return m.digest(dst)
		}
	}
	return resp.AppendError(dst, errMalformed)
}

// stringRoom is what a string of a reply takes beside its bytes, at most.
const stringRoom = len("$536870912\r\n\r\n")

// mget knows how long its reply is before it builds it. One with many bytes of small values is kept
// apart: it is copied once, and not on its whole way through the engine.
func (m *Machine) mget(rest body, n int, dst []byte) []byte {
	total, inline, found := 0, 0, m.found[:0]
	for len(rest) > 0 {
		key, _ := rest.next()
		v, exists := m.pairs.get(key)
		total += v.size() + stringRoom
		inline += len(v.small) + stringRoom
		found = append(found, foundValue{v, exists})
	}
	defer m.forgetFound(found)
	if total > MaxReply {
		return appendBigReply(dst, total)
	}
	out, apart := dst, inline > replyApart
	if apart {
		out = make([]byte, 0, inline+stringRoom)
	}
	out = resp.AppendArray(out, n)
	for _, f := range found {
		out = m.appendValue(out, f.value, f.exists)
	}
	if apart {
		return resp.AppendKeptReply(dst, m.pairs.pins.keep(out))
	}
	return out
}

// foundValue is what a look-up found.
type foundValue struct {
	value
	exists bool
}

// foundKept is how many places for values that were found are kept for the next query.
const foundKept = 1 << 10

// forgetFound keeps the list for the next query, without what it refers to.
func (m *Machine) forgetFound(found []foundValue) {
	clear(found)
	if m.found = found[:0]; cap(found) > foundKept {
		m.found = nil
	}
}

// exists counts a key as often as it is named, as Redis does.
func (m *Machine) exists(rest body, dst []byte) []byte {
	n := int64(0)
	for len(rest) > 0 {
		key, _ := rest.next()
		if _, exists := m.pairs.get(key); exists {
			n++
		}
	}
	return resp.AppendInt(dst, n)
}

// getRange counts negative offsets from the end; both ends belong to the range.
func (m *Machine) getRange(rest body, dst []byte) []byte {
	key, ok := rest.next()
	if !ok {
		return resp.AppendError(dst, errMalformed)
	}
	start, ok1 := rest.varint()
	end, ok2 := rest.varint()
	if !ok1 || !ok2 || len(rest) != 0 {
		return resp.AppendError(dst, errMalformed)
	}
	v, _ := m.pairs.get(key)
	size := int64(v.size())
	if start < 0 && end < 0 && start > end {
		return resp.AppendBulk(dst, nil)
	}
	if start < 0 {
		start = max(start+size, 0)
	}
	if end < 0 {
		end = max(end+size, 0)
	}
	end = min(end, size-1)
	if start > end || size == 0 {
		return resp.AppendBulk(dst, nil)
	}
	return m.appendRange(dst, v, int(start), int(end)+1)
}

// appendRange appends the bytes of a value from start to end.
func (m *Machine) appendRange(dst []byte, v value, start, end int) []byte {
	switch {
	case v.large == nil:
		return resp.AppendBulk(dst, v.small[start:end])
	case end-start > MaxReply:
		return appendBigReply(dst, end-start)
	case end-start >= largeMin:
		return resp.AppendKept(dst, m.pairs.pins.pin(v.large, start, end))
	}
	dst = resp.AppendBulkHeader(dst, end-start)
	for _, part := range v.large.parts(nil, start, end) {
		dst = append(dst, part...)
	}
	return append(dst, '\r', '\n')
}

// digest replies with a map: the newest applied command, the number of keys, the digest of all
// pairs. Two replicas that report the same applied index must report the same digest.
func (m *Machine) digest(dst []byte) []byte {
	dst = resp.AppendMap(dst, 3)
	dst = resp.AppendInt(resp.AppendBulkString(dst, "applied_index"), int64(m.applied))
	dst = resp.AppendInt(resp.AppendBulkString(dst, "keys"), int64(m.pairs.count()))
	return resp.AppendBulkString(resp.AppendBulkString(dst, "digest"), m.pairs.sum.String())
}

// SmallReply is the most bytes of a reply that says no more than how it went.
const SmallReply = 1 << 10

// ReplyMost is the most bytes that the reply to a command or query of so many strings has, without
// the large values, which are not copied.
func ReplyMost(cmd []byte, strings int) int {
	if len(cmd) == 0 {
		return SmallReply
	}
	switch Op(cmd[0]) {
	case OpGet, OpGetRange, OpGetDel:
		return largeMin + stringRoom
	case OpSet:
		if len(cmd) > 1 && cmd[1]&SetGet != 0 {
			return largeMin + stringRoom
		}
	case OpMGet:
		return min(strings*(largeMin+stringRoom), MaxReply)
	}
	return SmallReply
}
