// Package progress is one member as its leader sees it: how far its log surely agrees, and how it
// is fed. The core owns Match and Mode; the replication actor owns its own next index and its bytes
// in flight and follows the core's orders.
//
//	           ack                       reject, link lost
//	Probe ───────────► Stream     Stream ───────────────► Probe
//	  │  reject: below the log's first index                 ▲
//	  └──────────────► Snapshot ─────────────────────────────┘ sent, or failed
//	                   Snapshot ──► Stream: an ack from which the log can go on
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
	// Snapshot: the entries it needs are no longer in the log. Nothing is appended.
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
//  1. Match never falls while the leader leads, except by Reset, Doubt and Regress.
//  2. Next > Match.
//  3. Next is the last ordered one: in Stream the actor is ahead of it.
type Progress struct {
	ID     uint64
	Match  uint64 // durable and verified on the member up to here, as it said in this term
	Next   uint64 // where the last order started
	Round  uint64 // newest heartbeat round that it answered in this term
	Mode   Mode
	Active bool // it answered something since the leader last counted
	Lately bool // or in the election timeout before that
	Room   bool // its disk has room, as it said in its answer to Round
	// it was on probation, as it said, and is none that can be relied on before it has the log
	// so far; 0: it has not said so
	Doubted uint64
}

// Reset starts a member over for a new leadership whose log ends before next.
func (p *Progress) Reset(next uint64) {
	*p = Progress{ID: p.ID, Next: next}
}

// Doubt forgets what was acknowledged, as Reset does; whether the member is alive stays known.
func (p *Progress) Doubt(next uint64) {
	active, lately := p.Active, p.Lately
	p.Reset(next)
	p.Active, p.Lately = active, lately
}

// Count takes what was answered so far as of the past, and returns whether anything was.
func (p *Progress) Count() (active bool) {
	p.Lately, p.Active = p.Active, false
	return p.Lately
}

// Regress takes note that the member lacks what it acknowledged last: it begins anew from there. A
// late answer that looks the same only costs a probe. One that is sent a snapshot goes on so.
func (p *Progress) Regress() {
	p.Next, p.Match = p.Match+1, 0
	if p.Mode == Stream {
		p.Mode = Probe
	}
}

// Ack takes a successful answer. moved: Match grew. streams: the member has just become one to
// stream to, from Match + 1. It is none while the log, which begins at first, lacks that entry: an
// older answer came late, or the snapshot that was sent is an older one.
func (p *Progress) Ack(match, first uint64) (moved, streams bool) {
	if match > p.Match {
		p.Match = match
		moved = true
	}
	if p.Mode == Snapshot {
		p.Next = max(p.Next, p.Match+1)
	}
	if p.Mode != Stream && p.Match+1 >= first {
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
//
// In Snapshot all are stale: no append is under way.
func (p *Progress) Stale(prev uint64) bool {
	if prev <= p.Match || p.Mode == Snapshot {
		return true
	}
	return p.Mode != Stream && prev >= p.Next
}

// Back goes back to next, never below Match + 1, as a refusal asks for. first is the log's first
// index: before it only a snapshot helps.
func (p *Progress) Back(next, first uint64) {
	p.ProbeFrom(next)
	if p.Next < first {
		p.Mode = Snapshot
	}
}

// ProbeFrom orders a probe from next, never below Match + 1.
func (p *Progress) ProbeFrom(next uint64) {
	p.Next, p.Mode = max(next, p.Match+1), Probe
}

// String is for dumps.
func (p *Progress) String() string {
	return fmt.Sprintf("%d: %s match %d next %d round %d active %t",
		p.ID, p.Mode, p.Match, p.Next, p.Round, p.Active)
}
