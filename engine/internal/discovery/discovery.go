// Package discovery keeps who is out there: the servers that announce themselves, and those
// that they have heard of. It is pure: bytes and times in, bytes out.
//
// All of it is hints of where to dial, and never authority. That an entry says of itself who it
// is, and of which cluster, decides nothing: a connection proves it, or nothing comes of it.
// So what is said falsely, or long ago, costs a dial.
//
// An announcement is the payload of a datagram. The first entry is that of who sends it, and
// the others are some of those that it knows, a few each time:
//
//	0 version u8 │ 1 entries u8 │ 2 entries, one after the other
//
//	entry:  0 cluster u64 │ 8 member u64 │ 16 directory, two u64 │ 32 incarnation u64
//	       40 sequence u64 │ 48 flags u8 │ 49 n u8, where members reach it, n bytes
//	       … n u8, where clients reach it, n bytes
//
// Integers are little endian. Flag 1: its cluster is founded. Cluster 0 and member 0: it has
// none yet. The name of the cluster is that of the datagram.
package discovery

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

// Server is one that announces itself.
type Server struct {
	Directory   raft.Directory // never zero
	Cluster     uint64         // 0: it is in none yet
	Member      uint64         // its id there; 0: it has none yet
	Incarnation uint64         // of Directory
	Sequence    uint64         // of its announcements
	Peer        string         // where members reach it; without a host: where it was heard from
	Client      string         // where clients do; "": it does not say
	Founded     bool           // the cluster is
}

const (
	version     = 1
	flagFounded = 1
	entryFixed  = 51 // bytes of an entry without its addresses
	headBytes   = 2

	// addressMax bounds an address.
	addressMax = 255
	// serversMax bounds the others that are known, and so their bytes.
	serversMax = 64
)

// Times of announcements, and of what is known by them.
const (
	quick   = int64(time.Second)     // between two, while something has changed
	slow    = int64(5 * time.Second) // when nothing has for a while
	soon    = int64(250 * time.Millisecond)
	keptFor = int64(30 * time.Second) // without anything new of it
)

// ErrPayload: bytes that are no announcement.
var ErrPayload = errors.New("discovery: it is no announcement")

// Table is who is out there, and when that is told. It is for one goroutine at a time.
type Table struct {
	self   Server
	known  []entry // in order of when they were first heard
	random uint64
	last   int64 // when the last announcement was
	next   int64 // when the next one is due
	pace   int64
	turn   int // whom the next announcement tells of first
}

type entry struct {
	Server
	at int64 // when something new of it came last
}

// New returns a table of nobody. seed draws the moments of announcements.
func New(seed uint64) *Table { return &Table{random: seed | 1, pace: quick} }

// SetSelf says what is announced from now on. Of a zero Directory: nothing is.
func (t *Table) SetSelf(s Server, now int64) {
	s.Sequence = t.self.Sequence
	if s != t.self {
		t.self = s
		t.hurry(now)
	}
}

// hurry has the next announcements come soon.
func (t *Table) hurry(now int64) {
	t.pace = quick
	t.next = min(t.next, max(now, t.last+soon)+t.jitter(soon))
}

// jitter is a random part of n, from a half to all of it.
func (t *Table) jitter(n int64) int64 {
	t.random ^= t.random << 13
	t.random ^= t.random >> 7
	t.random ^= t.random << 17
	return n/2 + int64(t.random%uint64(n/2+1))
}

// Hear takes the payload of an announcement that came from an address. It reports whether
// it said anything new.
func (t *Table) Hear(from netip.Addr, payload []byte, now int64) (fresh bool, err error) {
	list, err := decode(payload)
	if err != nil {
		return false, err
	}
	for i := range list {
		s := &list[i]
		if i == 0 {
			s.Peer, s.Client = reached(s.Peer, from), reached(s.Client, from)
		}
		fresh = t.note(s, i == 0, now) || fresh
	}
	return fresh, nil
}

// reached puts in the host that an address lacks.
func reached(address string, from netip.Addr) string {
	if len(address) > 1 && address[0] == ':' {
		if from.Is6() {
			return "[" + from.String() + "]" + address
		}
		return from.String() + address
	}
	return address
}

// note takes over what is newer than what is known. What a server says of itself is: its
// datagrams come in order, or not at all.
func (t *Table) note(s *Server, itself bool, now int64) (fresh bool) {
	if s.Directory == t.self.Directory {
		return false
	}
	i := slices.IndexFunc(t.known, func(e entry) bool { return e.Directory == s.Directory })
	if i < 0 {
		t.forget(now)
		if len(t.known) == serversMax {
			return false
		}
		t.known = append(t.known, entry{*s, now})
		t.hurry(now)
		return true
	}
	e := &t.known[i]
	if !itself && (s.Incarnation < e.Incarnation ||
		s.Incarnation == e.Incarnation && s.Sequence <= e.Sequence) {
		return false
	}
	same := *s
	same.Sequence = e.Sequence
	if fresh = same != e.Server; fresh {
		t.hurry(now)
	}
	*e = entry{*s, now}
	return fresh
}

// forget drops those of whom nothing new has come for long.
func (t *Table) forget(now int64) {
	t.known = slices.DeleteFunc(t.known, func(e entry) bool { return now-e.at > keptFor })
}

// List returns who is known, in order of when they were first heard of. It is the caller's.
func (t *Table) List(now int64) (list []Server) {
	t.forget(now)
	for i := range t.known {
		list = append(list, t.known[i].Server)
	}
	return list
}

// Announce returns the payload that is to be sent now, of at most room bytes; nil: none is.
func (t *Table) Announce(now int64, room int) []byte {
	if now < t.next || t.self.Directory == (raft.Directory{}) {
		return nil
	}
	t.last, t.next = now, now+t.jitter(t.pace)
	t.pace = min(2*t.pace, slow)
	t.self.Sequence++
	t.forget(now)
	b := appendServer([]byte{version, 1}, &t.self)
	for k := range t.known {
		s := &t.known[(t.turn+k)%len(t.known)].Server
		if len(b)+s.bytes() > room {
			t.turn = (t.turn + k) % len(t.known) // it comes first next time
			break
		}
		b = appendServer(b, s)
		b[1]++
	}
	return b
}

func (s *Server) bytes() int { return entryFixed + len(s.Peer) + len(s.Client) }

func appendServer(b []byte, s *Server) []byte {
	le := binary.LittleEndian
	for _, n := range []uint64{s.Cluster, s.Member, s.Directory[0], s.Directory[1], s.Incarnation,
		s.Sequence} {
		b = le.AppendUint64(b, n)
	}
	flags := byte(0)
	if s.Founded {
		flags = flagFounded
	}
	b = append(b, flags)
	for _, a := range []string{s.Peer, s.Client} {
		b = append(append(b, byte(len(a))), a...)
	}
	return b
}

// decode copies what it keeps of b. Bytes behind the last entry are skipped.
func decode(b []byte) (list []Server, err error) {
	if len(b) < headBytes || b[0] != version || b[1] == 0 {
		return nil, ErrPayload
	}
	count, rest := int(b[1]), b[headBytes:]
	for range count {
		s, n := decodeServer(rest)
		if n == 0 {
			return nil, fmt.Errorf("%w: entry %d of %d", ErrPayload, len(list)+1, count)
		}
		list, rest = append(list, s), rest[n:]
	}
	return list, nil
}

// decodeServer reads an entry of n bytes; 0: it is none.
func decodeServer(b []byte) (s Server, n int) {
	if len(b) < entryFixed {
		return s, 0
	}
	le := binary.LittleEndian
	s = Server{Cluster: le.Uint64(b), Member: le.Uint64(b[8:]),
		Directory:   raft.Directory{le.Uint64(b[16:]), le.Uint64(b[24:])},
		Incarnation: le.Uint64(b[32:]), Sequence: le.Uint64(b[40:]),
		Founded: b[48]&flagFounded != 0}
	n = 49
	for _, to := range []*string{&s.Peer, &s.Client} {
		if n >= len(b) || n+1+int(b[n]) > len(b) {
			return s, 0
		}
		address := b[n+1 : n+1+int(b[n])]
		if !printable(address) {
			return s, 0
		}
		*to, n = string(address), n+1+len(address)
	}
	if s.Directory == (raft.Directory{}) {
		return s, 0
	}
	return s, n
}

// printable reports that an address can be logged as it is.
func printable(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c <= ' ' || c > '~' })
}

// Fits reports that an address can be announced.
func Fits(address string) bool { return len(address) <= addressMax && printable([]byte(address)) }
