package kv

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/engine"
)

func b(s string) []byte { return []byte(s) }

// do carries out one command as a replica with a waiting client does.
func do(m *Machine, cmd []byte) string { return string(m.execute(cmd, nil, true)) }

func ask(m *Machine, query []byte) string { return string(m.Read(query, nil)) }

func TestCommands(t *testing.T) {
	const ok, null = "+OK\r\n", "_\r\n"
	m := New()
	steps := []struct {
		name  string
		cmd   []byte
		reply string
	}{
		{"set", AppendSet(nil, 0, b("k"), b("one")), ok},
		{"get", AppendKey(nil, OpGet, b("k")), "$3\r\none\r\n"},
		{"set nx on existing", AppendSet(nil, SetNX, b("k"), b("two")), null},
		{"set xx on existing", AppendSet(nil, SetXX, b("k"), b("two")), ok},
		{"set xx on missing", AppendSet(nil, SetXX, b("none"), b("x")), null},
		{"set get", AppendSet(nil, SetGet, b("k"), b("three")), "$3\r\ntwo\r\n"},
		{"set nx get on existing keeps", AppendSet(nil, SetNX|SetGet, b("k"), b("four")),
			"$5\r\nthree\r\n"},
		{"it did", AppendKey(nil, OpGet, b("k")), "$5\r\nthree\r\n"},
		{"set nx get on missing", AppendSet(nil, SetNX|SetGet, b("n"), b("new")), null},
		{"it stored", AppendKey(nil, OpGet, b("n")), "$3\r\nnew\r\n"},
		{"setnx", Append(nil, OpSetNX, b("n"), b("x")), ":0\r\n"},
		{"setnx missing", Append(nil, OpSetNX, b("n2"), b("")), ":1\r\n"},
		{"empty value", AppendKey(nil, OpGet, b("n2")), "$0\r\n\r\n"},
		{"append", Append(nil, OpAppend, b("n"), b("er")), ":5\r\n"},
		{"append missing", Append(nil, OpAppend, b("a"), b("12")), ":2\r\n"},
		{"strlen", AppendKey(nil, OpStrlen, b("n")), ":5\r\n"},
		{"strlen missing", AppendKey(nil, OpStrlen, b("zz")), ":0\r\n"},
		{"incr", AppendIncrBy(nil, b("a"), 1), ":13\r\n"},
		{"incr missing", AppendIncrBy(nil, b("c"), 1), ":1\r\n"},
		{"decr below zero", AppendIncrBy(nil, b("c"), -12), ":-11\r\n"},
		{"incr of text", AppendIncrBy(nil, b("k"), 1),
			"-ERR value is not an integer or out of range\r\n"},
		{"set to the largest", AppendSet(nil, 0, b("c"), b("9223372036854775807")), ok},
		{"overflow", AppendIncrBy(nil, b("c"), 1),
			"-ERR increment or decrement would overflow\r\n"},
		{"set to the smallest", AppendSet(nil, 0, b("c"), b("-9223372036854775808")), ok},
		{"underflow", AppendIncrBy(nil, b("c"), -1),
			"-ERR increment or decrement would overflow\r\n"},
		{"across the range", AppendIncrBy(nil, b("c"), math.MaxInt64), ":-1\r\n"},
		{"mset", Append(nil, OpMSet, b("x"), b("1"), b("y"), b("2"), b("x"), b("3")), ok},
		{"mget", Append(nil, OpMGet, b("x"), b("no"), b("y")), "*3\r\n$1\r\n3\r\n_\r\n$1\r\n2\r\n"},
		{"msetnx with one there", Append(nil, OpMSetNX, b("q"), b("1"), b("y"), b("9")), ":0\r\n"},
		{"msetnx", Append(nil, OpMSetNX, b("q"), b("1"), b("r"), b("9")), ":1\r\n"},
		{"exists counts twice", Append(nil, OpExists, b("x"), b("x"), b("no")), ":2\r\n"},
		{"type", AppendKey(nil, OpType, b("x")), "+string\r\n"},
		{"type missing", AppendKey(nil, OpType, b("no")), "+none\r\n"},
		{"getdel", AppendKey(nil, OpGetDel, b("x")), "$1\r\n3\r\n"},
		{"getdel missing", AppendKey(nil, OpGetDel, b("x")), null},
		{"del", Append(nil, OpDel, b("y"), b("y"), b("q")), ":2\r\n"},
		{"getrange", AppendGetRange(nil, b("k"), 1, -2), "$3\r\nhre\r\n"},
		{"getrange outside", AppendGetRange(nil, b("k"), 9, 20), "$0\r\n\r\n"},
		{"getrange from before", AppendGetRange(nil, b("k"), -100, 1), "$2\r\nth\r\n"},
		{"getrange missing", AppendGetRange(nil, b("no"), 0, -1), "$0\r\n\r\n"},
		{"dbsize", Append(nil, OpDBSize), ":6\r\n"},
		{"flushall", Append(nil, OpFlushAll), ok},
		{"dbsize after", Append(nil, OpDBSize), ":0\r\n"},
	}
	for _, s := range steps {
		got := ""
		if Op(s.cmd[0]) >= OpGet {
			got = ask(m, s.cmd)
		} else {
			got = do(m, s.cmd)
		}
		if got != s.reply {
			t.Fatalf("%s: got %q, want %q", s.name, got, s.reply)
		}
	}
	if m.pairs.bytes != 0 {
		t.Fatalf("%d bytes counted in an empty table", m.pairs.bytes)
	}
}

func TestMalformedCommandsChangeNothing(t *testing.T) {
	m := New()
	do(m, AppendSet(nil, 0, b("k"), b("v")))
	before := ask(m, Append(nil, OpDigest))
	bad := map[string][]byte{
		"nothing":          {},
		"zero":             {0},
		"unknown op":       {63},
		"a query":          AppendKey(nil, OpGet, b("k")),
		"set cut off":      AppendSet(nil, 0, b("k"), b("value"))[:6],
		"set trailing":     append(AppendSet(nil, 0, b("k"), b("w")), 0),
		"set nx and xx":    AppendSet(nil, SetNX|SetXX, b("k"), b("w")),
		"set unknown flag": AppendSet(nil, 8, b("k"), b("w")),
		"set no flags":     {byte(OpSet)},
		"mset odd":         Append(nil, OpMSet, b("k"), b("w"), b("odd")),
		"mset none":        Append(nil, OpMSet),
		"mset bad tail":    append(Append(nil, OpMSet, b("k"), b("w")), 9),
		"del none":         Append(nil, OpDel),
		"del bad tail":     append(Append(nil, OpDel, b("k")), 200),
		"incr no delta":    Append(nil, OpIncrBy, b("k")),
		"incr trailing":    append(AppendIncrBy(nil, b("k"), 1), 1),
		"flushall body":    Append(nil, OpFlushAll, b("k")),
		"long length":      {byte(OpGetDel), 0x81, 0x00, 'k'},
		"huge length": {byte(OpGetDel), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
			0x01},
	}
	for name, cmd := range bad {
		if got := do(m, cmd); got != "-"+errMalformed+"\r\n" {
			t.Errorf("%s: got %q", name, got)
		}
		if after := ask(m, Append(nil, OpDigest)); after != before {
			t.Fatalf("%s changed the state", name)
		}
	}
}

func TestParseIntIsAsStrictAsRedis(t *testing.T) {
	good := map[string]int64{"0": 0, "-1": -1, "10": 10,
		"9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64}
	for s, want := range good {
		if v, ok := ParseInt(b(s)); !ok || v != want {
			t.Errorf("%q: %d %v", s, v, ok)
		}
	}
	for _, s := range []string{"", "-", "+1", " 1", "1 ", "01", "-0", "-01", "1.0", "1e3", "0x1",
		"a", "1a", "--1", "9223372036854775808", "-9223372036854775809", "18446744073709551616",
		"99999999999999999999"} {
		if v, ok := ParseInt(b(s)); ok {
			t.Errorf("%q taken as %d", s, v)
		}
	}
}

// randomLog makes a log of commands over few keys, so that they meet, with some broken ones
// between.
func randomLog(seed uint64, n int) []engine.Entry {
	r := rand.New(rand.NewPCG(seed, 1))
	key := func() []byte { return fmt.Appendf(nil, "key%d", r.IntN(50)) }
	value := func() []byte { return b(strings.Repeat("v", r.IntN(200)) + fmt.Sprint(r.IntN(100))) }
	log := make([]engine.Entry, n)
	for i := range log {
		var cmd []byte
		switch r.IntN(10) {
		case 0, 1, 2:
			cmd = AppendSet(nil, byte(r.IntN(8)), key(), value())
		case 3:
			cmd = Append(nil, OpMSet, key(), value(), key(), value())
		case 4:
			cmd = AppendIncrBy(nil, key(), int64(r.IntN(1000)-500))
		case 5:
			cmd = Append(nil, OpDel, key(), key())
		case 6:
			cmd = Append(nil, OpAppend, key(), value())
		case 7:
			cmd = AppendSet(nil, 0, key(), fmt.Append(nil, r.IntN(1000)))
		case 8:
			cmd = AppendKey(nil, OpGetDel, key())
		case 9:
			cmd = AppendSet(nil, 0, key(), value())
			cmd = cmd[:r.IntN(len(cmd))]
		}
		log[i] = engine.Entry{Index: uint64(i) + 1, Data: cmd}
	}
	return log
}

func TestSameLogSameDigestAndReplies(t *testing.T) {
	log := randomLog(7, 20000)
	one, two, mute := New(), New(), New()
	for _, e := range log {
		if a, b := do(one, e.Data), do(two, e.Data); a != b {
			t.Fatalf("entry %d answered %q and %q", e.Index, a, b)
		}
	}
	one.applied = log[len(log)-1].Index
	two.applied = one.applied
	for rest := log; len(rest) > 0; {
		n := min(len(rest), 1+len(rest)%37)
		mute.Apply(rest[:n], &engine.Replies{})
		rest = rest[n:]
	}
	want := ask(one, Append(nil, OpDigest))
	if got := ask(two, Append(nil, OpDigest)); got != want {
		t.Fatalf("digests differ: %q, %q", got, want)
	}
	if got := ask(mute, Append(nil, OpDigest)); got != want {
		t.Fatalf("a replica that formats no replies differs: %q, %q", got, want)
	}
	if mute.Keys() != int64(len(one.pairs.table)) || mute.Memory() != two.pairs.memory() {
		t.Fatalf("counts differ")
	}
}

func TestDigestSeesWhatDiffers(t *testing.T) {
	states := map[string]string{}
	for _, p := range [][2]string{{"a", "b"}, {"b", "a"}, {"a", "a"}, {"b", "b"}, {"ab", ""},
		{"", "ab"}} {
		m := New()
		do(m, AppendSet(nil, 0, b(p[0]), b(p[1])))
		d := ask(m, Append(nil, OpDigest))
		if other, seen := states[d]; seen {
			t.Errorf("%q looks like %s", p, other)
		}
		states[d] = fmt.Sprint(p)
	}
}

func TestTableAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	model := map[string]string{}
	var p pairs
	p.reset()
	for range 50000 {
		k := fmt.Sprintf("k%d", r.IntN(40))
		v := strings.Repeat("x", r.IntN(1<<r.IntN(15)))
		switch r.IntN(4) {
		case 0, 1:
			p.set(b(k), b(v), r.IntN(8))
			model[k] = v
		case 2:
			if _, ok := model[k]; ok {
				v = v[:len(v)/4]
				p.append(b(k), b(v))
				model[k] += v
			}
		case 3:
			_, want := model[k]
			if p.delete(b(k)) != want {
				t.Fatal("delete disagrees")
			}
			delete(model, k)
		}
	}
	total := int64(0)
	for k, buf := range p.table {
		total += int64(cap(buf))
		if got := string(valueOf(buf, len(k))); got != model[k] {
			t.Fatalf("%s: %d bytes, want %d", k, len(got), len(model[k]))
		}
	}
	if total != p.bytes || len(p.table) != len(model) {
		t.Fatalf("counted %d bytes of %d, %d keys of %d", p.bytes, total, len(p.table), len(model))
	}
}

func TestAllocations(t *testing.T) {
	m := New()
	value := bytes.Repeat(b("v"), 100)
	cmd := AppendSet(nil, 0, b("key"), value)
	out := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() { m.execute(cmd, out, true) }); n != 0 {
		t.Errorf("%v allocations per overwrite", n)
	}
	incr := AppendIncrBy(nil, b("n"), 1)
	if n := testing.AllocsPerRun(2000, func() { m.execute(incr, out, true) }); n > 0.01 {
		t.Errorf("%v allocations per INCR", n)
	}
	get := AppendKey(nil, OpGet, b("key"))
	if n := testing.AllocsPerRun(100, func() { m.Read(get, out) }); n != 0 {
		t.Errorf("%v allocations per GET", n)
	}
	const fresh = 20000
	commands := make([][]byte, fresh+2)
	for i := range commands {
		commands[i] = AppendSet(nil, 0, fmt.Appendf(nil, "key%d", i), value)
	}
	i := 0
	if n := testing.AllocsPerRun(fresh, func() {
		m.execute(commands[i], out,
			true)
		i++
	}); n > allocationsPerKey {
		t.Errorf("%v allocations per new key", n)
	}
}
