// Package progress is one member as its leader sees it: how far its log surely agrees, and how it
// is fed. The core owns Match and Mode; the replication actor owns its own next index and its bytes
// in flight and follows the core's orders.
//
//	           ack                       reject, link lost
//	Probe ───────────► Stream     Stream ───────────────► Probe
//	  │  next below the log's first index                    ▲
//	  └──────────────► Snapshot ─────────────────────────────┘ ack (then Stream at once)
//
// A Progress is used by the goroutine of its core alone.
package progress

import "fmt"

// Mode is how a member is fed.
type Mode uint8

const (
	// Probe: one append from Next, then wait for its answer.
	Probe Mode = iota
	// Stream: appends follow each other without waiting, as far as the member's grant goes.
	Stream
	// Snapshot: the entries it needs are no longer in the log.
	Snapshot
)

// String names the mode.
func (m Mode) String() string {
	switch m {
	case Probe:
		return "probe"
	case Stream:
		return "stream"
	case Snapshot:
		return "snapshot"
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}

// Progress is one member in the leader's table.
//
//  1. Match never falls while the leader leads, except by Forget and Regress.
//  2. Next > Match.
//  3. Next is the last ordered one: in Stream the actor is ahead of it.
type Progress struct {
	ID     uint64
	Match  uint64 // durable and verified on the member up to here, as it said in this term
	Next   uint64 // where the last order started
	Round  uint64 // newest heartbeat round that it answered in this term
	Mode   Mode
	Active bool // it answered something since the leader last counted
	Room   bool // its disk has room, as it said in its answer to Round
}

// Reset starts a member over for a new leadership whose log ends before next.
func (p *Progress) Reset(next uint64) {
	*p = Progress{ID: p.ID, Next: next}
}

// Regress takes note that the member lacks what it acknowledged last: it begins anew from there. A
// late answer that looks the same only costs a probe.
func (p *Progress) Regress() {
	p.Next, p.Match, p.Mode = p.Match+1, 0, Probe
}

// Ack takes a successful answer. moved: Match grew. streams: the member has just become one to
// stream to, from Match + 1.
func (p *Progress) Ack(match uint64) (moved, streams bool) {
	if match > p.Match {
		p.Match = match
		moved = true
	}
	if p.Mode != Stream {
		p.Mode = Stream
		p.Next = p.Match + 1
		streams = true
	}
	return moved, streams
}

// Stale reports whether a refusal of the append after prev says nothing new:
//
//	    match            next-1
//	──────┼────────────────┼──────────►  index
//	 stale│  to be counted  │ stale in Probe (answers to a stream given up); counted in Stream
func (p *Progress) Stale(prev uint64) bool {
	if prev <= p.Match {
		return true
	}
	return p.Mode != Stream && prev >= p.Next
}

// Back orders a probe from next, never below Match + 1; first is the log's first index.
func (p *Progress) Back(next, first uint64) {
	p.Next = max(next, p.Match+1)
	p.Mode = Probe
	if p.Next < first {
		p.Mode = Snapshot
	}
}

// String is for dumps.
func (p *Progress) String() string {
	return fmt.Sprintf("%d: %s match %d next %d round %d active %t",
		p.ID, p.Mode, p.Match, p.Next, p.Round, p.Active)
}
