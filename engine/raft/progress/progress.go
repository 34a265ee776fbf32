// Package progress is one member as its leader sees it.
package progress

// Mode says how a member's replication actor works.
type Mode uint8

const (
	// Probe: one append at a time, to find where the logs agree.
	Probe Mode = iota
	// Stream: appends follow each other without waiting for answers.
	Stream
)

func (m Mode) String() string { return [...]string{"probe", "stream"}[m] }

// Ballot is a member's answer in an election.
type Ballot uint8

const (
	// Waiting: no answer yet.
	Waiting Ballot = iota
	// Granted the vote.
	Granted
	// LastResort: granted while on probation; counts only when every voter
	// has granted.
	LastResort
	// Refused the vote.
	Refused
)

// Progress is what the core knows of a member.
type Progress struct {
	ID     uint64
	Match  uint64 // durable and agreed up to here
	Round  uint64 // newest heartbeat round it answered
	Mode   Mode
	Ballot Ballot
	Active bool // heard from since the last check of the quorum
	Voter  bool
}
