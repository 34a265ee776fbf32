package load

import (
	"strings"
	"testing"
)

func TestCommandsAreRESP(t *testing.T) {
	c := newCommands(3)
	got := string(c.append(nil, &Request{Kind: Read, Key: 42}))
	if got != "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000042\r\n" {
		t.Errorf("get: %q", got)
	}
	got = string(c.append(nil, &Request{Key: 999_999_999_999, Value: []byte("abc")}))
	if !strings.HasPrefix(got, "*3\r\n$3\r\nSET\r\n$16\r\nkey:999999999999\r\n$3\r\n") ||
		len(got) != 45 {
		t.Errorf("set: %q (%d)", got, len(got))
	}
	buf, r := make([]byte, 0, 256), Request{Key: 7, Value: []byte("abc")}
	if n := testing.AllocsPerRun(100, func() { _ = c.append(buf, &r) }); n != 0 {
		t.Errorf("%v allocations per command", n)
	}
}

func TestMixKeepsTheRatio(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Sets, cfg.Gets, cfg.Keys = 1, 3, 10
	m := newMix(&cfg.Plan, 0)
	sets, seen := 0, map[uint64]bool{}
	for range 10_000 {
		if m.kind() == Write {
			sets++
		}
		seen[m.key()] = true
	}
	if sets < 2300 || sets > 2700 || len(seen) != 10 {
		t.Errorf("%d sets of 10000 at 1:3, %d keys of 10", sets, len(seen))
	}
}

func TestValuesDiffer(t *testing.T) {
	p := newPayload(16, 1)
	if one, two := string(p.next()), string(p.next()); one == two || len(one) != 16 {
		t.Errorf("%q and %q", one, two)
	}
}

func TestAppendKey(t *testing.T) {
	if got := string(AppendKey([]byte("a "), 42)); got != "a key:000000000042" {
		t.Errorf("%q", got)
	}
}
