package link

import (
	"context"
	"errors"
	"testing"

	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/wire"
)

// What one that asks says besides arrives, with its directory and its address, and so does
// the answer; also where who is asked is in no cluster itself. Neither is admitted.
func TestWhatIsSaidWhenServersMeet(t *testing.T) {
	for _, of := range []uint64{0, cluster} {
		b := make(bell, 1)
		heard := make(chan Hello, 1)
		one := newRigWith(t, 0, false, b, func(c *Config) {
			c.Cluster, c.Directory = of, raft.Directory{7, 8}
			c.Meet = func(h *Hello) *wire.Meeting {
				heard <- *h
				return &wire.Meeting{Expects: 5}
			}
		})
		ctx, cancel := context.WithTimeout(context.Background(), waitMax)
		defer cancel()
		w, err := Ask(ctx, one.address(), Question{Address: "127.0.0.1:1",
			Directory: raft.Directory{1, 2}, Meeting: &wire.Meeting{Name: "a", Expects: 3}})
		if !errors.Is(err, ErrNotFounded) || w.Meeting.GetExpects() != 5 ||
			w.Directory != (raft.Directory{7, 8}) || w.Cluster != of {
			t.Fatalf("%+v %v", w, err)
		}
		if h := <-heard; h.Address != "127.0.0.1:1" || h.Directory != (raft.Directory{1, 2}) ||
			h.Meeting.GetName() != "a" || h.Meeting.GetExpects() != 3 {
			t.Errorf("%+v", h)
		}
		b.until(t, "the end of the connection", func() bool { return len(one.endings()) == 1 })
		if len(one.peers.All()) != 0 || one.inboxes() != 0 {
			t.Error("it was admitted")
		}
	}
}

// A member that dials one that is in no cluster is told so.
func TestAMemberDialsOneThatIsInNoCluster(t *testing.T) {
	b := make(bell, 1)
	one := newRigWith(t, 0, false, b, func(c *Config) { c.Cluster = 0 })
	w := call(t, one).greet(helloFrom2())
	if want := (&Refusal{Reason: OtherCluster}).Error(); w.Refused != want {
		t.Error(w.Refused)
	}
}
