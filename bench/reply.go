package bench

import (
	"bytes"
	"errors"
)

// The generator has a reply scanner of its own, so that a fault in the
// server's codec cannot hide from it. It finds where a reply ends and what
// kind it is, and copies nothing.

var errProtocol = errors.New("the server's answer is not RESP")

// reply is one complete answer within a receive buffer.
type reply struct {
	kind  byte   // first byte of the answer: + - : $ * _ …
	null  bool   // $-1, *-1 or _
	text  []byte // the line, or the content of a bulk string; valid until the buffer moves
	bytes int    // of the whole answer
}

// scanReply finds the first reply of b. ok is false when it is not complete.
func scanReply(b []byte) (r reply, ok bool, err error) {
	at, owed := 0, 1
	for owed > 0 {
		line, after, ok := cutLine(b, at)
		if !ok {
			return r, false, nil
		}
		if len(line) == 0 {
			return r, false, errProtocol
		}
		first := at == 0
		if first {
			r.kind, r.text = line[0], line[1:]
		}
		at, owed = after, owed-1
		switch line[0] {
		case '+', '-', ':', ',', '#', '(':
		case '_':
			r.null = r.null || first
		case '$', '=', '!':
			n, err := length(line[1:])
			if err != nil {
				return r, false, err
			}
			if n < 0 {
				r.null = r.null || first
				continue
			}
			if len(b)-at < n+2 {
				return r, false, nil
			}
			if first {
				r.text = b[at : at+n]
			}
			at += n + 2
		case '*', '~', '>', '%', '|':
			n, err := length(line[1:])
			if err != nil {
				return r, false, err
			}
			r.null = r.null || first && n < 0
			if line[0] == '%' || line[0] == '|' {
				n *= 2
			}
			if line[0] == '|' {
				n++ // attributes precede the answer proper
			}
			owed += max(n, 0)
		default:
			return r, false, errProtocol
		}
	}
	r.bytes = at
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
		return 0, errProtocol
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, errProtocol
		}
		n = n*10 + int(c-'0')
	}
	return n, nil
}

// failed says whether the reply is an error, and its class: its first word.
func (r *reply) failed() (class []byte, failed bool) {
	if r.kind != '-' && r.kind != '!' {
		return nil, false
	}
	class = r.text
	if n := bytes.IndexByte(class, ' '); n >= 0 {
		class = class[:n]
	}
	if len(class) == 0 {
		class = []byte("ERR")
	}
	return class, true
}

// answers says whether the reply is what a request of this kind must get.
func (r *reply) answers(kind uint8) bool {
	if kind == kindSet {
		return r.kind == '+' && string(r.text) == "OK"
	}
	return r.kind == '$' || r.kind == '_'
}
