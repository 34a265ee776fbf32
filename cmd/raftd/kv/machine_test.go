package kv

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/netio/resp"
)

func b(s string) []byte { return []byte(s) }

// do carries out one command as a replica with a waiting client does.
func do(m *Machine, cmd []byte) string { return whole(m, m.execute(cmd, nil, true)) }

func ask(m *Machine, query []byte) string { return whole(m, m.Read(query, nil)) }

// whole is a reply with what the machine keeps of it in place; nothing is pinned any more.
func whole(m *Machine, reply []byte) string {
	if number, ok := resp.KeptNumber(reply); ok {
		p := m.Take(number)
		defer p.Release()
		reply = bytes.Join(p.Parts(), nil)
	}
	k := &keeper{machine: m}
	out, ok := resp.RenderKept(nil, reply, resp.Internal, k)
	if !ok {
		panic(fmt.Sprintf("malformed reply %.100q", reply))
	}
	var all strings.Builder
	from := 0
	for i, p := range k.taken {
		all.Write(out[from:k.at[i]])
		from = k.at[i]
		for _, part := range p.Parts() {
			all.Write(part)
		}
		p.Release()
	}
	all.Write(out[from:])
	return all.String()
}

// keeper takes the strings that a reply names.
type keeper struct {
	machine *Machine
	taken   []*Pin
	at      []int
}

func (k *keeper) Size(n int) (int, bool)   { return k.machine.Kept(n) }
func (k *keeper) Run(b []byte, _ int) bool { return false }
func (k *keeper) Insert(n, at int) {
	k.taken, k.at = append(k.taken, k.machine.Take(n)), append(k.at, at)
}

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
	value := func() []byte {
		n := r.IntN(200)
		if r.IntN(20) == 0 {
			n = r.IntN(4 * largeMin)
		}
		return b(strings.Repeat("v", n) + fmt.Sprint(r.IntN(100)))
	}
	log := make([]engine.Entry, n)
	for i := range log {
		var cmd []byte
		switch r.IntN(11) {
		case 10:
			cmd = AppendAppend(nil, r.IntN(6*largeMin), key(), value())
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
	if mute.Keys() != int64(one.pairs.count()) || mute.Memory() != two.pairs.memory() {
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
	t.Run("", func(t *testing.T) { tableAgainstModel(t, ^uint64(0)) })
	t.Run("keys that share a hash", func(t *testing.T) { tableAgainstModel(t, 3) })
}

func tableAgainstModel(t *testing.T, mask uint64) {
	r := rand.New(rand.NewPCG(3, 4))
	model := map[string]string{}
	var p pairs
	p.reset()
	p.mask = mask
	type held struct {
		pin  *Pin
		want string
	}
	var pinned []held
	for i := range 50000 {
		k := fmt.Sprintf("k%d", r.IntN(40))
		v := strings.Repeat(string(rune('a'+r.IntN(26))), r.IntN(1<<r.IntN(15)))
		switch r.IntN(5) {
		case 0, 1:
			p.set(b(k), b(v), r.IntN(8))
			model[k] = v
		case 2:
			if old, ok := model[k]; ok && len(old) < 1<<20 {
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
		case 4:
			if v, ok := p.get(b(k)); ok && v.large != nil {
				from := r.IntN(v.large.size)
				to := from + r.IntN(v.large.size-from) + 1
				pinned = append(pinned, held{p.pins.take(p.pins.pin(v.large, from, to)),
					model[k][from:to]})
			}
		}
		if len(pinned) > 20 {
			at := r.IntN(len(pinned))
			if got := string(bytes.Join(pinned[at].pin.Parts(), nil)); got != pinned[at].want {
				t.Fatalf("%d bytes changed while a reply held them", len(got))
			}
			pinned[at].pin.Release()
			pinned = append(pinned[:at], pinned[at+1:]...)
		}
		if i%20000 == 19999 {
			p.reset()
			p.mask = mask
			clear(model)
		}
		if i%5000 == 0 {
			checkTable(t, &p, model)
		}
	}
	for _, h := range pinned {
		if got := string(bytes.Join(h.pin.Parts(), nil)); got != h.want {
			t.Fatalf("%d bytes changed while a reply held them", len(got))
		}
		h.pin.Release()
	}
	checkTable(t, &p, model)
	if p.pins.count.Load() != 0 || p.pins.retained.Load() != 0 || p.pins.current != 0 {
		t.Fatalf("%d pins, %d bytes retained, %d current", p.pins.count.Load(),
			p.pins.retained.Load(), p.pins.current)
	}
}

// checkTable compares the table with a model, and its books with what a walk over it finds.
func checkTable(t *testing.T, p *pairs, model map[string]string) {
	t.Helper()
	for is := range p.all {
		k := string(is.key())
		v, ok := p.get(is.key())
		if !ok {
			t.Fatalf("%s is in the table and not found", k)
		}
		got := string(v.small)
		if v.large != nil {
			got = string(bytes.Join(v.large.parts(nil, 0, v.large.size), nil))
		}
		if got != model[k] {
			t.Fatalf("%s: %d bytes, want %d", k, len(got), len(model[k]))
		}
	}
	if p.count() != len(model) {
		t.Fatalf("%d keys of %d", p.count(), len(model))
	}
	checkBooks(t, p)
}

func checkBooks(t *testing.T, p *pairs) {
	t.Helper()
	total, sum, places := int64(0), digest{}, 0
	inUse := map[ref]bool{}
	for is := range p.all {
		v := p.valueOf(is)
		total += int64(len(is.buf))
		if inUse[is.at] {
			t.Fatal("two pairs have one buffer")
		}
		inUse[is.at] = true
		all := v.small
		if v.large != nil {
			total += v.large.capacity()
			places++
			all = bytes.Join(v.large.parts(nil, 0, v.large.size), nil)
		}
		if (len(all) >= largeMin) != (v.large != nil) {
			t.Fatalf("%d bytes lie where they should not", len(all))
		}
		sum.add(pairHash(is.key(), xxhash.Sum64(all)))
	}
	if total != p.bytes {
		t.Fatalf("counted %d bytes of %d", p.bytes, total)
	}
	if sum != p.sum {
		t.Fatal("the digest is not that of the pairs")
	}
	if places != len(p.places)-len(p.free) {
		t.Fatalf("%d large values at %d places, of which %d are free", places, len(p.places),
			len(p.free))
	}
}

// A reply holds the value as it was, whatever becomes of the key; what is in memory only for that
// is counted, and nothing is left when all replies were sent.
func TestRepliesHoldLargeValues(t *testing.T) {
	const size = 1 << 20
	first, second := strings.Repeat("1", size), strings.Repeat("2", size)
	bulk := func(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }
	for name, change := range map[string][]byte{
		"set":      AppendSet(nil, 0, b("k"), b(second)),
		"getset":   AppendSet(nil, SetGet, b("k"), b(second)),
		"small":    AppendSet(nil, 0, b("k"), b("v")),
		"append":   AppendAppend(nil, 2*size, b("k"), b(second)),
		"del":      Append(nil, OpDel, b("k")),
		"getdel":   AppendKey(nil, OpGetDel, b("k")),
		"flushall": Append(nil, OpFlushAll),
		"mset":     Append(nil, OpMSet, b("k"), b(second), b("k"), b("third")),
	} {
		m := New()
		do(m, AppendSet(nil, 0, b("k"), b(first)))
		var replies [][]byte
		for range 100 {
			replies = append(replies, m.Read(AppendKey(nil, OpGet, b("k")), nil),
				m.Read(Append(nil, OpMGet, b("k"), b("no"), b("k")), nil))
		}
		if m.Pins() != 300 || m.Retained() != 0 || len(replies[0]) > 32 {
			t.Fatalf("%s: %d pins, %d bytes retained, %d in a reply", name, m.Pins(), m.Retained(),
				len(replies[0]))
		}
		do(m, change)
		want := int64(size)
		if name == "append" {
			want = 0 // still in the table
		}
		if got := m.Retained(); got < want || got > want+size/8 {
			t.Errorf("%s: %d bytes retained, want %d", name, got, want)
		}
		for i, r := range replies {
			want := bulk(first)
			if i%2 == 1 {
				want = "*3\r\n" + want + "_\r\n" + want
			}
			if got := whole(m, r); got != want {
				t.Fatalf("%s: reply %d is another", name, i)
			}
		}
		if m.Pins() != 0 || m.Retained() != 0 {
			t.Errorf("%s: %d pins, %d bytes retained", name, m.Pins(), m.Retained())
		}
		checkBooks(t, &m.pairs)
	}
}

// What the replies of one call would have copied: 4.8 GB for the first of these.
func TestRepliesAreBoundedBeforeTheyAreBuilt(t *testing.T) {
	m := New()
	do(m, AppendSet(nil, 0, b("big"), bytes.Repeat(b("v"), 16<<20)))
	do(m, AppendSet(nil, 0, b("small"), bytes.Repeat(b("v"), largeMin-1)))
	row := func(key string, n int) []byte {
		return Append(nil, OpMGet, slices.Repeat([][]byte{b(key)}, n)...)
	}
	for _, c := range []struct {
		query []byte
		size  int
	}{
		{row("big", 60), 60 * (16<<20 + stringRoom)},
		{row("small", 1<<18), 1 << 18 * (largeMin - 1 + stringRoom)},
	} {
		want := fmt.Sprintf("-ERR the reply would have %d bytes, which is over the limit of "+
			"134217728: ask for less at once\r\n", c.size)
		if got := string(m.Read(c.query, nil)); got != want {
			t.Errorf("got %.200q", got)
		}
	}
	if m.Pins() != 0 {
		t.Errorf("%d pins", m.Pins())
	}
	set := AppendSet(nil, SetNX|SetGet, b("big"), b("x"))
	before := heap()
	var replies engine.Replies
	entries := slices.Repeat([]engine.Entry{{Data: set}}, 300)
	m.Apply(entries, &replies) // nobody waits
	reply := m.execute(set, nil, true)
	reply2 := m.Read(row("small", 1<<14), nil)
	if grown := int64(heap()) - int64(before); grown > 80<<20 || len(reply)+len(reply2) > 64 {
		t.Errorf("%d MiB for replies, %d bytes in them", grown>>20, len(reply)+len(reply2))
	}
	if got := m.Retained(); got < 64<<20 || got > 65<<20 {
		t.Errorf("%d bytes retained by a reply of 16,384 values of %d", got, largeMin-1)
	}
	whole(m, reply)
	if got := len(whole(m, reply2)); got < 64<<20 {
		t.Errorf("%d bytes", got)
	}
	if m.Pins() != 0 || m.Retained() != 0 {
		t.Errorf("%d pins, %d bytes retained", m.Pins(), m.Retained())
	}
}

func heap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// The limit of APPEND is that of the command, not of the member that applies it; the command
// without one has the old limit for ever.
func TestAppendHasTheLimitOfItsCommand(t *testing.T) {
	m := New()
	steps := []struct {
		cmd   []byte
		reply string
	}{
		{AppendAppend(nil, 5, b("k"), b("abc")), ":3\r\n"},
		{AppendAppend(nil, 5, b("k"), b("de")), ":5\r\n"},
		{AppendAppend(nil, 5, b("k"), b("f")), "-ERR the value would have 6 bytes, which is over " +
			"the limit of 5 (--max-value)\r\n"},
		{AppendAppend(nil, 2, b("new"), b("abc")), "-ERR the value would have 3 bytes, which is " +
			"over the limit of 2 (--max-value)\r\n"},
		{AppendAppend(nil, 6, b("k"), b("f")), ":6\r\n"},
		{Append(nil, OpAppend, b("k"), b("ghi")), ":9\r\n"},
		{Append(nil, OpAppendMax, b("k"), b("ghi"), b("x")), "-" + errMalformed + "\r\n"},
		{[]byte{byte(OpAppendMax)}, "-" + errMalformed + "\r\n"},
		{[]byte{byte(OpAppendMax), 0xff, 0xff}, "-" + errMalformed + "\r\n"},
	}
	for i, s := range steps {
		if got := do(m, s.cmd); got != s.reply {
			t.Fatalf("step %d: got %q, want %q", i, got, s.reply)
		}
	}
	if got := ask(m, AppendKey(nil, OpGet, b("k"))); got != "$9\r\nabcdefghi\r\n" {
		t.Fatalf("got %q", got)
	}
}

// A value that an old log built is over the limit of replies. Parts of it can be read, and it can
// be removed; commands that would answer with all of it change nothing.
func TestValuesThatNoReplyTakes(t *testing.T) {
	m := New()
	part := bytes.Repeat(b("v"), 16<<20)
	for range 9 {
		do(m, Append(nil, OpAppend, b("k"), part))
	}
	const refused = "-ERR the reply would have 150994944 bytes, which is over the limit of " +
		"134217728: ask for less at once\r\n"
	for name, got := range map[string]string{
		"get":      ask(m, AppendKey(nil, OpGet, b("k"))),
		"getrange": ask(m, AppendGetRange(nil, b("k"), 0, -1)),
		"set get":  do(m, AppendSet(nil, SetGet, b("k"), b("x"))),
		"getdel":   do(m, AppendKey(nil, OpGetDel, b("k"))),
		"mute":     string(m.execute(AppendKey(nil, OpGetDel, b("k")), nil, false)),
	} {
		if got != refused {
			t.Errorf("%s: got %.200q", name, got)
		}
	}
	for query, want := range map[string]string{
		string(AppendGetRange(nil, b("k"), 16<<20-2, 16<<20+1)): "$4\r\nvvvv\r\n",
		string(AppendKey(nil, OpStrlen, b("k"))):                ":150994944\r\n",
	} {
		if got := ask(m, b(query)); got != want {
			t.Errorf("got %.100q, want %q", got, want)
		}
	}
	if got := do(m, Append(nil, OpDel, b("k"))); got != ":1\r\n" || m.Pins() != 0 {
		t.Errorf("got %q, %d pins", got, m.Pins())
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
