package raft

import "fmt"

// Cause says why a replica changed its role, its leader or its term.
type Cause uint8

// The causes.
const (
	// Unheard: no leader was heard for an election timeout.
	Unheard Cause = iota
	// Wanted: a majority would vote for the replica.
	Wanted
	// Asked: the leader asked it to take over.
	Asked
	// Elected: a majority voted for it.
	Elected
	// Led: a leader of the term was heard.
	Led
	// Overtaken: a member has a higher term.
	Overtaken
	// HandedOver: a member campaigns that leadership is being handed to.
	HandedOver
	// QuorumLost: a leader did not hear a quorum for an election timeout.
	QuorumLost
	// DiskHangs: a leader's own disk hangs.
	DiskHangs
	// Retired: a leader is no voter any more.
	Retired
	// Defeated: a majority refused to vote for it.
	Defeated
	// Excluded: it was told that it is a member no more.
	Excluded
)

// Why is a cause with the member that it came from, 0 for none.
type Why struct {
	Cause  Cause
	Member uint64
}

// String is in words for an operator.
func (w Why) String() string {
	from := func(text string) string { return fmt.Sprintf(text, w.Member) }
	switch w.Cause {
	case Unheard:
		return "no leader was heard for an election timeout"
	case Wanted:
		return "a majority would vote for this member"
	case Asked:
		return from("leader %d hands leadership over")
	case Elected:
		return "a majority voted for this member"
	case Led:
		return from("member %d leads the term")
	case Overtaken:
		return from("member %d has a higher term")
	case HandedOver:
		return from("leadership is handed to member %d")
	case QuorumLost:
		return "no majority answered for an election timeout"
	case DiskHangs:
		return "the disk of this member hangs"
	case Retired:
		return "this member is no voter any more"
	case Defeated:
		return "a majority refused to vote for this member"
	}
	return "this member was removed from the cluster"
}

// occasion is the call that is being carried out: what a change of role comes from. It decides
// nothing.
type occasion struct {
	kind    occasionKind
	message MessageType // of onMessage
	from    uint64      // who sent it
	term    uint64      // at the beginning
	heir    uint64      // to whom leadership was being handed then; 0: nobody
}

type occasionKind uint8

const (
	onOther occasionKind = iota
	onTick
	onMessage
	onStall
)

// begin notes which call is being carried out.
func (c *Core) begin(kind occasionKind) {
	c.occasion = occasion{kind: kind, term: c.hard.Term, heir: c.transfer.to}
}

// why says why the replica becomes what it becomes: role and leader are the new ones, was is the
// old role.
func (c *Core) why(was, role Role, leader uint64) Why {
	o := &c.occasion
	switch {
	case role == PreCandidate:
		return Why{Cause: Unheard}
	case role == Candidate && was == PreCandidate:
		return Why{Cause: Wanted}
	case role == Candidate:
		return Why{Asked, o.from}
	case role == Leader:
		return Why{Cause: Elected}
	case leader != 0:
		return Why{Led, leader}
	case o.kind == onMessage && c.hard.Term > o.term && was == Leader && o.from == o.heir:
		return Why{HandedOver, o.from}
	case o.kind == onMessage && c.hard.Term > o.term:
		return Why{Overtaken, o.from}
	case o.kind == onStall:
		return Why{Cause: DiskHangs}
	case o.kind == onMessage && o.message == Removed:
		return Why{Cause: Excluded}
	case was == Leader && o.kind == onTick:
		return Why{Cause: QuorumLost}
	case was == Leader:
		return Why{Cause: Retired}
	}
	return Why{Cause: Defeated}
}
