package raft

import "fmt"

// Role is what a replica is in its term.
type Role uint8

// The roles. A PreCandidate asks whether it could win, without changing any term.
const (
	Follower Role = iota
	PreCandidate
	Candidate
	Leader
	roles
)

var roleNames = [roles]string{"follower", "pre-candidate", "candidate", "leader"}

// String names the role.
func (r Role) String() string {
	if r < roles {
		return roleNames[r]
	}
	return fmt.Sprintf("role(%d)", uint8(r))
}

// MessageType is the kind of a message.
type MessageType uint8

// The kinds of messages.
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
	Snapshot
	Removed
	messageTypes
)

var messageNames = [messageTypes]string{"none", "Append", "AppendAck", "Heartbeat", "HeartbeatAck",
	"PreVote", "PreVoteAck", "Vote", "VoteAck", "TimeoutNow", "Snapshot",
	"Removed"}

// String names the type.
func (t MessageType) String() string {
	if t < messageTypes {
		return messageNames[t]
	}
	return fmt.Sprintf("message(%d)", uint8(t))
}

// Message is a verified header, never bytes. Fields that a type does not name below are zero.
//
//	Append        Term PrevIndex PrevTerm EntryTerm Count Commit
//	AppendAck     Term Match, or Reject PrevIndex (of the refused append) HintIndex HintTerm
//	Heartbeat     Term Commit Round PrevIndex (the leader's last index) HintIndex (nonce echoed)
//	              Floor FloorMember (both to a witness alone)
//	HeartbeatAck  Term Round HintIndex (nonce of a member on probation) Full Heard
//	PreVote       Term (the one it would campaign in) PrevIndex PrevTerm (its last entry) Round
//	PreVoteAck    Term (granted: the asked one; Reject: the voter's own) Round LastResort
//	Vote          Term PrevIndex PrevTerm (its last entry) Force
//	VoteAck       Term Reject LastResort
//	TimeoutNow    Term
//	Snapshot      Term PrevIndex PrevTerm (its last entry) Commit; no frame, see StepSnapshot
//	Removed       Term PrevIndex (of a committed configuration without the receiver)
type Message struct {
	Type           MessageType
	From, To, Term uint64
	// the directory that speaks for From, as the caller knows from the connection; no frame says
	// it, and the core sets it in no message
	Directory Directory

	PrevIndex, PrevTerm uint64 // the entry before the run; of votes the last entry
	EntryTerm           uint64 // the one term of all entries of the run
	// entries PrevIndex+1 … PrevIndex+Count; 0: a probe, or news of commit
	Count  uint32
	Commit uint64 // the leader's commit
	Match  uint64 // durable and verified up to here

	Reject              bool
	HintIndex, HintTerm uint64 // where logs may still agree: no later than here
	Round               uint64 // echoed
	Force               bool   // leadership transfer: stickiness does not count
	// granted on probation, by one that may have lost what it acknowledged: see tally
	LastResort bool
	Full       bool // the sender's disk has no room for more of the log
	// every full voter has the log durably so far, and who has the least of it: see Floor
	Floor, FloorMember uint64
	// the newest datagram of the leader's that the sender has taken: the caller's, like Directory,
	// and the core neither sets nor reads it
	Heard uint64
}

// String is one line with the fields that the type uses.
func (m *Message) String() string {
	s := fmt.Sprintf("%d->%d %s term %d", m.From, m.To, m.Type, m.Term)
	switch m.Type {
	case Append:
		s += fmt.Sprintf(" prev %d/%d", m.PrevIndex, m.PrevTerm)
		if m.Count > 0 {
			s += fmt.Sprintf(" entries %d-%d of %d", m.PrevIndex+1, m.PrevIndex+uint64(m.Count),
				m.EntryTerm)
		}
		s += fmt.Sprintf(" commit %d", m.Commit)
	case AppendAck:
		if m.Reject {
			s += fmt.Sprintf(" reject prev %d hint %d/%d", m.PrevIndex, m.HintIndex, m.HintTerm)
		} else {
			s += fmt.Sprintf(" match %d", m.Match)
		}
	case Heartbeat:
		s += fmt.Sprintf(" commit %d last %d round %d", m.Commit, m.PrevIndex, m.Round)
		if m.FloorMember != 0 {
			s += fmt.Sprintf(" floor %d of %d", m.Floor, m.FloorMember)
		}
	case HeartbeatAck:
		s += fmt.Sprintf(" round %d", m.Round)
		if m.Full {
			s += " full"
		}
	case Removed:
		s += fmt.Sprintf(" by %d", m.PrevIndex)
	case Snapshot:
		s += fmt.Sprintf(" last %d/%d commit %d", m.PrevIndex, m.PrevTerm, m.Commit)
	case PreVote, Vote:
		s += fmt.Sprintf(" last %d/%d", m.PrevIndex, m.PrevTerm)
		if m.Force {
			s += " force"
		}
	case PreVoteAck, VoteAck:
		if m.Reject {
			s += " reject"
		} else {
			s += " grant"
		}
	}
	if m.LastResort {
		s += " last-resort"
	}
	return s
}
