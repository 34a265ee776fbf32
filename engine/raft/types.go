// Package raft is the consensus core: elections, log matching, commitment and
// read rounds, as a step function over indices and terms.
//
// It never sees bytes, sequences, clocks, sockets or goroutines. Time is a
// tick count, randomness a seed. Each call appends effects to a buffer that
// the caller owns, in the order in which they must be carried out, and is not
// made again before they are.
//
// Where it leaves the thesis: a leader counts its own disk like any other
// (any quorum of durable positions commits, 10.2.1); an acknowledgement
// carries min(durable, verified); pre-vote (9.6), check-quorum and refusal of
// votes while a leader is heard (4.2.3) are always on.
package raft

import (
	"errors"

	"github.com/ringraft/ringraft/engine/raft/progress"
)

// Role is what a replica is in its term.
type Role uint8

// Roles. A pre-candidate asks whether it could win before it raises its term.
const (
	Follower Role = iota
	PreCandidate
	Candidate
	Leader
)

func (r Role) String() string {
	return [...]string{"follower", "pre-candidate", "candidate", "leader"}[r]
}

// MessageType is the kind of a message between cores.
type MessageType uint8

// Message types.
const (
	Append MessageType = iota + 1
	AppendAck
	Heartbeat
	HeartbeatAck
	PreVote
	PreVoteAck
	Vote
	VoteAck
	TimeoutNow
	messageTypes
)

func (t MessageType) String() string {
	if t == 0 || t >= messageTypes {
		return "unknown"
	}
	return [...]string{"", "append", "append-ack", "heartbeat", "heartbeat-ack",
		"pre-vote", "pre-vote-ack", "vote", "vote-ack", "timeout-now"}[t]
}

// Message is a verified header. It never carries bytes.
type Message struct {
	Type           MessageType
	From, To, Term uint64 // a PreVote carries the term it would campaign in

	// Append: the entry before the run. AppendAck that rejects: the same,
	// echoed. Vote and PreVote: the candidate's last entry. Heartbeat: the
	// leader's last index.
	PrevIndex, PrevTerm uint64
	// Append: one run of one term, PrevIndex+1 … PrevIndex+Count.
	EntryTerm uint64
	Count     uint32
	Commit    uint64 // Append, Heartbeat: the leader's commit
	Match     uint64 // AppendAck: durable and verified up to here

	Reject              bool
	HintIndex, HintTerm uint64 // rejecting AppendAck: where to look next
	Round               uint64 // Heartbeat, PreVote and their answers
	Force               bool   // Vote: leadership transfer
	LastResort          bool   // granted on probation
}

// Hard is the hard state: what must be durable before it is spoken of.
type Hard struct{ Term, Vote uint64 }

// TermRun is where a term's entries begin in the log.
type TermRun struct{ First, Term uint64 }

// Configuration is the membership that entry Index put in force.
type Configuration struct {
	Index  uint64
	Voters []uint64
}

// Options build a core over recovered state.
type Options struct {
	ID             uint64
	Config         Configuration
	Hard           Hard
	First, Last    uint64 // bounds of the log; First is 1 for a whole one
	Runs           []TermRun
	Commit         uint64 // known to be committed; may be behind
	HeartbeatTicks int
	ElectionTicks  int // shortest election timeout; the real one is random below twice that
	Seed           uint64
	Probation      bool // may have lost acknowledged entries at its end
}

// EffectKind is what an effect asks for.
type EffectKind uint8

// Effect kinds.
const (
	Mutate     EffectKind = iota + 1 // change the log or the hard state
	Send                             // a message leaves, at once or gated
	Commit                           // entries up to Index are committed
	ReadReady                        // reads up to Ctx may be answered at Index
	RoleChange                       // role, leader or term changed
	Peer                             // an order for a replication actor
)

// Source says where a mutation's entries come from.
type Source uint8

// Sources.
const (
	SourceNone      Source = iota // hard state or truncation alone
	SourceProposals               // the proposals being proposed
	SourceNoOp
	SourceConfig
	SourceFrame // the append being stepped, without its first Skip entries
)

// Effect is one thing to do. Fields beyond Kind belong to the kinds named.
type Effect struct {
	Kind EffectKind

	// Mutate: term and vote are Hard; after First-1 the log is these Count
	// entries of EntryTerm.
	Hard      Hard
	First     uint64
	Count     uint32
	EntryTerm uint64
	Source    Source
	Skip      uint32

	// Send. Gated: may leave only when the newest hard state is durable.
	Message Message
	Gated   bool

	Index uint64 // Commit, ReadReady
	Ctx   uint64 // ReadReady: this and every earlier context

	Role         Role // RoleChange
	Leader, Term uint64

	Member uint64 // Peer: work in Mode from Next; the member has Match
	Mode   progress.Mode
	Next   uint64
	Match  uint64
}

// Effects is the caller's buffer; it is reused.
type Effects struct{ List []Effect }

func (e *Effects) add(x Effect) { e.List = append(e.List, x) }

var (
	// ErrOptions: the recovered state does not fit together.
	ErrOptions = errors.New("raft: options do not fit together")
	// ErrNotLeader: only a leader can do that.
	ErrNotLeader = errors.New("raft: not the leader")
	// ErrBusy: another transfer is under way, or effects wait.
	ErrBusy = errors.New("raft: busy")
	// ErrNoMember: no such voter, or it is this one.
	ErrNoMember = errors.New("raft: no such other voter")
)
