package resp

import (
	"math"
	"strconv"
)

// Replies are appended to a slice. proto is 2 or 3, as the connection chose.

// AppendSimple appends a status: +OK. s must not contain CR or LF.
func AppendSimple(b []byte, s string) []byte {
	return append(append(append(b, '+'), s...), '\r', '\n')
}

// AppendError appends an error. CR and LF in s become spaces.
func AppendError(b []byte, s string) []byte {
	b = append(b, '-')
	for i := range len(s) {
		c := s[i]
		if c == '\r' || c == '\n' {
			c = ' '
		}
		b = append(b, c)
	}
	return append(b, '\r', '\n')
}

// AppendInt appends an integer.
func AppendInt(b []byte, n int64) []byte {
	return append(strconv.AppendInt(append(b, ':'), n, 10), '\r', '\n')
}

func head(b []byte, c byte, n int) []byte {
	return append(strconv.AppendInt(append(b, c), int64(n), 10), '\r', '\n')
}

// AppendBulk appends a bulk string.
func AppendBulk(b, s []byte) []byte {
	return append(append(head(b, '$', len(s)), s...), '\r', '\n')
}

// AppendBulkString appends a bulk string.
func AppendBulkString(b []byte, s string) []byte {
	return append(append(head(b, '$', len(s)), s...), '\r', '\n')
}

// AppendNull appends a missing value.
func AppendNull(b []byte, proto int) []byte {
	if proto == 3 {
		return append(b, "_\r\n"...)
	}
	return append(b, "$-1\r\n"...)
}

// AppendArray appends the head of an array of n replies.
func AppendArray(b []byte, n int) []byte { return head(b, '*', n) }

// AppendMap appends the head of n pairs: a flat array in RESP2.
func AppendMap(b []byte, proto, n int) []byte {
	if proto == 3 {
		return head(b, '%', n)
	}
	return head(b, '*', 2*n)
}

// AppendSet appends the head of a set of n replies: an array in RESP2.
func AppendSet(b []byte, proto, n int) []byte {
	if proto == 3 {
		return head(b, '~', n)
	}
	return head(b, '*', n)
}

// AppendBool appends a truth value: an integer in RESP2.
func AppendBool(b []byte, proto int, v bool) []byte {
	switch {
	case proto == 3 && v:
		return append(b, "#t\r\n"...)
	case proto == 3:
		return append(b, "#f\r\n"...)
	case v:
		return append(b, ":1\r\n"...)
	}
	return append(b, ":0\r\n"...)
}

// AppendDouble appends a number: a bulk string in RESP2.
func AppendDouble(b []byte, proto int, v float64) []byte {
	s := strconv.FormatFloat(v, 'g', 17, 64)
	if math.IsInf(v, 0) {
		s = "inf"
		if v < 0 {
			s = "-inf"
		}
	}
	if proto == 3 {
		return append(append(append(b, ','), s...), '\r', '\n')
	}
	return AppendBulkString(b, s)
}

// AppendVerbatim appends text for people: a bulk string in RESP2.
func AppendVerbatim(b []byte, proto int, s string) []byte {
	if proto == 3 {
		return append(append(append(head(b, '=', len(s)+4), "txt:"...), s...), '\r', '\n')
	}
	return AppendBulkString(b, s)
}

// depthMax bounds nested replies.
const depthMax = 32

// ReplySize returns the length of the first reply in b, nested ones included;
// 0 when it is incomplete. Errors are ProtocolError. It reads from the start
// each time: for replies that may be large, see Scanner.
func ReplySize(b []byte) (int, error) {
	var s Scanner
	return s.Scan(b)
}

// Scanner measures replies incrementally: it remembers how far it got.
type Scanner struct {
	at   int
	left [depthMax]int // replies missing per level
	deep int
	busy bool
}

// Scan returns the length of the first reply in b; 0 when it is incomplete:
// call again with the same bytes and more behind them.
func (s *Scanner) Scan(b []byte) (int, error) {
	if !s.busy {
		*s = Scanner{busy: true}
		s.left[0] = 1
	}
	for {
		n, children, err := replyHead(b[min(s.at, len(b)):])
		if err != nil {
			s.busy = false
			return 0, err
		}
		if n == 0 || s.at+n > len(b) {
			return 0, nil
		}
		s.at += n
		s.left[s.deep]--
		if children > 0 {
			if s.deep++; s.deep == depthMax {
				s.busy = false
				return 0, ProtocolError("reply is nested too deep")
			}
			s.left[s.deep] = children
		}
		for s.left[s.deep] == 0 {
			if s.deep == 0 {
				s.busy = false
				return s.at, nil
			}
			s.deep--
		}
	}
}

// replyHead returns the length of one reply without its children, and how
// many those are; it may be longer than b.
func replyHead(b []byte) (n, children int, err error) {
	if len(b) == 0 {
		return 0, 0, nil
	}
	switch b[0] {
	case '+', '-', ':', '_', '#', ',', '(':
		for i := 1; i+1 < len(b); i++ {
			if b[i] == '\r' && b[i+1] == '\n' {
				return i + 2, 0, nil
			}
		}
		return 0, 0, nil
	case '$', '=', '!':
		size, n, err := length(b[1:], "invalid bulk length")
		if n == 0 || err != nil {
			return 0, 0, err
		}
		if size < 0 {
			return 1 + n, 0, nil
		}
		return 1 + n + size + 2, 0, nil
	case '*', '~', '>', '%', '|':
		count, n, err := length(b[1:], "invalid multibulk length")
		if n == 0 || err != nil {
			return 0, 0, err
		}
		if b[0] == '%' || b[0] == '|' {
			count *= 2
		}
		if b[0] == '|' {
			count++ // an attribute stands in front of the reply it belongs to
		}
		return 1 + n, max(count, 0), nil
	}
	return 0, 0, ProtocolError("unknown reply type '" + printable(b[0]) + "'")
}
