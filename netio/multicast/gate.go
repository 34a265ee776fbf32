package multicast

import (
	"crypto/hmac"
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"
)

// Datagram is one that was taken.
type Datagram struct {
	Sender
	Sequence uint64     // of Sender's datagrams: grows
	From     netip.Addr // where it came from; the sender may have others
	Payload  []byte     // valid until the receiver returns
}

// Verdict is what became of a datagram that arrived.
type Verdict uint8

// The verdicts, in the order in which they are looked for.
const (
	OtherSize     Verdict = iota // of no size that there is, or its payload is said to be longer
	OtherProtocol                // it is none of this package, or of another version
	OtherCluster                 // its tag is not that of the cluster's name
	Own                          // sent here
	SourceRate                   // its source sends too many
	TotalRate                    // there are too many in all
	BadMAC                       // made without the key, or changed on its way
	Outdated                     // its sender's directory was started again since
	Replayed                     // it was here already, or is too old to know
	Taken
	verdicts
)

// String is the verdict as the name of a counter.
func (v Verdict) String() string {
	return [...]string{"size", "protocol", "cluster", "own", "source_rate", "total_rate", "mac",
		"outdated", "replayed", "taken", ""}[min(v, verdicts)]
}

// windows is how many senders are remembered. For one more, the one that was silent for
// longest is forgotten.
const windows = 64

// sourceBuckets is how many sources have rates of their own. Sources are spread over them
// by a hash that nobody else knows.
const sourceBuckets = 256

// bucket is a token bucket: the time at which it is full again. Rates bound how many datagrams
// a second have their MACs computed. A burst is of two seconds.
type bucket int64

// take takes a token at now, in ns; false when there is none.
func (b *bucket) take(now, rate int64) bool {
	each := int64(time.Second) / rate
	full := max(int64(*b), now)
	if full-now > 2*int64(time.Second)-each {
		return false
	}
	*b = bucket(full + each)
	return true
}

// window is what was taken of one sender: the newest sequence, and which of the 64 up to it.
type window struct {
	Sender
	newest uint64
	taken  uint64 // bit i: newest − i
	at     int64  // of the last one
}

// gate decides about datagrams of one shape. It is for one goroutine, but for its counts.
type gate struct {
	*shape
	tag  uint64
	macs *[]*mac                // of the keys
	next atomic.Pointer[[]*mac] // that come in their place; nil: they stay
	self func() Sender

	seed    maphash.Seed
	total   bucket
	sources [sourceBuckets]bucket
	windows []window

	counts [verdicts]atomic.Uint64
}

func newGate(of *shape, cluster string, keys [][]byte, self func() Sender) *gate {
	g := &gate{shape: of, tag: tagOf(cluster), macs: macsOf(keys, cluster), self: self,
		seed: maphash.MakeSeed(), windows: make([]window, 0, windows)}
	return g
}

func macsOf(keys [][]byte, cluster string) *[]*mac {
	var list []*mac
	for _, k := range keys {
		list = append(list, newMAC(k, cluster))
	}
	return &list
}

// pass decides about the bytes of one datagram, at now in ns of a monotonic clock, and counts
// it.
func (g *gate) pass(b []byte, from netip.Addr, now int64) (d Datagram, v Verdict) {
	d, v = g.judge(b, from, now)
	g.counts[v].Add(1)
	return d, v
}

func (g *gate) judge(b []byte, from netip.Addr, now int64) (d Datagram, v Verdict) {
	le := binary.LittleEndian
	switch {
	case len(b) != g.size:
		return d, OtherSize
	case le.Uint32(b) != magic || le.Uint16(b[4:]) != g.version:
		return d, OtherProtocol
	case le.Uint64(b[8:]) != g.tag:
		return d, OtherCluster
	}
	n := int(le.Uint16(b[6:]))
	d = Datagram{From: from, Sequence: le.Uint64(b[40:]), Sender: Sender{
		Directory: [2]uint64{le.Uint64(b[16:]), le.Uint64(b[24:])}, Incarnation: le.Uint64(b[32:])}}
	address := from.As16()
	source := &g.sources[maphash.Bytes(g.seed, address[:])%sourceBuckets]
	switch {
	case n > g.size-headSize-macSize:
		return d, OtherSize
	case d.Sender == g.self():
		return d, Own
	case !source.take(now, g.sourceRate):
		return d, SourceRate
	case !g.total.take(now, g.totalRate):
		return d, TotalRate
	case !g.proved(b):
		return d, BadMAC
	}
	d.Payload = b[headSize : headSize+n]
	return d, g.fresh(&d, now)
}

// proved reports that a datagram was made with a key that is taken.
func (g *gate) proved(b []byte) bool {
	if g.next.Load() != nil {
		g.macs = g.next.Swap(nil)
	}
	for _, m := range *g.macs {
		if hmac.Equal(m.of(b), b[len(b)-macSize:]) {
			return true
		}
	}
	return false
}

// fresh reports whether a datagram is new.
func (g *gate) fresh(d *Datagram, now int64) Verdict {
	w := g.window(d.Directory)
	switch {
	case w == nil:
		g.remember(window{Sender: d.Sender, newest: d.Sequence, taken: 1, at: now})
		return Taken
	case d.Incarnation < w.Incarnation:
		return Outdated
	case d.Incarnation > w.Incarnation:
		*w = window{Sender: d.Sender, newest: d.Sequence, taken: 1, at: now}
		return Taken
	case d.Sequence > w.newest:
		w.taken = w.taken<<(d.Sequence-w.newest) | 1 // by 64 and more: nothing is left
		w.newest = d.Sequence
	default:
		bit := uint64(1) << (w.newest - d.Sequence)
		if bit == 0 || w.taken&bit != 0 {
			return Replayed
		}
		w.taken |= bit
	}
	w.at = now
	return Taken
}

func (g *gate) window(directory [2]uint64) *window {
	for i := range g.windows {
		if g.windows[i].Directory == directory {
			return &g.windows[i]
		}
	}
	return nil
}

func (g *gate) remember(w window) {
	if len(g.windows) < windows {
		g.windows = append(g.windows, w)
		return
	}
	oldest := 0
	for i := range g.windows {
		if g.windows[i].at < g.windows[oldest].at {
			oldest = i
		}
	}
	g.windows[oldest] = w
}
