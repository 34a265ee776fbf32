package resp

// splitLine splits a line into words as Redis's sdssplitargs does: blanks separate, double quotes
// keep blanks and know \xHH \n \r \t \b \a and \ before any byte, single quotes know only \'. A
// closing quote must be followed by a blank or the end. Plain words alias line; words with quotes
// are built in scratch, which is never reallocated while words point into it: unquoting only
// shortens, so one reservation of the line's length is enough.
func splitLine(args [][]byte, scratch, line []byte) ([][]byte, []byte, bool) {
	i := 0
	for {
		for i < len(line) && isBlank(line[i]) {
			i++
		}
		if i == len(line) {
			return args, scratch, true
		}
		start := i
		for i < len(line) && !isBlank(line[i]) && line[i] != '"' && line[i] != '\'' {
			i++
		}
		if i == len(line) || isBlank(line[i]) {
			args = append(args, line[start:i:i])
			continue
		}
		if cap(scratch)-len(scratch) < len(line)-start {
			// Only the first quoted word can come here: after it the room covers the rest of the
			// line.
			scratch = make([]byte, 0, max(64, len(line)))
		}
		from := len(scratch)
		scratch = append(scratch, line[start:i]...)
		var ok bool
		if scratch, i, ok = unquoteWord(scratch, line, i); !ok {
			return args, scratch, false
		}
		args = append(args, scratch[from:len(scratch):len(scratch)])
	}
}

// unquoteWord appends the rest of a word that contains quotes, from line[i] on, and returns the
// index behind it.
func unquoteWord(dst, line []byte, i int) ([]byte, int, bool) {
	for i < len(line) && !isBlank(line[i]) {
		var ok bool
		switch line[i] {
		case '"':
			dst, i, ok = doubleQuoted(dst, line, i+1)
		case '\'':
			dst, i, ok = singleQuoted(dst, line, i+1)
		default:
			dst, i, ok = append(dst, line[i]), i+1, true
		}
		if !ok {
			return dst, i, false
		}
	}
	return dst, i, true
}

func doubleQuoted(dst, line []byte, i int) ([]byte, int, bool) {
	for i < len(line) {
		switch c := line[i]; {
		case c == '"':
			return dst, i + 1, i+1 == len(line) || isBlank(line[i+1])
		case c == '\\' && i+3 < len(line) && line[i+1] == 'x' &&
			isHex(line[i+2]) && isHex(line[i+3]):
			dst = append(dst, unhex(line[i+2])<<4|unhex(line[i+3]))
			i += 4
		case c == '\\' && i+1 < len(line):
			dst = append(dst, unescape(line[i+1]))
			i += 2
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst, i, false
}

func singleQuoted(dst, line []byte, i int) ([]byte, int, bool) {
	for i < len(line) {
		switch c := line[i]; {
		case c == '\'':
			return dst, i + 1, i+1 == len(line) || isBlank(line[i+1])
		case c == '\\' && i+1 < len(line) && line[i+1] == '\'':
			dst = append(dst, '\'')
			i += 2
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst, i, false
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	}
	return c
}

func isBlank(c byte) bool { return c == ' ' || (c >= '\t' && c <= '\r') }

func isHex(c byte) bool {
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	}
	return c - 'A' + 10
}
