package server

import (
	"errors"
	"strconv"
	"time"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/netio/resp"
)

// link is a connection of this loop to the leader, shared by all of the loop's clients. It carries
// commands as the clients sent them, and the leader's replies back in the internal form, whatever
// protocol each client speaks; the n-th reply belongs to the n-th command. netio keeps dialing it
// while it is wanted.
type link struct {
	front   *front
	address string
	sock    socket // nil while not connected
	stop    func() // ends dialing and closes
	state   linkState
	since   int64 // monotonic ns when dialing began

	owed    []owed // FIFO from head on
	replies resp.ReplyParser
	reply   resp.Reply
	head    int
	out     []byte
	dirty   bool
	retired bool  // not the leader's any more: close once nothing is owed
	giveUp  int64 // retired: then what is owed is unknown
}

// owed is one reply expected on a link. conn is nil for the handshake.
type owed struct {
	conn  *conn
	place uint64
	write bool
}

type linkState uint8

const (
	linkOpening linkState = iota // first attempt under way
	linkOpen
	linkLost // being dialed again
)

// linkOpeningMax is how long commands wait for the first attempt to reach a leader.
const linkOpeningMax = int64(time.Second)

const (
	linkOwedMax     = 64 << 10
	linkOutboundMax = 16 << 20
)

var errHandshake = errors.New("the leader refused to take forwarded commands")

// linkTo returns the link to an address, dialing it when there is none.
func (f *front) linkTo(address string) *link {
	l := f.links[address]
	if l == nil {
		l = f.dial(f, address)
		l.since = f.now()
		f.links[address] = l
	}
	return l
}

// opening reports whether it is worth waiting for the link.
func (l *link) opening() bool {
	return l.state == linkOpening && !l.retired && l.front.now()-l.since < linkOpeningMax
}

// retireLinks gives up links to members that no longer lead.
func (f *front) retireLinks() {
	for address, l := range f.links {
		if f.lead.leading || address != f.lead.address {
			l.retired, l.giveUp = true, f.now()+retiredMax
			delete(f.links, address)
			if l.rest(); l.stop != nil {
				f.retired = append(f.retired, l)
			}
		}
	}
}

// retiredMax is how long a member that leads no more may take to answer what it owes. One whose loop hangs in a write
// answers nothing, and keeps its connections.
const retiredMax = int64(2 * time.Second)

// giveUpLinks settles what retired links owe for too long.
func (f *front) giveUpLinks() {
	kept := f.retired[:0]
	for _, l := range f.retired {
		switch {
		case l.stop == nil:
		case f.now() < l.giveUp:
			kept = append(kept, l)
		default:
			l.lost()
		}
	}
	clear(f.retired[len(kept):])
	f.retired = kept
}

// rest closes a retired link that owes nothing.
func (l *link) rest() {
	if l.retired && l.head == len(l.owed) && l.stop != nil {
		stop := l.stop
		l.stop = nil
		stop()
	}
}

// crowded reports whether the leader takes commands more slowly than clients bring them.
func (l *link) crowded() bool {
	return len(l.owed)-l.head >= linkOwedMax || l.sock != nil && l.sock.Outbound()+len(l.out) > linkOutboundMax
}

// opened starts the conversation: the leader must know that it may not forward these commands again.
func (l *link) opened(sock socket) {
	l.sock, l.state = sock, linkOpen
	l.out = resp.AppendBulkStrings(l.out[:0], "RAFT.PROXY", proxyVersion)
	l.owed, l.head = append(l.owed[:0], owed{}), 0
	l.markDirty()
	l.front.finish()
}

// forward sends a command on, byte for byte when it came as an array.
func (l *link) forward(c *conn, d *command, args [][]byte, raw []byte) {
	kind := readReply
	if d.class == write || d.class == leads {
		kind = writeReply
	}
	l.push(owed{c, c.queue.push(kind), kind == writeReply})
	l.front.tally.forwarded++
	if raw[0] == '*' {
		l.out = append(l.out, raw...)
	} else { // an inline command
		l.out = resp.AppendBulks(l.out, args...)
	}
	l.markDirty()
}

func (l *link) push(o owed) {
	if l.head == len(l.owed) {
		l.owed, l.head = l.owed[:0], 0
	} else if l.head > 1024 && l.head > len(l.owed)/2 {
		n := copy(l.owed, l.owed[l.head:])
		clear(l.owed[n:])
		l.owed, l.head = l.owed[:n], 0
	}
	l.owed = append(l.owed, o)
}

func (l *link) markDirty() {
	if !l.dirty {
		l.dirty = true
		l.front.dirtyLinks = append(l.front.dirtyLinks, l)
	}
}

func (l *link) write() {
	l.dirty = false
	if l.sock != nil && len(l.out) > 0 {
		l.sock.Write(l.out)
	}
	l.out = l.out[:0]
	if cap(l.out) > 1<<20 {
		l.out = nil
	}
}

// input gives complete replies to those who wait for them and returns how many bytes they took.
func (l *link) input(b []byte) (n int, err error) {
	for n < len(b) {
		size, err := l.front.parseReply(l, b[n:])
		if err != nil || size > 0 && l.head == len(l.owed) {
			return n, errors.Join(err, errors.New("unexpected bytes from the leader"))
		}
		if size == 0 {
			break
		}
		o := l.owed[l.head]
		l.owed[l.head] = owed{}
		l.head++
		if o.conn != nil {
			o.conn.answer(o.place, b[n:n+size])
		} else if b[n] == '-' {
			return n, errHandshake
		}
		n += size
	}
	l.rest()
	l.front.finish()
	return n, nil
}

// lost settles what is owed on a broken link. A command that was sent may have been carried out.
func (l *link) lost() {
	f := l.front
	l.sock, l.state = nil, linkLost
	l.out = l.out[:0]
	f.leadUntil = 0
	for ; l.head < len(l.owed); l.head++ {
		o := l.owed[l.head]
		l.owed[l.head] = owed{}
		if o.conn == nil || o.conn.closed {
			continue
		}
		fault := "TRYAGAIN the connection to the leader was lost"
		if o.write {
			fault = unknownResult
		}
		f.reply = resp.AppendError(f.reply[:0], fault)
		o.conn.answer(o.place, f.reply)
	}
	f.tally.linksLost++
	f.finish()
	l.rest()
}

// moved words a redirection.
func moved(d *command, args [][]byte, address string) string {
	slot := 0
	if d.firstKey > 0 && len(args) > d.firstKey {
		slot = slotOf(args[d.firstKey])
	}
	return "MOVED " + strconv.Itoa(slot) + " " + address
}

// leadershipOf reads who leads from an engine's status.
func leadershipOf(s *engine.Status) leadership {
	if s.Role == engine.Leader {
		return leadership{leading: true, known: true}
	}
	return leadership{known: s.Leader != 0, address: s.LeaderAddress}
}
