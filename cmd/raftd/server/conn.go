package server

import (
	"time"

	"github.com/ringraft/ringraft/netio"
	"github.com/ringraft/ringraft/netio/resp"
)

// socket is what a connection needs of the network: see netio.Conn. Calls are made by the owning
// loop, once per batch where nothing else is said.
type socket interface {
	// Write sends b, which the caller may use again afterwards.
	Write(b []byte) error
	// WriteParts sends parts, of which those with a holder are not copied.
	WriteParts(parts []netio.Part) error
	// Outbound is how many bytes wait to be taken by the peer, OutboundCopied how many of them are
	// copies. For each command.
	Outbound() int
	OutboundCopied() int
	// NotifyBelow has drained called when no more than n bytes wait.
	NotifyBelow(n int)
	// Pause keeps input from coming, Resume brings what was not consumed again, and what came
	// meanwhile.
	Pause()
	Resume()
	// CloseAfter closes the connection after d unless it is called again before; 0: never.
	CloseAfter(d time.Duration)
	// Reserve has large input come without waiting for that of clients. Once.
	Reserve()
	// Yield has what was not consumed brought again when others have had their turn.
	Yield()
	// Close ends the connection once outbound bytes have left, Abort at once. The handler's Closed
	// follows.
	Close(err error)
	Abort(err error)
}

// conn is one client connection. It belongs to one loop.
//
// Its commands take one of two paths at a time: the loop's lane, or the forwarder to the leader.
// Replies of one path must not overtake effects on the other, so the path changes only when no
// reply is pending. Until then input waits.
//
// Input that waits stays where it came from: what input has not consumed is given to it again when
// the connection goes on, and meanwhile nothing is read.
type conn struct {
	front  *front
	sock   socket
	client *client // what others may see of it

	queue queue
	out   output // answers of this batch
	dirty bool   // listed in front.dirty

	parser  resp.Parser
	blocked bool       // listed in front.blocked: nothing is read
	wakeAt  int        // blocked until no more replies than this are pending
	full    bool       // blocked until its backlog is half of what it may be
	room    int        // blocked until there is this much room for replies in the lane
	slow    bool       // blocked until slow commands have their turn again
	resting bool       // blocked until those that pipeline have rested
	paused  pauseLevel // blocked until a pause of this level or above is over
	running bool       // input is on the stack
	goesOn  bool       // and waits no more
	kept    kept       // commands that can go again
	held    []byte     // those that go again, in front of all input

	window    window        // of forwarded commands
	path      *forwarder    // path of the commands whose replies are pending; nil: the lane
	lastWrite uint64        // newest write in the lane; reads must see it
	proto     resp.Protocol // what its replies are rendered in
	proxied   bool          // the peer is another member that forwards its clients' commands
	command   *string       // name of the newest command
	told      *string       // the same as others see it
	bulk      bool          // proxied: of clients that pipeline
	bulkAt    int64         // when it was seen to pipeline, 0: it does not, see bulk.go
	size      int           // bytes of the newest command
	discards  bool          // carries nothing out until EXEC or DISCARD, see unsupported.go
	closing   bool          // no more input; close when no reply is pending
	faulty    bool          // what it sent is not the protocol
	finished  bool          // the client has sent its last byte; close when all is answered
	closed    bool
	aborted   bool     // it is being closed
	monitor   *monitor // nil: it is none
	activeAt  int64    // client.active, as others see it

	login
	account
}

// account is what a connection takes of the memory for clients, see ClientsMax.
type account struct {
	holds      *hold // large values and replies that were not sent yet
	references int   // bytes of values among them, which are no copies
	ownBytes   int   // bytes of copies among them
	unconsumed int   // bytes of input that wait
	counted    int   // of the backlog: entered into the server's sum
	listed     bool  // in front.behind
}

const (
	// pendingMax bounds the pending replies of one connection; more input waits. A client that
	// pipelines further is not refused but slowed down.
	pendingMax = 512
	// proxiedPendingMax is the same for a forwarder of another member, which carries many clients.
	proxiedPendingMax = 8192
)

const (
	// turnMax is how long one connection may keep the loop before others get their turn, in ns: a
	// read may bring tens of thousands of commands that are answered at once.
	turnMax = int64(200 * time.Microsecond)
	// turnCheck is after how many commands the clock is read, unless replies are long.
	turnCheck = 64
)

// window bounds the forwarded commands of a connection whose replies are pending. Replies come on a
// connection that all clients of the loop share, so they must have room here when they come. The
// window opens with each small reply, and closes when replies turn out to be large.
type window struct {
	size, max int
}

const (
	windowStart = 6
	windowLarge = 2        // the most after a large reply
	windowBytes = 64 << 20 // of large replies in one window
)

// answered learns from a reply of so many bytes.
func (w *window) answered(bytes int) {
	if bytes >= ownMin {
		w.max = windowLarge
		w.size = max(1, min(w.size, w.max, windowBytes/bytes))
	} else if w.size < w.max {
		w.size++
	}
}

func (c *conn) pendingMax() int {
	if c.proxied {
		return proxiedPendingMax
	}
	return pendingMax
}

// input takes bytes from the peer and returns how many were consumed. What it leaves is an
// incomplete command, or waits with the connection; it is to be given again with more behind it.
func (c *conn) input(b []byte) (n int) {
	if c.closing || c.closed {
		return len(b)
	}
	c.running = true
	for more := true; more; {
		c.goesOn = false
		if c.runHeld() {
			n += c.run(b[n:])
		}
		c.unconsumed = len(b) - n
		c.front.finish()
		more = c.goesOn && !c.closing && !c.closed
	}
	c.running = false
	c.passFirst()
	if c.closing || c.closed {
		c.unconsumed = 0
		return len(b)
	}
	if c.waits() {
		if c.sock.Pause(); c.full {
			c.sock.NotifyBelow(c.sock.Outbound() / 2)
		}
	}
	if c.unconsumed > 0 || c.counted > 0 {
		c.settle()
	}
	return n
}

// passFirst gives the right of way for replies to others when the connection does not wait for room
// any more.
func (c *conn) passFirst() {
	if !c.blocked && c.front.first == c {
		c.front.first = nil
	}
}

// runHeld carries out commands that go again, and reports whether all have gone.
func (c *conn) runHeld() bool {
	if len(c.held) == 0 {
		return true
	}
	c.parser.Reset() // it may be in the middle of what comes behind them
	n := c.run(c.held)
	if c.held = c.held[min(n, len(c.held)):]; len(c.held) == 0 {
		c.held = nil
	}
	return c.held == nil && !c.closing && !c.closed
}

// run carries out complete commands and returns how many bytes they took. It stops early when the
// connection has to wait.
func (c *conn) run(b []byte) (n int) {
	f := c.front
	f.began, f.valueMax = f.now(), f.server.maxValue()
	f.watch.least = f.server.least.Load()
	f.paused, f.monitors = f.server.pause.at(f.began), f.server.monitors.Load()
	c.tellActive()
	began, pending := f.began, c.queue.tail
	n = c.runAll(b)
	c.noteSingle(c.queue.tail - pending)
	f.spread(began)
	return n
}

// runAll is run without what is done once for all of b. It has no defer: a function with so many
// ways out pays 300 instructions for one.
func (c *conn) runAll(b []byte) (n int) {
	f := c.front
	for count := 1; n < len(b); count++ {
		most := c.most()
		switch {
		case (count%turnCheck == 0 || f.sentMuch) && len(c.held) == 0 && f.turnIsOver():
			c.sock.Yield()
			return n
		case c.queue.len() >= most || len(c.kept.again) > 0:
			c.block(most / 2)
			return n
		case c.path != nil && c.queue.len() >= c.window.size:
			c.block(c.window.size / 2)
			return n
		case c.backlogged(1):
			c.full = true
			c.block(most)
			return n
		case c.bulkAt != 0 && c.rests():
			c.resting = true
			c.block(most)
			return n
		}
		size, err := f.parse(c, b[n:])
		if err != nil {
			c.fail("ERR Protocol error: " + err.Error())
			return len(b)
		}
		if size == 0 {
			return n
		}
		pending := c.queue.tail
		c.size = size
		if len(f.args) > 0 && !f.execute(c, f.args, b[n:n+size]) {
			return n
		}
		if !c.known {
			c.boundLogin()
		}
		if f.monitors != nil && len(f.args) > 0 {
			f.show(c, f.args)
		}
		if c.queue.tail != pending {
			c.keep(b[n:n+size], min(len(b)-n-size, (most-c.queue.len())*size))
		}
		n += size
		if c.closing || c.closed {
			return len(b)
		}
	}
	return n
}

// turnIsOver reports whether the connection has kept the loop for long enough.
func (f *front) turnIsOver() bool {
	f.sentMuch = false
	return f.now()-f.began > turnMax
}

// block stops input until at most wakeAt replies are pending.
func (c *conn) block(wakeAt int) {
	c.wakeAt = wakeAt
	if !c.blocked {
		c.blocked = true
		c.front.blocked = append(c.front.blocked, c)
	}
}

func (c *conn) mayResume() bool {
	switch {
	case c.queue.len() > c.wakeAt, len(c.kept.again) > 0, c.kept.stays.holding:
		return false
	case c.resting && c.front.pipelining.resting:
		return false
	case c.paused != noPause && c.front.server.pause.at(c.front.now()) >= c.paused:
		return false
	case c.full && c.backlogged(2):
		if n := c.sock.Outbound(); n > 0 {
			c.sock.NotifyBelow(n / 2)
		}
		return false
	}
	return (c.room == 0 || c.front.lets(c, c.room)) && (!c.slow || c.front.mayRunSlow())
}

// unblock ends what block began.
func (c *conn) unblock() {
	c.blocked, c.full, c.slow, c.resting, c.room = false, false, false, false, 0
	if c.paused != noPause {
		c.paused = noPause
		c.client.paused.Store(false)
	}
	c.goOn()
}

// goOn lets commands that go again be carried out, and then input come, if nothing is waited for.
func (c *conn) goOn() {
	switch {
	case c.waits():
	case c.running:
		c.goesOn = true
	default:
		all := c.runHeld()
		c.passFirst()
		if all {
			c.sock.Resume()
		}
	}
}

// waits reports whether input has to wait.
func (c *conn) waits() bool { return c.blocked || c.kept.stays.holding }

// immediate answers the newest command at once; the reply leaves behind all that are pending. Like
// answer it takes a reply in the internal form.
func (c *conn) immediate(reply []byte) {
	if !c.queue.empty() {
		c.queue.early(c.queue.push(readReply), c, reply)
		c.settle()
		return
	}
	c.output()
	c.render(&c.out, reply)
	c.sendMuch()
}

// fault answers the newest command with an error.
func (c *conn) fault(text string) {
	f := c.front
	f.reply = resp.AppendError(f.reply[:0], text)
	c.immediate(f.reply)
}

// fail answers with an error and ends the connection once all replies have left.
func (c *conn) fail(text string) {
	c.faulty = true
	c.fault(text)
	c.end()
}

// finish hears that the client has sent its last byte, when all before it was consumed. What was
// asked is answered, also what goes again.
func (c *conn) finish() {
	c.finished = true
	c.output()
	c.front.finish()
}

// end takes no more input and closes once all replies have left.
func (c *conn) end() {
	c.closing, c.held = true, nil
	c.output()
}

// answer gives the reply of a place, in the internal form. It leaves in the form that the client
// reads; there is no other way out than here and in immediate.
func (c *conn) answer(place uint64, reply []byte) {
	if c.closed {
		c.front.discard(reply)
		return
	}
	if place != c.queue.head {
		c.queue.early(place, c, reply)
		c.settle()
		return
	}
	c.output()
	c.render(&c.out, reply)
	c.queue.pass(&c.out)
	c.sendMuch()
}

// output makes sure that out is there and will be written at the end of the batch.
func (c *conn) output() {
	if c.dirty {
		return
	}
	c.dirty = true
	c.front.dirty = append(c.front.dirty, c)
	if c.out.bytes == nil {
		c.out.bytes = c.front.buffer()
	}
}

// write sends what has gathered, at the end of a batch.
func (c *conn) write() {
	c.dirty = false
	c.tellCommand()
	c.send()
	c.front.giveBack(c.out.bytes)
	c.out.bytes = nil
	if c.queue.empty() {
		c.kept.release(c.front)
		if done := c.finished && !c.waits() && len(c.held) == 0; (c.closing || done) && !c.closed {
			c.sock.Close(nil)
		}
	}
	if c.counted > 0 || c.holds != nil || c.sock.OutboundCopied() > 0 {
		c.settle()
	}
}

// sendMuch sends what has gathered if it is much, so that it is never much more.
func (c *conn) sendMuch() {
	if len(c.out.bytes)+c.out.apart >= sendAt {
		c.send()
		c.settle()
		c.front.sentMuch = true
	}
}

// send writes the output. It is the only place that writes to the socket. An error closes the
// connection, and Closed says so.
func (c *conn) send() {
	switch {
	case c.closed:
		releaseCuts(c.out.cuts)
	case len(c.out.cuts) > 0:
		list := c.out.parts(c.front.parts[:0])
		c.sock.WriteParts(list)
		clear(list)
		c.front.parts = list[:0]
	case len(c.out.bytes) > 0:
		c.sock.Write(c.out.bytes)
	}
	c.out.bytes, c.out.cuts, c.out.apart = c.out.bytes[:0], nil, 0
}

// drained hears that what waited to be sent has become less, see socket.NotifyBelow.
func (c *conn) drained() {
	c.settle()
	c.front.finish()
}

// gone forgets the connection. Replies to what it still has in the lane or at the leader are
// discarded when they come.
func (c *conn) gone() {
	c.closed, c.held, c.unconsumed = true, nil, 0
	c.front.server.leave(c.client)
	c.unmonitor()
	c.queue.drop()
	releaseCuts(c.out.cuts)
	c.out.cuts, c.out.apart = nil, 0
	if c.front.first == c {
		c.front.first = nil
	}
	c.kept.drop(c.front)
	c.settle()
}
