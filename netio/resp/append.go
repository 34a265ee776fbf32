package resp

import (
	"math"
	"strconv"
)

// The Append functions write one reply in the internal form (see Render), or the header of an
// aggregate, behind dst and return it. They keep nothing of what they are given.

// AppendSimple appends a simple string. s should hold neither CR nor LF; such bytes become blanks.
func AppendSimple(dst []byte, s string) []byte { return appendLine(append(dst, '+'), s) }

// AppendError appends an error, where s begins with the code: "ERR unknown command". CR and LF
// become blanks.
func AppendError(dst []byte, s string) []byte { return appendLine(append(dst, '-'), s) }

// AppendOK appends the simple string OK.
func AppendOK(dst []byte) []byte { return append(dst, "+OK\r\n"...) }

// AppendInt appends an integer.
func AppendInt(dst []byte, v int64) []byte { return appendNumber(dst, ':', v) }

// AppendBulk appends b as a bulk string.
func AppendBulk(dst, b []byte) []byte {
	dst = appendNumber(dst, '$', int64(len(b)))
	dst = append(dst, b...)
	return append(dst, '\r', '\n')
}

// AppendBulkString is AppendBulk of a string.
func AppendBulkString(dst []byte, s string) []byte {
	dst = appendNumber(dst, '$', int64(len(s)))
	dst = append(dst, s...)
	return append(dst, '\r', '\n')
}

// AppendBulkHeader appends what stands in front of a bulk string of n bytes. The bytes and CR LF
// must follow.
func AppendBulkHeader(dst []byte, n int) []byte { return appendNumber(dst, '$', int64(n)) }

// AppendKept appends a bulk string that a Keeper has under a number, which is not negative.
func AppendKept(dst []byte, number int) []byte {
	return appendNumber(dst, byte(Kept), int64(number))
}

// AppendKeptReply appends, in place of a reply, the number under which the whole reply is kept.
func AppendKeptReply(dst []byte, number int) []byte {
	return appendNumber(dst, byte(KeptReply), int64(number))
}

// AppendNull appends the absent value, in RESP2 the null bulk string.
func AppendNull(dst []byte) []byte { return append(dst, "_\r\n"...) }

// AppendNullArray appends the absent list: in RESP2 the null array, in RESP3 the null like any
// other. Redis sends it where a command answers with an array or nothing: EXEC, BLPOP, LPOP with a
// count.
func AppendNullArray(dst []byte) []byte { return append(dst, "*-1\r\n"...) }

// AppendArray appends the header of an array of n replies.
func AppendArray(dst []byte, n int) []byte { return appendNumber(dst, '*', int64(n)) }

// AppendMap appends the header of a map of n pairs, 2n replies. In RESP2 it is a flat array.
func AppendMap(dst []byte, n int) []byte { return appendNumber(dst, '%', int64(n)) }

// AppendNestedMap appends the header of a map of n pairs, 2n replies, that in RESP2 is an array of
// n arrays of two, as XREAD answers.
func AppendNestedMap(dst []byte, n int) []byte {
	return appendNumber(dst, byte(NestedMap), int64(n))
}

// AppendPairs appends the header of n pairs, 2n replies: in RESP3 an array of n arrays of two, in
// RESP2 a flat array, as ZRANGE WITHSCORES answers.
func AppendPairs(dst []byte, n int) []byte { return appendNumber(dst, byte(Pairs), int64(n)) }

// AppendSet appends the header of a set of n replies, an array in RESP2.
func AppendSet(dst []byte, n int) []byte { return appendNumber(dst, '~', int64(n)) }

// AppendPush appends the header of an out-of-band message of n replies, an array in RESP2.
func AppendPush(dst []byte, n int) []byte { return appendNumber(dst, '>', int64(n)) }

// AppendBool appends a boolean, in RESP2 the integer 1 or 0.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, "#t\r\n"...)
	}
	return append(dst, "#f\r\n"...)
}

// AppendDouble appends a floating-point number, a bulk string in RESP2: the shortest digits that
// read back as v, with an exponent only below 1e-4 and from 1e17 on, and inf, -inf and nan spelled
// as Redis does.
func AppendDouble(dst []byte, v float64) []byte {
	dst = append(dst, ',')
	switch a := math.Abs(v); {
	case math.IsInf(v, 1):
		dst = append(dst, "inf"...)
	case math.IsInf(v, -1):
		dst = append(dst, "-inf"...)
	case math.IsNaN(v):
		dst = append(dst, "nan"...)
	case a != 0 && (a < 1e-4 || a >= 1e17):
		dst = strconv.AppendFloat(dst, v, 'e', -1, 64)
	default:
		dst = strconv.AppendFloat(dst, v, 'f', -1, 64)
	}
	return append(dst, '\r', '\n')
}

// AppendVerbatim appends text with its format of three letters ("txt", "mkd"), in RESP2 a bulk
// string of the text alone.
func AppendVerbatim(dst []byte, format, text string) []byte {
	dst = appendNumber(dst, '=', int64(len(text)+verbatimPrefix))
	dst = append(dst, format[:verbatimPrefix-1]...)
	dst = append(dst, ':')
	dst = append(dst, text...)
	return append(dst, '\r', '\n')
}

// AppendBigNumber appends a number of any size in decimal digits, a bulk string in RESP2.
func AppendBigNumber(dst []byte, digits string) []byte {
	return appendLine(append(dst, '('), digits)
}

// AppendBulks appends an array of bulk strings. Requests have this form too.
func AppendBulks(dst []byte, list ...[]byte) []byte {
	dst = AppendArray(dst, len(list))
	for _, b := range list {
		dst = AppendBulk(dst, b)
	}
	return dst
}

// AppendBulkStrings is AppendBulks of strings.
func AppendBulkStrings(dst []byte, list ...string) []byte {
	dst = AppendArray(dst, len(list))
	for _, s := range list {
		dst = AppendBulkString(dst, s)
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

func appendLine[T string | []byte](dst []byte, s T) []byte {
	from := len(dst)
	dst = append(dst, s...)
	for i := from; i < len(dst); i++ {
		if dst[i] == '\r' || dst[i] == '\n' {
			dst[i] = ' '
		}
	}
	return append(dst, '\r', '\n')
}
