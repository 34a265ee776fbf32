package netio

import (
	"sync/atomic"
	"testing"
	"time"
)

const busyTurn = 300 * time.Microsecond

// busy takes a byte in a turn.
type busy struct {
	turns *atomic.Int64
	want  int64
	all   chan struct{} // closed after so many turns
}

func (h busy) Data(c *Conn, b []byte) (int, error) {
	for began := time.Now(); time.Since(began) < busyTurn; {
	}
	if h.turns.Add(1) == h.want {
		close(h.all)
	}
	c.Yield()
	return 1, nil
}

func (h busy) Closed(*Conn, error) {}

// However many connections keep the loop for as long as they may, Poll comes around, and who has
// little to ask does not stand behind all of them.
func TestPollComesAroundWhileManyAreBusy(t *testing.T) {
	const many, each, asks = 100, 20, 20
	var turns atomic.Int64
	before, most := int64(0), int64(0)
	answered, all := make(chan int64, 1), make(chan struct{})
	accepted := 0
	s := start(t, Config{Poll: func(*Loop) {
		most, before = max(most, turns.Load()-before), turns.Load()
	}}, func(*Conn) Handler {
		if accepted++; accepted <= many {
			return busy{&turns, many * each, all}
		}
		return testHandler{data: func(_ *Conn, b []byte) (int, error) {
			answered <- turns.Load()
			return len(b), nil
		}}
	})
	for range many {
		nc := dial(t, s)
		if _, err := nc.Write(make([]byte, each)); err != nil {
			t.Fatal(err)
		}
	}
	nc := dial(t, s)
	for i := range asks {
		at := turns.Load()
		if _, err := nc.Write([]byte{0}); err != nil {
			t.Fatal(err)
		}
		// The first one waits until the connection is accepted, behind the others.
		if n := await(t, "answer", answered) - at; i > 0 && n > many/2 {
			t.Errorf("an answer took %d turns of others", n)
		}
	}
	await(t, "the last turn", all)
	inLoop(t, s, func() {
		if longest := int64(pollHard / busyTurn); most > 2*longest {
			t.Errorf("%d turns between two polls, of which %d fit", most, longest)
		}
	})
}
