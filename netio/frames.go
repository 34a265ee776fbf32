package netio

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// Limits of Frames when its fields are zero.
const (
	DefaultFrameMax   = 16 << 20 // payload bytes of a frame
	DefaultControlMax = 64 << 10 // payload bytes of a hello or control frame
)

// FrameSink is where frames are assembled, in place: a byte ring whose producer is the connection's
// loop.
type FrameSink interface {
	// Reserve gives n contiguous bytes to fill, nil when there is no room now. A second Reserve
	// without Commit forgets the first.
	Reserve(n int) []byte
	// Commit keeps the first n reserved bytes as one record.
	Commit(n int)
	// Publish makes the committed records visible to the consumer.
	Publish()
}

// FrameStats counts what a Frames has seen.
type FrameStats struct {
	Frames       uint64 // committed to the sink
	Bytes        uint64 // payload bytes of them
	Dropped      uint64 // frames for which the sink had no room
	DroppedBytes uint64
	Corrupt      uint64 // frames whose checksum was wrong
	Refused      uint64 // frames whose length or flags were not acceptable
}

// Frames is the Handler of a replica link: it assembles frames into a sink. The first frame of the
// connection, the hello, goes to Hello instead, and frames with flags go to Control. It consumes
// all it is given, so a connection with it never holds unconsumed bytes.
//
// Bytes go into the sink as they arrive, but no record is committed before the checksum over the
// reserved bytes has been verified. A frame for which the sink has no room is skipped and counted:
// its sender was granted less room than it used, or the sink's reader stands still.
//
// One Frames serves one connection after the other, never two at a time; its sink has no other
// producer. All methods in the loop; the zero value with its exported fields set is ready.
type Frames struct {
	Sink       FrameSink
	FrameMax   int // most payload bytes of a frame for the sink; 0 means DefaultFrameMax
	ControlMax int // most payload bytes of a hello or control frame; 0 means DefaultControlMax
	// Authentic says that what Data is given was authenticated: checksums are not looked at.
	Authentic bool

	// Hello gets the first frame. An error closes the connection. payload is valid during the call.
	Hello func(c *Conn, flags uint32, payload []byte) error
	// Control gets later frames with flags. nil refuses them.
	Control func(c *Conn, flags uint32, payload []byte) error
	// Gone gets Closed, after the part of a frame that had arrived is forgotten. It may be nil.
	Gone func(c *Conn, err error)

	Stats FrameStats

	greeted bool // the hello has arrived
	kind    frameKind
	header  [FrameHeaderSize]byte
	have    int // bytes of the header, then of the payload
	length  int
	flags   uint32
	sum     uint64
	payload []byte // reserved, or own
	// where hello and control frames are assembled; grows with the bytes that arrive
	own      []byte
	unseen   bool // something is committed and not published
	digest   xxhash.Digest
	flagsRaw [4]byte
}

type frameKind uint8

const (
	frameHeader  frameKind = iota // the header is being read
	frameToSink                   // the payload goes to the sink
	frameToOwn                    // the payload is a hello's or control frame's
	frameSkipped                  // the payload has no room
)

// Data implements Handler.
func (f *Frames) Data(c *Conn, b []byte) (n int, err error) {
	n = len(b)
	for len(b) > 0 && err == nil {
		if f.kind == frameHeader {
			took := copy(f.header[f.have:], b)
			f.have += took
			b = b[took:]
			if f.have == FrameHeaderSize {
				err = f.begin()
			}
			continue
		}
		b = f.fill(b)
		if f.have == f.length {
			err = f.finish(c)
		}
		if c != nil && !c.Open() {
			break // Hello or Control closed the connection: what follows is nobody's
		}
	}
	if f.unseen {
		f.unseen = false
		f.Sink.Publish()
	}
	return n, err
}

// Closed implements Handler.
func (f *Frames) Closed(c *Conn, err error) {
	f.Reset()
	if f.Gone != nil {
		f.Gone(c, err)
	}
}

// Reset forgets the part of a frame that has arrived and awaits a hello: a new connection.
func (f *Frames) Reset() {
	f.greeted, f.kind, f.have, f.payload, f.own = false, frameHeader, 0, nil, nil
}

// begin reads a whole header and finds the payload's place.
func (f *Frames) begin() error {
	length := binary.LittleEndian.Uint32(f.header[:])
	f.flags = binary.LittleEndian.Uint32(f.header[4:])
	f.sum = binary.LittleEndian.Uint64(f.header[8:])
	control := !f.greeted || f.flags != 0
	limit := or(f.FrameMax, DefaultFrameMax)
	if control {
		limit = or(f.ControlMax, DefaultControlMax)
	}
	switch {
	case length == 0 || int64(length) > int64(limit):
		f.Stats.Refused++
		return &FrameError{Length: length, Flags: f.flags, Max: limit, Err: ErrFrameLength}
	case f.greeted && f.flags != 0 && f.Control == nil:
		f.Stats.Refused++
		return &FrameError{Length: length, Flags: f.flags, Max: limit, Err: ErrFrameFlags}
	}
	f.length, f.have = int(length), 0
	if control {
		f.kind, f.payload = frameToOwn, f.own[:0]
		return nil
	}
	if f.payload = f.Sink.Reserve(f.length); f.payload == nil {
		f.kind = frameSkipped
		f.Stats.Dropped++
		f.Stats.DroppedBytes += uint64(f.length)
		return nil
	}
	f.kind = frameToSink
	return nil
}

// fill moves bytes of the payload to their place and returns what is behind them.
func (f *Frames) fill(b []byte) []byte {
	took := min(f.length-f.have, len(b))
	switch f.kind {
	case frameToSink:
		copy(f.payload[f.have:f.length], b[:took])
	case frameToOwn:
		f.payload = append(f.payload, b[:took]...)
	}
	f.have += took
	return b[took:]
}

func (f *Frames) checksum(payload []byte) uint64 {
	copy(f.flagsRaw[:], f.header[4:8])
	f.digest.Reset()
	_, _ = f.digest.Write(f.flagsRaw[:]) // never fails
	_, _ = f.digest.Write(payload)
	return f.digest.Sum64()
}

// finish verifies a whole payload and hands it over.
func (f *Frames) finish(c *Conn) error {
	kind, payload := f.kind, f.payload
	f.kind, f.have, f.payload = frameHeader, 0, nil
	if kind == frameSkipped {
		return nil
	}
	payload = payload[:f.length]
	if !f.Authentic && f.checksum(payload) != f.sum {
		f.Stats.Corrupt++
		limit := or(f.FrameMax, DefaultFrameMax)
		return &FrameError{
			Length: uint32(f.length), Flags: f.flags, Max: limit, Err: ErrFrameChecksum,
		}
	}
	if kind == frameToSink {
		f.Sink.Commit(f.length)
		f.unseen = true
		f.Stats.Frames++
		f.Stats.Bytes += uint64(f.length)
		return nil
	}
	f.own = payload[:0]
	if f.greeted {
		return f.Control(c, f.flags, payload)
	}
	f.greeted = true
	if f.Hello == nil {
		return nil
	}
	return f.Hello(c, f.flags, payload)
}
