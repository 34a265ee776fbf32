// Package resp reads and writes RESP2 and RESP3, the Redis wire protocol, on plain byte slices.
//
// Nothing here knows sockets. Parser reads requests as a server sees them, ReplyParser reads
// replies as a client sees them; both are incremental. The Append functions write replies in one
// internal form, and Render turns that into the protocol of a connection. Nothing allocates in
// steady state: what the parsers return aliases the bytes they were given.
//
// No length that a peer declares is ever allocated: memory grows with the bytes that have arrived.
package resp

import "bytes"

// Limits of a request when the Parser's fields are zero.
const (
	DefaultMaxArgs    = 1 << 20  // arguments of one command
	DefaultMaxBulk    = 16 << 20 // bytes of one argument
	DefaultMaxInline  = 64 << 10 // bytes of one inline command line
	DefaultMaxCommand = 64 << 20 // bytes of one command with all its arguments, as sent

	restrictedArgs = 10       // limits before authentication (Parser.Restricted)
	restrictedBulk = 16 << 10 //

	lengthDigits = 20       // no length needs more digits: a longer line is refused unread
	spansKept    = 1 << 10  // argument slots kept between commands, whatever a larger one took
	scratchKept  = 16 << 10 // bytes kept for unquoted inline arguments
	argBytesMin  = len("$0\r\n\r\n")
)

// ProtocolError says that the peer does not speak RESP. Its text is what Redis answers, without the
// leading "-ERR ". The connection is of no further use: answer AppendError("ERR "+text) and close
// it.
type ProtocolError string

// Error returns the text.
func (e ProtocolError) Error() string { return string(e) }

// The errors of Parser, with Redis's texts.
const (
	ErrMultibulkLength ProtocolError = "Protocol error: invalid multibulk length"
	ErrBulkLength      ProtocolError = "Protocol error: invalid bulk length"
	ErrBulkEnd         ProtocolError = "Protocol error: bulk string without its line end"
	ErrUnauthMultibulk ProtocolError = "Protocol error: unauthenticated multibulk length"
	ErrUnauthBulk      ProtocolError = "Protocol error: unauthenticated bulk length"
	ErrInlineTooBig    ProtocolError = "Protocol error: too big inline request"
	ErrQuotes          ProtocolError = "Protocol error: unbalanced quotes in request"
	ErrCommandTooBig   ProtocolError = "Protocol error: too big command"
)

// Command is one parsed request. The zero value is ready for use; reuse it to avoid allocation.
type Command struct {
	// Args are the command's name and arguments. They alias the bytes given to Parse (arguments of
	// an inline command that were quoted alias memory of the Parser) and are valid until the next
	// call of Parse or until those bytes are reused, whichever is first. Their capacity is capped.
	// No arguments means an empty line or array: ignore it, as Redis does.
	Args [][]byte
}

// span is where an argument lies, counted from the first byte of its command, because the bytes may
// have moved when the rest of the command arrives.
type span struct{ off, len int }

// Parser reads requests from a stream, one command per call. The zero value is ready for use and
// has the default limits. One goroutine at a time.
type Parser struct {
	MaxArgs    int  // most arguments of a command; 0 means DefaultMaxArgs
	MaxBulk    int  // most bytes of an argument; 0 means DefaultMaxBulk
	MaxInline  int  // most bytes of an inline line; 0 means DefaultMaxInline
	MaxCommand int  // most bytes of a command as sent; 0 means DefaultMaxCommand
	Restricted bool // peer not authenticated: at most 10 arguments of 16 KiB

	// How far the command at the front has been read when its end has not arrived yet.
	pos     int    // bytes understood, including the headers of the arguments in spans
	left    int    // arguments still to read
	bulk    int    // length of the argument at pos whose header is read, -1 when its header is next
	need    int    // bytes missing for certain
	started bool   // pos, left and bulk are in use
	spans   []span // arguments read
	scratch []byte // unquoted inline arguments
}

// Parse reads the command at the front of b. It returns the bytes it takes, or 0 when its end has
// not arrived: then call again with the same bytes and more behind them (they may have moved). What
// was read is remembered, so that the work over all calls is that of one. An error is a
// ProtocolError.
func (p *Parser) Parse(b []byte, cmd *Command) (n int, err error) {
	cmd.Args = cmd.Args[:0]
	if !p.started {
		p.need = 0
		if len(b) == 0 {
			p.need = 1
			return 0, nil
		}
		if b[0] != '*' {
			return p.inline(b, cmd)
		}
		count, next, verdict := parseLength(b, 1)
		if verdict != lengthOK {
			if verdict == lengthBad {
				return 0, ErrMultibulkLength
			}
			p.need = 1
			return 0, nil
		}
		if err := p.checkCount(count); err != nil {
			return 0, err
		}
		if count <= 0 {
			return next, nil
		}
		if n := p.whole(b, next, count, cmd); n > 0 {
			return n, nil
		}
		p.started, p.pos, p.left, p.bulk = true, next, count, -1
		p.spans = p.spans[:0]
	} else if len(b) < p.pos {
		// Not the bytes of the call before: the caller broke the contract. Reading anew is the only
		// answer that cannot go out of bounds.
		p.Reset()
		return p.Parse(b, cmd)
	}
	return p.arguments(b, cmd)
}

// whole reads the arguments of a command that has arrived entirely, nearly every command. It gives
// up with 0 at the first thing that is missing or wrong; arguments then finds out which, from the
// start, once.
func (p *Parser) whole(b []byte, pos, left int, cmd *Command) int {
	args, maxBulk := cmd.Args, p.maxBulk()
	for ; left > 0; left-- {
		if pos >= len(b) || b[pos] != '$' {
			break
		}
		length, next, verdict := parseLength(b, pos+1)
		if verdict != lengthOK || uint(length) > uint(maxBulk) {
			break
		}
		end := next + length
		if end+2 > len(b) || b[end] != '\r' || b[end+1] != '\n' {
			break
		}
		args = append(args, b[next:end:end])
		pos = end + 2
	}
	if left > 0 {
		cmd.Args = args[:0]
		return 0
	}
	cmd.Args = args
	return pos
}

// arguments reads the arguments of an array command from p.pos on.
func (p *Parser) arguments(b []byte, cmd *Command) (int, error) {
	pos, left, bulk := p.pos, p.left, p.bulk
	spans := p.spans
	maxBulk := p.maxBulk()
	for left > 0 {
		if bulk < 0 {
			if pos == len(b) {
				return p.wait(b, pos, left, -1, spans, 1+argBytesMin)
			}
			if b[pos] != '$' {
				p.Reset()
				return 0, expectedDollar(b[pos])
			}
			length, next, verdict := parseLength(b, pos+1)
			if verdict == lengthMore {
				return p.wait(b, pos, left, -1, spans, 1)
			}
			if verdict == lengthBad || length < 0 || length > maxBulk {
				p.Reset()
				if p.Restricted && verdict == lengthOK && length > maxBulk &&
					length <= p.bulkLimit() {
					return 0, ErrUnauthBulk
				}
				return 0, ErrBulkLength
			}
			pos, bulk = next, length
		}
		end := pos + bulk
		if end+2 > len(b) {
			if end > p.maxCommand() {
				p.Reset()
				return 0, ErrCommandTooBig
			}
			return p.wait(b, pos, left, bulk, spans, end+2-len(b))
		}
		if b[end] != '\r' || b[end+1] != '\n' {
			p.Reset()
			return 0, ErrBulkEnd
		}
		spans = append(spans, span{pos, bulk})
		pos, bulk = end+2, -1
		left--
	}
	for _, s := range spans {
		end := s.off + s.len
		cmd.Args = append(cmd.Args, b[s.off:end:end])
	}
	p.spans, p.started, p.pos, p.need = spans[:0], false, 0, 0
	if cap(spans) > spansKept {
		p.spans = nil
	}
	return pos, nil
}

// wait remembers the place of a command whose end is missing.
func (p *Parser) wait(b []byte, pos, left, bulk int, spans []span, need int) (int, error) {
	if len(b) > p.maxCommand() {
		p.Reset()
		return 0, ErrCommandTooBig
	}
	p.pos, p.left, p.bulk, p.spans = pos, left, bulk, spans
	p.need = need + (left-1)*argBytesMin
	return 0, nil
}

// Need is how many more bytes, at least, the command at the front needs after Parse returned 0:
// until that many have arrived another call is pointless. It is a promise of the peer, not a size
// to allocate.
func (p *Parser) Need() int { return p.need }

// Reset forgets a partly read command.
func (p *Parser) Reset() {
	p.started, p.pos, p.need = false, 0, 0
	if cap(p.spans) > spansKept {
		p.spans = nil
	}
}

func (p *Parser) checkCount(count int) error {
	limit := or(p.MaxArgs, DefaultMaxArgs)
	if count > limit {
		return ErrMultibulkLength
	}
	if p.Restricted && count > restrictedArgs {
		return ErrUnauthMultibulk
	}
	return nil
}

func (p *Parser) bulkLimit() int { return or(p.MaxBulk, DefaultMaxBulk) }

func (p *Parser) maxBulk() int {
	if p.Restricted {
		return min(restrictedBulk, p.bulkLimit())
	}
	return p.bulkLimit()
}

func (p *Parser) maxCommand() int { return or(p.MaxCommand, DefaultMaxCommand) }

func or(v, otherwise int) int {
	if v > 0 {
		return v
	}
	return otherwise
}

func expectedDollar(got byte) error {
	return ProtocolError("Protocol error: expected '$', got '" + string(rune(got)) + "'")
}

type lengthVerdict uint8

const (
	lengthOK lengthVerdict = iota
	lengthMore
	lengthBad
)

// parseLength reads a decimal number and its CRLF at b[i:]. Like Redis it takes no plus sign and no
// leading zero. next is the index behind the CRLF.
func parseLength(b []byte, i int) (v, next int, verdict lengthVerdict) {
	// Nearly all lengths have one or two digits.
	if i+2 < len(b) && b[i+1] == '\r' && b[i+2] == '\n' {
		if d := b[i] - '0'; d <= 9 {
			return int(d), i + 3, lengthOK
		}
		return 0, 0, lengthBad
	}
	start, negative := i, false
	if i < len(b) && b[i] == '-' {
		negative = true
		i++
	}
	digits := i
	for ; i < len(b); i++ {
		d := b[i] - '0'
		if d > 9 {
			break
		}
		if i-start >= lengthDigits-2 { // 18 digits cannot overflow
			return 0, 0, lengthBad
		}
		v = v*10 + int(d)
	}
	switch {
	case i-digits > 1 && b[digits] == '0', negative && i-digits == 1 && v == 0:
		return 0, 0, lengthBad
	case i == len(b):
		return 0, 0, lengthMore
	case b[i] != '\r' || i == digits:
		return 0, 0, lengthBad
	case i+1 == len(b):
		return 0, 0, lengthMore
	case b[i+1] != '\n':
		return 0, 0, lengthBad
	}
	if negative {
		v = -v
	}
	return v, i + 2, lengthOK
}

// inline reads a command that is one line of words. p.pos remembers how far the line was searched.
func (p *Parser) inline(b []byte, cmd *Command) (int, error) {
	limit := or(p.MaxInline, DefaultMaxInline)
	if p.Restricted {
		limit = min(limit, restrictedBulk)
	}
	if p.pos > len(b) {
		p.pos = 0
	}
	at := bytes.IndexByte(b[p.pos:], '\n')
	if at < 0 {
		if len(b) > limit {
			p.Reset()
			return 0, ErrInlineTooBig
		}
		p.pos, p.need = len(b), 1
		return 0, nil
	}
	end := p.pos + at
	p.pos, p.need = 0, 0
	if end > limit {
		return 0, ErrInlineTooBig
	}
	line := b[:end]
	if end > 0 && line[end-1] == '\r' {
		line = line[:end-1]
	}
	var ok bool
	if cmd.Args, p.scratch, ok = splitLine(cmd.Args, p.scratch[:0], line); !ok {
		return 0, ErrQuotes
	}
	if cap(p.scratch) > scratchKept {
		p.scratch = nil // the arguments keep it alive
	}
	if len(cmd.Args) > or(p.MaxArgs, DefaultMaxArgs) {
		return 0, ErrMultibulkLength
	}
	if p.Restricted && len(cmd.Args) > restrictedArgs {
		return 0, ErrUnauthMultibulk
	}
	return end + 1, nil
}
