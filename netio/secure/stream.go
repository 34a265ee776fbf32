package secure

import (
	"io"
	"math"
)

// Client makes the handshake of the dialing side on a connection that blocks, and returns what is
// read and written through the session. Deadlines are the caller's.
func Client(c io.ReadWriter, ks *Keys) (io.ReadWriter, error) {
	hs, b, err := initiate(&ks.list[0], nil)
	if err == nil {
		_, err = c.Write(b)
	}
	if err != nil {
		return nil, err
	}
	answer := make([]byte, secondSize)
	// A refusal ends with its code, and the connection behind it.
	for have, want := 0, len(magic)+1; ; want = secondSize {
		n, err := io.ReadFull(c, answer[have:want])
		have += n
		s, wrong := conclude(hs, answer[:have])
		switch {
		case wrong != nil:
			return nil, wrong
		case err != nil:
			return nil, err
		case s != nil:
			return &stream{c: c, session: s}, nil
		}
	}
}

// stream is a session over a connection that blocks.
type stream struct {
	c       io.ReadWriter
	session *session
	record  [headSize + RecordMax]byte
	text    []byte // opened and not read
}

func (s *stream) Read(b []byte) (int, error) {
	for len(s.text) == 0 {
		if _, err := io.ReadFull(s.c, s.record[:headSize]); err != nil {
			return 0, err
		}
		n, err := recordLength(s.record[:])
		if err != nil {
			return 0, err
		}
		sealed := s.record[headSize : headSize+n]
		if _, err = io.ReadFull(s.c, sealed); err != nil {
			return 0, err
		}
		if s.text, err = s.session.receive.open(sealed[:0], sealed); err != nil {
			return 0, err
		}
	}
	n := copy(b, s.text)
	s.text = s.text[n:]
	return n, nil
}

func (s *stream) Write(b []byte) (int, error) {
	out, _, _ := s.session.send.records(nil, [][]byte{b}, 0, math.MaxInt)
	if _, err := s.c.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}
