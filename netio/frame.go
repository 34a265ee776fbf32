package netio

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// A frame is the unit of a replica link: a header and a payload.
//
//	 0       4       8               16
//	┌───────┬───────┬───────────────┬─────────────────┐
//	│length │flags  │checksum       │payload          │   little-endian
//	└───────┴───────┴───────────────┴─────────────────┘
//
//	length    bytes of payload, at least 1. It is not in the checksum: a wrong length makes
//	          the checksum cover other bytes.
//	flags     0, or what Frames.Control understands; none are defined here
//	checksum  xxhash64 of flags and payload. TCP's own sum lets one damaged packet in
//	          some millions pass, and what passes here enters the log. Inside of what
//	          authenticates every byte nobody looks at it, and it may be 0.
//
// Senders reserve FrameHeaderSize bytes in front of the payload, so that a frame is built in place.
const FrameHeaderSize = 16

// Why a frame was refused, for errors.Is. The connection is closed, since no later boundary in its
// stream can be trusted.
var (
	ErrFrameChecksum = errors.New("checksum does not match")
	ErrFrameLength   = errors.New("length is not acceptable")
	ErrFrameFlags    = errors.New("flags are not known")
)

// FrameError is a frame that was refused.
type FrameError struct {
	Length uint32 // as declared
	Flags  uint32
	Max    int // longest payload accepted
	Err    error
}

// Error says what was wrong, with the header's fields.
func (e *FrameError) Error() string {
	return fmt.Sprintf("netio: bad frame: %v (length %d, at most %d, flags %#x)", e.Err, e.Length,
		e.Max, e.Flags)
}

// Unwrap gives one of the ErrFrame errors.
func (e *FrameError) Unwrap() error { return e.Err }

// AppendFrameHeader appends room for a header, to be filled in by SealFrame once the payload
// follows it.
func AppendFrameHeader(dst []byte) []byte {
	return append(dst, make([]byte, FrameHeaderSize)...)
}

// SealFrame fills in the header of a frame that lies in one piece: frame[:FrameHeaderSize] is the
// room, the rest the payload.
func SealFrame(frame []byte, flags uint32) {
	var s FrameSum
	s.Reset(flags)
	s.Write(frame[FrameHeaderSize:])
	s.Seal(frame)
}

// BareFrame fills in header[:FrameHeaderSize] of a frame without flags and without a checksum, for
// a connection whose Frames are Authentic. What Seal says of length is true here.
func BareFrame(header []byte, length int) {
	putHeader(header, length, 0, 0)
}

func putHeader(header []byte, length int, flags uint32, sum uint64) {
	if length == 0 || int64(length) > int64(^uint32(0)) {
		panic(fmt.Sprintf("netio: a frame of %d bytes", length))
	}
	binary.LittleEndian.PutUint32(header, uint32(length))
	binary.LittleEndian.PutUint32(header[4:], flags)
	binary.LittleEndian.PutUint64(header[8:FrameHeaderSize], sum)
}

// AppendFrame appends a frame with a copy of payload.
func AppendFrame(dst []byte, flags uint32, payload []byte) []byte {
	from := len(dst)
	dst = append(AppendFrameHeader(dst), payload...)
	SealFrame(dst[from:], flags)
	return dst
}

// FrameSum computes the header of a frame whose payload lies in several pieces: Reset, Write for
// each piece in order, Seal. It allocates nothing. One goroutine at a time.
type FrameSum struct {
	digest xxhash.Digest
	flags  uint32
	length int
}

// Reset begins a frame.
func (s *FrameSum) Reset(flags uint32) {
	s.flags, s.length = flags, 0
	s.digest.Reset()
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], flags)
	_, _ = s.digest.Write(b[:]) // never fails
}

// Write takes the next piece of the payload.
func (s *FrameSum) Write(p []byte) {
	s.length += len(p)
	_, _ = s.digest.Write(p) // never fails
}

// Len is the number of payload bytes so far.
func (s *FrameSum) Len() int { return s.length }

// Seal fills in header[:FrameHeaderSize]. A payload that is empty or longer than 4 GiB is a broken
// invariant.
func (s *FrameSum) Seal(header []byte) {
	putHeader(header, s.length, s.flags, s.digest.Sum64())
}
