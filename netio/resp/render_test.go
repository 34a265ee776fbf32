package resp

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// rendered holds replies in the internal form and as clients must see them; an empty RESP3 column
// means the internal form unchanged.
var rendered = []struct{ internal, two, three string }{
	{"+OK\r\n", "+OK\r\n", ""},
	{"-ERR no\r\n", "-ERR no\r\n", ""},
	{":-12\r\n", ":-12\r\n", ""},
	{"$3\r\na\r\n\r\n", "$3\r\na\r\n\r\n", ""},
	{"_\r\n", "$-1\r\n", ""},
	{"*-1\r\n", "*-1\r\n", "_\r\n"},
	{"*0\r\n", "*0\r\n", ""},
	{"*3\r\n$1\r\na\r\n_\r\n*-1\r\n",
		"*3\r\n$1\r\na\r\n$-1\r\n*-1\r\n", "*3\r\n$1\r\na\r\n_\r\n_\r\n"},
	{"%2\r\n+a\r\n:1\r\n+b\r\n%0\r\n", "*4\r\n+a\r\n:1\r\n+b\r\n*0\r\n", ""},
	{"~2\r\n+a\r\n+b\r\n", "*2\r\n+a\r\n+b\r\n", ""},
	{">2\r\n$7\r\nmessage\r\n_\r\n", "*2\r\n$7\r\nmessage\r\n$-1\r\n", ""},
	{"#t\r\n", ":1\r\n", ""},
	{"#f\r\n", ":0\r\n", ""},
	{",-1.5\r\n", "$4\r\n-1.5\r\n", ""},
	{"(123456789012345678901\r\n", "$21\r\n123456789012345678901\r\n", ""},
	{"=7\r\ntxt:a\r\n\r\n", "$3\r\na\r\n\r\n", ""},
	{"=4\r\ntxt:\r\n", "$0\r\n\r\n", ""},
	{"!7\r\nERR a\r\n\r\n", "-ERR a  \r\n", ""},
	{"|1\r\n+ttl\r\n%1\r\n+a\r\n_\r\n$1\r\nv\r\n", "$1\r\nv\r\n", ""},
	{"*2\r\n:1\r\n|0\r\n|1\r\n+a\r\n*-1\r\n:2\r\n", "*2\r\n:1\r\n:2\r\n",
		"*2\r\n:1\r\n|0\r\n|1\r\n+a\r\n_\r\n:2\r\n"},
	// ZRANGE WITHSCORES
	{"&2\r\n$1\r\na\r\n,1\r\n$1\r\nb\r\n,2\r\n",
		"*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n",
		"*2\r\n*2\r\n$1\r\na\r\n,1\r\n*2\r\n$1\r\nb\r\n,2\r\n"},
	{"&0\r\n", "*0\r\n", "*0\r\n"},
	// XREAD
	{"^1\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n+f\r\n+v\r\n",
		"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n+f\r\n+v\r\n",
		"%1\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n+f\r\n+v\r\n"},
	{"^0\r\n", "*0\r\n", "%0\r\n"},
}

func TestRender(t *testing.T) {
	for _, c := range rendered {
		three := c.three
		if three == "" {
			three = c.internal
		}
		for p, want := range map[Protocol]string{RESP2: c.two, RESP3: three, Internal: c.internal} {
			got := Render([]byte("before"), []byte(c.internal), p)
			if string(got) != "before"+want {
				t.Errorf("%q in form %d: got %q, want %q", c.internal, p, got, want)
			}
		}
	}
}

func TestRenderAnswersMalformedBytesWithAnError(t *testing.T) {
	for _, in := range []string{"", "x", "_", "_\r", "_\n", "_x\r\n", "*1\r\n", "*2\r\n:1\r\n",
		"*-2\r\n", "%-1\r\n", "%1\r\n+a\r\n", "#x\r\n", "#\r\n", "=3\r\ntxt\r\n",
		"=9\r\ntxt:a\r\n", "*1\r\n$1\r\nab\r\n",
		"*1\r\n$-1\r\n", "*1\r\n$?\r\n", "*999999999999999999\r\n:1\r\n",
		"|0\r\n", "|-1\r\n:1\r\n", "_\r\n_\r\n", "*0\r\n+",
		"&1\r\n:1\r\n", "^1\r\n:1\r\n", "&-1\r\n", "!2\r\nx\r\n",
		strings.Repeat("*1\r\n", 33) + "_\r\n",
		strings.Repeat("*1\r\n", 31) + "&1\r\n_\r\n_\r\n_\r\n"} {
		for _, p := range []Protocol{RESP2, RESP3} {
			got := Render([]byte("before"), []byte(in), p)
			if string(got) != "before-"+errorMalformed+"\r\n" {
				t.Errorf("%q: got %q", in, got)
			}
		}
	}
}

func TestRenderNestsAsDeepAsTheParserReads(t *testing.T) {
	in := strings.Repeat("*1\r\n", DefaultMaxReplyDepth) + ":1\r\n"
	if got := Render(nil, []byte(in), RESP2); string(got) != in {
		t.Errorf("got %q", got)
	}
	// In RESP3 a pair is one level more.
	in = strings.Repeat("*1\r\n", DefaultMaxReplyDepth-2) + "&1\r\n:1\r\n:2\r\n"
	var p ReplyParser
	var r Reply
	n, err := p.Parse(Render(nil, []byte(in), RESP3), &r)
	if n != len(in)+len("*2\r\n") || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestRenderAllocatesNothing(t *testing.T) {
	in := []byte("*3\r\n_\r\n&1\r\n$1\r\na\r\n,1\r\n=5\r\ntxt:x\r\n")
	dst := make([]byte, 0, 256)
	for _, p := range []Protocol{RESP2, RESP3} {
		if n := testing.AllocsPerRun(100, func() { Render(dst, in, p) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

// tree is a reply, spelled here in all three forms without regard to how Render works.
type tree struct {
	kind     Kind
	text     string
	children []tree
}

// grow makes a tree out of any bytes, and returns those it has not used.
func grow(b []byte, depth int) (tree, []byte) {
	const kinds = "+-:$_#,(=!*%~>&^N"
	take := func() (c byte) {
		if len(b) > 0 {
			c, b = b[0], b[1:]
		}
		return c
	}
	t := tree{kind: Kind(kinds[int(take())%len(kinds)])}
	if depth > 12 && (isAggregate(t.kind)) {
		t.kind = Null
	}
	switch t.kind {
	case Null, 'N':
	case Bool:
		t.text = string("tf"[take()%2])
	case Bulk, Verbatim, BulkError:
		n := min(int(take()), len(b))
		t.text, b = string(b[:n]), b[n:]
	case Simple, Error, Integer, Double, BigNumber:
		t.text = fmt.Sprint(int8(take()))
	default:
		n := int(take() % 4)
		if t.kind == Map || t.kind == Pairs || t.kind == NestedMap {
			n *= 2
		}
		for range n {
			var child tree
			child, b = grow(b, depth+1)
			t.children = append(t.children, child)
		}
	}
	return t, b
}

// spell writes a tree as the rows of Render's table say. With attributes, each value has one.
func (t tree) spell(p Protocol, attributes bool) string {
	head := ""
	if attributes && p != RESP2 {
		head = "|1\r\n+a\r\n_\r\n"
	}
	line := func(kind Kind, text string) string { return head + string(rune(kind)) + text + "\r\n" }
	counted := func(kind Kind, text string) string {
		return head + fmt.Sprintf("%c%d\r\n%s\r\n", kind, len(text), text)
	}
	all := func(kind Kind, count, nest int) string {
		var s strings.Builder
		fmt.Fprintf(&s, "%s%c%d\r\n", head, kind, count)
		for i, c := range t.children {
			if nest > 0 && i%nest == 0 {
				fmt.Fprintf(&s, "*%d\r\n", nest)
			}
			s.WriteString(c.spell(p, attributes))
		}
		return s.String()
	}
	n := len(t.children)
	low := p == RESP2
	switch k := t.kind; {
	case k == 'N' && p == RESP3:
		return line(Null, "")
	case k == 'N':
		return line(Array, "-1")
	case k == Null && low:
		return line(Bulk, "-1")
	case k == Bool && low && t.text == "t":
		return line(Integer, "1")
	case k == Bool && low:
		return line(Integer, "0")
	case k == Double && low, k == BigNumber && low, k == Verbatim && low:
		return counted(Bulk, t.text)
	case k == Verbatim:
		return counted(k, "txt:"+t.text)
	case k == BulkError && low:
		return line(Error, strings.NewReplacer("\r", " ", "\n", " ").Replace(t.text))
	case k == Bulk, k == BulkError:
		return counted(k, t.text)
	case k == Map && low:
		return all(Array, n, 0)
	case k == Map:
		return all(Map, n/2, 0)
	case k == Pairs && low:
		return all(Array, n, 0)
	case k == Pairs && p == RESP3:
		return all(Array, n/2, 2)
	case k == NestedMap && low:
		return all(Array, n/2, 2)
	case k == NestedMap && p == RESP3:
		return all(Map, n/2, 0)
	case k == Pairs, k == NestedMap:
		return all(k, n/2, 0)
	case (k == Set || k == Push) && low:
		return all(Array, n, 0)
	case isAggregate(k):
		return all(k, n, 0)
	}
	return line(t.kind, t.text)
}

// FuzzRender holds that any reply is rendered as the table says, whatever is nested in what, and
// that a RESP2 client gets RESP2.
func FuzzRender(f *testing.F) {
	f.Add([]byte{0}, false)
	f.Add([]byte{10, 3, 4, 16, 3, 2, 'a', 'b'}, true)
	f.Add([]byte{14, 2, 3, 1, 'a', 6, 1, 15, 1, 3, 1, 'b', 10, 1, 16}, false)
	f.Add([]byte{11, 3, 12, 2, 5, 1, 8, 2, 'h', 'i', 9, 2, '\r', '\n', 13, 1, 7, 9}, true)
	f.Fuzz(func(t *testing.T, seed []byte, attributes bool) {
		x, _ := grow(seed, 0)
		internal := []byte(x.spell(Internal, attributes))
		for _, p := range []Protocol{RESP2, RESP3} {
			if got, want := string(Render(nil, internal, p)), x.spell(p, attributes); got != want {
				t.Fatalf("%q in RESP%d:\n got %q\nwant %q", internal, p, got, want)
			}
		}
		var parser ReplyParser
		var r Reply
		if n, err := parser.Parse(internal, &r); n != len(internal) || err != nil {
			t.Fatalf("the parser takes %d of %q: %v", n, internal, err)
		}
		onlyRESP2(t, Render(nil, internal, RESP2))
	})
}

// FuzzRenderAnything holds that bytes that are no reply at all do no harm: a client gets one whole
// reply. Those that begin as a scalar are copied unread, as Render says.
func FuzzRenderAnything(f *testing.F) {
	for _, c := range rendered {
		f.Add([]byte(c.internal))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		two, three := Render(nil, b, RESP2), Render(nil, b, RESP3)
		if len(b) > 0 && isSame[b[0]] {
			return
		}
		onlyRESP2(t, two)
		var parser ReplyParser
		var r Reply
		if n, err := parser.Parse(three, &r); n != len(three) || err != nil {
			t.Fatalf("%q became %q: %d, %v", b, three, n, err)
		}
		refused := func(b []byte) bool { return bytes.HasPrefix(b, []byte("-"+errorMalformed)) }
		if refused(three) != refused(two) &&
			!bytes.ContainsAny(b, "&^") { // pairs are nested deeper in one of the two
			t.Fatalf("%q became %q and %q", b, two, three)
		}
	})
}

// onlyRESP2 fails unless b is one whole reply of kinds that RESP2 has.
func onlyRESP2(t *testing.T, b []byte) {
	t.Helper()
	var walk func(r Reply)
	walk = func(r Reply) {
		if !strings.ContainsRune("+-:$*", rune(r.Kind)) {
			t.Fatalf("%q holds a %c", b, r.Kind)
		}
		for {
			e, ok := r.Next()
			if !ok {
				return
			}
			walk(e)
		}
	}
	var p ReplyParser
	var r Reply
	if n, err := p.Parse(b, &r); n != len(b) || err != nil {
		t.Fatalf("%q: %d, %v", b, n, err)
	}
	walk(r)
}

func BenchmarkRender(b *testing.B) {
	mget := AppendArray(nil, 100)
	for i := range 100 {
		if i%10 == 0 {
			mget = AppendNull(mget)
		} else {
			mget = AppendBulk(mget, bytes.Repeat([]byte("v"), 64))
		}
	}
	for _, c := range []struct {
		name  string
		reply []byte
	}{
		{"ok", AppendOK(nil)},
		{"bulk", AppendBulk(nil, bytes.Repeat([]byte("v"), 64))},
		{"null", AppendNull(nil)},
		{"mget100", mget},
	} {
		dst := make([]byte, 0, 1<<14)
		for _, p := range []Protocol{RESP2, RESP3} {
			b.Run(fmt.Sprintf("%s/%d", c.name, p), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					Render(dst, c.reply, p)
				}
			})
		}
	}
}
