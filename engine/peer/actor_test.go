package peer

import (
	"testing"

	"github.com/ringraft/ringraft/engine/raft"
	"github.com/ringraft/ringraft/engine/raft/progress"
	"github.com/ringraft/ringraft/engine/wire"
	"github.com/ringraft/ringraft/journal/record"
	"github.com/ringraft/ringraft/ziplist"
)

// wireLink keeps the headers of what is sent.
type wireLink struct {
	connection uint64
	sent       []raft.Message
}

func (l *wireLink) Incarnation() uint64 { return 1 }

func (l *wireLink) State() (uint64, int) { return l.connection, 1 << 20 }
func (l *wireLink) Flush()               {}
func (l *wireLink) Send(front, records []byte) {
	var m raft.Message
	if _, err := wire.Parse(append(append([]byte(nil), front...), records...), &m); err != nil {
		panic(err)
	}
	l.sent = append(l.sent, m)
}

type oneTerm struct{}

func (oneTerm) Term(uint64) (uint64, bool) { return 1, true }

// A probe that carries entries and is lost must start again where it was
// ordered, however often, and over a new connection too: one from further on is
// refused, and the core, which knows only of the one that it ordered, drops the
// refusal. The member would never be fed again.
func TestALostProbeIsSentAgain(t *testing.T) {
	store := ziplist.New(ziplist.Config{BudgetBytes: 1 << 20}, 1)
	for i := uint64(1); i <= 9; i++ {
		if _, err := store.Append(1, i, 1, record.AppendCommand(nil, []byte("x"))); err != nil {
			t.Fatal(err)
		}
	}
	l := &wireLink{connection: 1}
	a := New(Config{Self: 1, Member: 2, Link: l, Store: store, Terms: oneTerm{}, Retry: 10})
	a.Order(1, progress.Probe, 5, 0, 1)
	now := int64(1)
	for try := range 4 {
		if try == 2 {
			l.connection = 2
		}
		a.Poll(uint64(6+try), 4, now) // the log grows meanwhile
		a.Poll(uint64(6+try), 4, now)
		if len(l.sent) != try+1 {
			t.Fatalf("try %d: %d frames sent", try, len(l.sent))
		}
		if m := l.sent[try]; m.PrevIndex != 4 || m.Count == 0 {
			t.Fatalf("try %d: %v", try, &m)
		}
		now += 100
	}
}
