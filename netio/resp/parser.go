// Package resp is the Redis protocol, versions 2 and 3: an incremental request
// parser with hard limits, append-style reply writers, and a reply scanner for
// clients and proxies. It is pure: bytes in, bytes out.
package resp

import "bytes"

// Limits of a request, as Redis has them where it has them.
const (
	DefaultMaxArgs   = 1 << 20
	DefaultMaxBulk   = 16 << 20
	DefaultMaxInline = 64 << 10
	lengthMax        = 32 // bytes of a length line
)

// ProtocolError is a request that is not RESP. The connection cannot go on:
// the reply is "-ERR " and the error's text.
type ProtocolError string

func (e ProtocolError) Error() string { return "Protocol error: " + string(e) }

// Command is one request. Args alias the bytes given to Parse.
type Command struct {
	Args   [][]byte
	Inline bool
}

// Parser reads requests. The zero value has the default limits. It remembers
// how far it got with an incomplete request, so that a large one is not read
// from its start again with every packet.
type Parser struct {
	MaxArgs, MaxBulk, MaxInline int

	args  int   // of the request under way, 0: none
	spans []int // start and end of each argument so far, from its first byte
	at    int   // where to go on
	need  int   // bytes that must follow at for anything new
}

// Need is how many bytes the request under way is known to need in all, 0
// when nobody knows yet.
func (p *Parser) Need() int {
	if p.args == 0 {
		return 0
	}
	return p.at + p.need
}

// Parse reads the first request of b into cmd and returns its length; 0 means
// that it is incomplete: call again with the same bytes and more behind them.
// A request of no arguments has length and no Args. Errors are ProtocolError.
func (p *Parser) Parse(b []byte, cmd *Command) (n int, err error) {
	cmd.Args, cmd.Inline = cmd.Args[:0], false
	if len(b) == 0 {
		return 0, nil
	}
	if p.args == 0 {
		if b[0] != '*' {
			return p.inline(b, cmd)
		}
		count, n, err := length(b[1:], "invalid multibulk length")
		if n == 0 || err != nil {
			return 0, err
		}
		if count > p.limit(p.MaxArgs, DefaultMaxArgs) {
			return 0, ProtocolError("invalid multibulk length")
		}
		if count <= 0 {
			return 1 + n, nil
		}
		p.args, p.at, p.need, p.spans = count, 1+n, 0, p.spans[:0]
	}
	if len(b) < p.at+p.need {
		return 0, nil
	}
	if done, err := p.bulks(b); !done || err != nil {
		if err != nil {
			p.args = 0
		}
		return 0, err
	}
	for i := 0; i < len(p.spans); i += 2 {
		cmd.Args = append(cmd.Args, b[p.spans[i]:p.spans[i+1]:p.spans[i+1]])
	}
	p.args = 0
	return p.at, nil
}

func (p *Parser) limit(set, usual int) int {
	if set > 0 {
		return set
	}
	return usual
}

// bulks reads arguments from where it stopped.
func (p *Parser) bulks(b []byte) (done bool, err error) {
	most := p.limit(p.MaxBulk, DefaultMaxBulk)
	for len(p.spans) < 2*p.args {
		p.need = 0
		if p.at >= len(b) {
			return false, nil
		}
		if b[p.at] != '$' {
			return false, ProtocolError("expected '$', got '" + printable(b[p.at]) + "'")
		}
		size, n, err := length(b[p.at+1:], "invalid bulk length")
		if n == 0 || err != nil {
			return false, err
		}
		if size < 0 || size > most {
			return false, ProtocolError("invalid bulk length")
		}
		start := p.at + 1 + n
		if len(b) < start+size+2 {
			p.need = 1 + n + size + 2
			return false, nil
		}
		if b[start+size] != '\r' || b[start+size+1] != '\n' {
			return false, ProtocolError("bulk is not terminated by CRLF")
		}
		p.spans = append(p.spans, start, start+size)
		p.at = start + size + 2
	}
	p.need = 0
	return true, nil
}

func printable(c byte) string {
	if c < ' ' || c > '~' {
		return "?"
	}
	return string(rune(c))
}

// length reads a decimal line; n counts it with its CRLF, 0 when incomplete.
func length(b []byte, what string) (v, n int, err error) {
	for i := 0; i < len(b) && i < lengthMax; i++ {
		c := b[i]
		switch {
		case c == '\r':
			if i == 0 || i == 1 && b[0] == '-' {
				return 0, 0, ProtocolError(what)
			}
			if i+1 == len(b) {
				return 0, 0, nil
			}
			if b[i+1] != '\n' {
				return 0, 0, ProtocolError(what)
			}
			if b[0] == '-' {
				v = -v
			}
			return v, i + 2, nil
		case c == '-' && i == 0:
		case c < '0' || c > '9' || v > 1<<40:
			return 0, 0, ProtocolError(what)
		default:
			v = v*10 + int(c-'0')
		}
	}
	if len(b) >= lengthMax {
		return 0, 0, ProtocolError(what)
	}
	return 0, 0, nil
}

// inline reads a request typed by hand: words on a line, quoted as Redis does.
func (p *Parser) inline(b []byte, cmd *Command) (int, error) {
	most := p.limit(p.MaxInline, DefaultMaxInline)
	nl := bytes.IndexByte(b[:min(len(b), most+2)], '\n')
	if nl < 0 {
		if len(b) > most {
			return 0, ProtocolError("too big inline request")
		}
		return 0, nil
	}
	cmd.Inline = true
	line := bytes.TrimSuffix(b[:nl], []byte{'\r'})
	var ok bool
	if cmd.Args, ok = split(line, cmd.Args); !ok {
		return 0, ProtocolError("unbalanced quotes in request")
	}
	return nl + 1, nil
}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f' }

// split cuts a line into words. Words without quotes alias it.
func split(line []byte, args [][]byte) ([][]byte, bool) {
	for {
		for len(line) > 0 && space(line[0]) {
			line = line[1:]
		}
		if len(line) == 0 {
			return args, true
		}
		n := 0
		for n < len(line) && !space(line[n]) && line[n] != '"' && line[n] != '\'' {
			n++
		}
		if n == len(line) || space(line[n]) {
			args, line = append(args, line[:n:n]), line[n:]
			continue
		}
		word, rest, ok := quoted(line)
		if !ok {
			return args, false
		}
		args, line = append(args, word), rest
	}
}

// quoted reads a word that contains quotes: "…" with escapes, '…' with \'.
func quoted(line []byte) (word, rest []byte, ok bool) {
	word = []byte{}
	var quote byte
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote == 0 && space(c):
			return word, line[i:], true
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0:
			word = append(word, c)
		case c == quote:
			if i+1 < len(line) && !space(line[i+1]) {
				return nil, nil, false
			}
			quote = 0
		case c == '\\' && quote == '"' && i+1 < len(line):
			v, n := escape(line[i+1:])
			word = append(word, v)
			i += n
		case c == '\\' && quote == '\'' && i+1 < len(line) && line[i+1] == '\'':
			word = append(word, '\'')
			i++
		default:
			word = append(word, c)
		}
	}
	return word, nil, quote == 0
}

func escape(b []byte) (v byte, n int) {
	if b[0] == 'x' && len(b) >= 3 {
		hi, ok1 := hex(b[1])
		lo, ok2 := hex(b[2])
		if ok1 && ok2 {
			return hi<<4 | lo, 3
		}
	}
	switch b[0] {
	case 'n':
		return '\n', 1
	case 'r':
		return '\r', 1
	case 't':
		return '\t', 1
	case 'b':
		return '\b', 1
	case 'a':
		return '\a', 1
	}
	return b[0], 1
}

func hex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
