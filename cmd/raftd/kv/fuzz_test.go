package kv

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/engine"
)

// FuzzDecode holds that any bytes at all are answered, alike on two replicas, and leave a table
// whose books agree.
func FuzzDecode(f *testing.F) {
	for _, e := range randomLog(11, 40) {
		f.Add(e.Data, []byte{})
	}
	f.Add(Append(nil, OpMSet, b("a"), b("1")), Append(nil, OpMGet, b("a"), b("b")))
	f.Add(Append(nil, OpFlushAll), AppendGetRange(nil, b("key1"), -3, 100))
	f.Add(AppendAppend(nil, 1<<20, b("key1"), make([]byte, 2*largeMin)),
		AppendGetRange(nil, b("key1"), 10, -10))
	f.Add(AppendSet(nil, SetGet, b("key1"), make([]byte, largeMin)),
		AppendKey(nil, OpGet, b("key1")))
	f.Add([]byte{byte(OpDel), 0xff, 0xff, 0xff}, Append(nil, OpDigest))
	f.Fuzz(func(t *testing.T, cmd, query []byte) {
		one, two := New(), New()
		for _, e := range randomLog(5, 20) {
			do(one, e.Data)
			do(two, e.Data)
		}
		a, c := do(one, cmd), do(two, cmd)
		if len(a) < 3 || a != c || !strings.HasSuffix(a, "\r\n") {
			t.Fatalf("replies %q and %q", a, c)
		}
		if x := ask(one, query); len(x) < 3 {
			t.Fatalf("query answered %q", x)
		}
		two.execute(cmd, nil, false)
		do(one, cmd)
		if ask(one, Append(nil, OpDigest)) != ask(two, Append(nil, OpDigest)) {
			t.Fatal("replicas differ")
		}
		if one.Pins()+two.Pins() != 0 || one.Retained() != 0 {
			t.Fatalf("%d pins are left", one.Pins()+two.Pins())
		}
		checkBooks(t, &one.pairs)
	})
}

// FuzzRestore holds that any bytes at all are restored or refused, and that what is restored is
// written and restored again. Headers get a checksum that fits, or else nothing goes past them.
func FuzzRestore(f *testing.F) {
	for seed := range uint64(3) {
		m := New()
		m.Apply(randomLog(seed, int(10*seed)), &engine.Replies{})
		v, _ := m.Snapshot()
		var out bytes.Buffer
		if _, err := v.WriteTo(&out); err != nil {
			f.Fatal(err)
		}
		f.Add(out.Bytes())
		f.Add(out.Bytes()[:out.Len()-out.Len()/3])
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		if len(stream) >= headerBytes {
			stream = sealed(stream)
		}
		m := New()
		install, err := m.Restore(bytes.NewReader(stream))
		if err != nil {
			return
		}
		install()
		checkBooks(t, &m.pairs)
		want := state(m)
		v, _ := m.Snapshot()
		var out bytes.Buffer
		if n, err := v.WriteTo(&out); err != nil || n != int64(len(stream)) {
			t.Fatalf("%d bytes are written again as %d: %v", len(stream), n, err)
		}
		checkStream(t, out.Bytes(), want)
	})
}
