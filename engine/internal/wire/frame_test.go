package wire

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

func random(rng *rand.Rand) raft.Message {
	id := func() uint64 { return rng.Uint64() >> rng.IntN(65) }
	u := func() uint64 { return id() % raft.NumberMax }
	b := func() bool { return rng.IntN(2) == 0 }
	return raft.Message{Type: raft.MessageType(rng.IntN(10)), From: id(), To: id(), Term: u(),
		PrevIndex: u(), PrevTerm: u(), EntryTerm: u(), Count: rng.Uint32(), Commit: u(), Match: u(),
		Reject: b(), HintIndex: u(), HintTerm: u(), Round: u(), Force: b(), LastResort: b(),
		Full: b(), Floor: u(), FloorMember: id(), Heard: u()}
}

func TestEqualToGeneratedCode(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 500 {
		m := random(rng)
		run := make([]byte, rng.IntN(40))
		if len(run) > 0 {
			m.Full, m.Floor, m.FloorMember, m.Heard = false, 0, 0, 0
		}
		f := &Frame{Type: uint32(m.Type), From: m.From, To: m.To, Term: m.Term,
			PrevIndex: m.PrevIndex, PrevTerm: m.PrevTerm, EntryTerm: m.EntryTerm, Count: m.Count,
			Commit: m.Commit, Match: m.Match, Reject: m.Reject, HintIndex: m.HintIndex,
			HintTerm: m.HintTerm, Round: m.Round, Force: m.Force, LastResort: m.LastResort,
			Run: run, Full: m.Full, Floor: m.Floor, FloorMember: m.FloorMember, Heard: m.Heard}
		want, err := proto.MarshalOptions{Deterministic: true}.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		got := AppendFront(nil, &m)
		if len(run) > 0 {
			got = append(AppendRunFront(got, len(run)), run...)
		}
		if !bytes.Equal(got, want) || len(got)-len(run) > FrontMax {
			t.Fatalf("%+v\nby hand   %x\ngenerated %x", m, got, want)
		}
		var back raft.Message
		r, err := Parse(want, &back)
		if err != nil || back != m || !bytes.Equal(r, run) && len(run) > 0 {
			t.Fatalf("%+v\nbecame %+v %v", m, back, err)
		}
	}
}

func TestNothingAllocates(t *testing.T) {
	m := random(rand.New(rand.NewPCG(3, 3)))
	b := make([]byte, 0, 512)
	var back raft.Message
	if n := testing.AllocsPerRun(500, func() {
		b = AppendFront(b[:0], &m)
		if _, err := Parse(b, &back); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// The run ends its frame: the bytes of its entries are found from the end. And
// a number that does not fit is not cut to one that does.
func TestOddFramesAreRefused(t *testing.T) {
	m := raft.Message{Type: raft.Append, From: 1, To: 2, Term: 3, PrevIndex: 4, PrevTerm: 3,
		EntryTerm: 3, Count: 1}
	run := []byte{8, 3, 16, 5, 26, 3, 18, 1, 'x'}
	whole := append(AppendRunFront(AppendFront(nil, &m), len(run)), run...)
	if r, err := Parse(whole, new(raft.Message)); err != nil || !bytes.Equal(r, run) {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"a known field behind the run":    appendUint(bytes.Clone(whole), fieldCommit, 9),
		"an unknown field behind the run": appendUint(bytes.Clone(whole), 99, 9),
		"a second run": append(AppendRunFront(bytes.Clone(whole), len(run)),
			run...),
		"a type of more than a byte":      appendUint(nil, fieldType, 256+uint64(raft.Append)),
		"a count of more than four bytes": appendUint(AppendFront(nil, &m), fieldCount, 1<<32),
		"a term that nobody may have":     appendUint(nil, fieldTerm, raft.NumberMax),
		"an index that nothing may have":  appendUint(nil, fieldMatch, 1<<64-1),
	} {
		if _, err := Parse(b, new(raft.Message)); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	m := random(rand.New(rand.NewPCG(4, 4)))
	f.Add(AppendFront(nil, &m))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m raft.Message
		if run, err := Parse(b, &m); err == nil && len(run) > len(b) {
			t.Fatal("a run longer than its frame")
		}
	})
}
