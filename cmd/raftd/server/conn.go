package server

import "github.com/ringraft/ringraft/netio/resp"

// socket is what a connection needs of the network. Calls are made by the owning loop, once per
// batch.
type socket interface {
	// Write sends b, which the caller may use again afterwards.
	Write(b []byte) error
	// Outbound is how many bytes wait to be taken by the peer.
	Outbound() int
	// Close ends the connection once outbound bytes have left. The handler's Closed follows.
	Close(err error)
}

// conn is one client connection. It belongs to one loop.
//
// Its commands take one of two paths at a time: the loop's lane, or the forwarder to the leader.
// Replies of one path must not overtake effects on the other, so the path changes only when no
// reply is pending. Until then input waits.
type conn struct {
	front  *front
	sock   socket
	client *client // what others may see of it

	queue queue
	out   []byte // answers of this batch
	dirty bool   // listed in front.dirty

	parser  resp.Parser
	held    []byte // input that waits, when blocked or holding, or behind input that waited
	blocked bool   // listed in front.blocked
	wakeAt  int    // blocked until no more replies than this are pending
	kept    kept   // commands that can go again

	path      *forwarder    // path of the commands whose replies are pending; nil: the lane
	lastWrite uint64        // newest write in the lane; reads must see it
	proto     resp.Protocol // what its replies are rendered in
	proxied   bool          // the peer is another member that forwards its clients' commands
	command   *string       // name of the newest command
	told      *string       // the same as others see it
	discards  bool          // carries nothing out until EXEC or DISCARD, see unsupported.go
	closing   bool          // no more input; close when no reply is pending
	closed    bool
}

const (
	// pendingMax bounds the pending replies of one connection; more input waits. A client that
	// pipelines further is not refused but slowed down.
	pendingMax = 512
	// proxiedPendingMax is the same for a forwarder of another member, which carries many clients.
	proxiedPendingMax = 8192
	// proxiedOutboundMax bounds the bytes that such a connection has not taken before its commands
	// wait.
	proxiedOutboundMax = 4 << 20
	// heldMax bounds the input that waits on one connection.
	heldMax = 64 << 20
)

func (c *conn) pendingMax() int {
	if c.proxied {
		return proxiedPendingMax
	}
	return pendingMax
}

// input takes bytes from the peer and returns how many were consumed. What it leaves is an
// incomplete command, to be given again with more behind it.
func (c *conn) input(b []byte) (n int) {
	f := c.front
	switch {
	case c.closing || c.closed:
		return len(b)
	case len(c.held) > 0:
		if len(c.held)+len(b) > heldMax {
			c.fail("ERR too much pipelined input waits")
			break
		}
		c.held = append(c.held, b...)
		if f.moreHeld(c, len(b)); !c.waits() {
			c.drainHeld()
		}
		n = len(b)
	default:
		n = c.run(b)
		if c.waits() && n < len(b) {
			c.held = append(c.held, b[n:]...)
			f.moreHeld(c, len(b)-n)
			n = len(b)
		}
	}
	f.finish()
	if c.closing || c.closed {
		return len(b)
	}
	return n
}

// drainHeld works through input that waited.
func (c *conn) drainHeld() {
	held := c.held
	n := c.run(held)
	if c.held = held[n:]; len(c.held) == 0 || c.closing || c.closed {
		c.held = nil
	}
}

// run carries out complete commands and returns how many bytes they took. It stops early when the
// connection has to wait.
func (c *conn) run(b []byte) (n int) {
	f := c.front
	f.began = f.now()
	defer f.spread(f.began)
	for n < len(b) {
		if most := c.pendingMax(); c.queue.len() >= most || len(c.kept.again) > 0 || c.congested() {
			c.block(most / 2)
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
		if len(f.args) > 0 && !f.execute(c, f.args, b[n:n+size]) {
			return n
		}
		if c.queue.tail != pending {
			c.keep(b[n : n+size])
		}
		n += size
		if c.closing || c.closed {
			return len(b)
		}
	}
	return n
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
	return c.queue.len() <= c.wakeAt && len(c.kept.again) == 0 && !c.kept.stays.holding &&
		!c.congested()
}

// waits reports whether input has to wait.
func (c *conn) waits() bool { return c.blocked || c.kept.stays.holding }

// congested reports whether another member takes the replies to its clients too slowly. Then its
// commands wait: the connection is shared, so one client's large replies must not end it.
func (c *conn) congested() bool { return c.proxied && c.sock.Outbound() > proxiedOutboundMax }

// immediate answers the newest command at once; the reply leaves behind all that are pending. Like
// answer it takes a reply in the internal form.
func (c *conn) immediate(reply []byte) {
	if !c.queue.empty() {
		c.queue.early(c.queue.push(readReply), reply, c.proto)
		return
	}
	c.output()
	c.out = resp.Render(c.out, reply, c.proto)
}

// fault answers the newest command with an error.
func (c *conn) fault(text string) {
	f := c.front
	f.reply = resp.AppendError(f.reply[:0], text)
	c.immediate(f.reply)
}

// fail answers with an error and ends the connection once all replies have left.
func (c *conn) fail(text string) {
	c.fault(text)
	c.end()
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
		return
	}
	if place != c.queue.head {
		c.queue.early(place, reply, c.proto)
		return
	}
	c.output()
	c.out = c.queue.pass(resp.Render(c.out, reply, c.proto))
}

// output makes sure that out is there and will be written at the end of the batch.
func (c *conn) output() {
	if c.dirty {
		return
	}
	c.dirty = true
	c.front.dirty = append(c.front.dirty, c)
	if c.out == nil {
		c.out = c.front.buffer()
	}
}

// write sends what has gathered. It is the only place that writes to the socket.
func (c *conn) write() {
	c.dirty = false
	c.tellCommand()
	if !c.closed && len(c.out) > 0 {
		c.sock.Write(c.out) // an error closes the connection, and Closed says so
	}
	c.front.giveBack(c.out)
	c.out = nil
	if c.queue.empty() {
		c.kept.release(c.front)
		if c.closing && !c.closed {
			c.sock.Close(nil)
		}
	}
}

// gone forgets the connection. Replies to what it still has in the lane or at the leader are
// discarded when they come.
func (c *conn) gone() {
	c.closed, c.held = true, nil
	c.front.server.leave(c.client)
	c.queue = queue{}
	c.kept.drop(c.front)
}
