package resp

import (
	"bytes"
	"strings"
	"testing"
)

// shelf is a Keeper of strings that remembers what belongs where.
type shelf struct {
	strings []string
	runs    bool // takes runs
	cuts    []struct {
		at   int
		text string
	}
}

func (s *shelf) cut(at int, text string) {
	s.cuts = append(s.cuts, struct {
		at   int
		text string
	}{at, text})
}

func (s *shelf) Size(n int) (int, bool) {
	if n >= len(s.strings) {
		return 0, false
	}
	return len(s.strings[n]), true
}

func (s *shelf) Insert(n, at int) { s.cut(at, s.strings[n]) }

func (s *shelf) Run(b []byte, at int) bool {
	if s.runs {
		s.cut(at, string(b))
	}
	return s.runs
}

// whole puts the strings where they belong.
func (s *shelf) whole(t *testing.T, b []byte) string {
	var all strings.Builder
	from := 0
	for _, c := range s.cuts {
		if c.at < from {
			t.Fatalf("place %d behind %d", c.at, from)
		}
		all.Write(b[from:c.at])
		all.WriteString(c.text)
		from = c.at
	}
	all.Write(b[from:])
	return all.String()
}

func TestRenderKeptIsRenderWithTheStringsInPlace(t *testing.T) {
	for _, c := range rendered {
		for _, p := range []Protocol{RESP2, RESP3, Internal} {
			want := string(Render([]byte("before"), []byte(c.internal), p))
			k := &shelf{}
			got, ok := RenderKept([]byte("before"), []byte(c.internal), p, k)
			if string(got) != want || !ok || k.cuts != nil {
				t.Errorf("%q in form %d: got %q, want %q", c.internal, p, got, want)
			}
		}
	}
	long := strings.Repeat("x", RunMin)
	const internal = "*4\r\n@0\r\n_\r\n$1\r\na\r\n&1\r\n@1\r\n@0\r\n"
	for _, runs := range []bool{false, true} {
		for p, want := range map[Protocol]string{
			RESP2:    "*4\r\n#0$-1\r\n$1\r\na\r\n*2\r\n#1#0",
			RESP3:    "*4\r\n#0_\r\n$1\r\na\r\n*1\r\n*2\r\n#1#0",
			Internal: "*4\r\n#0_\r\n$1\r\na\r\n&1\r\n#1#0",
		} {
			k := &shelf{strings: []string{"one", long}, runs: runs}
			want = strings.ReplaceAll(want, "#0", string(AppendBulkString(nil, "one")))
			want = strings.ReplaceAll(want, "#1", string(AppendBulkString(nil, long)))
			got, ok := RenderKept([]byte("before"), []byte(internal), p, k)
			if !ok || k.whole(t, got) != "before"+want {
				t.Errorf("form %d: got %q, want %q", p, k.whole(t, got), want)
			}
			// The same strings inside of the reply, taken as runs or not.
			k.cuts = nil
			plain := Render(nil, []byte(strings.NewReplacer("@0\r\n", "$3\r\none\r\n", "@1\r\n",
				string(AppendBulkString(nil, long))).Replace(internal)), p)
			got, ok = RenderKept(nil, []byte(strings.NewReplacer("@0\r\n", "$3\r\none\r\n",
				"@1\r\n", string(AppendBulkString(nil, long))).Replace(internal)), p, k)
			if !ok || k.whole(t, got) != string(plain) || runs != (len(k.cuts) > 0) {
				t.Errorf("form %d, runs %v: %d runs", p, runs, len(k.cuts))
			}
		}
	}
}

func TestKeptStringsNeverLeaveUnresolved(t *testing.T) {
	for _, in := range []string{"@0\r\n", "*1\r\n@0\r\n", "*2\r\n@0\r\n@7\r\n", "*1\r\n@-1\r\n",
		"|1\r\n+a\r\n@0\r\n:1\r\n"} {
		if got := Render(nil, []byte(in), RESP2); string(got) != "-"+errorMalformed+"\r\n" {
			t.Errorf("%q: got %q", in, got)
		}
		k := &shelf{}
		got, ok := RenderKept([]byte("before"), []byte(in), RESP2, k)
		if ok || string(got) != "before-"+errorMalformed+"\r\n" {
			t.Errorf("%q with a keeper that has none: got %q", in, got)
		}
		// A member that sent one would end the connection.
		var p ReplyParser
		var r Reply
		if _, err := p.Parse([]byte(in), &r); err != ErrReplyType {
			t.Errorf("%q: parsed, %v", in, err)
		}
	}
	if got := AppendKept(nil, 12); !bytes.Equal(got, []byte("@12\r\n")) {
		t.Errorf("got %q", got)
	}
}
