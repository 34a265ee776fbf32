package server

import (
	"errors"
	"strconv"
	"time"

	"github.com/ringraft/ringraft/netio/resp"
)

// forwarder is a connection of this loop to the leader, shared by all of the loop's clients. It
// carries commands as the clients sent them, and the leader's replies back in the internal form,
// whatever protocol each client speaks; the n-th reply belongs to the n-th command. netio keeps
// dialing it while it is wanted.
type forwarder struct {
	front   *front
	address string
	sock    socket // nil while not connected
	stop    func() // ends dialing and closes
	state   forwarderState
	since   int64 // monotonic ns when dialing began

	pending []forwarded // FIFO from head on
	replies resp.ReplyParser
	reply   resp.Reply
	head    int
	out     []byte
	dirty   bool
	retired bool  // not to the leader any more: close once no reply is pending
	giveUp  int64 // retired: then pending replies become unknown results
}

// forwarded is one command whose reply is expected. conn is nil for the handshake.
type forwarded struct {
	conn  *conn
	place uint64
	write bool
}

type forwarderState uint8

const (
	forwarderOpening forwarderState = iota // first attempt under way
	forwarderOpen
	forwarderLost // being dialed again
)

// forwarderOpeningMax is how long commands wait for the first attempt to reach a leader.
const forwarderOpeningMax = int64(time.Second)

const (
	forwarderPendingMax  = 64 << 10
	forwarderOutboundMax = 16 << 20
)

var errHandshake = errors.New("the leader refused to take forwarded commands")

// forwarderTo returns the forwarder to an address, dialing it when there is none.
func (f *front) forwarderTo(address string) *forwarder {
	fw := f.forwarders[address]
	if fw == nil {
		fw = f.dial(f, address)
		fw.since = f.now()
		f.forwarders[address] = fw
	}
	return fw
}

// opening reports whether it is worth waiting for the connection.
func (fw *forwarder) opening() bool {
	return fw.state == forwarderOpening && !fw.retired &&
		fw.front.now()-fw.since < forwarderOpeningMax
}

// retireForwarders gives up forwarders to members that no longer lead.
func (f *front) retireForwarders() {
	for address, fw := range f.forwarders {
		if f.lead.leading || address != f.lead.address {
			fw.retired, fw.giveUp = true, f.now()+retiredMax
			delete(f.forwarders, address)
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
			fw.lost()
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
	return len(fw.pending)-fw.head >= forwarderPendingMax ||
		fw.sock != nil && fw.sock.Outbound()+len(fw.out) > forwarderOutboundMax
}

// opened starts the conversation: the leader must know that it may not forward these commands
// again.
func (fw *forwarder) opened(sock socket) {
	fw.sock, fw.state = sock, forwarderOpen
	fw.replies.Reset()
	fw.out = resp.AppendBulkStrings(fw.out[:0], "RAFT.PROXY", proxyVersion)
	fw.pending, fw.head = append(fw.pending[:0], forwarded{}), 0
	fw.markDirty()
	fw.front.finish()
}

// forward sends a command on, byte for byte when it came as an array.
func (fw *forwarder) forward(c *conn, d *command, args [][]byte, raw []byte) {
	kind := readReply
	if d.class == write || d.class == byLeader {
		kind = writeReply
	}
	fw.push(forwarded{c, c.queue.push(kind), kind == writeReply})
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
	for n < len(b) {
		size, err := fw.front.parseReply(fw, b[n:])
		if err != nil || size > 0 && fw.head == len(fw.pending) {
			return n, errors.Join(err, errors.New("unexpected bytes from the leader"))
		}
		if size == 0 {
			break
		}
		o := fw.pending[fw.head]
		fw.pending[fw.head] = forwarded{}
		fw.head++
		if o.conn != nil {
			o.conn.window.answered(size)
			o.conn.answer(o.place, b[n:n+size])
		} else if b[n] == '-' {
			return n, errHandshake
		}
		n += size
	}
	fw.closeIdle()
	fw.front.finish()
	return n, nil
}

// lost answers what was forwarded on a broken connection. A command that was sent may have been
// carried out.
func (fw *forwarder) lost() {
	f := fw.front
	fw.sock, fw.state = nil, forwarderLost
	fw.out = fw.out[:0]
	f.leadUntil = 0
	for ; fw.head < len(fw.pending); fw.head++ {
		o := fw.pending[fw.head]
		fw.pending[fw.head] = forwarded{}
		if o.conn == nil || o.conn.closed {
			continue
		}
		fault := "TRYAGAIN the leader did not answer, or the connection to it was lost"
		if o.write {
			fault = unknownResult
		}
		f.reply = resp.AppendError(f.reply[:0], fault)
		o.conn.answer(o.place, f.reply)
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
