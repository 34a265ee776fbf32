package resp

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// show spells a reply, to be compared.
func show(r Reply) string {
	switch {
	case r.Null:
		return "null"
	case isAggregate(r.Kind):
		var parts []string
		for {
			e, ok := r.Next()
			if !ok {
				break
			}
			parts = append(parts, show(e))
		}
		return string(r.Kind) + "[" + strings.Join(parts, " ") + "]"
	}
	return string(r.Kind) + string(r.Body)
}

var replies = []struct{ in, want string }{
	{"+OK\r\n", "+OK"},
	{"-ERR no\r\n", "-ERR no"},
	{":-12\r\n", ":-12"},
	{"$3\r\na\r\n\r\n", "$a\r\n"},
	{"$-1\r\n", "null"},
	{"*-1\r\n", "null"},
	{"_\r\n", "null"},
	{"*0\r\n", "*[]"},
	{"*3\r\n:1\r\n*2\r\n$1\r\na\r\n$-1\r\n+x\r\n", "*[:1 *[$a null] +x]"},
	{"%1\r\n+k\r\n*0\r\n", "%[+k *[]]"},
	{"~2\r\n:1\r\n#t\r\n", "~[:1 #t]"},
	{",3.5\r\n", ",3.5"},
	{"=7\r\ntxt:abc\r\n", "=txt:abc"},
	{"!5\r\nERR x\r\n", "!ERR x"},
	{"(123456789012345678901\r\n", "(123456789012345678901"},
	{">2\r\n+message\r\n+m\r\n", ">[+message +m]"},
	{"|1\r\n+ttl\r\n:3\r\n$1\r\nv\r\n", "$v"},
	{"|0\r\n:1\r\n", ":1"},
	{"&1\r\n+a\r\n:1\r\n", "&[+a :1]"},
	{"^1\r\n+a\r\n*-1\r\n", "^[+a null]"},
	{"*2\r\n|1\r\n+a\r\n*1\r\n:1\r\n:7\r\n:8\r\n", "*[:7 :8]"},
}

func TestReplies(t *testing.T) {
	for _, c := range replies {
		var p ReplyParser
		var r Reply
		in := []byte(c.in)
		for end := range in { // every prefix is incomplete
			if n, err := p.Parse(in[:end], &r); n != 0 || err != nil {
				t.Fatalf("%q: %d, %v", in[:end], n, err)
			}
			if p.Need() < 1 || end+p.Need() > len(in) {
				t.Fatalf("%q needs %d more", in[:end], p.Need())
			}
		}
		more := append(bytes.Clone(in), "+next\r\n"...)
		if n, err := p.Parse(more, &r); n != len(in) || err != nil {
			t.Fatalf("%q: %d, %v", c.in, n, err)
		}
		if got := show(r); got != c.want || string(r.Raw) != c.in {
			t.Errorf("%q: got %s with raw %q, want %s", c.in, got, r.Raw, c.want)
		}
	}
}

func TestReplyErrors(t *testing.T) {
	for in, want := range map[string]error{
		"hello\r\n": ErrReplyType, "$x\r\n": ErrReplyLength, "$-2\r\n": ErrReplyLength,
		"*-2\r\n": ErrReplyLength, "&-1\r\n": ErrReplyLength, "^-1\r\n": ErrReplyLength,
		"$1\r\nabc": ErrReplyLine, "+a\n": ErrReplyLine,
		strings.Repeat("*1\r\n", 33): ErrReplyDepth,
		"$536870913\r\n":             ErrReplyLength,
		"+" +
			strings.Repeat("x", maxReplyLine+1): ErrReplyLine,
	} {
		var p ReplyParser
		var r Reply
		if n, err := p.Parse([]byte(in), &r); n != 0 || err != want {
			t.Errorf("%.40q: %d, %v; want %v", in, n, err, want)
		}
	}
}

func TestReplyAllocatesNothing(t *testing.T) {
	in := []byte("*3\r\n:1\r\n*2\r\n$1\r\na\r\n$-1\r\n+x\r\n")
	var p ReplyParser
	var r Reply
	if n := testing.AllocsPerRun(100, func() {
		if n, err := p.Parse(in, &r); n == 0 || err != nil {
			t.Fatal(n, err)
		}
		for {
			if _, ok := r.Next(); !ok {
				break
			}
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func FuzzReplyParser(f *testing.F) {
	for _, c := range replies {
		f.Add([]byte(c.in))
	}
	all := func(b []byte, step int) string {
		var p ReplyParser
		var r Reply
		var out strings.Builder
		start := 0
		for end := min(step, len(b)); ; end = min(end+step, len(b)) {
			for part := bytes.Clone(b[start:end]); len(part) > 0; {
				n, err := p.Parse(part, &r)
				if err != nil {
					fmt.Fprint(&out, err)
					return out.String()
				}
				if n == 0 {
					break
				}
				fmt.Fprintln(&out, show(r))
				part = part[n:]
				start += n
			}
			if end == len(b) {
				return out.String()
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4096 {
			return
		}
		if whole, split := all(b, len(b)+1), all(b, 1); whole != split {
			t.Fatalf("whole %q\nsplit %q", whole, split)
		}
	})
}

func BenchmarkReply(b *testing.B) {
	in := AppendBulk(nil, bytes.Repeat([]byte("v"), 64))
	var p ReplyParser
	var r Reply
	b.ReportAllocs()
	for b.Loop() {
		if n, err := p.Parse(in, &r); n == 0 || err != nil {
			b.Fatal(n, err)
		}
	}
}
