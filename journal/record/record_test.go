package record

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

func random(rng *rand.Rand) Entry {
	e := Entry{Data: make([]byte, rng.IntN(300))}
	for i := range e.Data {
		e.Data[i] = byte(rng.Uint32())
	}
	if rng.IntN(2) == 0 {
		e.Kind, e.Session, e.Request, e.Clock = Kind(rng.IntN(3)), rng.Uint64()>>rng.IntN(64),
			uint64(rng.IntN(3)), rng.Uint64()
	}
	return e
}

// What is written by hand is what the generated code writes and reads, for the
// whole run and for every slice of it on entry boundaries.
func TestEqualToGeneratedCode(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		want := &EntryRun{Term: uint64(rng.IntN(5)), FirstIndex: rng.Uint64() >> 40}
		var records []byte
		var ends []int
		var entries []Entry
		for range 1 + rng.IntN(8) {
			e := random(rng)
			want.Entries = append(want.Entries, &RunEntry{Kind: EntryKind(e.Kind), Data: e.Data,
				Session: e.Session, Request: e.Request, Clock: e.Clock})
			before := len(records)
			records = Append(records, &e)
			if e.Kind == Command && e.Session == 0 && e.Request == 0 && e.Clock == 0 {
				short := AppendCommand(nil, e.Data)
				if !bytes.Equal(short, records[before:]) || len(short) != SizeCommand(len(e.Data)) {
					t.Fatalf("the short path differs for %d bytes", len(e.Data))
				}
			}
			ends = append(ends, len(records))
			entries = append(entries, e)
		}
		whole := append(AppendRunHeader(nil, want.Term, want.FirstIndex), records...)
		generated, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
		if err != nil || !bytes.Equal(whole, generated) {
			t.Fatalf("by hand %x\ngenerated %x %v", whole, generated, err)
		}
		from := rng.IntN(len(ends))
		start := 0
		if from > 0 {
			start = ends[from-1]
		}
		slice := append(AppendRunHeader(nil, 7, 9), records[start:]...)
		var got EntryRun
		if err := proto.Unmarshal(slice, &got); err != nil || len(got.Entries) != len(ends)-from ||
			got.Term != 7 {
			t.Fatalf("a slice is not a run: %v %v", &got, err)
		}
		term, first, rest, err := SplitRun(slice)
		if err != nil || term != 7 || first != 9 || !bytes.Equal(rest, records[start:]) {
			t.Fatal(term, first, err)
		}
		if n, err := Count(records); err != nil || n != len(entries) {
			t.Fatal(n, err)
		}
		for _, e := range entries {
			var p Entry
			n, err := Parse(records, &p)
			if err != nil || !bytes.Equal(p.Data, e.Data) || p.Kind != e.Kind ||
				p.Session != e.Session || p.Request != e.Request || p.Clock != e.Clock {
				t.Fatalf("%+v, want %+v: %v", p, e, err)
			}
			records = records[n:]
		}
	}
}

func TestOverheadAndAllocations(t *testing.T) {
	for size, want := range map[int]int{16: 4, 125: 4, 128: 6, 1024: 6} {
		if got := SizeCommand(size) - size; got != want {
			t.Errorf("%d bytes cost %d more, want %d", size, got, want)
		}
	}
	dst, data := make([]byte, 0, 256), make([]byte, 128)
	var e Entry
	if n := testing.AllocsPerRun(1000, func() {
		dst = AppendCommand(dst[:0], data)
		if _, err := Parse(dst, &e); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(AppendCommand(nil, []byte("hello")))
	f.Add(Append(nil, &Entry{Kind: Config, Data: []byte("x"), Session: 1, Request: 2, Clock: 3}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e Entry
		n, err := Parse(b, &e)
		if err != nil {
			return
		}
		if n <= 0 || n > len(b) {
			t.Fatalf("size %d of %d", n, len(b))
		}
		var back Entry
		if _, err := Parse(Append(nil, &e), &back); err != nil || !bytes.Equal(back.Data, e.Data) ||
			back.Kind != e.Kind {
			t.Fatalf("%+v became %+v: %v", e, back, err)
		}
		if _, err := Scan(b, func(int, *Entry) {}); err == nil {
			if _, err := Count(b); err != nil {
				t.Fatal("scanned but not counted")
			}
		}
	})
}

func BenchmarkAppendCommand128(b *testing.B) {
	dst, data := make([]byte, 0, 256), make([]byte, 128)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendCommand(dst[:0], data)
	}
}

func BenchmarkParse128(b *testing.B) {
	rec := AppendCommand(nil, make([]byte, 128))
	var e Entry
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(rec, &e); err != nil {
			b.Fatal(err)
		}
	}
}

// agree holds Scan, which guards the log, against Parse, which must then read
// every entry: the same entries, and the same ones special.
func agree(t *testing.T, b []byte) (ok bool) {
	t.Helper()
	var special, want []int
	n, err := Scan(b, func(i int, _ *Entry) { special = append(special, i) })
	if err != nil {
		return false
	}
	for i := range n {
		var e Entry
		size, err := Parse(b, &e)
		if err != nil {
			t.Fatalf("%x: entry %d was let in and cannot be read: %v", b, i, err)
		}
		if e.Kind != Command {
			want = append(want, i)
		}
		b = b[size:]
	}
	if len(b) > 0 || !slices.Equal(special, want) {
		t.Fatalf("special are %v, told of %v; %d bytes left", want, special, len(b))
	}
	return true
}

func TestScanLetsInOnlyWhatParses(t *testing.T) {
	for name, c := range map[string]struct {
		inner []byte
		ok    bool
	}{
		"a command":                  {[]byte{tagData, 2, 'a', 'b'}, true},
		"an empty command":           {nil, true},
		"no-op":                      {[]byte{tagKind, byte(NoOp)}, true},
		"kind behind the data":       {[]byte{tagData, 1, 'a', tagKind, byte(Config)}, true},
		"data longer than the entry": {[]byte{tagData, 200, 'a', 'b'}, false},
		"data without a length":      {[]byte{tagData}, false},
		"data, then half a field":    {[]byte{tagData, 1, 'a', tagKind}, false},
		"a kind that is not known":   {[]byte{tagKind, byte(Config) + 1}, false},
		"a kind of two bytes":        {[]byte{tagKind, 0x81, 0x02}, false},
	} {
		b := AppendCommand(nil, []byte("before"))
		b = append(append(b, tagEntry, byte(len(c.inner))), c.inner...)
		if ok := agree(t, b); ok != c.ok {
			t.Errorf("%s: let in %t", name, ok)
		}
	}
}

// An entry of a later release is refused by its kind, whatever stands in it, and its
// size is known.
func TestUnknownKind(t *testing.T) {
	for _, kind := range []uint64{uint64(Config) + 1, 9, 300, 1 << 40} {
		known := AppendCommand(nil, []byte("before"))
		b := protowire.AppendVarint([]byte{tagData, 1, 'a', tagKind}, kind)
		b = append(append(known, tagEntry, byte(len(b))), b...)
		var unknown *KindError
		n, err := Scan(b, func(int, *Entry) { t.Error("it is special") })
		if n != 1 || !errors.As(err, &unknown) || unknown.Kind != kind {
			t.Errorf("%d entries, %v", n, err)
		}
		first, err := Skip(b)
		if err != nil {
			t.Fatal(err)
		}
		var e Entry
		n, err = Parse(b[first:], &e)
		if n != len(b)-first || !errors.As(err, &unknown) || unknown.Kind != kind {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
}

func FuzzScan(f *testing.F) {
	f.Add(Append(AppendCommand(nil, []byte("x")), &Entry{Kind: Config, Data: []byte("y")}))
	f.Add([]byte{tagEntry, 4, tagData, 200, 'a', 'b'})
	f.Fuzz(func(t *testing.T, b []byte) { agree(t, b) })
}
