package engine

import (
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

// A member lacks what was written since the last sample that it has all of, and that since the
// first sample that it does not have.
func TestLagInBytesAndTime(t *testing.T) {
	var h lagHistory
	for _, s := range []lagSample{{100, 10, 1000}, {200, 10, 1100}, {300, 20, 2000},
		{400, 20, 2500}, {500, 30, 4000}} {
		h.note(true, s)
	}
	for _, x := range []struct {
		match uint64
		bytes uint64
		since time.Duration
	}{{30, 0, 0}, {31, 0, 0}, {29, 1500, 100}, {20, 1500, 100}, {19, 2900, 300}, {10, 2900, 300},
		{9, 2900, 500}, {0, 2900, 500}} {
		if bytes, since := h.of(x.match, 600); bytes != x.bytes || since != x.since {
			t.Errorf("match %d: %d bytes, %d ns; want %d, %d", x.match, bytes, since, x.bytes,
				x.since)
		}
	}
	h.note(false, lagSample{})
	if bytes, since := h.of(0, 600); bytes != 0 || since != 0 {
		t.Errorf("who does not lead: %d bytes, %v", bytes, since)
	}
	for i := range uint64(3 * lagSamples) {
		h.note(true, lagSample{int64(i), i, i})
	}
	if n := len(h.samples); n > lagSamples {
		t.Errorf("%d samples", n)
	}
}

// News are changes of the role, and of who leads: not terms that begin, nor attempts.
func TestWhatIsNews(t *testing.T) {
	var l leadership
	for _, x := range []struct {
		role         Role
		leader, term uint64
		want         string
	}{
		{Follower, 0, 1, ""}, {Follower, 2, 1, "leader"}, {Follower, 0, 2, ""},
		{Follower, 2, 2, "leader"}, {PreCandidate, 0, 2, "role"}, {PreCandidate, 0, 2, ""},
		{Candidate, 0, 3, "role"}, {Leader, 1, 3, "role"}, {Follower, 0, 4, "role"},
		{Follower, 3, 4, "leader"},
	} {
		if got := l.news(raft.Role(x.role), x.leader, x.term); got != x.want {
			t.Errorf("%v of %d in term %d: %q, want %q", x.role, x.leader, x.term, got, x.want)
		}
	}
}
