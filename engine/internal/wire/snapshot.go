package wire

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

// SnapshotKind says what a frame of a transfer is.
type SnapshotKind uint8

// The kinds, in the order of their fields in Frame.
const (
	Offer  SnapshotKind = iota + 1 // asks which chunk is wanted
	Chunk                          // brings one
	Answer                         // says which is wanted next
)

// Snapshot is a frame of the transfer of a snapshot. It is no message of the core, and
// behind the fields of Frame it is one nested message:
//
//	from, to, term, round │ 9a 01 n SnapshotOffer  index, term, digest, cluster, bytes, chunks,
//	                      │                        configuration
//	                      │ a2 01 n SnapshotChunk  index, term, digest, chunk, offset, data
//	                      │ aa 01 n SnapshotAnswer index, term, digest, chunk, offset, done,
//	                      │                        refused
//
// The data stands last, as a run does, and is sent from where it lies.
type Snapshot struct {
	Kind     SnapshotKind
	From, To uint64
	Term     uint64 // of the leader that sends it, or that is answered
	Round    uint64 // of the offer that is made, answered or followed by chunks

	Index, LastTerm uint64 // of the snapshot's last entry
	Digest          uint64

	Cluster, Bytes, Chunks uint64 // Offer
	// Offer to a witness: the configuration, as the snapshot's file has it. It aliases the
	// frame that was parsed, and is at most configurationMax bytes.
	Configuration []byte
	Chunk, Offset uint64 // Chunk: its place; Answer: the one that is wanted
	Data          []byte // Chunk; aliases the frame that was parsed
	Done          bool   // Answer: nothing is wanted any more
	Refused       string // Answer: why, in words; "" when it is not
}

// refusedMax bounds the words of a refusal.
const refusedMax = 1 << 10

// configurationMax bounds the configuration in an offer: 16 members, with names for hosts.
const configurationMax = 64 << 10

// Field numbers of the nested messages; see wire.proto.
const (
	nestedIndex = iota + 1
	nestedTerm
	nestedDigest
	nestedFourth  // cluster, chunk
	nestedFifth   // bytes, offset
	nestedSixth   // chunks, data, done
	nestedSeventh // refused, configuration
)

// AppendSnapshot appends the frame of s up to its data, which must follow and end the
// frame.
func AppendSnapshot(dst []byte, s *Snapshot) []byte {
	dst = appendUint(dst, fieldFrom, s.From)
	dst = appendUint(dst, fieldTo, s.To)
	dst = appendUint(dst, fieldTerm, s.Term)
	dst = appendUint(dst, fieldRound, s.Round)
	var room [128]byte
	b := appendUint(room[:0], nestedIndex, s.Index)
	b = appendUint(b, nestedTerm, s.LastTerm)
	b = appendUint(b, nestedDigest, s.Digest)
	n := 0
	switch s.Kind {
	case Offer:
		b = appendUint(b, nestedFourth, s.Cluster)
		b = appendUint(b, nestedFifth, s.Bytes)
		b = appendUint(b, nestedSixth, s.Chunks)
		if len(s.Configuration) > 0 {
			b = protowire.AppendTag(b, nestedSeventh, protowire.BytesType)
			b = protowire.AppendBytes(b, s.Configuration)
		}
	case Chunk:
		b = appendUint(b, nestedFourth, s.Chunk)
		b = appendUint(b, nestedFifth, s.Offset)
		if n = len(s.Data); n > 0 {
			b = protowire.AppendTag(b, nestedSixth, protowire.BytesType)
			b = protowire.AppendVarint(b, uint64(n))
		}
	case Answer:
		b = appendUint(b, nestedFourth, s.Chunk)
		b = appendUint(b, nestedFifth, s.Offset)
		b = appendUint(b, nestedSixth, flag(s.Done))
		if s.Refused != "" {
			b = protowire.AppendTag(b, nestedSeventh, protowire.BytesType)
			b = protowire.AppendString(b, s.Refused[:min(len(s.Refused), refusedMax)])
		}
	default:
		panic(fmt.Sprintf("wire: a snapshot's frame of kind %d", s.Kind))
	}
	dst = protowire.AppendTag(dst, fieldOffer-1+protowire.Number(s.Kind), protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(len(b)+n))
	return append(dst, b...)
}

// ParseSnapshot reads a frame of a transfer into s, whose Data aliases b. Unknown fields
// are skipped. It returns ErrFrame, wrapped, for anything else, and for numbers too large
// for their place.
func ParseSnapshot(b []byte, s *Snapshot) error {
	*s = Snapshot{}
	err := fields(b, func(field protowire.Number, v uint64, data []byte) bool {
		switch field {
		case fieldFrom:
			s.From = v
		case fieldTo:
			s.To = v
		case fieldTerm:
			s.Term = v
		case fieldRound:
			s.Round = v
		case fieldOffer, fieldChunk, fieldAnswer:
			if s.Kind != 0 || data == nil {
				return false
			}
			s.Kind = SnapshotKind(field - fieldOffer + 1)
			return fields(data, s.nested) == nil
		case fieldRun:
			return false
		}
		return s.Term < raft.NumberMax
	})
	if err == nil && s.Kind == 0 {
		err = fmt.Errorf("%w: no snapshot", ErrFrame)
	}
	return err
}

// nested puts a field of the nested message in its place; false when it does not fit.
func (s *Snapshot) nested(field protowire.Number, v uint64, data []byte) bool {
	switch field {
	case nestedIndex:
		s.Index = v
		return v < raft.NumberMax
	case nestedTerm:
		s.LastTerm = v
		return v < raft.NumberMax
	case nestedDigest:
		s.Digest = v
	case nestedFourth:
		if s.Kind == Offer {
			s.Cluster = v
		} else {
			s.Chunk = v
		}
	case nestedFifth:
		if s.Kind == Offer {
			s.Bytes = v
		} else {
			s.Offset = v
		}
		return v <= math.MaxInt64
	case nestedSixth:
		switch s.Kind {
		case Offer:
			s.Chunks = v
		case Chunk:
			s.Data = data
		case Answer:
			s.Done = v != 0
		}
	case nestedSeventh:
		switch s.Kind {
		case Offer:
			s.Configuration = data
			return data != nil && len(data) <= configurationMax
		case Answer:
			s.Refused = string(data[:min(len(data), refusedMax)])
		}
	}
	return true
}

// fields calls f for every number and every string of bytes in a message, until it
// returns false.
func fields(b []byte, f func(field protowire.Number, v uint64, data []byte) bool) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: tag: %v", ErrFrame, protowire.ParseError(n))
		}
		b = b[n:]
		var v uint64
		var data []byte
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			data, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return fmt.Errorf("%w: field %d: %v", ErrFrame, field, protowire.ParseError(n))
		}
		b = b[n:]
		if (kind == protowire.VarintType || kind == protowire.BytesType) && !f(field, v, data) {
			return fmt.Errorf("%w: field %d is not what it should be", ErrFrame, field)
		}
	}
	return nil
}
