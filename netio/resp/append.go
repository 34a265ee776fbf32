package resp

import (
	"math"
	"strconv"
)

// The Append functions write one reply, or the header of an aggregate, behind dst and return it. proto
// is 2 or 3, the version the connection agreed on with HELLO; in RESP2 the newer types fall back to
// what Redis sends there.

// AppendSimple appends +s. s must not contain CR or LF; such bytes become blanks.
func AppendSimple(dst []byte, s string) []byte { return appendLine(append(dst, '+'), s) }

// AppendError appends -s, where s begins with the code: "ERR unknown command". CR and LF become blanks.
func AppendError(dst []byte, s string) []byte { return appendLine(append(dst, '-'), s) }

// AppendOK appends +OK.
func AppendOK(dst []byte) []byte { return append(dst, "+OK\r\n"...) }

// AppendInt appends :v.
func AppendInt(dst []byte, v int64) []byte { return appendNumber(dst, ':', v) }

// AppendBulk appends b as a bulk string.
func AppendBulk(dst, b []byte) []byte {
	dst = AppendBulkHeader(dst, len(b))
	dst = append(dst, b...)
	return append(dst, '\r', '\n')
}

// AppendBulkString is AppendBulk of a string.
func AppendBulkString(dst []byte, s string) []byte {
	dst = AppendBulkHeader(dst, len(s))
	dst = append(dst, s...)
	return append(dst, '\r', '\n')
}

// AppendBulkHeader appends the $n line of a bulk string; its n bytes and CRLF are the caller's to append.
func AppendBulkHeader(dst []byte, n int) []byte { return appendNumber(dst, '$', int64(n)) }

// AppendBulkInt appends v in decimal as a bulk string.
func AppendBulkInt(dst []byte, v int64) []byte {
	var buf [20]byte
	return AppendBulk(dst, strconv.AppendInt(buf[:0], v, 10))
}

// AppendNull appends the absent value: _ or, in RESP2, the null bulk string.
func AppendNull(dst []byte, proto int) []byte {
	if proto >= 3 {
		return append(dst, "_\r\n"...)
	}
	return append(dst, "$-1\r\n"...)
}

// AppendNullArray appends the absent array: _ or, in RESP2, the null array.
func AppendNullArray(dst []byte, proto int) []byte {
	if proto >= 3 {
		return append(dst, "_\r\n"...)
	}
	return append(dst, "*-1\r\n"...)
}

// AppendArray appends the header of an array of n replies.
func AppendArray(dst []byte, n int) []byte { return appendNumber(dst, '*', int64(n)) }

// AppendMap appends the header of n pairs: a map or, in RESP2, an array of 2n.
func AppendMap(dst []byte, proto, n int) []byte {
	if proto >= 3 {
		return appendNumber(dst, '%', int64(n))
	}
	return AppendArray(dst, 2*n)
}

// AppendSet appends the header of a set of n replies, an array in RESP2.
func AppendSet(dst []byte, proto, n int) []byte {
	if proto >= 3 {
		return appendNumber(dst, '~', int64(n))
	}
	return AppendArray(dst, n)
}

// AppendPush appends the header of an out-of-band message of n replies, an array in RESP2.
func AppendPush(dst []byte, proto, n int) []byte {
	if proto >= 3 {
		return appendNumber(dst, '>', int64(n))
	}
	return AppendArray(dst, n)
}

// AppendBool appends #t or #f; 1 or 0 in RESP2.
func AppendBool(dst []byte, proto int, v bool) []byte {
	switch {
	case proto >= 3 && v:
		return append(dst, "#t\r\n"...)
	case proto >= 3:
		return append(dst, "#f\r\n"...)
	case v:
		return append(dst, ":1\r\n"...)
	}
	return append(dst, ":0\r\n"...)
}

// AppendDouble appends a floating-point number, a bulk string in RESP2, with 17 significant digits at
// most and inf, -inf and nan spelled as Redis does.
func AppendDouble(dst []byte, proto int, v float64) []byte {
	var buf [32]byte
	text := AppendFloat(buf[:0], v)
	if proto < 3 {
		return AppendBulk(dst, text)
	}
	dst = append(dst, ',')
	dst = append(dst, text...)
	return append(dst, '\r', '\n')
}

// AppendFloat appends v in Redis's spelling, without any framing: the shortest digits that read back
// as v, with an exponent only below 1e-4 and from 1e17 on.
func AppendFloat(dst []byte, v float64) []byte {
	switch {
	case math.IsInf(v, 1):
		return append(dst, "inf"...)
	case math.IsInf(v, -1):
		return append(dst, "-inf"...)
	case math.IsNaN(v):
		return append(dst, "nan"...)
	case v == 0 && math.Signbit(v):
		return append(dst, "-0"...)
	}
	if a := math.Abs(v); a != 0 && (a < 1e-4 || a >= 1e17) {
		return strconv.AppendFloat(dst, v, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, v, 'f', -1, 64)
}

// AppendVerbatim appends text with its three-letter format ("txt", "mkd"), a bulk string in RESP2.
func AppendVerbatim(dst []byte, proto int, format, text string) []byte {
	if proto < 3 {
		return AppendBulkString(dst, text)
	}
	dst = appendNumber(dst, '=', int64(len(text)+4))
	dst = append(dst, format[:3]...)
	dst = append(dst, ':')
	dst = append(dst, text...)
	return append(dst, '\r', '\n')
}

// AppendBigNumber appends digits as a big number, a bulk string in RESP2.
func AppendBigNumber(dst []byte, proto int, digits string) []byte {
	if proto < 3 {
		return AppendBulkString(dst, digits)
	}
	return appendLine(append(dst, '('), digits)
}

// AppendCommand appends a request, as a client sends it.
func AppendCommand(dst []byte, args ...[]byte) []byte {
	dst = AppendArray(dst, len(args))
	for _, a := range args {
		dst = AppendBulk(dst, a)
	}
	return dst
}

// AppendCommandStrings is AppendCommand of strings.
func AppendCommandStrings(dst []byte, args ...string) []byte {
	dst = AppendArray(dst, len(args))
	for _, a := range args {
		dst = AppendBulkString(dst, a)
	}
	return dst
}

func appendNumber(dst []byte, kind byte, v int64) []byte {
	if uint64(v) < 10 {
		return append(dst, kind, byte('0'+v), '\r', '\n')
	}
	dst = append(dst, kind)
	dst = strconv.AppendInt(dst, v, 10)
	return append(dst, '\r', '\n')
}

func appendLine(dst []byte, s string) []byte {
	from := len(dst)
	dst = append(dst, s...)
	for i := from; i < len(dst); i++ {
		if dst[i] == '\r' || dst[i] == '\n' {
			dst[i] = ' '
		}
	}
	return append(dst, '\r', '\n')
}
