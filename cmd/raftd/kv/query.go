package kv

import "github.com/ringraft/ringraft/netio/resp"

// Read answers one query between two batches, appending the reply to dst. It changes nothing.
func (m *Machine) Read(query, dst []byte) []byte {
	if len(query) == 0 {
		return resp.AppendError(dst, errMalformed)
	}
	rest := body(query[1:])
	switch Op(query[0]) {
	case OpGet:
		if key, ok := rest.key(); ok {
			value, exists := m.pairs.get(key)
			return appendValue(dst, value, exists)
		}
	case OpMGet:
		if n, ok := rest.strings(); ok {
			return m.mget(rest, resp.AppendArray(dst, n))
		}
	case OpStrlen:
		if key, ok := rest.key(); ok {
			value, _ := m.pairs.get(key)
			return resp.AppendInt(dst, int64(len(value)))
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
			return resp.AppendInt(dst, int64(len(m.pairs.table)))
		}
	case OpDigest:
		if len(rest) == 0 {
			return m.digest(dst)
		}
	}
	return resp.AppendError(dst, errMalformed)
}

func (m *Machine) mget(rest body, dst []byte) []byte {
	for len(rest) > 0 {
		key, _ := rest.next()
		value, exists := m.pairs.get(key)
		dst = appendValue(dst, value, exists)
	}
	return dst
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
	value, _ := m.pairs.get(key)
	size := int64(len(value))
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
	return resp.AppendBulk(dst, value[start:end+1])
}

// digest replies with a map: the newest applied command, the number of keys, the digest of all
// pairs. Two replicas that report the same applied index must report the same digest.
func (m *Machine) digest(dst []byte) []byte {
	var d digest
	for key, buf := range m.pairs.table {
		d.add(key, valueOf(buf, len(key)))
	}
	dst = resp.AppendMap(dst, 3)
	dst = resp.AppendInt(resp.AppendBulkString(dst, "applied_index"), int64(m.applied))
	dst = resp.AppendInt(resp.AppendBulkString(dst, "keys"), int64(len(m.pairs.table)))
	return resp.AppendBulkString(resp.AppendBulkString(dst, "digest"), d.String())
}
