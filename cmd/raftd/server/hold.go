package server

import (
	"slices"
	"time"

	"github.com/ringraft/ringraft/netio/resp"
)

// Commands wait here while no leader can be reached, and go again when they were certainly not
// applied.
//
// A connection *holds* when its next command cannot go anywhere: no leader is known, the forwarder
// to it is not open, or it or the lane takes no more. Its input waits, as for a blocked connection,
// until there is a way (wakeHolders) or its time is over; then commands are refused as they come.
//
// A command that went and was refused with certainty, or a read that failed, may be carried out
// again while its client waits: nobody has seen anything of it. Its connection's order must not
// change, though. So nothing more of the connection goes, and when every command that went has its
// outcome, those from the first refused one on go again, if none of them is a write that had an
// effect, or may have one (settleRefused). Reads behind a refused command go again also when they
// were answered: such an answer has not left. Whatever was refused in front of a write that had an
// effect is answered with its error. A write whose outcome is unknown never goes again.

// holdSlack is what is added to two elections, for dialing the leader and for a busy machine.
const holdSlack = 250 * time.Millisecond

// HoldTime is how long commands wait for a leader: two elections, of which each takes at most
// twice the shortest timeout before a member campaigns.
func HoldTime(electionTimeout time.Duration) time.Duration { return 4*electionTimeout + holdSlack }

const (
	// keptMax bounds the pending commands that one connection keeps so that they can go again,
	// keptSum those of all connections of a loop. What is not kept is refused with its error.
	keptMax = 1 << 20
	keptSum = 16 << 20
)

// kept are the bytes of a connection's pending commands, by their places in its queue.
type kept struct {
	first uint64       // place of the oldest one
	sizes []keptSize   // from first on
	bytes []byte       // of all of them, one behind the other
	small []byte       // what bytes is while few are pending
	again []refusal    // refused, and not settled
	until int64        // monotonic ns; the connection holds no longer than this; 0: it does not
	stays keptStanding // what the front's lists say of the connection
}

// keptStanding says in which of the front's lists a connection is.
type keptStanding struct {
	holding   bool // front.holders
	unsettled bool // front.unsettled
}

// keptSize is the size of a command, and whether it writes.
type keptSize struct {
	size   uint32 // 0: not kept
	writes bool
}

// refusal is a command that had no effect, and the error for when it cannot go again.
type refusal struct {
	place   uint64
	command *command
	why     string
}

// keep remembers the newest command, which has just got a place in the queue. Behind it come about
// so many more bytes that will be pending, so that there is room for all of them at once.
func (c *conn) keep(raw []byte, more int) {
	if c.proxied {
		return // whoever forwards commands is told of the refusal, and keeps them
	}
	k, place := &c.kept, c.queue.tail-1
	switch lag := int(c.queue.head - k.first); {
	case place == c.queue.head || k.first+uint64(len(k.sizes)) != place:
		k.first, k.sizes, k.bytes = place, k.sizes[:0], k.bytes[:0]
	case lag > 64 && lag > len(k.sizes)/2:
		k.forget(lag)
	}
	size := len(raw)
	if need := len(k.bytes) + size; need > cap(k.bytes) && !k.room(need, more, c.front) {
		size = 0
	}
	k.bytes = append(k.bytes, raw[:size]...)
	k.sizes = append(k.sizes, keptSize{uint32(size), c.queue.at(place).kind == writeReply})
}

// room makes room for need bytes, and for more if there is some. False: there is not.
func (k *kept) room(need, more int, f *front) bool {
	if need > keptMax {
		return false
	}
	b := f.kept.grow(cap(k.bytes), need, min(need+more, keptMax))
	if b == nil {
		return false
	}
	b = append(b, k.bytes...)
	if cap(k.bytes) > keptIdle {
		f.kept.put(k.bytes)
	} else {
		k.small = k.bytes[:0]
	}
	k.bytes = b
	return true
}

// forget drops the oldest n commands.
func (k *kept) forget(n int) {
	gone := 0
	for _, s := range k.sizes[:n] {
		gone += int(s.size)
	}
	k.bytes = k.bytes[:copy(k.bytes, k.bytes[gone:])]
	k.sizes = k.sizes[:copy(k.sizes, k.sizes[n:])]
	k.first += uint64(n)
}

// release gives memory back when no reply is pending.
func (k *kept) release(f *front) {
	if k.sizes = k.sizes[:0]; cap(k.sizes) > 2*pendingMax {
		k.sizes = nil
	}
	if k.bytes = k.bytes[:0]; cap(k.bytes) > keptIdle {
		f.kept.lent -= cap(k.bytes) - cap(k.small)
		f.kept.put(k.bytes)
		k.bytes = k.small
	}
}

// drop gives all memory back when the connection is gone.
func (k *kept) drop(f *front) {
	k.release(f)
	f.kept.lent -= cap(k.bytes)
	*k = kept{stays: k.stays}
}

// at is what is kept of a place.
func (k *kept) at(place uint64) keptSize {
	if i := place - k.first; i < uint64(len(k.sizes)) {
		return k.sizes[i]
	}
	return keptSize{}
}

// from are the bytes of the commands from a place on.
func (k *kept) from(place uint64) []byte {
	off := 0
	for _, s := range k.sizes[:place-k.first] {
		off += int(s.size)
	}
	return k.bytes[off:]
}

// refuse hears that a pending command had no effect, and why. It goes again when that is possible,
// else it is answered with the error.
func (c *conn) refuse(d *command, place uint64, why string) {
	f := c.front
	switch {
	case c.closed:
	case c.proxied, c.closing, c.kept.at(place).size == 0, !f.patient(c):
		f.refusedFor(c, d, place, why)
	default:
		c.kept.again = append(c.kept.again, refusal{place, d, why})
		if !c.kept.stays.unsettled {
			c.kept.stays.unsettled = true
			f.unsettled = append(f.unsettled, c)
		}
	}
}

// refusedFor answers a pending command with an error that is none of its own.
func (f *front) refusedFor(c *conn, d *command, place uint64, why string) {
	f.tally.refused++
	f.counted(d).Failed++
	f.reply = resp.AppendError(f.reply[:0], why)
	c.answer(place, f.reply)
}

// settleRefused looks after connections with refused commands.
func (f *front) settleRefused() {
	waiting := f.unsettled
	f.unsettled = nil
	still := waiting[:0]
	for _, c := range waiting {
		if c.settleRefused() {
			c.kept.stays.unsettled = false
		} else {
			still = append(still, c)
		}
	}
	clear(waiting[len(still):])
	f.unsettled = append(still, f.unsettled...)
}

// settleRefused decides what becomes of the refused commands once all that went have their
// outcomes. False: some have not.
func (c *conn) settleRefused() bool {
	k, f := &c.kept, c.front
	if c.closed {
		k.again = nil
		return true
	}
	slices.SortFunc(k.again, func(a, b refusal) int { return int(a.place) - int(b.place) })
	for p, i := c.queue.head, 0; p < c.queue.tail; p++ {
		switch {
		case i < len(k.again) && k.again[i].place == p:
			i++
		case !c.queue.at(p).ready:
			return false
		}
	}
	// The commands behind the newest write that had an effect or may have one.
	n := len(k.again)
	for p := c.queue.tail; p > c.queue.head && n > 0 && !c.closing; p-- {
		if k.again[n-1].place == p-1 {
			n--
		} else if at := k.at(p - 1); at.writes || at.size == 0 {
			break
		}
	}
	again := k.again[n:]
	for _, r := range k.again[:n] {
		f.refusedFor(c, r.command, r.place, r.why)
	}
	k.again = nil
	if len(again) == 0 {
		return true
	}
	first := again[0].place
	raw := k.from(first)
	c.held = append(append(make([]byte, 0, len(raw)+len(c.held)), raw...), c.held...)
	c.queue.cut(first)
	f.tally.retried += uint64(len(again))
	f.leadUntil = 0
	f.holdUp(c)
	return true
}

// patient reports whether a connection may wait for a leader, and starts its time.
func (f *front) patient(c *conn) bool {
	now, most := f.now(), int64(f.server.cfg.Hold)
	if c.kept.until == 0 || now > c.kept.until+most {
		c.kept.until = now + most
	}
	return now < c.kept.until
}

// hold makes a connection wait whose next command cannot go. False: it has waited long enough.
func (f *front) hold(c *conn) bool {
	if !f.patient(c) {
		return false
	}
	f.holdUp(c)
	return true
}

func (f *front) holdUp(c *conn) {
	if !c.kept.stays.holding {
		c.kept.stays.holding = true
		if !c.running {
			c.sock.Pause()
		}
		f.holders = append(f.holders, c)
	}
}

// wakeHolders lets connections go on that waited for a way to the leader, when there is one, or
// when they may wait no longer. It reports whether one did.
func (f *front) wakeHolders() (went bool) {
	if !f.wake || len(f.holders) == 0 {
		f.wake = false
		return false
	}
	f.wake = false
	f.refresh()
	waiting, full := f.holders, f.full
	f.holders, f.full = nil, false
	still := waiting[:0]
	for _, c := range waiting {
		open := f.reachesLeader(c)
		switch {
		case c.closed || c.closing:
			c.kept.stays.holding = false
		case open || c.proxied && !f.lead.leading || !f.patient(c):
			c.kept.stays.holding = false
			went = true
			c.goOn()
		default:
			still = append(still, c)
			f.full = full
		}
	}
	f.holders = append(still, f.holders...)
	return went
}

// reachesLeader reports whether data commands of a client can go somewhere, and dials the leader
// if that is what is missing.
func (f *front) reachesLeader(c *conn) bool {
	switch {
	case f.lead.leading:
		return true
	case f.lead.address == "":
		return false
	case f.server.cfg.Follower == Redirect:
		return true
	}
	return f.forwarderTo(f.routeOf(c)).takes()
}
