package resp

import (
	"bytes"
	"math"
	"testing"
)

func TestAppend(t *testing.T) {
	for _, c := range []struct {
		got  []byte
		want string
	}{
		{AppendOK(nil), "+OK\r\n"},
		{AppendSimple(nil, "a\r\nb"), "+a  b\r\n"},
		{AppendError(nil, "ERR x"), "-ERR x\r\n"},
		{AppendInt(nil, 7), ":7\r\n"},
		{AppendInt(nil, math.MinInt64), ":-9223372036854775808\r\n"},
		{AppendBulk(nil, []byte("ab")), "$2\r\nab\r\n"},
		{AppendBulkString(nil, ""), "$0\r\n\r\n"},
		{AppendNull(nil), "_\r\n"},
		{AppendNullArray(nil), "*-1\r\n"},
		{AppendArray(nil, 12), "*12\r\n"},
		{AppendMap(nil, 3), "%3\r\n"},
		{AppendNestedMap(nil, 3), "^3\r\n"},
		{AppendPairs(nil, 3), "&3\r\n"},
		{AppendSet(nil, 1), "~1\r\n"},
		{AppendPush(nil, 1), ">1\r\n"},
		{AppendBool(nil, true), "#t\r\n"},
		{AppendBool(nil, false), "#f\r\n"},
		{AppendDouble(nil, 1.5), ",1.5\r\n"},
		{AppendDouble(nil, 3), ",3\r\n"},
		{AppendDouble(nil, 0), ",0\r\n"},
		{AppendDouble(nil, math.Copysign(0, -1)), ",-0\r\n"},
		{AppendDouble(nil, math.Inf(-1)), ",-inf\r\n"},
		{AppendDouble(nil, math.Inf(1)), ",inf\r\n"},
		{AppendDouble(nil, math.NaN()), ",nan\r\n"},
		{AppendDouble(nil, 1e20), ",1e+20\r\n"},
		{AppendVerbatim(nil, "txt", "hi"), "=6\r\ntxt:hi\r\n"},
		{AppendBigNumber(nil, "12"), "(12\r\n"},
		{AppendBulkStrings(nil, "GET", "k"), "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"},
		{AppendBulks(nil, []byte("GET"), []byte("k")), "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"},
	} {
		if string(c.got) != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func BenchmarkAppendBulk(b *testing.B) {
	value, dst := bytes.Repeat([]byte("v"), 64), make([]byte, 0, 128)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendBulk(dst[:0], value)
	}
}
