package member

import "time"

// Event is something that is logged for the operator.
type Event struct {
	Kind   EventKind
	Member uint64        // HandingOver, HandingOverFull: to whom
	Age    time.Duration // of the write that hangs, or that came back
	Err    error         // why not, or what is missing
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
	DiskFull                             // writes are refused, reads go on: Err
	DiskHasRoom                          // writes are taken again
	HandingOverFull                      // the disk is full: leadership is being handed to Member
	MajorityFull                         // too many members' disks are full: writes are refused
	MajorityHasRoom                      // enough of them have room again
	ProbationEnded                       // what the journal had lost is here again
)
