package ziplist

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/golang/snappy"
	"google.golang.org/protobuf/proto"

	"github.com/ringraft/ringraft/journal/record"
)

// randomRun makes a run from a seed: commands of any kind, some compressible.
func randomRun(seed uint64) (Run, []record.Entry) {
	rng := rand.New(rand.NewPCG(seed, 4))
	run := Run{Term: rng.Uint64() >> rng.IntN(64), First: 1 + rng.Uint64()>>(1+rng.IntN(62))}
	var entries []record.Entry
	for range 1 + rng.IntN(60) {
		e := record.Entry{Kind: record.Kind(rng.IntN(4)), Session: rng.Uint64() >> rng.IntN(64),
			Request: rng.Uint64() >> rng.IntN(64), Clock: rng.Uint64() >> rng.IntN(64)}
		switch rng.IntN(4) {
		case 0:
			e = record.Entry{Data: []byte(strings.Repeat("compressible", rng.IntN(20)))}
		case 1:
			e.Data = make([]byte, rng.IntN(300))
			for i := range e.Data {
				e.Data[i] = byte(rng.Uint32())
			}
		}
		entries = append(entries, e)
		run.Records = record.Append(run.Records, &e)
		run.Count++
	}
	return run, entries
}

func same(a, b Run) bool {
	return a.Term == b.Term && a.First == b.First && a.Count == b.Count &&
		bytes.Equal(a.Records, b.Records)
}

// identity packs, unpacks, and lets the generated protobuf code read the same.
func identity(t *testing.T, seed uint64, codec Codec) {
	t.Helper()
	run, entries := randomRun(seed)
	b := AppendPacked([]byte("front"), run, codec)[5:]
	got, err := Unpack(b, len(run.Records))
	if err != nil || !same(got, run) {
		t.Fatalf("seed %d, %v: %+v, want %+v: %v", seed, codec, got, run, err)
	}
	if again := AppendPacked(nil, got, codec); !bytes.Equal(again, b) {
		t.Fatalf("seed %d, %v: packed again it differs", seed, codec)
	}
	var pb record.EntryRun
	if err := proto.Unmarshal(append(record.AppendRunHeader(nil, got.Term, got.First),
		got.Records...), &pb); err != nil {
		t.Fatal(err)
	}
	if pb.GetTerm() != run.Term || pb.GetFirstIndex() != run.First ||
		len(pb.GetEntries()) != len(entries) {
		t.Fatalf("seed %d: %v", seed, &pb)
	}
	for i, e := range pb.GetEntries() {
		w := &entries[i]
		if int(e.GetKind()) != int(w.Kind) || !bytes.Equal(e.GetData(), w.Data) ||
			e.GetSession() != w.Session || e.GetRequest() != w.Request || e.GetClock() != w.Clock {
			t.Fatalf("seed %d, entry %d: %v, want %+v", seed, i, e, w)
		}
	}
	if codec == Snappy && Codec(b[4]) == Snappy { // and any Snappy decoder reads it
		if raw, err := snappy.Decode(nil, b[packedHeader:]); err != nil ||
			!bytes.Equal(raw, run.Records) {
			t.Fatalf("seed %d: snappy: %v", seed, err)
		}
	}
}

func TestPackedListsAreWhatWasPacked(t *testing.T) {
	for seed := range uint64(500) {
		identity(t, seed, Codec(seed%3))
	}
}

// One flipped bit anywhere, and every cut, is found.
func TestDamageOfAPackedListIsFound(t *testing.T) {
	for seed := range uint64(12) {
		run, _ := randomRun(seed)
		b := AppendPacked(nil, run, Codec(seed%3))
		for i := range b {
			for bit := range 8 {
				c := bytes.Clone(b)
				c[i] ^= 1 << bit
				if got, err := Unpack(c, len(run.Records)); !errors.Is(err, ErrDamaged) &&
					(err != nil || !same(got, run)) {
					t.Fatalf("seed %d: bit %d of byte %d of %d: %v", seed, bit, i, len(b), err)
				}
			}
		}
		for n := range b {
			if _, err := Unpack(b[:n], len(run.Records)); !errors.Is(err, ErrDamaged) {
				t.Fatalf("seed %d: cut at %d: %v", seed, n, err)
			}
		}
		if _, err := Unpack(b, len(run.Records)-1); !errors.Is(err, ErrDamaged) {
			t.Fatalf("seed %d: larger than allowed: %v", seed, err)
		}
	}
}

// A length that claims much makes no memory.
func TestClaimsMakeNoMemory(t *testing.T) {
	run, _ := randomRun(1)
	b := AppendPacked(nil, run, S2)
	binary.LittleEndian.PutUint32(b[24:], 1<<30)
	binary.LittleEndian.PutUint32(b[28:], 1<<31)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Unpack(b, 1<<31)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 || !errors.Is(err, ErrDamaged) {
		t.Errorf("%d bytes allocated: %v", n, err)
	}
}

func FuzzUnpack(f *testing.F) {
	for seed := range uint64(6) {
		run, _ := randomRun(seed)
		f.Add(AppendPacked(nil, run, Codec(seed%3)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		// with the right checksum, what stands behind it is reached
		for _, resum := range []bool{false, true} {
			if resum && len(b) >= packedHeader {
				b = bytes.Clone(b)
				data := b[packedHeader:]
				if raw, err := snappy.Decode(nil, data); err == nil && b[4] == byte(Snappy) {
					data = raw
				}
				binary.LittleEndian.PutUint64(b[32:], packedSum(b[:32], data))
			}
			run, err := Unpack(b, 1<<20)
			if err != nil {
				if !errors.Is(err, ErrDamaged) {
					t.Fatal(err)
				}
				continue
			}
			// What is accepted is sound: its entries are there, and it packs again.
			if n, err := record.Count(run.Records); err != nil || n != int(run.Count) ||
				len(run.Records) > 1<<20 {
				t.Fatal(run, n, err)
			}
			if got, err := Unpack(AppendPacked(nil, run, S2), len(run.Records)); err != nil ||
				!same(got, run) {
				t.Fatal(got, err)
			}
		}
	})
}

func FuzzPackedIdentity(f *testing.F) {
	f.Add(uint64(1), byte(0))
	f.Fuzz(func(t *testing.T, seed uint64, codec byte) { identity(t, seed, Codec(codec%3)) })
}
