package server

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ringraft/ringraft/netio/resp"
)

// forwarder is a connection of this loop to the leader, shared by the loop's clients: those that
// pipeline have one, and the others another, since the leader may slow the first down. It
// carries commands as the clients sent them, and the leader's replies back in the internal form,
// whatever protocol each client speaks; the n-th reply belongs to the n-th command. netio keeps
// dialing it while it is wanted.
type forwarder struct {
	front   *front
	address string
	bulk    bool   // of clients that pipeline
	sock    socket // nil while not connected
	stop    func() // ends dialing and closes
	greeted func() // tells netio that the leader answered the handshake
	state   forwarderState
	since   int64 // monotonic ns when the handshake was sent

	pending []forwarded // FIFO from head on
	unread  int         // bytes of pending commands
	replies resp.ReplyParser
	reply   resp.Reply
	head    int
	out     []byte
	dirty   bool
	retired bool   // not to the leader any more: close once no reply is pending
	giveUp  int64  // retired: then pending replies become unknown results
	said    string // what was logged last
}

// forwarded is one command whose reply is expected. conn is nil for the handshake.
type forwarded struct {
	conn    *conn
	command *command
	place   uint64
	size    int   // of the command in bytes
	began   int64 // when the loop took it up, monotonic ns
}

type forwarderState uint8

const (
	forwarderDialing  forwarderState = iota // for the first time or again
	forwarderGreeting                       // connected; the leader has not answered yet
	forwarderOpen                           // the leader takes commands
)

// greetingMax is how long the leader may take to answer the handshake. One that does not, such as
// a stopped process whose system still accepts connections, is dialed again.
const greetingMax = int64(2 * time.Second)

const (
	forwarderPendingMax  = 64 << 10
	forwarderUnreadMax   = 32 << 20 // bytes of commands that were not answered
	forwarderOutboundMax = 16 << 20
)

// ForwardError says what was wrong with what another member sent on a connection that carries
// forwarded commands. The connection is closed and made anew.
type ForwardError struct {
	Address string // of that member's port for clients
	Problem string
}

func (e *ForwardError) Error() string {
	return fmt.Sprintf("forwarding to the member at %s: %s", e.Address, e.Problem)
}

// route is which forwarder a command takes.
type route struct {
	address string
	bulk    bool
}

// routeOf is the route to the leader of a client's commands.
func (f *front) routeOf(c *conn) route { return route{f.lead.address, c.bulkAt != 0} }

// forwarderTo returns the forwarder of a route, dialing it when there is none.
func (f *front) forwarderTo(r route) *forwarder {
	fw := f.forwarders[r]
	if fw == nil {
		fw = f.dial(f, r.address)
		fw.bulk = r.bulk
		f.forwarders[r] = fw
	}
	return fw
}

// takes reports whether a command can be forwarded now.
func (fw *forwarder) takes() bool { return fw.state == forwarderOpen && !fw.crowded() }

// checkGreetings ends connections on which the handshake is not answered.
func (f *front) checkGreetings() {
	for _, fw := range f.forwarders {
		if fw.state == forwarderGreeting && f.now()-fw.since > greetingMax {
			fw.sock.Close(fw.broken("it did not answer RAFT.PROXY"))
		}
	}
}

func (fw *forwarder) broken(problem string) error {
	return &ForwardError{Address: fw.address, Problem: problem}
}

// retireForwarders gives up forwarders to members that no longer lead.
func (f *front) retireForwarders() {
	for r, fw := range f.forwarders {
		if f.lead.leading || r.address != f.lead.address {
			fw.retired, fw.giveUp = true, f.now()+retiredMax
			delete(f.forwarders, r)
			if fw.closeIdle(); fw.stop != nil {
				f.retired = append(f.retired, fw)
			}
		}
	}
}

// retiredMax is how long a member that leads no more may take to answer what was forwarded to it.
// One whose loop hangs in a write answers nothing, and keeps its connections.
const retiredMax = int64(2 * time.Second)

// giveUpForwarders answers what retired forwarders have waited for too long.
func (f *front) giveUpForwarders() {
	kept := f.retired[:0]
	for _, fw := range f.retired {
		switch {
		case fw.stop == nil:
		case f.now() < fw.giveUp:
			kept = append(kept, fw)
		default:
			fw.lost(nil)
		}
	}
	clear(f.retired[len(kept):])
	f.retired = kept
}

// closeIdle closes a retired forwarder when no reply is pending.
func (fw *forwarder) closeIdle() {
	if fw.retired && fw.head == len(fw.pending) && fw.stop != nil {
		stop := fw.stop
		fw.stop = nil
		stop()
	}
}

// crowded reports whether the leader takes commands more slowly than clients bring them.
func (fw *forwarder) crowded() bool {
	return len(fw.pending)-fw.head >= forwarderPendingMax || fw.unread > forwarderUnreadMax ||
		fw.sock != nil && fw.sock.Outbound()+len(fw.out) > forwarderOutboundMax
}

// opened starts the conversation: the leader must know that it may not forward these commands
// again.
func (fw *forwarder) opened(sock socket) {
	fw.sock, fw.state, fw.since = sock, forwarderGreeting, fw.front.now()
	fw.replies.Reset()
	fw.out = append(fw.out[:0], fw.front.server.greeting()...)
	fw.pending, fw.head, fw.unread = append(fw.pending[:0], forwarded{}), 0, 0
	if fw.bulk {
		fw.out = resp.AppendBulkStrings(fw.out, "CLIENT", "SETNAME", bulkName)
		fw.pending = append(fw.pending, forwarded{})
	}
	fw.markDirty()
	fw.front.finish()
}

// forward sends a command on, byte for byte when it came as an array.
func (fw *forwarder) forward(c *conn, d *command, args [][]byte, raw []byte) {
	kind := readReply
	if d.class == write || d.class == byLeader {
		kind = writeReply
	}
	fw.push(forwarded{c, d, c.queue.push(kind), len(raw), fw.front.began})
	fw.unread += len(raw)
	fw.front.tally.forwarded++
	if raw[0] == '*' {
		fw.out = append(fw.out, raw...)
	} else { // an inline command
		fw.out = resp.AppendBulks(fw.out, args...)
	}
	fw.markDirty()
}

func (fw *forwarder) push(o forwarded) {
	if fw.head == len(fw.pending) {
		fw.pending, fw.head = fw.pending[:0], 0
	} else if fw.head > 1024 && fw.head > len(fw.pending)/2 {
		n := copy(fw.pending, fw.pending[fw.head:])
		clear(fw.pending[n:])
		fw.pending, fw.head = fw.pending[:n], 0
	}
	fw.pending = append(fw.pending, o)
}

func (fw *forwarder) markDirty() {
	if !fw.dirty {
		fw.dirty = true
		fw.front.dirtyForwarders = append(fw.front.dirtyForwarders, fw)
	}
}

func (fw *forwarder) write() {
	fw.dirty = false
	if fw.sock != nil && len(fw.out) > 0 {
		fw.sock.Write(fw.out)
	}
	fw.out = fw.out[:0]
	if cap(fw.out) > 1<<20 {
		fw.out = nil
	}
}

// input gives complete replies to those who wait for them and returns how many bytes they took.
func (fw *forwarder) input(b []byte) (n int, err error) {
	now := fw.front.now()
	fw.front.watch.least = fw.front.server.least.Load()
	for n < len(b) {
		size, err := fw.front.parseReply(fw, b[n:])
		switch {
		case err != nil:
			return n, fw.broken("its reply is broken: " + err.Error())
		case size > 0 && fw.head == len(fw.pending):
			return n, fw.broken("it sent a reply to no command")
		case size == 0:
			fw.endInput()
			return n, nil
		}
		o := fw.pending[fw.head]
		fw.pending[fw.head] = forwarded{}
		fw.head++
		fw.unread -= o.size
		if o.conn != nil {
			o.answer(b[n:n+size], now)
		} else if err := fw.greet(b[n : n+size]); err != nil {
			return n, err
		}
		n += size
	}
	fw.endInput()
	return n, nil
}

func (fw *forwarder) endInput() {
	f := fw.front
	f.wake = f.wake || f.full && fw.takes()
	fw.closeIdle()
	f.finish()
}

// greet takes the answer to the handshake. Only now the leader is known to take commands.
func (fw *forwarder) greet(reply []byte) error {
	if string(reply) != "+OK\r\n" {
		return fw.broken("it refused RAFT.PROXY " + proxyVersion + ": " + refusedGreeting(reply))
	}
	fw.said = ""
	if fw.state == forwarderGreeting { // else it is the answer to its name
		fw.state, fw.front.wake = forwarderOpen, true
		fw.greeted()
	}
	return nil
}

// answer passes a reply of the leader on. One that says that the command had no effect may have
// it go again.
func (o *forwarded) answer(reply []byte, now int64) {
	c := o.conn
	if reply[0] == '-' {
		if o.command.class != byLeader && bytes.HasPrefix(reply, []byte("-TRYAGAIN ")) {
			c.refuse(o.command, o.place, string(bytes.TrimSuffix(reply[1:], []byte("\r\n"))))
			return
		}
		c.front.counted(o.command).Failed++
	}
	if !c.closed {
		c.front.measure(c, o.command, o.place, o.began, now, nil)
	}
	c.kept.until = 0
	c.window.answered(len(reply))
	c.answer(o.place, reply)
}

// lost answers what was forwarded on a broken connection. A write that was sent may have been
// carried out; a read goes again where it can.
func (fw *forwarder) lost(cause error) {
	f := fw.front
	var broken *ForwardError
	if errors.As(cause, &broken) && broken.Problem != fw.said {
		fw.said = broken.Problem
		f.server.cfg.Logger.Warn("the connection to the leader was closed", "err", cause)
	}
	fw.sock, fw.state, fw.unread = nil, forwarderDialing, 0
	fw.out = fw.out[:0]
	f.leadUntil = 0
	for ; fw.head < len(fw.pending); fw.head++ {
		o := fw.pending[fw.head]
		fw.pending[fw.head] = forwarded{}
		if o.conn == nil || o.conn.closed {
			continue
		}
		if o.command.class == read {
			o.conn.refuse(o.command, o.place,
				"TRYAGAIN the leader did not answer, or the connection to it was lost")
		} else {
			f.refusedFor(o.conn, o.command, o.place, unknownResult)
		}
	}
	f.tally.forwardersLost++
	f.finish()
	fw.closeIdle()
}

// moved words a redirection.
func moved(d *command, args [][]byte, address string) string {
	slot := 0
	if d.firstKey > 0 && len(args) > d.firstKey {
		slot = slotOf(args[d.firstKey])
	}
	return "MOVED " + strconv.Itoa(slot) + " " + address
}
