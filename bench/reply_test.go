package bench

import (
	"slices"
	"strings"
	"testing"
)

func TestScanReply(t *testing.T) {
	for text, want := range map[string]reply{
		"+OK\r\n":                             {kind: '+', text: []byte("OK")},
		"-ERR no\r\n":                         {kind: '-', text: []byte("ERR no")},
		":12\r\n":                             {kind: ':', text: []byte("12")},
		"$3\r\na\nb\r\n":                      {kind: '$', text: []byte("a\nb")},
		"$0\r\n\r\n":                          {kind: '$'},
		"$-1\r\n":                             {kind: '$', null: true, text: []byte("-1")},
		"*-1\r\n":                             {kind: '*', null: true, text: []byte("-1")},
		"_\r\n":                               {kind: '_', null: true},
		"*2\r\n$1\r\na\r\n*1\r\n:1\r\n":       {kind: '*', text: []byte("2")},
		"%1\r\n+k\r\n*2\r\n:1\r\n$-1\r\n":     {kind: '%', text: []byte("1")},
		"*0\r\n":                              {kind: '*', text: []byte("0")},
		"!7\r\nERR bad\r\n":                   {kind: '!', text: []byte("ERR bad")},
		"*3\r\n:1\r\n$2\r\nxy\r\n-ERR in\r\n": {kind: '*', text: []byte("3")},
	} {
		r, ok, err := scanReply([]byte(text + "+more\r\n"))
		if !ok || err != nil || r.bytes != len(text) || r.kind != want.kind || r.null != want.null ||
			string(r.text) != string(want.text) {
			t.Errorf("%q: %+v %v %v", text, r, ok, err)
		}
		for n := range len(text) {
			if _, ok, err = scanReply([]byte(text[:n])); ok || err != nil {
				t.Errorf("%q cut at %d: %v %v", text, n, ok, err)
			}
		}
	}
	for _, text := range []string{"\r\n", "\n", "x\r\n", "+OK\n", "$x\r\n", "$-2\r\n", "*9999999999\r\n", "$\r\n"} {
		if _, ok, err := scanReply([]byte(text)); ok || err == nil {
			t.Errorf("%q was taken for RESP", text)
		}
	}
}

func FuzzScanReply(f *testing.F) {
	f.Add([]byte("*2\r\n$1\r\na\r\n%1\r\n+k\r\n_\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok, err := scanReply(b)
		if ok && (err != nil || r.bytes <= 0 || r.bytes > len(b)) {
			t.Fatalf("%+v of %d bytes, %v", r, len(b), err)
		}
	})
}

func TestErrorClassAndKind(t *testing.T) {
	for text, want := range map[string]string{"-MOVED 1 a:2\r\n": "MOVED", "-ERR\r\n": "ERR", "-\r\n": "ERR"} {
		r, _, _ := scanReply([]byte(text))
		if class, failed := r.failed(); !failed || string(class) != want {
			t.Errorf("%q: %q %v", text, class, failed)
		}
	}
	for text, kinds := range map[string][2]bool{"+OK\r\n": {true, false}, "+QUEUED\r\n": {false, false},
		"$1\r\na\r\n": {false, true}, "$-1\r\n": {false, true}, ":1\r\n": {false, false}} {
		r, _, _ := scanReply([]byte(text))
		if r.answers(kindSet) != kinds[0] || r.answers(kindGet) != kinds[1] {
			t.Errorf("%q: set %v, get %v", text, r.answers(kindSet), r.answers(kindGet))
		}
	}
}

func TestElements(t *testing.T) {
	got := elements([]byte("*4\r\n$13\r\napplied_index\r\n:42\r\n+digest\r\n$2\r\nab\r\n"))
	if want := []string{"applied_index", "42", "digest", "ab"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestCommandsAreRESP(t *testing.T) {
	c := newCommands(3, 1)
	if got := string(c.append(nil, kindGet, 42)); got != "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000042\r\n" {
		t.Errorf("get: %q", got)
	}
	got := string(c.append(nil, kindSet, 999_999_999_999))
	if !strings.HasPrefix(got, "*3\r\n$3\r\nSET\r\n$16\r\nkey:999999999999\r\n$3\r\n") || len(got) != 45 {
		t.Errorf("set: %q (%d)", got, len(got))
	}
	one, two := string(c.values.next()), string(c.values.next())
	if one == two {
		t.Error("two values are the same")
	}
	buf := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() { _ = c.append(buf, kindSet, 7) }); n != 0 {
		t.Errorf("%v allocations per command", n)
	}
}

func TestMixKeepsTheRatio(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Sets, cfg.Gets, cfg.Keys = 1, 3, 10
	m := newMix(&cfg, 0)
	sets, seen := 0, map[uint64]bool{}
	for range 10_000 {
		if m.kind() == kindSet {
			sets++
		}
		seen[m.key()] = true
	}
	if sets < 2300 || sets > 2700 || len(seen) != 10 {
		t.Errorf("%d sets of 10000 at 1:3, %d keys of 10", sets, len(seen))
	}
}
