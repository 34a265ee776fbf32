package wire

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

func randomSnapshot(rng *rand.Rand) (Snapshot, *Frame) {
	u := func() uint64 { return (rng.Uint64() >> rng.IntN(65)) % raft.NumberMax }
	s := Snapshot{Kind: SnapshotKind(1 + rng.IntN(3)), From: u(), To: u(), Term: u(), Round: u(),
		Index: u(), LastTerm: u(), Digest: rng.Uint64()}
	f := &Frame{From: s.From, To: s.To, Term: s.Term, Round: s.Round}
	switch s.Kind {
	case Offer:
		s.Cluster, s.Bytes, s.Chunks = rng.Uint64(), u(), u()
		if n := rng.IntN(300); n > 0 {
			s.Configuration = bytes.Repeat([]byte{byte(n)}, n)
		}
		f.SnapshotOffer = &SnapshotOffer{Index: s.Index, Term: s.LastTerm, Digest: s.Digest,
			Cluster: s.Cluster, Bytes: s.Bytes, Chunks: s.Chunks, Configuration: s.Configuration}
	case Chunk:
		s.Chunk, s.Offset = u(), u()
		if n := rng.IntN(300); n > 0 {
			s.Data = bytes.Repeat([]byte{byte(n)}, n)
		}
		f.SnapshotChunk = &SnapshotChunk{Index: s.Index, Term: s.LastTerm, Digest: s.Digest,
			Chunk: s.Chunk, Offset: s.Offset, Data: s.Data}
	case Answer:
		s.Chunk, s.Offset, s.Done = u(), u(), rng.IntN(2) == 0
		s.Refused = []string{"", "no room"}[rng.IntN(2)]
		f.SnapshotAnswer = &SnapshotAnswer{Index: s.Index, Term: s.LastTerm, Digest: s.Digest,
			Chunk: s.Chunk, Offset: s.Offset, Done: s.Done, Refused: s.Refused}
	}
	return s, f
}

func TestSnapshotsAreEqualToGeneratedCode(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for range 500 {
		s, f := randomSnapshot(rng)
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		got := append(AppendSnapshot(nil, &s), s.Data...)
		if !bytes.Equal(got, want) {
			t.Fatalf("%+v\nby hand   %x\ngenerated %x", s, got, want)
		}
		var back Snapshot
		if err := ParseSnapshot(want, &back); err != nil || !reflect.DeepEqual(s, back) {
			t.Fatalf("%+v\nbecame %+v %v", s, back, err)
		}
		if _, err := Parse(want, new(raft.Message)); err != ErrSnapshot {
			t.Fatalf("taken for a message of the core: %v", err)
		}
	}
}

func TestOddSnapshotsAreRefused(t *testing.T) {
	m := raft.Message{Type: raft.Append, From: 1, To: 2, Term: 3}
	offer := AppendSnapshot(nil, &Snapshot{Kind: Offer, From: 1, Index: 4})
	for name, b := range map[string][]byte{
		"a message of the core":  AppendFront(nil, &m),
		"nothing":                nil,
		"two":                    append(bytes.Clone(offer), offer...),
		"a number for a message": appendUint(nil, fieldOffer, 9),
		"an index of nothing":    AppendSnapshot(nil, &Snapshot{Kind: Offer, Index: 1 << 63}),
		"a term of nobody":       AppendSnapshot(nil, &Snapshot{Kind: Offer, Term: 1 << 63}),
		"an offset below 0":      AppendSnapshot(nil, &Snapshot{Kind: Chunk, Offset: 1 << 63}),
		"a configuration of megabytes": AppendSnapshot(nil, &Snapshot{Kind: Offer,
			Configuration: make([]byte, configurationMax+1)}),
		"a configuration that is a number": appendUint(append(appendUint(nil, fieldFrom, 1),
			0x9a, 0x01, 2), nestedSeventh, 9),
		"a chunk that is cut": AppendSnapshot(nil, &Snapshot{Kind: Chunk,
			Data: []byte("data")}),
	} {
		if err := ParseSnapshot(b, new(Snapshot)); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseSnapshot(f *testing.F) {
	rng := rand.New(rand.NewPCG(6, 6))
	for range 12 {
		s, _ := randomSnapshot(rng)
		f.Add(append(AppendSnapshot(nil, &s), s.Data...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again Snapshot
		if ParseSnapshot(b, &s) != nil {
			return
		}
		b = append(AppendSnapshot(nil, &s), s.Data...)
		if err := ParseSnapshot(b, &again); err != nil {
			t.Fatal(err)
		}
		if len(s.Data) == 0 {
			s.Data, again.Data = nil, nil
		}
		if len(s.Configuration) == 0 {
			s.Configuration, again.Configuration = nil, nil
		}
		if !reflect.DeepEqual(s, again) {
			t.Fatalf("%+v became %+v", s, again)
		}
	})
}
