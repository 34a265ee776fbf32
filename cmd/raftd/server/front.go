package server

import (
	"errors"
	"strings"
	"time"

	"github.com/ringraft/ringraft/cmd/raftd/kv"
	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/netio"
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
	// after runs something in the loop, a while later.
	after func(time.Duration, func())

	lead      leadership
	leadUntil int64 // monotonic ns; then lead is looked up again

	cells []cell // of the lane's requests, by request & mask
	mask  uint64

	buffers
	keeper keeper
	due    int   // bytes that replies to come may have, of requests in the lane
	first  *conn // has the right of way into the lane, because it waited for room; nil: none
	now    func() int64
	began  int64 // when the batch of commands under way began
	second int64 // since 1970, as of the last tick

	sentMuch bool // since the clock was read

	valueMax int // longest value that every member takes, when it began

	slowUsed int64 // ns that slow commands took since the last tick
	watch    watch
	watches  bool        // what took long in the engine
	paused   pauseLevel  // when the batch of commands under way began
	monitors *[]*monitor // the same; nil: there is none
	denied   bool        // the newest command, for want of a permission

	ownMonitors []*monitor // on connections of this loop
	line        []byte     // for monitors

	dirty           []*conn
	dirtyForwarders []*forwarder
	blocked         []*conn
	behind          []*conn // have a backlog: see account.go
	waiting
	pipelining pipelining
	forwarders map[route]*forwarder
	retired    []*forwarder // not the leader's any more, replies still pending
	laneUsed   bool
	finishing  bool

	useCounts
}

// buffers are used again for each command.
type buffers struct {
	command resp.Command
	args    [][]byte
	text    []byte // encoded command
	reply   []byte // reply being made, in the internal form
	free    [][]byte
	parts   []netio.Part // of one write
}

// waiting are the connections that wait for a leader, see hold.go.
type waiting struct {
	holders   []*conn
	unsettled []*conn // with refused commands that may go again
	wake      bool    // look after the holders in this batch
	full      bool    // some wait for room in the lane or the forwarder
	kept      keptBuffers
}

// useCounts count the commands of this loop.
type useCounts struct {
	counts  []commandCount // by command
	touched []int          // commands whose time in this batch is not known yet
	tally   tally
}

// cell remembers who sent a request of the lane.
type cell struct {
	conn    *conn
	place   uint64
	at      int64  // monotonic ns, when the loop took it up
	due     uint32 // bytes that its reply may have
	command uint16 // its place in the table
	by      asker
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
		now: s.now, second: time.Now().Unix(), start: func(g func()) { go g() },
		keeper: keeper{machine: s.cfg.Machine},
		watch:  watch{room: slowRoom, least: s.least.Load()}, watches: s.fronts.Add(1) == 1,
		forwarders: make(map[route]*forwarder),
		useCounts: useCounts{
			counts: make([]commandCount, len(commands)),
			tally:  tally{published: s.newTotals()},
		},
	}
}

// refresh looks up who leads when the last answer is old.
func (f *front) refresh() { f.refreshAt(f.now()) }

func (f *front) refreshAt(now int64) {
	if now < f.leadUntil {
		return
	}
	f.leadUntil = now + leadEvery
	lead := f.server.leadership()
	if lead != f.lead {
		f.lead, f.wake = lead, true
		f.retireForwarders()
	}
}

// execute starts one command. False: it must wait, and the connection is blocked.
func (f *front) execute(c *conn, args [][]byte, raw []byte) bool {
	d := lookup(args[0])
	if d == nil {
		d = lookupStateful(args[0])
	}
	f.denied = false
	switch {
	case (d == nil || !d.arityFits(len(args))) && speaksHTTP(args):
		f.tally.faults++
		c.refuseHTTP()
	case d == nil:
		f.tally.faults++
		c.fault(unknownFault(args))
	case !d.arityFits(len(args)):
		f.reject(c, d, arityFault(d.name))
	case !c.mayAll() && !f.permits(c, d, args):
		f.denied = true
	case c.discards && !d.transaction:
		f.reject(c, d, faultInMulti)
	case f.paused != noPause && f.pauses(c, d, args):
		return false
	case c.monitor != nil && d.encode != nil:
		f.reject(c, d, faultMonitor)
	case (d.alone || d.subs != nil && d.once(args)) && !c.queue.empty():
		c.block(0)
		return false
	case d.slow && !f.mayRunSlow():
		c.slow = true
		c.block(c.pendingMax())
		return false
	case d.class == local || d.partly && d.isLocal(args):
		f.runLocal(c, d, args)
	default:
		c.command = &d.name
		return f.data(c, d, args, raw)
	}
	return true
}

// reject refuses a command for what it is.
func (f *front) reject(c *conn, d *command, why string) {
	f.tally.faults++
	if d.listed {
		f.counted(d).Rejected++
	}
	c.fault(why)
}

// slowMax is how much of the time from one tick to the next commands may take that look at much,
// such as CLIENT LIST: the loop sends no heartbeat meanwhile.
const slowMax = int64(10 * time.Millisecond)

// mayRunSlow reports whether such a command may run in this tick.
func (f *front) mayRunSlow() bool { return f.slowUsed < slowMax }

// runLocal carries out a command that touches no replicated state.
func (f *front) runLocal(c *conn, d *command, args [][]byte) {
	c.command = &d.name
	if len(d.subs) > 0 && len(args) > 1 {
		s := d.sub(args[1])
		switch {
		case s == nil:
			f.reject(c, d, unknownSubcommand(strings.ToUpper(d.name), args))
			return
		case !arityFits(s.arity, len(args)):
			f.reject(c, d, arityFault(s.name))
			return
		}
		c.command = &s.name
	}
	start, measured := int64(0), d.slow || f.measuresAll()
	if measured {
		start = f.now()
	}
	f.reply = d.run(f, c, args, f.reply[:0])
	if measured {
		now := f.now()
		if d.listed {
			f.measure(c, d, 0, start, now, args)
		}
		if d.slow {
			f.slowUsed += now - start
		}
	}
	if d.listed {
		f.count(d)
		if f.reply[0] == '-' {
			f.counted(d).Failed++
		}
	}
	c.immediate(f.reply)
	if cap(f.reply) > 64<<10 {
		f.reply = nil
	}
}

// measuresAll reports whether commands that are answered at once are measured one by one.
func (f *front) measuresAll() bool { return f.watch.least < fastLocal }

// data sends a data command to the lane, or to the leader.
func (f *front) data(c *conn, d *command, args [][]byte, raw []byte) bool {
	f.refreshAt(f.began)
	var to *forwarder
	if d.class != ownState && d.class != beside && d.class != errand && !f.lead.leading {
		var refused string
		var wait bool
		if to, refused, wait = f.forwarderToLeader(c, d, args); wait && f.hold(c) {
			return false
		}
		if to == nil {
			f.tally.refused++
			f.counted(d).Rejected++
			c.fault(refused)
			return true
		}
	}
	if to != c.path {
		if !c.queue.empty() {
			c.block(0)
			return false
		}
		c.path = to
	}
	switch {
	case to != nil:
		if refused := f.overLimit(args); refused != "" {
			f.reject(c, d, refused)
			return true
		}
		to.forward(c, d, args, raw)
	case d.class == byLeader:
		f.transfer(c, args)
	case d.class == beside:
		f.beside(c, d, args)
	case d.class == errand:
		f.changeMembers(c, d, args)
	case !f.submit(c, d, args):
		return false
	}
	f.count(d)
	return true
}

// forwarderToLeader finds the forwarder to the leader, or says why there is none that takes the
// command, and whether it is worth waiting for one.
func (f *front) forwarderToLeader(
	c *conn, d *command, args [][]byte,
) (to *forwarder, refused string, wait bool) {
	switch {
	case c.proxied:
		return nil, "TRYAGAIN not applied: this member does not lead, " +
			"and the command was forwarded once already", false
	case !f.lead.known:
		return nil, "CLUSTERDOWN No raft leader", true
	case f.lead.address == "":
		return nil, "TRYAGAIN not applied: the leader's client address is not known yet", true
	case f.server.cfg.Follower == Redirect:
		return nil, moved(d, args, f.lead.address), false
	}
	if to = f.forwarderTo(f.routeOf(c)); !to.takes() {
		f.full = f.full || to.state == forwarderOpen
		return nil, "TRYAGAIN not applied: the leader cannot be reached from this member", true
	}
	return to, "", false
}

// dueMax bounds the bytes that replies of requests in the lane may have: what is copied of them, at
// most. Of a command whose own reply may have more, one is in the lane at a time.
const dueMax = 64 << 20

// lets reports whether there is room in the lane for a request of c whose reply may have so many
// bytes. The first that finds none has the right of way: else one that needs much would wait for
// ever behind many that need little.
func (f *front) lets(c *conn, bytes int) bool {
	if f.first != nil && f.first != c {
		return false
	}
	if f.due > 0 && f.due+bytes > dueMax {
		f.first = c
		return false
	}
	return true
}

// submit puts a data command into the lane. False: it must wait for room there.
func (f *front) submit(c *conn, d *command, args [][]byte) bool {
	cmd, refused := d.encode(f.text[:0], args, f.valueMax)
	if refused != "" {
		f.tally.faults++
		f.counted(d).Failed++
		c.fault(refused)
		return true
	}
	if cap(cmd) <= 1<<20 {
		f.text = cmd
	}
	due := kv.ReplyMost(cmd, len(args)-1)
	if due > kv.SmallReply && !f.lets(c, due) {
		c.room = due
		c.block(c.pendingMax())
		return false
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
	if errors.Is(err, engine.ErrBusy) && f.hold(c) {
		f.full = true
		return false
	}
	if err != nil {
		f.tally.refused++
		f.counted(d).Failed++
		c.fault(laneFault(err))
		return true
	}
	f.laneUsed = true
	f.tally.inLane++
	f.due += due
	place := c.queue.push(kind)
	f.cells[request&f.mask] = cell{c, place, f.began, uint32(due), uint16(d.place), c.asks()}
	return true
}

// laneFault words an error of the lane. All of them mean that nothing happened.
func laneFault(err error) string {
	switch {
	case errors.Is(err, engine.ErrTooLarge):
		return "ERR command is larger than the cluster accepts (--max-value)"
	case errors.Is(err, engine.ErrBusy):
		return "TRYAGAIN busy: not applied, too many commands wait"
	case errors.Is(err, engine.ErrWitness):
		return faultWitness
	}
	return "TRYAGAIN not applied: " + printable([]byte(err.Error()), 200)
}

// completions takes the lane's answers, in whatever order they come.
func (f *front) completions() {
	now := f.now()
	f.watch.least = f.server.least.Load()
	for {
		done, ok := f.lane.Next()
		if !ok {
			break
		}
		at := &f.cells[done.Request&f.mask]
		c, d, place := at.conn, commands[at.command], at.place
		at.conn = nil
		f.tally.inLane--
		f.due -= int(at.due)
		f.pipelining.answered(at.by, at.at, now)
		if c.closed {
			f.discard(done.Reply)
			continue
		}
		if done.Outcome == engine.Applied {
			f.measure(c, d, place, at.at, now, nil)
			c.kept.until = 0
			if len(done.Reply) > 0 && done.Reply[0] == '-' {
				f.counted(d).Failed++
			}
			c.answer(place, done.Reply)
			continue
		}
		f.leadUntil = 0
		kind := c.queue.at(place).kind
		if why := outcomeFault(done, kind); goesAgain(done, kind) {
			c.refuse(d, place, why)
		} else {
			f.refusedFor(c, d, place, why)
		}
	}
	f.lane.Release()
	f.wake = f.wake || f.full
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
	case engine.ReasonShortage:
		return "MISCONF no file descriptor or memory for the leader's journal: not applied; " +
			"raise RLIMIT_NOFILE or close connections, reads go on"
	case engine.ReasonJournalFailed:
		return "TRYAGAIN not applied: the journal of this member failed"
	}
	return "TRYAGAIN not applied: leadership changed"
}

// goesAgain reports whether a command that failed can be carried out again: it had no effect, and
// another leader, or this one a little later, may take it.
func goesAgain(done engine.Completion, kind replyKind) bool {
	if done.Outcome == engine.Unknown && kind == writeReply {
		return false
	}
	switch done.Reason {
	case engine.ReasonTooLarge, engine.ReasonClosing, engine.ReasonNoSpace,
		engine.ReasonJournalFailed:
		return false
	}
	return true
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
		if len(f.unsettled) > 0 {
			f.settleRefused()
		}
		if f.laneUsed {
			f.laneUsed = false
			f.lane.Flush()
		}
		for _, fw := range f.dirtyForwarders {
			fw.write()
		}
		f.dirtyForwarders = f.dirtyForwarders[:0]
		if woke, went := f.wakeHolders(), f.resume(); !woke && !went {
			break
		}
	}
	for i := 0; i < len(f.dirty); i++ { // a write may close a connection and make others dirty
		f.dirty[i].write()
		f.dirty[i] = nil
	}
	f.dirty = f.dirty[:0]
	if len(f.behind) > 0 && f.server.ClientBytes() > clientsFull {
		f.settleAll()
	}
	f.publishLane()
	f.finishing = false
}

// tick is called every so often, also when nothing comes in: a client that waits for a leader that
// stands still is answered without input from another.
func (f *front) tick() {
	if len(f.forwarders) > 0 {
		f.refresh()
		f.checkGreetings()
	}
	f.slowUsed, f.watch.room = 0, slowRoom
	f.second = time.Now().Unix()
	f.watchEngine()
	f.sendMonitors()
	f.forgetBulk()
	f.settleAll()
	f.wake = f.wake || len(f.holders) > 0
	f.finish()
	f.publishCounts()
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
			went = true
			c.unblock()
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
	c := &conn{front: f, sock: sock, proto: resp.RESP2, window: window{windowStart, pendingMax}}
	c.client = f.server.join(c, address, local)
	c.begin()
	return c
}
