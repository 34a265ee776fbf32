// Package record is the one encoded form of log entries. The leader encodes
// an entry once; store, journal and frames carry the same bytes.
//
//	EntryRun   08 term  10 first_index   1a len entry   1a len entry   …
//	           `------ run header -----´ `--- records: what a store holds --´
//
// Protobuf fields concatenate, so any slice of records on entry boundaries,
// with a run header in front, is itself a valid EntryRun. A plain command
// costs four bytes more than its data (1a len 12 len), six from 128 bytes on.
package record

//go:generate protoc --go_out=. --go_opt=paths=source_relative entry.proto

import (
	"errors"
	"fmt"
	"math/bits"

	"google.golang.org/protobuf/encoding/protowire"
)

// Kind is what an entry is for.
type Kind uint8

// Kinds; see entry.proto. An entry of any other kind is refused with a *KindError.
const (
	Command Kind = iota // data for the state machine
	NoOp                // a new leader's first entry
	Config              // data is a membership
)

// Entry is one decoded entry. Data aliases the bytes it was parsed from.
type Entry struct {
	Data                    []byte
	Session, Request, Clock uint64
	Kind                    Kind
}

// ErrMalformed reports bytes that are not entry records.
var ErrMalformed = errors.New("record: malformed entry")

// KindError: an entry is of a kind that this release does not know, so a later one
// wrote it. Who passes over it parts from the replicas that do not.
type KindError struct{ Kind uint64 }

func (e *KindError) Error() string {
	return fmt.Sprintf("its kind is %d, which this release does not know: upgrade this member",
		e.Kind)
}

// RunHeaderMax bounds what AppendRunHeader adds.
const RunHeaderMax = 22

const (
	tagTerm    = 1<<3 | byte(protowire.VarintType)
	tagFirst   = 2<<3 | byte(protowire.VarintType)
	tagEntry   = 3<<3 | byte(protowire.BytesType)
	tagKind    = 1<<3 | byte(protowire.VarintType)
	tagData    = 2<<3 | byte(protowire.BytesType)
	tagSession = 3<<3 | byte(protowire.VarintType)
	tagRequest = 4<<3 | byte(protowire.VarintType)
	tagClock   = 5<<3 | byte(protowire.VarintType)
)

func sizeVarint(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// SizeCommand is the size of the record of a command of n bytes.
func SizeCommand(n int) int {
	inner := 0
	if n > 0 {
		inner = 1 + sizeVarint(uint64(n)) + n
	}
	return 1 + sizeVarint(uint64(inner)) + inner
}

// AppendCommand appends the record of a plain command.
func AppendCommand(dst, data []byte) []byte {
	n := len(data)
	if n == 0 {
		return append(dst, tagEntry, 0)
	}
	if n < 126 {
		dst = append(dst, tagEntry, byte(n+2), tagData, byte(n))
		return append(dst, data...)
	}
	dst = append(dst, tagEntry)
	dst = protowire.AppendVarint(dst, uint64(1+sizeVarint(uint64(n))+n))
	dst = append(dst, tagData)
	dst = protowire.AppendVarint(dst, uint64(n))
	return append(dst, data...)
}

// Append appends the record of any entry.
func Append(dst []byte, e *Entry) []byte {
	size := 0
	field := func(v uint64) {
		if v != 0 {
			size += 1 + sizeVarint(v)
		}
	}
	field(uint64(e.Kind))
	if n := len(e.Data); n > 0 {
		size += 1 + sizeVarint(uint64(n)) + n
	}
	field(e.Session)
	field(e.Request)
	field(e.Clock)
	dst = append(dst, tagEntry)
	dst = protowire.AppendVarint(dst, uint64(size))
	dst = appendField(dst, tagKind, uint64(e.Kind))
	if n := len(e.Data); n > 0 {
		dst = append(dst, tagData)
		dst = protowire.AppendVarint(dst, uint64(n))
		dst = append(dst, e.Data...)
	}
	dst = appendField(dst, tagSession, e.Session)
	dst = appendField(dst, tagRequest, e.Request)
	return appendField(dst, tagClock, e.Clock)
}

func appendField(dst []byte, tag byte, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendVarint(append(dst, tag), v)
}

// AppendRunHeader appends the fields that stand in front of a run's records.
func AppendRunHeader(dst []byte, term, first uint64) []byte {
	dst = appendField(dst, tagTerm, term)
	return appendField(dst, tagFirst, first)
}

// varint reads a varint; n = 0 when there is none. One and two bytes, nearly
// all lengths, stay inline in the callers' loops.
func varint(b []byte) (v uint64, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	if len(b) > 1 && b[1] < 0x80 {
		return uint64(b[0]&0x7f) | uint64(b[1])<<7, 2
	}
	v, n = protowire.ConsumeVarint(b)
	return v, max(n, 0)
}

// body returns the inner bytes of the first record of b and the record's size.
func body(b []byte) (inner []byte, size int, err error) {
	if len(b) == 0 || b[0] != tagEntry {
		return nil, 0, ErrMalformed
	}
	n, k := varint(b[1:])
	if k == 0 || n > uint64(len(b)-1-k) {
		return nil, 0, ErrMalformed
	}
	size = 1 + k + int(n)
	return b[1+k : size : size], size, nil
}

// Skip returns the size of the first record of b.
func Skip(b []byte) (n int, err error) {
	_, n, err = body(b)
	return n, err
}

// Parse reads the first record of b into e, whose Data aliases b, and returns
// its size. Fields may stand in any order; unknown ones are skipped. What changes the
// meaning of an entry is therefore a kind, and never a field. The size of an entry of
// an unknown kind is returned beside its *KindError.
func Parse(b []byte, e *Entry) (n int, err error) {
	inner, n, err := body(b)
	if err != nil {
		return 0, err
	}
	*e = Entry{}
	if data, ok := plain(inner); ok {
		e.Data = data
		return n, nil
	}
	return n, parseFields(inner, e)
}

// plain returns the data of a plain command with nothing else, the usual entry.
func plain(inner []byte) (data []byte, ok bool) {
	if len(inner) > 2 && inner[0] == tagData {
		if size, k := varint(inner[1:]); k > 0 && size == uint64(len(inner)-1-k) {
			return inner[1+k:], true
		}
	}
	return nil, false
}

func parseFields(b []byte, e *Entry) error {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: %v", ErrMalformed, protowire.ParseError(n))
		}
		b = b[n:]
		switch {
		case num == 2 && kind == protowire.BytesType:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return fmt.Errorf("%w: data: %v", ErrMalformed, protowire.ParseError(n))
			}
			e.Data, b = v, b[n:]
		case kind == protowire.VarintType && num <= 5:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return fmt.Errorf("%w: field %d: %v", ErrMalformed, num, protowire.ParseError(n))
			}
			b = b[n:]
			if num == 1 && v > uint64(Config) {
				return &KindError{v}
			}
			e.set(int(num), v)
		default:
			n := protowire.ConsumeFieldValue(num, kind, b)
			if n < 0 {
				return fmt.Errorf("%w: field %d: %v", ErrMalformed, num, protowire.ParseError(n))
			}
			b = b[n:]
		}
	}
	return nil
}

func (e *Entry) set(field int, v uint64) {
	switch field {
	case 1:
		e.Kind = Kind(v)
	case 3:
		e.Session = v
	case 4:
		e.Request = v
	case 5:
		e.Clock = v
	}
}

// Count validates the record boundaries of b and returns how many there are.
func Count(b []byte) (entries int, err error) {
	for len(b) > 0 {
		n, err := Skip(b)
		if err != nil {
			return entries, err
		}
		b = b[n:]
		entries++
	}
	return entries, nil
}

// Scan is Count for bytes from elsewhere: what it accepts, Parse can read. It
// calls special, in order, with every entry that is not a command, and returns how
// many entries stand before the one that is refused. That of an unknown kind is refused
// with a *KindError.
func Scan(b []byte, special func(i int, e *Entry)) (entries int, err error) {
	for len(b) > 0 {
		inner, n, err := body(b)
		if err != nil {
			return entries, err
		}
		if _, ok := plain(inner); !ok {
			var e Entry // special may keep it, so it is allocated: not for every run
			if err := parseInto(inner, &e); err != nil {
				return entries, err
			}
			if e.Kind != Command {
				special(entries, &e)
			}
		}
		b = b[n:]
		entries++
	}
	return entries, nil
}

func parseInto(inner []byte, e *Entry) error {
	*e = Entry{}
	return parseFields(inner, e)
}

// SplitRun takes an EntryRun apart whose term and first index stand in front.
// records aliases b.
func SplitRun(b []byte) (term, first uint64, records []byte, err error) {
	for len(b) > 0 && (b[0] == tagTerm || b[0] == tagFirst) {
		v, n := varint(b[1:])
		if n == 0 {
			return 0, 0, nil, fmt.Errorf("%w: run header", ErrMalformed)
		}
		if b[0] == tagTerm {
			term = v
		} else {
			first = v
		}
		b = b[1+n:]
	}
	return term, first, b, nil
}
