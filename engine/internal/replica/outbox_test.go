package replica

import (
	"slices"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
)

// slots is what an outbox works on, in place of a replica: so many are free.
type slots struct {
	outbox
	free int
	out  []string // carried out
	lane []uint32 // the batch that each proposal was given
}

func newSlots(free int) *slots {
	s := &slots{free: free}
	s.outbox.effect = func(e *raft.Effect) { s.out = append(s.out, e.String()) }
	s.outbox.mutate = func(e *raft.Effect, in *input) bool {
		if s.free == 0 {
			return false
		}
		s.free--
		s.out = append(s.out, e.Source.String())
		if e.Source == raft.Proposals {
			s.lane = append(s.lane, in.batch.Count)
		}
		return true
	}
	return s
}

func (s *slots) valid(t *testing.T) {
	t.Helper()
	if err := s.check(); err != nil {
		t.Fatal(err)
	}
}

func mutation(source raft.Source) raft.Effect {
	return raft.Effect{Kind: raft.Mutate, Source: source}
}

func committed(index uint64) raft.Effect { return raft.Effect{Kind: raft.Commit, Index: index} }

func asking(list ...raft.Effect) func(*raft.Effects) {
	return func(e *raft.Effects) { e.List = append(e.List, list...) }
}

var twoWrites = input{batch: pipeline.WriteBatch{Lane: &pipeline.Lane{}, Count: 2}}

// While effects wait, no other call is made: its input would take the place of
// the one that they need.
func TestAnInputLivesAsLongAsItsEffects(t *testing.T) {
	s := newSlots(1)
	if !s.call(twoWrites, asking(mutation(raft.NoOp), mutation(raft.Proposals), committed(3))) {
		t.Fatal("nothing waits, and it does not call")
	}
	s.valid(t)
	if !s.pending() || s.input.batch.Count != 2 {
		t.Fatal("the proposal does not wait with its batch")
	}
	if s.call(input{}, func(*raft.Effects) { t.Error("the core was called while effects wait") }) {
		t.Error("it says that it called")
	}
	s.follow(asking(committed(4)))
	s.carry() // in vain
	s.valid(t)
	if want := []string{"no-op"}; !slices.Equal(s.out, want) {
		t.Fatalf("without a slot, carried out: %q", s.out)
	}
	s.free = 1
	s.carry()
	s.valid(t)
	if want := []string{"no-op", "proposals", "commit 3", "commit 4"}; !slices.Equal(s.out, want) {
		t.Fatalf("carried out: %q", s.out)
	}
	if s.pending() || !slices.Equal(s.lane, []uint32{2}) || s.input.batch.Lane != nil {
		t.Fatalf("batches %v, and then %+v", s.lane, s.input)
	}
}

// A call made by what carries out an effect would see a core that is ahead of
// its effects.
func TestEffectsDoNotCallTheCore(t *testing.T) {
	s := newSlots(0)
	called := true
	s.outbox.effect = func(*raft.Effect) { called = s.call(input{}, asking()) }
	s.call(input{}, asking(committed(1)))
	if called {
		t.Error("an effect called the core")
	}
}

func TestWhatFollowsBringsNoEntries(t *testing.T) {
	s := newSlots(0)
	s.call(twoWrites, asking(mutation(raft.Proposals)))
	defer func() {
		if e, ok := recover().(string); !ok || !strings.Contains(e, "without an input") {
			t.Error(e)
		}
	}()
	s.follow(asking(mutation(raft.Frame)))
}

func TestTheOutboxKnowsWhenItIsWrong(t *testing.T) {
	for want, spoil := range map[string]func(s *slots){
		"outlives":  func(s *slots) { s.effects.Reset() },
		"not known": func(s *slots) { s.input = input{} },
		"given back": func(s *slots) {
			s.input = input{frame: frame{source: &Source{}}}
			s.effects.List[0].Source = raft.Frame
		},
		"bounded": func(s *slots) { s.effects.List = make([]raft.Effect, effectsMax+1) },
	} {
		s := newSlots(0)
		s.call(twoWrites, asking(mutation(raft.Proposals)))
		s.valid(t)
		spoil(s)
		if err := s.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}
