package resp

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// parseAll reads all commands of b at once and gives them as text, and the error that ended it.
func parseAll(p *Parser, b []byte) (commands []string, rest int, err error) {
	var cmd Command
	for len(b) > 0 {
		n, err := p.Parse(b, &cmd)
		if err != nil {
			return commands, len(b), err
		}
		if n == 0 {
			break
		}
		commands = append(commands, fmt.Sprintf("%q", cmd.Args))
		b = b[n:]
	}
	return commands, len(b), nil
}

// parseBytewise gives the parser one more byte at a time, each time in fresh memory.
func parseBytewise(p *Parser, b []byte) (commands []string, rest int, err error) {
	var cmd Command
	start := 0
	for end := 1; end <= len(b); end++ {
		part := bytes.Clone(b[start:end])
		for len(part) > 0 {
			n, err := p.Parse(part, &cmd)
			if err != nil {
				return commands, end - start, err
			}
			if n == 0 {
				if p.Need() < 1 {
					panic("an incomplete command that needs nothing")
				}
				break
			}
			commands = append(commands, fmt.Sprintf("%q", cmd.Args))
			part = part[n:]
			start += n
		}
	}
	return commands, len(b) - start, nil
}

func TestParseCommands(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"*1\r\n$4\r\nPING\r\n", `["PING"]`},
		{"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n", `["SET" "k" ""]`},
		{"*2\r\n$3\r\nGET\r\n$3\r\n\r\n$\r\n", `["GET" "\r\n$"]`},
		{"*0\r\n", `[]`},
		{"*-1\r\n", `[]`},
		{"\r\n", `[]`},
		{"PING\r\n", `["PING"]`},
		{"PING\n", `["PING"]`},
		{"  SET  k\tv \r\n", `["SET" "k" "v"]`},
		{`SET "a b" 'c d'` + "\r\n", `["SET" "a b" "c d"]`},
		{`SET "\x41\n\"\\" 'it\'s \n'` + "\r\n", `["SET" "A\n\"\\" "it's \\n"]`},
		{`SET ab"cd" ""` + "\r\n", `["SET" "abcd" ""]`},
		{`"\xZZ" '\'` + "' 'y'\r\n", `["xZZ" "'" "y"]`},
	} {
		for name, parse := range map[string]func(*Parser, []byte) ([]string, int, error){
			"whole": parseAll, "bytewise": parseBytewise,
		} {
			got, rest, err := parse(&Parser{}, []byte(c.in))
			if err != nil || rest != 0 || len(got) != 1 || got[0] != c.want {
				t.Errorf("%s %q: got %v, %d left, %v; want %s", name, c.in, got, rest, err, c.want)
			}
		}
	}
}

func TestParseErrors(t *testing.T) {
	restricted := Parser{Restricted: true}
	for _, c := range []struct {
		p    Parser
		in   string
		want string
	}{
		{Parser{}, "*x\r\n", "invalid multibulk length"},
		{Parser{}, "*1048577\r\n", "invalid multibulk length"},
		{Parser{}, "*99999999999999999999999\r\n", "invalid multibulk length"},
		{Parser{}, "*01\r\n", "invalid multibulk length"},
		{Parser{}, "*1\r\n:1\r\n", "expected '$', got ':'"},
		{Parser{}, "*1\r\n$-1\r\n", "invalid bulk length"},
		{Parser{}, "*1\r\n$16777217\r\n", "invalid bulk length"},
		{Parser{MaxBulk: 3}, "*1\r\n$4\r\n", "invalid bulk length"},
		{Parser{}, "*1\r\n$+1\r\n", "invalid bulk length"},
		{Parser{}, "*1\r\n$1\r\nabc", "without its line end"},
		{Parser{MaxCommand: 20}, "*2\r\n$10\r\n0123456789\r\n$10\r\n", "too big command"},
		{Parser{}, "a \"b\r\n", "unbalanced quotes"},
		{Parser{}, "a \"b\"c\r\n", "unbalanced quotes"},
		{Parser{}, "a 'b\r\n", "unbalanced quotes"},
		{Parser{}, strings.Repeat("x", DefaultMaxInline+1), "too big inline request"},
		{restricted, "*11\r\n", "unauthenticated multibulk length"},
		{restricted, "*2\r\n$16385\r\n", "unauthenticated bulk length"},
		{restricted, "a b c d e f g h i j k\r\n", "unauthenticated multibulk length"},
	} {
		_, _, err := parseAll(&c.p, []byte(c.in))
		if err == nil || !strings.Contains(err.Error(), c.want) ||
			!strings.HasPrefix(err.Error(), "Protocol error: ") {
			t.Errorf("%.40q: got %v, want %s", c.in, err, c.want)
		}
	}
}

func TestParseNeed(t *testing.T) {
	p, cmd := Parser{}, Command{}
	in := []byte("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000\r\nabc")
	if n, err := p.Parse(in, &cmd); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if want := 1000 - 3 + 2; p.Need() != want {
		t.Fatalf("need %d, want %d", p.Need(), want)
	}
	in = append(in, bytes.Repeat([]byte("x"), p.Need())...)
	copy(in[len(in)-2:], "\r\n")
	if n, err := p.Parse(in, &cmd); n != len(in) || err != nil {
		t.Fatal(n, err)
	}
	if len(cmd.Args) != 3 || len(cmd.Args[2]) != 1000 || cap(cmd.Args[2]) != 1000 {
		t.Fatalf("got %d arguments", len(cmd.Args))
	}
	if n, err := p.Parse([]byte("*"), &cmd); n != 0 || err != nil || p.Need() != 1 {
		t.Fatal(n, err, p.Need())
	}
	n, err := p.Parse([]byte("*1\r\n$4\r\nPING\r\n"), &cmd)
	if n == 0 || err != nil || p.Need() != 0 {
		t.Fatalf("needs %d bytes after a whole command: %v", p.Need(), err)
	}
}

// A command of many arguments that arrives in small pieces must not be read again from its start.
func TestParseWorkIsLinear(t *testing.T) {
	const args = 100_000
	in := []byte(fmt.Sprintf("*%d\r\n", args))
	for range args {
		in = append(in, "$1\r\nx\r\n"...)
	}
	p, cmd, calls := Parser{}, Command{}, 0
	for end := 1; ; end = min(end+7, len(in)) {
		calls++
		n, err := p.Parse(in[:end], &cmd)
		if err != nil {
			t.Fatal(err)
		}
		if n == len(in) {
			break
		}
		if p.started && p.pos+8 < end {
			t.Fatalf("call %d understood %d of %d bytes", calls, p.pos, end)
		}
	}
	if len(cmd.Args) != args {
		t.Fatalf("%d arguments", len(cmd.Args))
	}
	if cap(p.spans) != 0 {
		t.Fatal("the memory of a huge command is kept")
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	in := []byte("*3\r\n$3\r\nSET\r\n$5\r\nkey:1\r\n$5\r\nvalue\r\n*2\r\n$3\r\nGET\r\n$5\r\n" +
		"key:1\r\nPING \"a b\"\r\n")
	p, cmd := Parser{}, Command{}
	run := func() {
		for b := in; len(b) > 0; {
			n, err := p.Parse(b, &cmd)
			if n == 0 || err != nil {
				t.Fatal(n, err)
			}
			b = b[n:]
		}
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func FuzzParser(f *testing.F) {
	for _, s := range []string{
		"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\nPING\r\n", "*1\r\n$1048576\r\n", "*1\r\n$x\r\n",
		"*1\r\n$1\r\na\r\n0\n1", "SET \"a\\x41\" 'b'\r\n*0\r\n\r\n",
		"*2\r\n$1\r\na\r\n$01\r\n", "*-1\r\n*1\r\n$0\r\n\r\n",
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, restricted bool) {
		if len(b) > 4096 {
			return
		}
		whole, rest1, err1 := parseAll(&Parser{Restricted: restricted}, b)
		split, rest2, err2 := parseBytewise(&Parser{Restricted: restricted}, b)
		if fmt.Sprint(whole) != fmt.Sprint(split) || (err1 == nil && rest1 != rest2) {
			t.Fatalf("whole %v, %d left; split %v, %d left", whole, rest1, split, rest2)
		}
		if fmt.Sprint(err1) != fmt.Sprint(err2) {
			t.Fatalf("whole %v; split %v", err1, err2)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	set := "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000012345\r\n$64\r\n" + strings.Repeat("v", 64) +
		"\r\n"
	get := "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000012345\r\n"
	for name, one := range map[string]string{"set": set, "get": get, "inline": "PING\r\n"} {
		b.Run(name, func(b *testing.B) {
			const depth = 64
			in := []byte(strings.Repeat(one, depth))
			p, cmd := Parser{}, Command{}
			b.ReportAllocs()
			b.SetBytes(int64(len(one)))
			rest := in
			for b.Loop() {
				n, err := p.Parse(rest, &cmd)
				if n == 0 || err != nil {
					b.Fatal(n, err)
				}
				if rest = rest[n:]; len(rest) == 0 {
					rest = in
				}
			}
		})
	}
}
