// Package kv is the replicated state machine of raftd: string keys with string values, as Redis has
// them.
//
// A command is encoded once by the server that received it and decoded by every replica, so the
// encoding is part of the log and never changes meaning: an op keeps its number for ever.
//
//	command  | op | body |                       op is one byte, body depends on it
//	string   | length uvarint | bytes |          every string of a body has this form
//
//	SET                  | 1 | flags | key | value |         flags: 1 NX, 2 XX, 4 GET, others 0
//	INCRBY               | 6 | key | delta varint |          also INCR, DECR and DECRBY
//	SETNX, APPEND        | op | key | value |
//	APPEND with a limit  | 10 | limit uvarint | key | value |
//	GETDEL, GET, STRLEN, TYPE        | op | key |
//	MSET, MSETNX         | op | key | value | key | value | … to the end, at least one pair
//	DEL, MGET, EXISTS    | op | key | key | … to the end, at least one key
//	GETRANGE             | op | key | start varint | end varint |
//	FLUSHALL, DBSIZE, DIGEST         | op |
//
// There is no count of strings: it would be one more number that could disagree with the bytes. A
// command whose bytes do not fit its form exactly gets an error reply on every replica alike and
// changes nothing.
package kv

import "encoding/binary"

// Op names a command in its encoded form.
type Op byte

// Commands that change the state. Zero is not an op, so that zeroed bytes are never a command.
const (
	OpSet      Op = 1
	OpSetNX    Op = 2
	OpGetDel   Op = 3
	OpMSet     Op = 4
	OpAppend   Op = 5 // in old logs; see OpAppendMax
	OpIncrBy   Op = 6
	OpDel      Op = 7
	OpFlushAll Op = 8
	OpMSetNX   Op = 9
	// OpAppendMax is APPEND that builds no longer value than its limit says.
	OpAppendMax Op = 10
)

// Queries, which change nothing. They travel in reads, never in the log.
const (
	OpGet      Op = 64
	OpMGet     Op = 65
	OpStrlen   Op = 66
	OpExists   Op = 67
	OpType     Op = 68
	OpDBSize   Op = 69
	OpDigest   Op = 70
	OpGetRange Op = 71
)

// Flags of SET.
const (
	SetNX  byte = 1 // only when the key does not exist
	SetXX  byte = 2 // only when the key exists
	SetGet byte = 4 // reply with the old value
)

// AppendSet appends an encoded SET.
func AppendSet(dst []byte, flags byte, key, value []byte) []byte {
	dst = append(dst, byte(OpSet), flags)
	return appendString(appendString(dst, key), value)
}

// AppendAppend appends an encoded APPEND that builds no value longer than limit.
func AppendAppend(dst []byte, limit int, key, tail []byte) []byte {
	dst = binary.AppendUvarint(append(dst, byte(OpAppendMax)), uint64(limit))
	return appendString(appendString(dst, key), tail)
}

// AppendIncrBy appends an encoded INCRBY.
func AppendIncrBy(dst, key []byte, delta int64) []byte {
	dst = appendString(append(dst, byte(OpIncrBy)), key)
	return binary.AppendVarint(dst, delta)
}

// AppendGetRange appends an encoded GETRANGE query.
func AppendGetRange(dst, key []byte, start, end int64) []byte {
	dst = appendString(append(dst, byte(OpGetRange)), key)
	return binary.AppendVarint(binary.AppendVarint(dst, start), end)
}

// AppendKey appends a command of one key and nothing else, such as GET.
func AppendKey(dst []byte, op Op, key []byte) []byte {
	return appendString(append(dst, byte(op)), key)
}

// Append appends a command whose body is a row of strings (or empty), such as MSET and DEL.
func Append(dst []byte, op Op, strings ...[]byte) []byte {
	dst = append(dst, byte(op))
	for _, s := range strings {
		dst = appendString(dst, s)
	}
	return dst
}

func appendString(dst, s []byte) []byte {
	if len(s) < 0x80 {
		dst = append(dst, byte(len(s)))
	} else {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
	}
	return append(dst, s...)
}

// body walks the rest of a command. Its methods return ok = false on bytes that are no such thing,
// and then the place no longer matters.
type body []byte

// next takes one string, which aliases the command.
func (b *body) next() (s []byte, ok bool) {
	p := *b
	if len(p) == 0 {
		return nil, false
	}
	n, w := uint64(p[0]), 1
	if n >= 0x80 {
		n, w = binary.Uvarint(p)
		if w <= 0 || w > 1 && n < 1<<(7*(w-1)) { // cut off, too large, or longer than needed
			return nil, false
		}
	}
	if n > uint64(len(p)-w) {
		return nil, false
	}
	end := w + int(n)
	*b = p[end:]
	return p[w:end:end], true
}

// uvarint takes one unsigned number.
func (b *body) uvarint() (v uint64, ok bool) {
	v, w := binary.Uvarint(*b)
	if w <= 0 {
		return 0, false
	}
	*b = (*b)[w:]
	return v, true
}

// varint takes one signed number.
func (b *body) varint() (v int64, ok bool) {
	v, w := binary.Varint(*b)
	if w <= 0 {
		return 0, false
	}
	*b = (*b)[w:]
	return v, true
}

// strings counts the strings up to the end. It leaves the place where it is, so that a command is
// checked whole before its first change is made.
func (b body) strings() (n int, ok bool) {
	for len(b) > 0 {
		if _, ok = b.next(); !ok {
			return 0, false
		}
		n++
	}
	return n, n > 0
}

// key takes the one key that is the whole body.
func (b body) key() (key []byte, ok bool) {
	key, ok = b.next()
	return key, ok && len(b) == 0
}

// pair takes the key and value that are the whole body.
func (b body) pair() (key, value []byte, ok bool) {
	if key, ok = b.next(); !ok {
		return nil, nil, false
	}
	value, ok = b.next()
	return key, value, ok && len(b) == 0
}
