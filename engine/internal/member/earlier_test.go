package member

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/founding"
	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/wire"
)

// earlierKnows reports that a release without foundings and snapshots knows every field of
// a frame: those up to full, the eighteenth.
func earlierKnows(b []byte) bool {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 || field > 18 {
			return false
		}
		k := protowire.ConsumeFieldValue(field, kind, b[n:])
		if k < 0 {
			return false
		}
		b = b[n+k:]
	}
	return true
}

// foundersRig has an empty directory, and is connected with 2 and 3, of which 3 is of an
// earlier release.
func foundersRig(t *testing.T) (g *rig, f *founding.Founder) {
	t.Helper()
	var voters []config.Member
	for id := uint64(1); id <= 3; id++ {
		voters = append(voters, config.Member{ID: id, Address: "there"})
	}
	f = founding.New(1, raft.Directory{1, 1}, config.New(7, voters), nil, false)
	g = newEmptyRig(t, func(c *Config) {
		c.Founding = Founding{Founder: f, Founders: []uint64{1, 2, 3}}
	})
	g.up[2], g.up[3] = true, true
	g.limits[2] = peer.Limits{Snapshots: true, Foundings: true}
	return g, f
}

// A founder tells its statement to those that know the frame, and to nobody else, and says
// in words who takes no part.
func TestAFounderTellsNothingToAnEarlierRelease(t *testing.T) {
	g, f := foundersRig(t)
	g.run(time.Second)
	for id, frames := range g.frames {
		told := 0
		for _, b := range frames {
			if wire.IsFounding(b) {
				told++
			}
			if id == 3 && !earlierKnows(b) {
				t.Fatalf("member 3 of an earlier release is sent %x", b)
			}
		}
		if id == 2 && told == 0 {
			t.Error("member 2 is told nothing")
		}
	}
	const words = "member 3 is of an earlier release"
	if !strings.Contains(f.Why(), words) {
		t.Errorf("it says %q", f.Why())
	}
	g.limits[3] = g.limits[2] // it was upgraded
	if g.run(time.Second); len(g.frames[3]) == 0 || strings.Contains(f.Why(), words) {
		t.Errorf("upgraded: %d frames, %q", len(g.frames[3]), f.Why())
	}
}

// A leader that offered a snapshot may come back as an earlier release: what was about to
// be answered is not sent.
func TestAnOfferIsNotAnsweredToAnEarlierRelease(t *testing.T) {
	w, leader, away := behind(t)
	away.resting = false
	for range 200_000 {
		if w.step(); away.up && away.receiving.asked {
			break
		}
	}
	if !away.receiving.asked {
		t.Fatal("it is offered none")
	}
	away.links[leader.id].old = true
	for range 20_000 {
		w.step() // the link judges what is sent
	}
}
