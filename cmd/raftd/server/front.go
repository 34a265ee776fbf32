package server

import (
	"errors"
	"time"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/netio/resp"
)

// front is the RESP front end of one loop. Everything in it is touched by that loop only.
//
//	socket ─► parse ─► execute ─┬─► immediate reply ─────────┐
//	                            ├─► lane ─► completions ─────┤─► queue of the connection ─► write
//	                            └─► forwarder ─► the leader ─┘
//
// Whatever the path, a reply finds its way back by a place in its connection's queue, and the queue
// lets replies leave in request order only. The lane is flushed and sockets are written once per
// batch, in finish.
type front struct {
	server *Server
	lane   lane
	dial   func(f *front, address string) *forwarder
	do     func(func()) error // runs something in the loop
	start  func(func())       // runs something beside it

	lead      leadership
	leadUntil int64 // monotonic ns; then lead is looked up again

	cells []cell // of the lane's requests, by request & mask
	mask  uint64

	buffers
	now func() int64

	dirty           []*conn
	dirtyForwarders []*forwarder
	blocked         []*conn
	forwarders      map[string]*forwarder
	retired         []*forwarder // not the leader's any more, replies still pending
	laneUsed        bool
	finishing       bool

	useCounts
}

// buffers are used again for each command.
type buffers struct {
	command resp.Command
	args    [][]byte
	text    []byte // encoded command
	reply   []byte // reply being made, in the internal form
	free    [][]byte
}

// useCounts count the commands of this loop.
type useCounts struct {
	counts  []uint64 // by command
	touched []int    // commands counted in this batch
	tally   tally
}

// cell remembers who sent a request of the lane.
type cell struct {
	conn  *conn
	place uint64
}

// leadership is who leads, as far as this member knows.
type leadership struct {
	leading bool
	known   bool
	address string // client address of the leader, "" when not known
}

// leadEvery is how long a loop trusts its idea of who leads. A command that took the wrong path is
// refused with certainty, so this bounds work lost, not correctness.
const leadEvery = int64(5 * time.Millisecond)

func newFront(s *Server, l lane) *front {
	n := l.Cells()
	return &front{
		server: s, lane: l, cells: make([]cell, n), mask: uint64(n - 1),
		now: s.now, start: func(g func()) { go g() },
		forwarders: make(map[string]*forwarder),
		useCounts: useCounts{
			counts: make([]uint64, len(commands)),
			tally:  tally{published: s.newTotals()},
		},
	}
}

// refresh looks up who leads when the last answer is old.
func (f *front) refresh() {
	now := f.now()
	if now < f.leadUntil {
		return
	}
	f.leadUntil = now + leadEvery
	lead := f.server.leadership()
	if lead != f.lead {
		f.lead = lead
		f.retireForwarders()
	}
}

// execute starts one command. False: it must wait, and the connection is blocked.
func (f *front) execute(c *conn, args [][]byte, raw []byte) bool {
	d := lookup(args[0])
	switch {
	case (d == nil || !d.arityFits(len(args))) && speaksHTTP(args):
		f.tally.faults++
		c.refuseHTTP()
	case d == nil:
		f.tally.faults++
		c.fault(unknownFault(args))
	case !d.arityFits(len(args)):
		f.tally.faults++
		c.fault(arityFault(d.name))
	case d.alone && !c.queue.empty():
		c.block(0, nil)
		return false
	case d.class == local:
		f.reply = d.run(f, c, args, f.reply[:0])
		c.immediate(f.reply)
		if cap(f.reply) > 64<<10 {
			f.reply = nil
		}
	default:
		if !f.data(c, d, args, raw) {
			return false
		}
	}
	if d != nil {
		f.count(d)
	}
	return true
}

// data sends a data command to the lane, or to the leader.
func (f *front) data(c *conn, d *command, args [][]byte, raw []byte) bool {
	f.refresh()
	var to *forwarder
	if d.class != ownState && !f.lead.leading {
		var refused string
		if to, refused = f.forwarderToLeader(c, d, args); refused != "" {
			c.fault(refused)
			return true
		}
		if to.opening() {
			c.block(c.pendingMax(), to)
			return false
		}
	}
	if to != c.path {
		if !c.queue.empty() {
			c.block(0, nil)
			return false
		}
		c.path = to
	}
	if to != nil {
		to.forward(c, d, args, raw)
		return true
	}
	if d.class == byLeader {
		f.transfer(c, args)
	} else {
		f.submit(c, d, args)
	}
	return true
}

// forwarderToLeader finds the forwarder to the leader, or says why there is none.
func (f *front) forwarderToLeader(
	c *conn, d *command, args [][]byte,
) (to *forwarder, refused string) {
	switch {
	case c.proxied:
		return nil, "TRYAGAIN not applied: this member does not lead, " +
			"and the command was forwarded once already"
	case !f.lead.known:
		return nil, "CLUSTERDOWN No raft leader"
	case f.lead.address == "":
		return nil, "TRYAGAIN not applied: the leader's client address is not known yet"
	case f.server.cfg.Follower == Redirect:
		return nil, moved(d, args, f.lead.address)
	}
	to = f.forwarderTo(f.lead.address)
	if to.state != forwarderOpen && !to.opening() || to.crowded() {
		return nil, "TRYAGAIN not applied: the leader cannot be reached from this member"
	}
	return to, ""
}

// submit puts a data command into the lane.
func (f *front) submit(c *conn, d *command, args [][]byte) {
	cmd, refused := d.encode(f.text[:0], args, f.server.cfg.MaxValue)
	if refused != "" {
		f.tally.faults++
		c.fault(refused)
		return
	}
	if cap(cmd) <= 1<<20 {
		f.text = cmd
	}
	var request uint64
	var err error
	kind := readReply
	switch d.class {
	case write:
		kind = writeReply
		request, err = f.lane.Write(cmd)
		c.lastWrite = max(c.lastWrite, request)
	case read:
		request, err = f.lane.Read(cmd, c.lastWrite)
	default:
		request, err = f.lane.ReadLocal(cmd)
	}
	if err != nil {
		f.tally.refused++
		c.fault(laneFault(err))
		return
	}
	f.laneUsed = true
	f.tally.inLane++
	f.cells[request&f.mask] = cell{c, c.queue.push(kind)}
}

// laneFault words an error of the lane. All of them mean that nothing happened.
func laneFault(err error) string {
	switch {
	case errors.Is(err, engine.ErrTooLarge):
		return "ERR command is larger than the cluster accepts (--max-value)"
	case errors.Is(err, engine.ErrBusy):
		return "TRYAGAIN busy: not applied, too many commands wait"
	}
	return "TRYAGAIN not applied: " + printable([]byte(err.Error()), 200)
}

// completions takes the lane's answers, in whatever order they come.
func (f *front) completions() {
	for {
		done, ok := f.lane.Next()
		if !ok {
			break
		}
		at := &f.cells[done.Request&f.mask]
		c, place := at.conn, at.place
		at.conn = nil
		f.tally.inLane--
		if c == nil || c.closed {
			continue
		}
		if done.Outcome == engine.Applied {
			c.answer(place, done.Reply)
			continue
		}
		f.tally.refused++
		f.leadUntil = 0
		f.reply = resp.AppendError(f.reply[:0], outcomeFault(done, c.queue.at(place).kind))
		c.answer(place, f.reply)
	}
	f.lane.Release()
	f.finish()
}

const unknownResult = "UNKNOWNRESULT the outcome of this command is unknown: " +
	"it may have been applied"

// outcomeFault words an outcome other than applied. A read has no effect, so it can always be tried
// again.
func outcomeFault(done engine.Completion, kind replyKind) string {
	if done.Outcome == engine.Unknown && kind == writeReply {
		return unknownResult
	}
	switch done.Reason {
	case engine.ReasonNotLeader:
		return "TRYAGAIN not applied: this member does not lead"
	case engine.ReasonBusy:
		return "TRYAGAIN busy: not applied, too many commands wait"
	case engine.ReasonTooLarge:
		return "ERR command is larger than the cluster accepts (--max-value)"
	case engine.ReasonClosing:
		return "TRYAGAIN not applied: this member is shutting down"
	case engine.ReasonSuperseded:
		return "TRYAGAIN not applied: another leader's command took its place"
	case engine.ReasonNoSpace:
		return "MISCONF no space left on the leader's disk, or on those of too many members: " +
			"not applied; free some, reads go on"
	case engine.ReasonMachineFailed:
		return "TRYAGAIN not applied: the store of this member failed"
	case engine.ReasonJournalFailed:
		return "TRYAGAIN not applied: the journal of this member failed"
	}
	return "TRYAGAIN not applied: leadership changed"
}

// finish ends a batch: hands the lane over, sends to the leader, lets waiting input go on where it
// may, writes sockets.
func (f *front) finish() {
	if f.finishing { // the lane or a socket called back from inside
		return
	}
	f.finishing = true
	if len(f.retired) > 0 {
		f.giveUpForwarders()
	}
	for {
		if f.laneUsed {
			f.laneUsed = false
			f.lane.Flush()
		}
		for _, fw := range f.dirtyForwarders {
			fw.write()
		}
		f.dirtyForwarders = f.dirtyForwarders[:0]
		if !f.resume() {
			break
		}
	}
	for i := 0; i < len(f.dirty); i++ { // a write may close a connection and make others dirty
		f.dirty[i].write()
		f.dirty[i] = nil
	}
	f.dirty = f.dirty[:0]
	f.publishCounts()
	f.finishing = false
}

// tick is called every so often, also when nothing comes in: a client that waits for a leader that
// stands still is answered without input from another.
func (f *front) tick() {
	if len(f.forwarders) > 0 {
		f.refresh()
	}
	f.finish()
}

// resume lets blocked connections go on, and reports whether one did.
func (f *front) resume() (went bool) {
	if len(f.blocked) == 0 {
		return false
	}
	f.refresh() // may retire a forwarder that a connection waits for
	waiting := f.blocked
	f.blocked = nil
	kept := waiting[:0]
	for _, c := range waiting {
		switch {
		case c.closed || c.closing:
			c.blocked = false
		case c.mayResume():
			c.blocked = false
			went = true
			c.drainHeld()
		default:
			kept = append(kept, c)
		}
	}
	f.blocked = append(kept, f.blocked...)
	return went
}

// buffer and giveBack lend output buffers to connections with something to say; idle ones hold
// none.
func (f *front) buffer() []byte {
	if n := len(f.free); n > 0 {
		b := f.free[n-1]
		f.free = f.free[:n-1]
		return b
	}
	return make([]byte, 0, 4096)
}

func (f *front) giveBack(b []byte) {
	if b != nil && cap(b) <= 256<<10 && len(f.free) < 256 {
		f.free = append(f.free, b[:0])
	}
}

// accept makes the connection of a socket.
func (f *front) accept(sock socket, address, local string) *conn {
	return &conn{front: f, sock: sock, client: f.server.join(address, local), proto: resp.RESP2}
}
