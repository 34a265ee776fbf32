package server

import (
	"bytes"
	"strconv"
)

// writer appends replies in the protocol of one connection. What a client gets depends on its protocol in three
// places only: nulls, maps and verbatim text.
type writer struct {
	b    []byte
	resp int // 2 or 3
}

func (w *writer) status(s string) { w.line('+', s) }

// fault writes an error; s has no line end in it.
func (w *writer) fault(s string) { w.line('-', s) }

func (w *writer) line(kind byte, s string) {
	w.b = append(w.b, kind)
	w.b = append(w.b, s...)
	w.b = append(w.b, '\r', '\n')
}

func (w *writer) integer(v int64) { w.head(':', v) }
func (w *writer) array(n int)     { w.head('*', int64(n)) }

func (w *writer) head(kind byte, v int64) {
	w.b = append(w.b, kind)
	w.b = strconv.AppendInt(w.b, v, 10)
	w.b = append(w.b, '\r', '\n')
}

// pairs opens a map of n pairs, which RESP2 has as an array of twice as many.
func (w *writer) pairs(n int) {
	if w.resp == 3 {
		w.head('%', int64(n))
	} else {
		w.array(2 * n)
	}
}

// set opens a set of n elements, which RESP2 has as an array.
func (w *writer) set(n int) {
	if w.resp == 3 {
		w.head('~', int64(n))
	} else {
		w.array(n)
	}
}

func (w *writer) bulk(s string) {
	w.head('$', int64(len(s)))
	w.b = append(w.b, s...)
	w.b = append(w.b, '\r', '\n')
}

func (w *writer) bulkBytes(s []byte) {
	w.head('$', int64(len(s)))
	w.b = append(w.b, s...)
	w.b = append(w.b, '\r', '\n')
}

func (w *writer) bulks(list ...string) {
	w.array(len(list))
	for _, s := range list {
		w.bulk(s)
	}
}

func (w *writer) null() {
	if w.resp == 3 {
		w.b = append(w.b, "_\r\n"...)
	} else {
		w.b = append(w.b, "$-1\r\n"...)
	}
}

// nullArray is what RESP2 has for "no such list".
func (w *writer) nullArray() {
	if w.resp == 3 {
		w.b = append(w.b, "_\r\n"...)
	} else {
		w.b = append(w.b, "*-1\r\n"...)
	}
}

// text is a bulk that RESP3 marks as meant for people.
func (w *writer) text(s string) {
	if w.resp == 3 {
		w.head('=', int64(len(s)+4))
		w.b = append(w.b, "txt:"...)
		w.b = append(w.b, s...)
		w.b = append(w.b, '\r', '\n')
		return
	}
	w.bulk(s)
}

// appendReply appends a reply of the state machine, which is in RESP2 form, in the protocol of the connection. Only
// nulls differ: at the top, and inside a flat array of bulks, which is all that MGET makes.
func appendReply(dst, reply []byte, resp int, asMap bool) []byte {
	if resp != 3 || len(reply) < 2 {
		return append(dst, reply...)
	}
	switch {
	case reply[0] == '$' && reply[1] == '-':
		return append(dst, "_\r\n"...)
	case reply[0] == '*':
		return appendArray3(dst, reply, asMap)
	}
	return append(dst, reply...)
}

func appendArray3(dst, reply []byte, asMap bool) []byte {
	end := bytes.IndexByte(reply, '\n') + 1
	if asMap {
		n, _ := strconv.Atoi(string(reply[1 : end-2]))
		dst = append(dst, '%')
		dst = strconv.AppendInt(dst, int64(n/2), 10)
		dst = append(dst, '\r', '\n')
	} else {
		dst = append(dst, reply[:end]...)
	}
	for reply = reply[end:]; len(reply) > 0; reply = reply[end:] {
		end = bytes.IndexByte(reply, '\n') + 1
		if reply[0] == '$' {
			if reply[1] == '-' {
				dst = append(dst, "_\r\n"...)
				continue
			}
			n, _ := strconv.Atoi(string(reply[1 : end-2]))
			end += n + 2
		}
		dst = append(dst, reply[:end]...)
	}
	return dst
}
