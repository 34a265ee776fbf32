package replica

import (
	"errors"
	"testing"

	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal/record"
)

// A leader of an earlier release sends what the own journal cannot write. It is
// refused before it has a slot, which would have to be written, and the next
// append that fits is taken.
func TestAFrameThatCannotBeWrittenIsRefused(t *testing.T) {
	g := newRig(t, 8)
	g.r.runMax = 100
	before := g.r.ring.Cursor().Load()
	g.from(2, raft.Message{Type: raft.Heartbeat, Term: 2, Commit: 1, PrevIndex: 1})
	g.durable()
	taken := g.r.ring.Cursor().Load()
	g.from(2, raft.Message{Type: raft.Append, Term: 2, EntryTerm: 2, Count: 50})
	if n := g.r.ring.Cursor().Load(); n != taken || n == before {
		t.Errorf("%d slots for it", n-taken)
	}
	if u := g.r.Unfit(); u.Index != 1 || u.Bytes <= 100 || u.Limit != 100 {
		t.Errorf("%+v", u)
	}
	g.from(2, raft.Message{Type: raft.Append, Term: 2, EntryTerm: 2, Count: 2, Commit: 2})
	if g.durable(); g.core.Last() != 2 || g.r.Unfit() != (peer.Unfit{}) {
		t.Errorf("log to %d, %+v", g.core.Last(), g.r.Unfit())
	}
	if err := g.r.cfg.Journal.Err(); err != nil {
		t.Error(err)
	}
}

// A command was put into the lane before a voter came that cannot take it.
func TestAVoterComesThatTakesLess(t *testing.T) {
	g := newRig(t, 8)
	g.lead()
	g.parts &^= Writes
	command := func(n int) {
		t.Helper()
		if _, err := g.lane.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		g.lane.Flush()
		g.turn()
	}
	command(600)
	g.links[3].limits = peer.Limits{Command: 500}
	last := g.core.Last()
	g.parts |= Writes
	g.turn()
	if g.core.Last() != last || g.r.Stats().Refused != 1 {
		t.Errorf("%d entries, %d refused", g.core.Last()-last, g.r.Stats().Refused)
	}
	g.r.cfg.Apply.Poll()
	if c := g.lane.Next(); c == nil || c.Outcome != pipeline.NotApplied ||
		c.Reason != pipeline.TooLarge {
		t.Errorf("%+v", c)
	}
	if _, err := g.lane.Write(make([]byte, 501)); err != pipeline.ErrTooLarge {
		t.Error(err)
	}
	if command(500); g.core.Last() != last+1 {
		t.Error("what fits is not taken")
	}
	if g.r.RemoveActor(3); g.r.CommandMax() != 500 {
		t.Error("it is still a voter, without a way to it")
	}
}

// A leader of a later release sends an entry of a kind that is not known: nothing of what
// comes with it is taken, and the replica says which entry that is. One of an earlier
// leader does not count.
func TestAnEntryOfAKindThatIsNotKnown(t *testing.T) {
	g := newRig(t, 8)
	g.from(2, raft.Message{Type: raft.Append, Term: 3, EntryTerm: 2, Count: 2, Commit: 2})
	g.durable()
	send := func(term uint64) {
		run := record.AppendRunHeader(nil, 2, 3)
		run = record.AppendCommand(run, []byte("y"))
		run = record.Append(run, &record.Entry{Kind: record.Config + 6, Data: []byte("later")})
		g.frame(2, raft.Message{Type: raft.Append, Term: term, PrevIndex: 2, PrevTerm: 2,
			EntryTerm: 2, Count: 2, Commit: 4}, run)
	}
	taken := g.r.ring.Cursor().Load()
	if send(2); g.r.Err() != nil {
		t.Errorf("of a leader that was: %v", g.r.Err())
	}
	send(3)
	var kind *record.KindError
	if err := g.r.Err(); !errors.As(err, &kind) || kind.Kind != uint64(record.Config)+6 ||
		err.Error() != "entry 4 of member 2: its kind is 8, which this release does not know: "+
			"upgrade this member" {
		t.Error(err)
	}
	if n := g.r.ring.Cursor().Load(); n != taken || g.core.Last() != 2 || g.core.Commit() != 2 {
		t.Errorf("%d slots for it, log to %d, commit %d", n-taken, g.core.Last(), g.core.Commit())
	}
}
