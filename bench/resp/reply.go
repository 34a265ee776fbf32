// Package resp is the client side of RESP as raftbench needs it: a scanner of
// replies, and a plain connection for questions beside a load. It shares no
// code with the server's codec on purpose, so that a fault there cannot hide.
package resp

import (
	"bytes"
	"errors"
)

// ErrProtocol means that what was received is not RESP.
var ErrProtocol = errors.New("the server's answer is not RESP")

// Reply is one complete reply within a receive buffer.
type Reply struct {
	Kind  byte   // first byte of the reply: + - : $ * _ …
	Null  bool   // $-1, *-1 or _
	Text  []byte // the line, or the content of a bulk string; it lies in the buffer
	Bytes int    // of the whole reply
}

// Scan finds the first reply of b and copies nothing. ok is false when it is
// not complete.
func Scan(b []byte) (r Reply, ok bool, err error) {
	at, missing := 0, 1
	for missing > 0 {
		line, after, ok := cutLine(b, at)
		if !ok {
			return r, false, nil
		}
		if len(line) == 0 {
			return r, false, ErrProtocol
		}
		first := at == 0
		if first {
			r.Kind, r.Text = line[0], line[1:]
		}
		at, missing = after, missing-1
		switch line[0] {
		case '+', '-', ':', ',', '#', '(':
		case '_':
			r.Null = r.Null || first
		case '$', '=', '!':
			n, err := length(line[1:])
			if err != nil {
				return r, false, err
			}
			if n < 0 {
				r.Null = r.Null || first
				continue
			}
			if len(b)-at < n+2 {
				return r, false, nil
			}
			if first {
				r.Text = b[at : at+n]
			}
			at += n + 2
		case '*', '~', '>', '%', '|':
			n, err := length(line[1:])
			if err != nil {
				return r, false, err
			}
			r.Null = r.Null || first && n < 0
			if line[0] == '%' || line[0] == '|' {
				n *= 2
			}
			if line[0] == '|' {
				n++ // attributes precede the answer proper
			}
			missing += max(n, 0)
		default:
			return r, false, ErrProtocol
		}
	}
	r.Bytes = at
	return r, true, nil
}

func cutLine(b []byte, at int) (line []byte, after int, ok bool) {
	n := bytes.IndexByte(b[at:], '\n')
	if n < 0 {
		return nil, 0, false
	}
	if n == 0 || b[at+n-1] != '\r' {
		return nil, at + n + 1, true // reported as a protocol error
	}
	return b[at : at+n-1], at + n + 1, true
}

// length reads a length that RESP allows: digits, or -1.
func length(b []byte) (int, error) {
	if len(b) == 2 && b[0] == '-' && b[1] == '1' {
		return -1, nil
	}
	if len(b) == 0 || len(b) > 9 {
		return 0, ErrProtocol
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, ErrProtocol
		}
		n = n*10 + int(c-'0')
	}
	return n, nil
}

// Failed says whether the reply is an error, and its class: its first word.
func (r *Reply) Failed() (class []byte, failed bool) {
	if r.Kind != '-' && r.Kind != '!' {
		return nil, false
	}
	class = r.Text
	if n := bytes.IndexByte(class, ' '); n >= 0 {
		class = class[:n]
	}
	if len(class) == 0 {
		class = []byte("ERR")
	}
	return class, true
}

// Stored says whether the reply is that of a SET that took effect.
func (r *Reply) Stored() bool { return r.Kind == '+' && string(r.Text) == "OK" }

// Fetched says whether the reply is that of a GET: a value, or none.
func (r *Reply) Fetched() bool { return r.Kind == '$' || r.Kind == '_' }
