package resp

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// parseAll reads every request of b, given in pieces that end at cuts.
func parseAll(b []byte, cuts []int) (out []string, err error) {
	var p Parser
	var cmd Command
	start := 0
	for _, end := range append(cuts, len(b)) {
		for start < end {
			n, err := p.Parse(b[start:end], &cmd)
			if err != nil {
				return out, err
			}
			if n == 0 {
				break
			}
			if len(cmd.Args) > 0 {
				out = append(out, fmt.Sprintf("%q", cmd.Args))
			}
			start += n
		}
	}
	return out, nil
}

const sample = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhe\r\no\r\nPING\r\n*1\r\n$4\r\nPING\r\n*0\r\n\r\n" +
	"set \"a b\\x41\\n\" 'c\\'d' e\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n"

var sampleWant = []string{`["SET" "k" "he\r\no"]`, `["PING"]`, `["PING"]`, `["set" "a bA\n" "c'd" "e"]`, `["GET" ""]`}

func TestRequestsWholeAndSplitAtEveryByte(t *testing.T) {
	got, err := parseAll([]byte(sample), nil)
	if err != nil || strings.Join(got, "|") != strings.Join(sampleWant, "|") {
		t.Fatalf("whole: %v %v", got, err)
	}
	var every []int
	for i := range sample {
		got, err := parseAll([]byte(sample), []int{i})
		if err != nil || strings.Join(got, "|") != strings.Join(sampleWant, "|") {
			t.Fatalf("split at %d: %v %v", i, got, err)
		}
		every = append(every, i)
	}
	got, err = parseAll([]byte(sample), every)
	if err != nil || strings.Join(got, "|") != strings.Join(sampleWant, "|") {
		t.Fatalf("byte by byte: %v %v", got, err)
	}
}

func TestHostileRequests(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"*2147483648\r\n", "invalid multibulk length"},
		{"*1048577\r\n", "invalid multibulk length"},
		{"*99999999999999999999\r\n", "invalid multibulk length"},
		{"*1\r\n$2147483648\r\n", "invalid bulk length"},
		{"*1\r\n$-5\r\n", "invalid bulk length"},
		{"*1\r\n$x\r\n", "invalid bulk length"},
		{"*1\r\n:1\r\n", "expected '$', got ':'"},
		{"*1\r\n$1\r\nabc", "bulk is not terminated"},
		{"*" + strings.Repeat("1", 40), "invalid multibulk length"},
		{"set \"a\r\n", "unbalanced quotes"},
		{strings.Repeat("a", 64<<10+1), "too big inline request"},
	} {
		_, err := parseAll([]byte(c.in), nil)
		var p ProtocolError
		if !errors.As(err, &p) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q: %v, want %q", c.in, err, c.want)
		}
	}
}

func TestLargeBulkIsNotRescanned(t *testing.T) {
	var p Parser
	var cmd Command
	b := []byte("*2\r\n$3\r\nSET\r\n$1000000\r\n")
	if n, err := p.Parse(b, &cmd); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if need := p.Need(); need != len(b)+1000002 {
		t.Fatalf("need %d, want %d", need, len(b)+1000002)
	}
	b = append(b, bytes.Repeat([]byte{'x'}, 1000000)...)
	if n, _ := p.Parse(b, &cmd); n != 0 {
		t.Fatal("complete without its CRLF")
	}
	n, err := p.Parse(append(b, "\r\n"...), &cmd)
	if err != nil || n != len(b)+2 || len(cmd.Args) != 2 || len(cmd.Args[1]) != 1000000 {
		t.Fatal(n, err, len(cmd.Args))
	}
}

func TestReplies(t *testing.T) {
	var b []byte
	b = AppendSimple(b, "OK")
	b = AppendError(b, "ERR a\r\nb")
	b = AppendInt(b, -7)
	b = AppendBulk(b, []byte("x\r\ny"))
	b = AppendNull(AppendNull(b, 2), 3)
	b = AppendMap(b, 3, 1)
	b = AppendBulkString(b, "k")
	b = AppendArray(b, 2)
	b = AppendBool(AppendDouble(b, 3, 1.5), 3, true)
	b = AppendVerbatim(b, 3, "text")
	want := "+OK\r\n-ERR a  b\r\n:-7\r\n$4\r\nx\r\ny\r\n$-1\r\n_\r\n%1\r\n$1\r\nk\r\n*2\r\n,1.5\r\n#t\r\n=8\r\ntxt:text\r\n"
	if string(b) != want {
		t.Fatalf("%q\nwant %q", b, want)
	}
	// The scanner finds the same boundaries, however the bytes arrive.
	var sizes []int
	for rest := b; len(rest) > 0; {
		n, err := ReplySize(rest)
		if n == 0 || err != nil {
			t.Fatal(n, err)
		}
		sizes = append(sizes, n)
		rest = rest[n:]
	}
	if len(sizes) != 8 {
		t.Fatalf("%d replies, want 8", len(sizes))
	}
	var s Scanner
	start, k := 0, 0
	for end := 1; end <= len(b); end++ {
		n, err := s.Scan(b[start:end])
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			if n != sizes[k] {
				t.Fatalf("reply %d: size %d, want %d", k, n, sizes[k])
			}
			start, k = start+n, k+1
		}
	}
	if k != len(sizes) {
		t.Fatalf("byte by byte: %d replies", k)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sample), uint16(7))
	f.Add([]byte("*1\r\n$3\r\nab"), uint16(3))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		whole, err1 := parseAll(b, nil)
		split, err2 := parseAll(b, []int{min(int(cut), len(b))})
		if strings.Join(whole, "|") != strings.Join(split, "|") || (err1 == nil) != (err2 == nil) {
			t.Fatalf("whole %v %v, split at %d %v %v", whole, err1, cut, split, err2)
		}
	})
}

func FuzzReply(f *testing.F) {
	f.Add([]byte("*2\r\n$1\r\na\r\n%1\r\n+a\r\n:1\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ReplySize(b)
		if n > len(b) || err != nil && n != 0 {
			t.Fatal(n, err)
		}
	})
}

func BenchmarkParseSet(b *testing.B) {
	in := bytes.Repeat([]byte("*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000042\r\n$16\r\nxxxxxxxxxxxxxxxx\r\n"), 64)
	var p Parser
	var cmd Command
	b.ReportAllocs()
	for b.Loop() {
		for rest := in; len(rest) > 0; {
			n, err := p.Parse(rest, &cmd)
			if err != nil || n == 0 {
				b.Fatal(n, err)
			}
			rest = rest[n:]
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(64*b.N), "ns/command")
}
