package member

import (
	"time"

	"github.com/ringraft/ringraft/engine/internal/peer"
)

// Event is something that is logged for the operator.
type Event struct {
	Kind   EventKind
	Member uint64        // HandingOver, HandingOverFull: to whom; of another member: which one
	Age    time.Duration // of the write that hangs, or that came back; of the trouble
	Err    error         // why not, or what is missing; nil: not known
	Have   uint64        // Unfed, Behind: where the log that is not fed stands
	Of     uint64        // and what it lacks up to
	Bytes  int           // CommandLimit: of the longest command
	Size   int64         // SnapshotTaken: of the file; Have: the entries that are in it
	Unfit  peer.Unfit    // MemberUnfit
}

// EventKind says what happened.
type EventKind uint8

// The events. The first five are the watchdog's.
const (
	NotCampaigning  EventKind = iota + 1 // the disk hangs: no campaign meanwhile
	HandingOver                          // the disk hangs: leadership is being handed to Member
	LeadingOn                            // the disk hangs, and nobody can take over: Err
	SteppedDown                          // the disk hangs, and nobody took over
	DiskBack                             // the disk has finished the write
	DiskFull                             // or short of something else; writes are refused: Err
	DiskHasRoom                          // writes are taken again
	HandingOverFull                      // the disk is full: leadership is being handed to Member
	MajorityFull                         // too many members' disks are full: writes are refused
	MajorityHasRoom                      // enough of them have room again
	ProbationEnded                       // what the journal had lost is here again

	Unreachable    // no connection to Member for a while
	Unfed          // Member is connected, and its log does not follow the leader's
	MemberWell     // Member is reachable and follows again, after Age
	Behind         // this member's own log does not follow its leader's
	NotBehind      // it does again, after Age
	MemberUnfit    // Unfit is an entry of this leader's log that Member cannot take
	MemberFits     // no longer
	Unfounded      // nothing is founded here yet: Err says what it waits for
	Founded        // the cluster is founded, and this member knows it
	Binding        // this leader binds all voters to the directories that they have
	NotThis        // another data directory is known as this member: Err
	SnapshotTaken  // of the entries up to Have, in Age
	SnapshotFailed // Err; it is tried again, and said once

	CommandLimit // Member takes the shortest commands, Bytes: so the cluster does; 0: all the same

	NotAMember  // this member was removed: Err says how it knows; it keeps still
	MemberAgain // it is one again
	Preferred   // leadership is being handed to Member, of higher priority

	WitnessLeads  // this witness leads until a full member has what it has
	BeyondWitness // this witness cannot bring Member up to date any more: Err
	WithinWitness // no longer so
	Admitted      // Member joined by itself and is a learner now; or is not: Err
	SelfPromoted  // Member had joined by itself and is a voter now; or is not: Err
	Silent        // Member had joined by itself, was not heard for Age, and is removed; or not: Err

	SnapshotSent      // Member was given the snapshot of entry Have, in Age
	SnapshotInstalled // this member goes on from the snapshot of entry Have, of Member
	SnapshotRefused   // this member cannot take the snapshot of entry Have, of Member: Err
)
