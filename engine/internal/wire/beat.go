package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

// BeatSize is how many bytes a Beat has.
const BeatSize = 64

const beatVersion = 1

// Beat is a leader's heartbeat to all members that hear a group at once, as the payload of a
// datagram:
//
//	 0 version u8, zeros │ 8 cluster u64 │ 16 leader u64 │ 24 term u64 │ 32 round u64
//	40 commit u64 │ 48 last index u64 │ 56 number u64
//
// Integers are little endian. It is to nobody by name, carries no nonce and no floor, and proves
// nothing: see replica.Replica.Hear for what may come of it.
type Beat struct {
	Cluster, Leader, Term, Round, Commit, Last uint64
	Number                                     uint64 // of the leader's datagrams, from 1 on
}

// Append appends the bytes of the beat.
func (b *Beat) Append(dst []byte) []byte {
	dst = append(dst, beatVersion, 0, 0, 0, 0, 0, 0, 0)
	for _, n := range [...]uint64{b.Cluster, b.Leader, b.Term, b.Round, b.Commit, b.Last,
		b.Number} {
		dst = binary.LittleEndian.AppendUint64(dst, n)
	}
	return dst
}

// ParseBeat reads a beat. It returns ErrFrame, wrapped, for anything else, and for numbers out of
// the core's range.
func ParseBeat(p []byte) (b Beat, err error) {
	if len(p) != BeatSize || p[0] != beatVersion {
		return b, fmt.Errorf("%w: no beat", ErrFrame)
	}
	for i, to := range [...]*uint64{&b.Cluster, &b.Leader, &b.Term, &b.Round, &b.Commit, &b.Last,
		&b.Number} {
		*to = binary.LittleEndian.Uint64(p[8+8*i:])
	}
	if b.Leader == 0 || b.Term == 0 || b.Number == 0 ||
		max(b.Term, b.Round, b.Commit, b.Last, b.Number) >= raft.NumberMax {
		return Beat{}, fmt.Errorf("%w: a beat with numbers out of range", ErrFrame)
	}
	return b, nil
}

// BeatOf is the beat of a heartbeat that is the same to all members.
func BeatOf(cluster uint64, m *raft.Message, number uint64) Beat {
	return Beat{Cluster: cluster, Leader: m.From, Term: m.Term, Round: m.Round, Commit: m.Commit,
		Last: m.PrevIndex, Number: number}
}

// Message is the heartbeat that a beat says, to one of the members.
func (b *Beat) Message(to uint64) raft.Message {
	return raft.Message{Type: raft.Heartbeat, From: b.Leader, To: to, Term: b.Term,
		Round: b.Round, Commit: b.Commit, PrevIndex: b.Last}
}
