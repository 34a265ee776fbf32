package link

import (
	"github.com/ringraft/ringraft/netio"
	"github.com/ringraft/ringraft/ring"
)

// iovMax keeps one writev within the kernel's limit.
const iovMax = 512

// gather collects the frames of one flush in the loop that writes them: headers
// and fronts are copied, records stay where they lie.
type gather struct {
	vector [][]byte
	fronts []byte
	sum    netio.FrameSum
	bare   bool // without checksums: they go into a session
}

// add appends a frame and reports whether the vector is full.
func (g *gather) add(front, records []byte) (full bool) {
	at := len(g.fronts)
	g.fronts = append(netio.AppendFrameHeader(g.fronts), front...)
	if g.bare {
		netio.BareFrame(g.fronts[at:], len(front)+len(records))
	} else {
		g.sum.Reset(0)
		g.sum.Write(front)
		g.sum.Write(records)
		g.sum.Seal(g.fronts[at:])
	}
	g.vector = append(g.vector, g.fronts[at:len(g.fronts):len(g.fronts)])
	if len(records) > 0 {
		g.vector = append(g.vector, records)
	}
	return len(g.vector) >= iovMax
}

func (g *gather) reset() {
	clear(g.vector)
	g.vector, g.fronts = g.vector[:0], g.fronts[:0]
}

// across takes frames, whole, from the polling goroutine to the loop.
type across struct {
	frames *ring.Bytes
	bare   bool     // without checksums: they go into a session
	queued bool     // polling goroutine's: added and not published
	vector [][]byte // loop's
}

func newAcross(bytes int, bare bool) *across {
	return &across{frames: ring.NewBytes(bytes), bare: bare}
}

// add copies a frame; polling goroutine. A full ring drops the frame; the actor
// starts anew when no answer comes.
func (a *across) add(front, records []byte) {
	b := a.frames.Reserve(netio.FrameHeaderSize + len(front) + len(records))
	if b == nil {
		return
	}
	n := netio.FrameHeaderSize
	n += copy(b[n:], front)
	n += copy(b[n:], records)
	if a.bare {
		netio.BareFrame(b, n-netio.FrameHeaderSize)
	} else {
		netio.SealFrame(b, 0)
	}
	a.frames.Commit(n)
	a.queued = true
}

// publish shows the loop what was added and reports whether that is anything;
// polling goroutine.
func (a *across) publish() bool {
	if !a.queued {
		return false
	}
	a.queued = false
	a.frames.Publish()
	return true
}

// take returns the next frames, none when there are none, and where they end;
// loop. They are valid until release.
func (a *across) take() (vector [][]byte, end uint64) {
	a.vector = a.vector[:0]
	for len(a.vector) < iovMax {
		rec, pos, ok := a.frames.Next()
		if !ok {
			break
		}
		a.vector, end = append(a.vector, rec), pos
	}
	return a.vector, end
}

// release gives the room of written frames back; loop.
func (a *across) release(end uint64) {
	clear(a.vector)
	a.frames.Release(end)
}
