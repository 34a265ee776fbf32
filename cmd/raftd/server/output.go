package server

import (
	"github.com/ringraft/ringraft/cmd/raftd/kv"
	"github.com/ringraft/ringraft/netio"
	"github.com/ringraft/ringraft/netio/resp"
)

// output is what leaves on a connection: rendered bytes, and between them pieces that lie elsewhere
// and are not copied.
type output struct {
	bytes []byte
	cuts  []cut // in order of place
	apart int   // bytes in cuts
}

// cut is a piece that lies elsewhere.
type cut struct {
	at   int // the piece belongs behind bytes[:at]
	part []byte
	hold *hold
}

// hold keeps what one or more pieces of output lie in until all of them were sent, or given up. It
// is what netio releases.
type hold struct {
	conn   *conn
	pin    *kv.Pin // a large value or reply of the machine; nil: own
	own    int     // bytes that this connection alone has: a copy, and what the hold takes itself
	pieces int     // not yet released

	next, previous *hold // of the connection's
}

// ownMin is the length from which a reply that is no value of the machine is copied once and sent
// from the copy. A shorter one is rendered into the output, and copied again when it has to wait.
const ownMin = 64 << 10

// holdBytes is the memory that a hold takes itself, with its pin and with its place in netio: what
// is sent from where it lies is not free. A value of 4 KiB costs a sixteenth of that.
const holdBytes = 256

func (c *conn) newHold(pin *kv.Pin, own int) *hold {
	own += holdBytes
	h := &hold{conn: c, pin: pin, own: own, next: c.holds}
	if h.next != nil {
		h.next.previous = h
	}
	c.holds = h
	if c.ownBytes += own; pin != nil {
		c.references += pin.Size()
	}
	return h
}

// Release implements netio.Holder.
func (h *hold) Release() {
	if h.pieces--; h.pieces > 0 {
		return
	}
	c := h.conn
	if h.next != nil {
		h.next.previous = h.previous
	}
	if h.previous != nil {
		h.previous.next = h.next
	} else {
		c.holds = h.next
	}
	if c.ownBytes -= h.own; h.pin != nil {
		c.references -= h.pin.Size()
		h.pin.Release()
	}
}

// render appends a reply in the internal form to o, in the form that the client reads.
func (c *conn) render(o *output, reply []byte) {
	if len(reply) == 0 || len(reply) < ownMin && !mayKeep[reply[0]] {
		o.bytes = resp.Render(o.bytes, reply, c.proto)
	} else {
		c.renderKept(o, reply)
	}
}

// renderKept is render of a reply that is long, or may have a part that the machine keeps.
func (c *conn) renderKept(o *output, reply []byte) {
	k := &c.front.keeper
	k.conn, k.cuts, k.source = c, o.cuts, nil
	if number, ok := resp.KeptNumber(reply); ok {
		if pin := k.machine.Take(number); pin != nil {
			k.source = c.newHold(pin, 0)
			reply = pin.Parts()[0]
		}
	} else if len(reply) >= ownMin {
		k.source = c.newHold(nil, len(reply))
		reply = append([]byte(nil), reply...)
	}
	if k.source != nil {
		k.source.pieces = 1 // until it is rendered
	}
	var ok bool
	before := len(k.cuts)
	if o.bytes, ok = resp.RenderKept(o.bytes, reply, c.proto, k); !ok {
		releaseCuts(k.cuts[before:])
		k.cuts = k.cuts[:before]
	}
	for _, x := range k.cuts[before:] {
		o.apart += len(x.part)
	}
	if k.source != nil {
		k.source.Release()
	}
	o.cuts = k.cuts
	k.conn, k.cuts, k.source = nil, nil, nil
}

// mayKeep tells by its first byte which reply may have a part that the machine keeps.
var mayKeep = [256]bool{
	byte(resp.Kept): true, byte(resp.KeptReply): true, byte(resp.Array): true,
	byte(resp.Map): true, byte(resp.Set): true, byte(resp.Push): true,
	byte(resp.Attribute): true, byte(resp.Pairs): true, byte(resp.NestedMap): true,
}

// keeper puts what the machine keeps into the output. It implements resp.Keeper.
type keeper struct {
	machine *kv.Machine
	conn    *conn
	cuts    []cut
	source  *hold // of the reply's own bytes; nil: they are the caller's
}

// Size implements resp.Keeper.
func (k *keeper) Size(number int) (int, bool) { return k.machine.Kept(number) }

// Insert implements resp.Keeper.
func (k *keeper) Insert(number, at int) {
	pin := k.machine.Take(number)
	h := k.conn.newHold(pin, 0)
	for _, part := range pin.Parts() {
		k.add(part, at, h)
	}
}

// Run implements resp.Keeper.
func (k *keeper) Run(b []byte, at int) bool {
	if k.source == nil {
		return false
	}
	k.add(b, at, k.source)
	return true
}

func (k *keeper) add(part []byte, at int, h *hold) {
	h.pieces++
	k.cuts = append(k.cuts, cut{at, part, h})
}

// discard gives back what a reply keeps that nobody is to have.
func (f *front) discard(reply []byte) {
	if len(reply) == 0 || !mayKeep[reply[0]] {
		return
	}
	if number, ok := resp.KeptNumber(reply); ok {
		if pin := f.keeper.machine.Take(number); pin != nil {
			f.discard(pin.Parts()[0])
			pin.Release()
		}
		return
	}
	f.reply, _ = resp.RenderKept(f.reply[:0], reply, resp.Internal, discarder{f.keeper.machine})
}

// discarder releases what it is told of. It implements resp.Keeper.
type discarder struct{ machine *kv.Machine }

func (d discarder) Size(number int) (int, bool) { return d.machine.Kept(number) }
func (d discarder) Insert(number, _ int)        { d.machine.Take(number).Release() }
func (d discarder) Run(b []byte, _ int) bool    { return false }

func releaseCuts(cuts []cut) {
	for _, x := range cuts {
		x.hold.Release()
	}
}

// parts is the output as netio takes it, made in list.
func (o *output) parts(list []netio.Part) []netio.Part {
	from := 0
	for _, x := range o.cuts {
		if x.at > from {
			list = append(list, netio.Part{Bytes: o.bytes[from:x.at]})
			from = x.at
		}
		list = append(list, netio.Part{Bytes: x.part, Held: x.hold})
	}
	if from < len(o.bytes) {
		list = append(list, netio.Part{Bytes: o.bytes[from:]})
	}
	return list
}
