package resp

import "bytes"

// Kind is the type byte of a reply.
type Kind byte

// The reply types of RESP2 and RESP3.
const (
	Simple    Kind = '+'
	Error     Kind = '-'
	Integer   Kind = ':'
	Bulk      Kind = '$'
	Array     Kind = '*'
	Null      Kind = '_'
	Bool      Kind = '#'
	Double    Kind = ','
	BigNumber Kind = '('
	BulkError Kind = '!'
	Verbatim  Kind = '='
	Map       Kind = '%'
	Set       Kind = '~'
	Attribute Kind = '|' // precedes the reply it describes; Reply skips it
	Push      Kind = '>' // out of band: it answers no request
)

// Limits of a reply when the ReplyParser's fields are zero.
const (
	DefaultMaxReplyBulk  = 512 << 20
	DefaultMaxReplyDepth = 32
	maxReplyLine         = 64 << 10
	maxReplyElements     = 1 << 31
)

// The errors of reply reading.
const (
	ErrReplyType   ProtocolError = "Protocol error: unknown reply type"
	ErrReplyLength ProtocolError = "Protocol error: invalid length in reply"
	ErrReplyDepth  ProtocolError = "Protocol error: reply nested too deeply"
	ErrReplyLine   ProtocolError = "Protocol error: bad line in reply"
)

// Reply is one whole reply. Its bytes alias those it was read from.
type Reply struct {
	Kind  Kind
	Raw   []byte // the whole reply as received, to be forwarded unchanged
	Body  []byte // text of a line or bulk; of an aggregate its elements, to be walked with Next
	Count int    // elements of an aggregate, two per pair; else 0
	Null  bool   // the null of RESP3, or the null bulk or array of RESP2
}

// Next takes the next element of an aggregate out of r.Body. ok is false at the end.
func (r *Reply) Next() (element Reply, ok bool) {
	if r.Count == 0 {
		return Reply{}, false
	}
	var p ReplyParser
	n, err := p.Parse(r.Body, &element)
	if n == 0 || err != nil {
		return Reply{}, false // not after a successful Parse
	}
	r.Count--
	r.Body = r.Body[n:]
	return element, true
}

// ReplyParser reads replies from a stream, one per call, in either protocol or in the internal
// form. The zero value is ready for use and has the default limits. One goroutine at a time.
type ReplyParser struct {
	MaxBulk  int // most bytes of one string; 0 means DefaultMaxReplyBulk
	MaxDepth int // most levels of aggregates, up to 32; 0 means DefaultMaxReplyDepth

	pos   int // bytes of whole values at the front, with the headers of open aggregates
	need  int // bytes missing for certain
	depth int
	left  [DefaultMaxReplyDepth]int // elements missing at each level
	top   Reply                     // header of the outermost value
	body  int                       // where its body begins

	attribute [DefaultMaxReplyDepth]bool // the level is an attribute's
}

// Parse reads the reply at the front of b into r, with everything nested in it. It returns the
// bytes it takes, or 0 when its end has not arrived: then call again with the same bytes and more
// behind them. What was read is remembered. An error is a ProtocolError; the connection is of no
// further use.
//
// An attribute in front of a reply is part of Raw and otherwise skipped.
func (p *ReplyParser) Parse(b []byte, r *Reply) (n int, err error) {
	if p.pos > len(b) {
		p.Reset()
	}
	for {
		v, next, err := p.value(b, p.pos)
		if err != nil {
			p.Reset()
			return 0, err
		}
		if next == 0 {
			return 0, nil
		}
		if p.depth == 0 {
			p.top, p.body = v.reply, v.body
		}
		p.pos = next
		done, err := p.count(v)
		if err != nil {
			p.Reset()
			return 0, err
		}
		if done {
			break
		}
	}
	n = p.pos
	*r = p.top
	end := n
	if !isAggregate(r.Kind) {
		end = p.body + r.Count // Count holds the length of a string until here
		r.Count = 0
	}
	r.Raw, r.Body = b[:n:n], b[p.body:end:end]
	p.Reset()
	return n, nil
}

// Need is how many more bytes, at least, the reply at the front needs after Parse returned 0.
func (p *ReplyParser) Need() int { return p.need }

// Reset forgets a partly read reply.
func (p *ReplyParser) Reset() { p.pos, p.need, p.depth = 0, 0, 0 }

// value is one scalar, or the header of an aggregate. reply.Count is the length of a scalar's text.
type value struct {
	reply Reply
	body  int
}

// count enters a value into the levels and says whether the outermost is complete. An attribute is
// a level that counts nowhere: the value it describes is still to come.
func (p *ReplyParser) count(v value) (done bool, err error) {
	attribute := v.reply.Kind == Attribute
	if p.depth > 0 && !attribute {
		p.left[p.depth-1]--
	}
	if isAggregate(v.reply.Kind) && v.reply.Count > 0 {
		if p.depth >= min(or(p.MaxDepth, DefaultMaxReplyDepth), len(p.left)) {
			return false, ErrReplyDepth
		}
		p.left[p.depth], p.attribute[p.depth] = v.reply.Count, attribute
		p.depth++
		return false, nil
	}
	for p.depth > 0 && p.left[p.depth-1] == 0 {
		p.depth--
		attribute = p.attribute[p.depth]
		if attribute {
			break // the level below still misses the value described
		}
	}
	return p.depth == 0 && !attribute, nil
}

// value reads what begins at b[i]. next is 0 when it is not all there.
func (p *ReplyParser) value(b []byte, i int) (v value, next int, err error) {
	if i == len(b) {
		p.need = 3
		return v, 0, nil
	}
	v.reply.Kind = Kind(b[i])
	switch v.reply.Kind {
	case Bulk, BulkError, Verbatim:
		return p.text(b, i, v)
	case Array, Map, Set, Push, Attribute, Pairs, NestedMap:
		return p.aggregate(b, i, v)
	case Simple, Error, Integer, Null, Bool, Double, BigNumber:
		return p.line(b, i, v)
	}
	return v, 0, ErrReplyType
}

func (p *ReplyParser) line(b []byte, i int, v value) (value, int, error) {
	at := bytes.IndexByte(b[i+1:], '\n')
	if at < 0 {
		if len(b)-i > maxReplyLine {
			return v, 0, ErrReplyLine
		}
		p.need = 1
		return v, 0, nil
	}
	end := i + 1 + at
	if at == 0 || b[end-1] != '\r' || at > maxReplyLine {
		return v, 0, ErrReplyLine
	}
	v.body, v.reply.Count = i+1, at-1
	v.reply.Null = v.reply.Kind == Null
	return v, end + 1, nil
}

func (p *ReplyParser) text(b []byte, i int, v value) (value, int, error) {
	length, body, verdict := parseLength(b, i+1)
	switch {
	case verdict == lengthMore:
		p.need = 1
		return v, 0, nil
	case verdict == lengthBad, length > or(p.MaxBulk, DefaultMaxReplyBulk), length < -1,
		length == -1 && v.reply.Kind != Bulk:
		return v, 0, ErrReplyLength
	case length == -1:
		v.reply.Null, v.body = true, body
		return v, body, nil
	}
	end := body + length
	if end+2 > len(b) {
		p.need = end + 2 - len(b)
		return v, 0, nil
	}
	if b[end] != '\r' || b[end+1] != '\n' {
		return v, 0, ErrReplyLine
	}
	v.body, v.reply.Count = body, length
	return v, end + 2, nil
}

func (p *ReplyParser) aggregate(b []byte, i int, v value) (value, int, error) {
	count, body, verdict := parseLength(b, i+1)
	switch {
	case verdict == lengthMore:
		p.need = 1
		return v, 0, nil
	case verdict == lengthBad, count > maxReplyElements, count < -1,
		count == -1 && v.reply.Kind != Array:
		return v, 0, ErrReplyLength
	case count == -1:
		v.reply.Null, count = true, 0
	case v.reply.Kind != Array && v.reply.Kind != Set && v.reply.Kind != Push:
		count *= 2
	}
	v.reply.Count, v.body = count, body
	return v, body, nil
}

func isAggregate(k Kind) bool {
	switch k {
	case Array, Map, Set, Push, Attribute, Pairs, NestedMap:
		return true
	}
	return false
}
