package kv

import (
	"bytes"
	"testing"
)

// FuzzDecode holds that any bytes at all are answered, alike on two replicas, and leave a table
// whose books agree.
func FuzzDecode(f *testing.F) {
	for _, e := range randomLog(11, 40) {
		f.Add(e.Data, []byte{})
	}
	f.Add(Append(nil, OpMSet, b("a"), b("1")), Append(nil, OpMGet, b("a"), b("b")))
	f.Add(Append(nil, OpFlushAll), AppendGetRange(nil, b("key1"), -3, 100))
	f.Add([]byte{byte(OpDel), 0xff, 0xff, 0xff}, Append(nil, OpDigest))
	f.Fuzz(func(t *testing.T, cmd, query []byte) {
		one, two := New(), New()
		for _, e := range randomLog(5, 20) {
			do(one, e.Data)
			do(two, e.Data)
		}
		a, c := one.execute(cmd, nil, true), two.execute(cmd, nil, true)
		if len(a) < 3 || !bytes.Equal(a, c) || !bytes.HasSuffix(a, []byte("\r\n")) {
			t.Fatalf("replies %q and %q", a, c)
		}
		if x := one.Read(query, nil); len(x) < 3 {
			t.Fatalf("query answered %q", x)
		}
		if ask(one, Append(nil, OpDigest)) != ask(two, Append(nil, OpDigest)) {
			t.Fatal("replicas differ")
		}
		total := int64(0)
		for _, buf := range one.pairs.table {
			total += int64(cap(buf))
		}
		if total != one.pairs.bytes {
			t.Fatalf("counted %d bytes of %d", one.pairs.bytes, total)
		}
	})
}
