package kv

// Read answers one query between two batches, appending the reply to dst. It changes nothing.
func (m *Machine) Read(query, dst []byte) []byte {
	if len(query) == 0 {
		return append(dst, errMalformed...)
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
			return m.mget(rest, appendArray(dst, n))
		}
	case OpStrlen:
		if key, ok := rest.key(); ok {
			value, _ := m.pairs.get(key)
			return appendInt(dst, int64(len(value)))
		}
	case OpExists:
		if _, ok := rest.strings(); ok {
			return m.exists(rest, dst)
		}
	case OpType:
		if key, ok := rest.key(); ok {
			if _, exists := m.pairs.get(key); exists {
				return append(dst, "+string\r\n"...)
			}
			return append(dst, "+none\r\n"...)
		}
	case OpGetRange:
		return m.getRange(rest, dst)
	case OpDBSize:
		if len(rest) == 0 {
			return appendInt(dst, int64(len(m.pairs.table)))
		}
	case OpDigest:
		if len(rest) == 0 {
			return m.digest(dst)
		}
	}
	return append(dst, errMalformed...)
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
	found := int64(0)
	for len(rest) > 0 {
		key, _ := rest.next()
		if _, exists := m.pairs.get(key); exists {
			found++
		}
	}
	return appendInt(dst, found)
}

// getRange counts negative offsets from the end; both ends belong to the range.
func (m *Machine) getRange(rest body, dst []byte) []byte {
	key, ok := rest.next()
	if !ok {
		return append(dst, errMalformed...)
	}
	start, ok1 := rest.varint()
	end, ok2 := rest.varint()
	if !ok1 || !ok2 || len(rest) != 0 {
		return append(dst, errMalformed...)
	}
	value, _ := m.pairs.get(key)
	size := int64(len(value))
	if start < 0 && end < 0 && start > end {
		return append(dst, replyEmpty...)
	}
	if start < 0 {
		start = max(start+size, 0)
	}
	if end < 0 {
		end = max(end+size, 0)
	}
	end = min(end, size-1)
	if start > end || size == 0 {
		return append(dst, replyEmpty...)
	}
	return appendBulk(dst, value[start:end+1])
}

// digest replies with names and values in turn: the newest applied command, the number of keys, the digest of all
// pairs. Two replicas that report the same applied index must report the same digest.
func (m *Machine) digest(dst []byte) []byte {
	var d digest
	for key, buf := range m.pairs.table {
		d.add(key, valueOf(buf, len(key)))
	}
	dst = appendArray(dst, 6)
	dst = appendInt(appendBulk(dst, []byte("applied_index")), int64(m.applied))
	dst = appendInt(appendBulk(dst, []byte("keys")), int64(len(m.pairs.table)))
	return appendBulk(appendBulk(dst, []byte("digest")), []byte(d.String()))
}
