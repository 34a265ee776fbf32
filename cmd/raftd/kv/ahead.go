package kv

import "io"

// ahead reads from another goroutine while what came before is used.
type ahead struct {
	full, empty chan piece
	now         piece // of which the reader has taken n bytes
	n           int
}

// piece is bytes, and what became of the read that brought them.
type piece struct {
	bytes []byte
	err   error
}

// readInFront begins to read r, a piece or two ahead. The caller calls stop.
func readInFront(r io.Reader) *ahead {
	a := &ahead{full: make(chan piece, 2), empty: make(chan piece, 2)}
	for range cap(a.empty) {
		a.empty <- piece{bytes: make([]byte, readAhead)}
	}
	go func() {
		defer close(a.full)
		for p := range a.empty {
			n, err := io.ReadFull(r, p.bytes[:readAhead])
			if err == io.ErrUnexpectedEOF {
				err = io.EOF
			}
			a.full <- piece{p.bytes[:n], err}
			if err != nil {
				return
			}
		}
	}()
	return a
}

func (a *ahead) Read(b []byte) (int, error) {
	for a.n == len(a.now.bytes) {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.now.bytes != nil {
			a.empty <- a.now
		}
		a.now, a.n = <-a.full, 0
	}
	n := copy(b, a.now.bytes[a.n:])
	a.n += n
	return n, nil
}

// stop waits until nothing is read any more.
func (a *ahead) stop() {
	close(a.empty)
	for range a.full {
	}
}
