package netio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

// A frame:
//
//	+------------------+---------+-----------------------+-----------+
//	| payload bytes u32| 0 u32   | xxhash64 of payload   | payload … |
//	+------------------+---------+-----------------------+-----------+
//
// little endian. TCP's checksum is too weak for what a replica believes.
const FrameHeaderBytes = 16

// AppendFrameHeader appends the header of a frame whose payload is front
// followed by records.
func AppendFrameHeader(dst, front, records []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(front)+len(records)))
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	var sum uint64
	if len(records) == 0 {
		sum = xxhash.Sum64(front)
	} else {
		var d xxhash.Digest
		d.Reset()
		_, _ = d.Write(front)   // never fails
		_, _ = d.Write(records) // never fails
		sum = d.Sum64()
	}
	return binary.LittleEndian.AppendUint64(dst, sum)
}

// FrameSink takes payloads in place; ring.Bytes is one.
type FrameSink interface {
	Reserve(n int) []byte
	Commit(n int)
	Publish()
}

// ErrFrame: the peer does not speak in frames, or bytes were changed on the
// way. The connection is closed.
var ErrFrame = errors.New("netio: bad frame")

// Frames is the Handler of a connection that carries frames. The first one is
// handed to First, which knows the peer by it and returns the sink of all
// others. Those are assembled in place, verified there, and published once per
// batch. A frame that finds no room is skipped and counted.
type Frames struct {
	FirstMax int // bytes of the first frame
	Max      int // bytes of any other
	First    func(c *Conn, payload []byte) (FrameSink, error)
	Down     func(c *Conn, err error)

	sink    FrameSink
	known   bool
	header  [FrameHeaderBytes]byte
	filled  int // bytes of the header
	body    []byte
	need    int // payload bytes still missing
	size    int
	skip    bool
	first   []byte
	dropped atomic.Uint64
}

// Dropped counts frames that found no room. Any goroutine.
func (f *Frames) Dropped() uint64 { return f.dropped.Load() }

// Closed implements Handler.
func (f *Frames) Closed(c *Conn, err error) {
	if f.Down != nil {
		f.Down(c, err)
	}
}

// Data implements Handler; it consumes everything.
func (f *Frames) Data(c *Conn, b []byte) (int, error) {
	n, published := len(b), false
	for len(b) > 0 {
		if f.filled < FrameHeaderBytes {
			k := copy(f.header[f.filled:], b)
			f.filled += k
			b = b[k:]
			if f.filled < FrameHeaderBytes {
				break
			}
			if err := f.begin(); err != nil {
				return n, err
			}
		}
		k := min(f.need, len(b))
		if !f.skip {
			copy(f.body[f.size-f.need:], b[:k])
		}
		f.need -= k
		b = b[k:]
		if f.need > 0 {
			break
		}
		if err := f.end(c); err != nil {
			return n, err
		}
		published = true
	}
	if published && f.sink != nil {
		f.sink.Publish()
	}
	return n, nil
}

// begin looks at a complete header and finds room for the payload.
func (f *Frames) begin() error {
	f.size = int(binary.LittleEndian.Uint32(f.header[:]))
	limit := f.Max
	if !f.known {
		limit = f.FirstMax
	}
	if f.size == 0 || f.size > limit || binary.LittleEndian.Uint32(f.header[4:]) != 0 {
		return fmt.Errorf("%w: length %d, at most %d", ErrFrame, f.size, limit)
	}
	f.need, f.skip = f.size, false
	if !f.known {
		f.first = make([]byte, f.size)
		f.body = f.first
		return nil
	}
	if f.sink == nil {
		return fmt.Errorf("%w: nothing more was expected on this connection", ErrFrame)
	}
	if f.body = f.sink.Reserve(f.size); f.body == nil {
		f.skip = true
		f.dropped.Add(1)
	}
	return nil
}

// end verifies a complete payload and hands it over.
func (f *Frames) end(c *Conn) error {
	f.filled = 0
	if f.skip {
		return nil
	}
	if xxhash.Sum64(f.body[:f.size]) != binary.LittleEndian.Uint64(f.header[8:]) {
		return fmt.Errorf("%w: checksum of a frame of %d bytes", ErrFrame, f.size)
	}
	if f.known {
		f.sink.Commit(f.size)
		return nil
	}
	f.known = true
	sink, err := f.First(c, f.first)
	f.sink, f.first, f.body = sink, nil, nil
	return err
}
