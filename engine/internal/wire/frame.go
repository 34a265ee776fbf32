package wire

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

// Version is the protocol version that a Hello carries, for releases that know of
// one alone. VersionMin and VersionMax are the versions that this one speaks; two
// replicas without a common one refuse each other.
const (
	Version    = 2
	VersionMin = 2
	VersionMax = 2
)

// Bits of Hello.features.
const (
	// The sender tells the id of its data directory, and takes part in foundings.
	FeatureDirectories = 1 << 0
	// The sender knows the frames of snapshots; nobody else is sent one.
	FeatureSnapshots = 1 << 1
	// FeatureChanges: it reads every part of a configuration, also of one that is joint.
	FeatureChanges = 1 << 2
	// FeatureWitness: it knows that a member may be a witness.
	FeatureWitness = 1 << 3
	// FeatureDatagrams: it takes heartbeats out of datagrams to a group, and says in its answers
	// which it has heard.
	FeatureDatagrams = 1 << 4
)

// FrontMax bounds the bytes that AppendFront writes.
const FrontMax = 20*11 + 16

// ErrFrame reports bytes that are not a frame. The checksum was right, so the
// sender is not a replica of this protocol version.
var ErrFrame = errors.New("wire: malformed frame")

// ErrSnapshot reports a frame of the transfer of a snapshot.
var ErrSnapshot = errors.New("wire: a frame of a snapshot, and no message of the core")

// Field numbers of Frame; see wire.proto.
const (
	fieldType = iota + 1
	fieldFrom
	fieldTo
	fieldTerm
	fieldPrevIndex
	fieldPrevTerm
	fieldEntryTerm
	fieldCount
	fieldCommit
	fieldMatch
	fieldReject
	fieldHintIndex
	fieldHintTerm
	fieldRound
	fieldForce
	fieldLastResort
	fieldRun
	fieldFull // never beside a run, which ends its frame
	fieldOffer
	fieldChunk
	fieldAnswer
	fieldFloor // of heartbeats, which have no run, to witnesses
	fieldFloorMember
	fieldHeard // of answers to heartbeats
)

// AppendFront appends the fields of m, without a run, and returns the
// extended slice. A run is added by AppendRunFront and the run's own bytes.
func AppendFront(dst []byte, m *raft.Message) []byte {
	dst = appendUint(dst, fieldType, uint64(m.Type))
	dst = appendUint(dst, fieldFrom, m.From)
	dst = appendUint(dst, fieldTo, m.To)
	dst = appendUint(dst, fieldTerm, m.Term)
	dst = appendUint(dst, fieldPrevIndex, m.PrevIndex)
	dst = appendUint(dst, fieldPrevTerm, m.PrevTerm)
	dst = appendUint(dst, fieldEntryTerm, m.EntryTerm)
	dst = appendUint(dst, fieldCount, uint64(m.Count))
	dst = appendUint(dst, fieldCommit, m.Commit)
	dst = appendUint(dst, fieldMatch, m.Match)
	dst = appendUint(dst, fieldReject, flag(m.Reject))
	dst = appendUint(dst, fieldHintIndex, m.HintIndex)
	dst = appendUint(dst, fieldHintTerm, m.HintTerm)
	dst = appendUint(dst, fieldRound, m.Round)
	dst = appendUint(dst, fieldForce, flag(m.Force))
	dst = appendUint(dst, fieldLastResort, flag(m.LastResort))
	dst = appendUint(dst, fieldFull, flag(m.Full))
	dst = appendUint(dst, fieldFloor, m.Floor)
	dst = appendUint(dst, fieldFloorMember, m.FloorMember)
	return appendUint(dst, fieldHeard, m.Heard)
}

// AppendRunFront appends the tag and length of the run field for a run of n
// bytes; the caller's n bytes must follow and end the frame.
func AppendRunFront(dst []byte, n int) []byte {
	dst = protowire.AppendTag(dst, fieldRun, protowire.BytesType)
	return protowire.AppendVarint(dst, uint64(n))
}

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func appendUint(dst []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst // proto3: zero is not written
	}
	dst = protowire.AppendTag(dst, field, protowire.VarintType)
	return protowire.AppendVarint(dst, v)
}

// Parse reads a frame's fields into m and returns its run, which aliases b and
// ends it (nil when the frame has none). Unknown fields are skipped. It returns
// ErrSnapshot, bare, for a frame that ParseSnapshot reads. It returns ErrFrame,
// wrapped, for anything that is not a Frame message, for one whose run does not
// end it, and for numbers too large for their place.
func Parse(b []byte, m *raft.Message) (run []byte, err error) {
	*m = raft.Message{}
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, fmt.Errorf("%w: tag: %v", ErrFrame, protowire.ParseError(n))
		}
		b = b[n:]
		switch {
		case kind == protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return nil, fmt.Errorf("%w: field %d: %v", ErrFrame, field, protowire.ParseError(n))
			}
			b = b[n:]
			if !set(m, int(field), v) {
				return nil, fmt.Errorf("%w: field %d: %d is out of range", ErrFrame, field, v)
			}
		case kind == protowire.BytesType && field >= fieldOffer && field <= fieldAnswer:
			return nil, ErrSnapshot
		case kind == protowire.BytesType && field == fieldRun:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return nil, fmt.Errorf("%w: run: %v", ErrFrame, protowire.ParseError(n))
			}
			if b, run = b[n:], v; len(b) > 0 {
				return nil, fmt.Errorf("%w: %d bytes behind the run", ErrFrame, len(b))
			}
		default:
			n := protowire.ConsumeFieldValue(field, kind, b)
			if n < 0 {
				return nil, fmt.Errorf("%w: field %d: %v", ErrFrame, field, protowire.ParseError(n))
			}
			b = b[n:]
		}
	}
	return run, nil
}

// set puts a number in its place; false when it does not fit. Terms, indices and rounds
// have the core's bound; who a member is does not.
func set(m *raft.Message, field int, v uint64) bool {
	switch field {
	case fieldType:
		m.Type = raft.MessageType(v)
		return v <= math.MaxUint8
	case fieldCount:
		m.Count = uint32(v)
		return v <= math.MaxUint32
	case fieldFrom:
		m.From = v
	case fieldTo:
		m.To = v
	case fieldReject:
		m.Reject = v != 0
	case fieldForce:
		m.Force = v != 0
	case fieldLastResort:
		m.LastResort = v != 0
	case fieldFull:
		m.Full = v != 0
	case fieldFloorMember:
		m.FloorMember = v
	default:
		if place := number(m, field); place != nil {
			*place = v
			return v < raft.NumberMax
		}
	}
	return true
}

// number is where a term, an index or a round goes; nil for fields of tomorrow.
func number(m *raft.Message, field int) *uint64 {
	switch field {
	case fieldTerm:
		return &m.Term
	case fieldPrevIndex:
		return &m.PrevIndex
	case fieldPrevTerm:
		return &m.PrevTerm
	case fieldEntryTerm:
		return &m.EntryTerm
	case fieldCommit:
		return &m.Commit
	case fieldMatch:
		return &m.Match
	case fieldHintIndex:
		return &m.HintIndex
	case fieldHintTerm:
		return &m.HintTerm
	case fieldRound:
		return &m.Round
	case fieldFloor:
		return &m.Floor
	case fieldHeard:
		return &m.Heard
	}
	return nil
}
