package resp

import "bytes"

// Protocol is the form that replies take on one connection.
type Protocol uint8

// The protocols that clients choose with HELLO, and the form in which a reply is made.
const (
	Internal Protocol = 1
	RESP2    Protocol = 2
	RESP3    Protocol = 3
)

// The kinds that only the internal form has. No client ever receives them.
const (
	Pairs     Kind = '&' // n pairs: nested arrays in RESP3, flat in RESP2
	NestedMap Kind = '^' // n pairs: a map in RESP3, nested arrays in RESP2
	Kept      Kind = '@' // a bulk string that is kept elsewhere under number n; see Keeper
	KeptReply Kind = '<' // in place of a reply: all of it is kept elsewhere; see KeptNumber
)

const verbatimPrefix = len("txt:")

// errorMalformed answers in place of a reply that cannot be rendered.
const errorMalformed = "ERR internal error: malformed reply"

// Render appends a reply in the internal form to dst in the form that a client reads.
//
// The internal form is RESP3 with four marks, for what RESP2 does differently and RESP3 does not
// tell, and for long strings. n counts the elements, or the pairs, that follow the header:
//
//	internal  what it is               RESP3                    RESP2
//	+text     simple string            the same                 the same
//	-text     error                    the same                 the same
//	:v        integer                  the same                 the same
//	$n        bulk string              the same                 the same
//	*n        array                    the same                 the same
//	_         null                     the same                 $-1
//	*-1       null array (mark)        _                        *-1
//	%n        map                      the same                 *2n
//	^n        nested map (mark)        %n                       *n, and *2 before each pair
//	&n        pairs (mark)             *n, and *2 before each   *2n
//	~n        set                      the same                 *n
//	>n        push                     the same                 *n
//	#t #f     boolean                  the same                 :1 :0
//	,v        double                   the same                 $ with v
//	(v        big number               the same                 $ with v
//	=n        verbatim string          the same                 $ without the format
//	!n        bulk error               the same                 - with CR and LF as blanks
//	|n        attribute                the same                 nothing
//	@n        string kept under n      $ with the string        $ with the string
//	<n        reply kept under n       that reply, which the caller gets and renders
//
// RESP2's own null ($-1) and the streamed types of RESP3 ($?, *?) are not part of it.
//
// reply is one whole reply, made by the Append functions or read by a ReplyParser: it is trusted.
// One that begins as a simple string, error, integer or bulk string is copied unread. Any other is
// walked from header to header, without a look at the bytes of strings; should it not be well
// formed, or be nested more than DefaultMaxReplyDepth deep, dst gets one error reply instead, so
// that the connection stays in step.
//
// Internal copies the reply as it is. Nothing is allocated but the growth of dst.
//
// A reply with strings that are kept elsewhere is not well formed here: RenderKept is for those.
func Render(dst, reply []byte, p Protocol) []byte {
	if len(reply) > 0 && isSame[reply[0]] {
		return append(dst, reply...)
	}
	return render(dst, reply, p)
}

// Keeper has the long strings that replies name by a number, so that nobody copies them on the way
// to the socket. RenderKept asks it about each.
type Keeper interface {
	// Size is the length in bytes of the string with this number; false when there is none.
	Size(number int) (n int, ok bool)
	// Insert says that the string belongs in front of what is at dst[at:] in the end.
	Insert(number, at int)
	// Run offers part of the reply itself, at least RunMin bytes that the client gets unchanged.
	// True takes it as Insert does: then it is not copied.
	Run(b []byte, at int) bool
}

// KeptNumber is the number under which a reply that AppendKeptReply made is kept as a whole; false
// when it is another reply.
func KeptNumber(reply []byte) (number int, ok bool) {
	if len(reply) == 0 || Kind(reply[0]) != KeptReply {
		return 0, false
	}
	number, next, verdict := parseLength(reply, 1)
	return number, verdict == lengthOK && next == len(reply) && number >= 0
}

// RunMin is the least length of a run that a Keeper is offered.
const RunMin = 16 << 10

// RenderKept is Render with the strings that the keeper has left out: dst gets their headers and
// their line ends, also for Internal, and the keeper is told where in dst they belong, in growing
// order of place. When the reply is not well formed, dst gets an error and ok is false: what the
// keeper was told of this reply counts for nothing.
func RenderKept(dst, reply []byte, p Protocol, k Keeper) (out []byte, ok bool) {
	r := renderer{dst: dst, reply: reply, lower: p == RESP2, raw: p == Internal, keeper: k}
	if !r.value(0) || r.pos != len(reply) {
		return AppendError(dst, errorMalformed), false
	}
	r.flush(r.pos)
	return r.dst, true
}

// isSame tells for each kind whether its replies, which are no aggregates, are the same everywhere.
var isSame = [256]bool{Simple: true, Error: true, Integer: true, Bulk: true}

func render(dst, reply []byte, p Protocol) []byte {
	switch {
	case p == Internal:
		return append(dst, reply...)
	case string(reply) == "_\r\n": // an absent key
		return appendNull(dst, p == RESP2)
	}
	r := renderer{dst: dst, reply: reply, lower: p == RESP2}
	if !r.value(0) || r.pos != len(reply) {
		return AppendError(dst, errorMalformed)
	}
	r.flush(r.pos)
	return r.dst
}

// renderer walks a reply and copies it in runs as long as possible: from the end of one header that
// changes to the beginning of the next.
type renderer struct {
	dst, reply []byte
	from       int // reply[from:pos] is still to be copied as it is
	pos        int // reply[:pos] has been read
	lower      bool
	raw        bool   // marks stay as they are, but for strings that are kept
	keeper     Keeper // nil: no string is kept
}

// flush copies what is pending up to a place; reading has gone past it, to pos.
func (r *renderer) flush(to int) {
	run := r.reply[r.from:to]
	if r.keeper == nil || len(run) < RunMin || !r.keeper.Run(run, len(r.dst)) {
		r.dst = append(r.dst, run...)
	}
	r.from = r.pos
}

// value renders what begins at pos, inside depth aggregates. False: it is not well formed.
func (r *renderer) value(depth int) bool {
	// An attribute stands before the value that it describes.
	for r.pos < len(r.reply) && r.reply[r.pos] == byte(Attribute) {
		if !r.attribute(depth) {
			return false
		}
	}
	if r.pos == len(r.reply) {
		return false
	}
	switch kind := Kind(r.reply[r.pos]); kind {
	case Bulk, Verbatim, BulkError:
		return r.text(kind)
	case Simple, Error, Integer, Null, Bool, Double, BigNumber:
		return r.line(kind)
	case Kept:
		return r.kept()
	case Array, Map, Set, Push, Pairs, NestedMap:
		return r.aggregate(kind, depth)
	}
	return false
}

// line renders a value that is one line.
func (r *renderer) line(kind Kind) bool {
	start := r.pos
	n := bytes.IndexByte(r.reply[start:], '\n')
	if n < 2 || r.reply[start+n-1] != '\r' {
		return false
	}
	r.pos = start + n + 1
	text := r.reply[start+1 : start+n-1]
	switch kind {
	case Null:
		if len(text) != 0 {
			return false
		}
	case Bool:
		if len(text) != 1 || text[0] != 't' && text[0] != 'f' {
			return false
		}
	}
	if !r.lower || isSame[kind] {
		return true
	}
	r.flush(start)
	switch kind {
	case Null:
		r.dst = appendNull(r.dst, r.lower)
	case Bool:
		r.dst = append(r.dst, ':', '0', '\r', '\n')
		if text[0] == 't' {
			r.dst[len(r.dst)-3] = '1'
		}
	default: // a number
		r.dst = AppendBulk(r.dst, text)
	}
	return true
}

// kept renders the header of a string that the keeper has.
func (r *renderer) kept() bool {
	start := r.pos
	number, next, verdict := parseLength(r.reply, start+1)
	if verdict != lengthOK || number < 0 || r.keeper == nil {
		return false
	}
	size, ok := r.keeper.Size(number)
	if !ok {
		return false
	}
	r.pos = next
	r.flush(start)
	r.dst = appendNumber(r.dst, byte(Bulk), int64(size))
	r.keeper.Insert(number, len(r.dst))
	r.dst = append(r.dst, '\r', '\n')
	return true
}

// text renders a value whose bytes are counted.
func (r *renderer) text(kind Kind) bool {
	start := r.pos
	n, body, verdict := parseLength(r.reply, start+1)
	if verdict != lengthOK || n < 0 || n > len(r.reply)-body-2 {
		return false
	}
	end := body + n
	if r.reply[end] != '\r' || r.reply[end+1] != '\n' || kind == Verbatim && n < verbatimPrefix {
		return false
	}
	r.pos = end + 2
	if !r.lower || kind == Bulk {
		return true
	}
	r.flush(start)
	if kind == Verbatim {
		r.dst = AppendBulk(r.dst, r.reply[body+verbatimPrefix:end])
	} else {
		r.dst = appendLine(append(r.dst, '-'), r.reply[body:end])
	}
	return true
}

// aggregate renders a header and the values under it.
func (r *renderer) aggregate(kind Kind, depth int) bool {
	start := r.pos
	n, body, verdict := parseLength(r.reply, start+1)
	if verdict != lengthOK || depth >= DefaultMaxReplyDepth {
		return false
	}
	r.pos = body
	if n < 0 {
		return r.nullArray(kind, n, start)
	}
	header, count, values, nested := kind, n, n, false
	switch {
	case r.raw:
		if kind == Map || kind == Pairs || kind == NestedMap {
			values = 2 * n
		}
	case kind == Map:
		values = 2 * n
		if r.lower {
			header, count = Array, 2*n
		}
	case kind == Pairs:
		header, values, nested = Array, 2*n, !r.lower
		if r.lower {
			count = 2 * n
		}
	case kind == NestedMap:
		header, values, nested = Map, 2*n, r.lower
		if r.lower {
			header = Array
		}
	case kind == Set, kind == Push:
		if r.lower {
			header = Array
		}
	}
	if header != kind {
		r.flush(start)
		r.dst = appendNumber(r.dst, byte(header), int64(count))
	}
	if nested && n > 0 {
		return depth+1 < DefaultMaxReplyDepth && r.pairs(n, depth+2)
	}
	return r.values(values, depth+1)
}

func (r *renderer) nullArray(kind Kind, n, start int) bool {
	if kind != Array || n != -1 {
		return false
	}
	if !r.lower && !r.raw {
		r.flush(start)
		r.dst = AppendNull(r.dst)
	}
	return true
}

func appendNull(dst []byte, lower bool) []byte {
	if lower {
		return append(dst, "$-1\r\n"...)
	}
	return AppendNull(dst)
}

func (r *renderer) values(n, depth int) bool {
	for ; n > 0; n-- {
		if !r.value(depth) {
			return false
		}
	}
	return true
}

// pairs renders each two values as an array of their own.
func (r *renderer) pairs(n, depth int) bool {
	for ; n > 0; n-- {
		r.flush(r.pos)
		r.dst = AppendArray(r.dst, 2)
		if !r.values(2, depth) {
			return false
		}
	}
	return true
}

// attribute renders an attribute, which RESP2 does without.
func (r *renderer) attribute(depth int) bool {
	start := r.pos
	n, body, verdict := parseLength(r.reply, start+1)
	if verdict != lengthOK || n < 0 || depth >= DefaultMaxReplyDepth {
		return false
	}
	r.pos = body
	if !r.lower {
		return r.values(2*n, depth+1)
	}
	r.flush(start)
	written, keeper := len(r.dst), r.keeper
	r.keeper = nil // nothing of it is sent
	ok := r.values(2*n, depth+1)
	r.keeper = keeper
	r.dst, r.from = r.dst[:written], r.pos
	return ok
}
