package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/cmd/raftd/web"
	"github.com/ringraft/ringraft/engine"
)

// live asks a member for what its page shows.
func liveOf(t *testing.T, d *daemon) (s web.State) {
	t.Helper()
	r, err := http.Get("http://" + d.plan.http + "/live.json")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil || r.StatusCode != 200 {
		t.Fatal(r.StatusCode, err)
	}
	return s
}

// The page is told what leader and followers know: each its own cursors, the leader those of all.
func TestLivePageOfACluster(t *testing.T) {
	members := cluster(t)
	lead, others := leader(t, members)
	c := client(t, lead, 3)
	for i := range 100 {
		if err := c.Set(t.Context(), fmt.Sprint(i), "v", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	last := lead.engine.Status().Commit
	for _, d := range members {
		await(t, "the cursors arrive", func() bool {
			st := d.engine.Status()
			return st.Log.Applied >= last && st.Log.Durable >= last && st.LeaderCommit >= last
		})
	}
	await(t, "the followers have acknowledged", func() bool {
		return !slices.ContainsFunc(lead.engine.Status().Members,
			func(m engine.MemberStatus) bool { return m.Match < last || m.Lag > 0 })
	})
	leads := lead.engine.Status().ID
	for _, d := range members {
		s, st := liveOf(t, d), d.engine.Status()
		if s.ID != fmt.Sprint(st.ID) || s.Leader != fmt.Sprint(leads) || s.Term != st.Term ||
			s.Role != st.Role.String() || s.Cluster != fmt.Sprintf("%016x", st.Cluster) ||
			s.Uptime <= 0 || s.Page == "" || s.Version == "" {
			t.Errorf("%+v", s)
		}
		if l := s.Log; l.Last < last || l.Durable < last || l.Commit < last || l.Applied < last ||
			l.LeaderCommit < last || l.First != 1 {
			t.Errorf("log %+v, committed is %d", l, last)
		}
		if r := s.Ring; r.Slots < 2 || r.Claimed < r.Stored || r.Stored < r.Durable ||
			r.Durable == 0 {
			t.Errorf("ring %+v", r)
		}
		if len(s.Members) != 3 || s.Members[0].ID != s.ID || len(s.Problems) > 0 {
			t.Errorf("members %+v, problems %q", s.Members, s.Problems)
		}
		for _, m := range s.Members {
			known := d == lead || m.ID == s.ID
			if m.Known != known || known && m.Match < last || !m.Connected || m.Kind != "voter" ||
				m.Client == "" || m.Address == "" {
				t.Errorf("member %s sees %+v", s.ID, m)
			}
		}
		if s.Work.Applied < 100 || s.Data.Keys != 100 || s.Journal.Mode != "memory" {
			t.Errorf("%+v %+v %+v", s.Work, s.Data, s.Journal)
		}
	}
	if s := liveOf(t, lead); s.Work.Commands < 100 || s.Data.Clients < 1 {
		t.Errorf("leader %+v %+v", s.Work, s.Data)
	}
	if err := others[0].engine.Close(); err != nil {
		t.Fatal(err)
	}
	gone := others[0].engine.Status().ID
	await(t, "the page says who is away", func() bool {
		s := liveOf(t, lead)
		return slices.Contains(s.Problems, fmt.Sprintf("member %d is not connected", gone))
	})
	if s := liveOf(t, others[0]); s.Role != "stopped" || s.Leader != "" || len(s.Problems) == 0 {
		t.Errorf("a member that has closed: %+v", s)
	}
}

// Stages are those of the time since the state before, and of nothing when that is long ago.
func TestLivePageTellsStagesOfNow(t *testing.T) {
	d := member(t, t.TempDir(), "--journal", "memory")
	c, l := client(t, d, 3), &liveState{d: d}
	write := func(n int) {
		for i := range n {
			if err := c.Set(t.Context(), fmt.Sprint(i), "v", 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	total := func() uint64 {
		for _, s := range l.read().Stages {
			if s.Name == "total" {
				if s.Count > 0 && (s.P50 <= 0 || s.P99 < s.P50 || s.Max < s.P99) {
					t.Errorf("%+v", s)
				}
				return s.Count
			}
		}
		return 0
	}
	write(20)
	if n := total(); n != 0 {
		t.Errorf("%d batches, and there was no state before", n)
	}
	write(7)
	if n := total(); n != 7 {
		t.Errorf("%d batches, and 7 writes one after the other", n)
	}
	if n := total(); n != 0 {
		t.Errorf("%d batches since a moment ago", n)
	}
	write(3)
	l.at = l.at.Add(-2 * stagesAge)
	if n := total(); n != 0 {
		t.Errorf("%d batches of long ago", n)
	}
}

func TestLivePageProblems(t *testing.T) {
	well := func() *engine.Status {
		return &engine.Status{ID: 1, Leader: 1, Role: engine.Leader, JournalDurable: true,
			Members: []engine.MemberStatus{{ID: 1, Connected: true}, {ID: 2, Connected: true},
				{ID: 9, Kind: engine.Outside}}}
	}
	type status = engine.Status
	for says, change := range map[string]func(st *status){
		"":                       func(st *status) {},
		"no leader is known":     func(st *status) { st.Leader = 0 },
		"witness 3 leads":        func(st *status) { st.Leader, st.LedByWitness = 0, 3 },
		"waits for member 2":     func(st *status) { st.Unfounded = "waits for member 2" },
		"this member stops":      func(st *status) { st.Role = engine.Stopped },
		"room: the disk is full": func(st *status) { st.Shortage = "the disk is full" },
		"not finished a write":   func(st *status) { st.WriteAge = 2 * time.Second },
		"failed: no space":       func(st *status) { st.Snapshot.Error = "no space" },
		"2 is not connected":     func(st *status) { st.Members[1].Connected = false },
		"member 2: it is unfed":  func(st *status) { st.Members[1].Error = "it is unfed" },
		"cannot help":            func(st *status) { st.BeyondWitness = "cannot help" },
	} {
		st := well()
		change(st)
		got := problems(st, nil)
		if says == "" && len(got) != 0 || says != "" && (len(got) != 1 ||
			!strings.Contains(got[0], says)) {
			t.Errorf("%q: %q", says, got)
		}
	}
	if got := problems(well(), errors.New("the journal is poisoned")); len(got) != 1 ||
		!strings.Contains(got[0], "has failed: the journal is poisoned") {
		t.Errorf("%q", got)
	}
}

// An open page keeps none of the few places for HTTP: many pages, and readiness is still told.
func TestLivePageKeepsNoPlace(t *testing.T) {
	d := member(t, t.TempDir(), "--journal", "memory")
	ask := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4 * httpMax},
		Timeout: 20 * time.Second}
	defer ask.CloseIdleConnections()
	get := func(path string) {
		r, err := ask.Get("http://" + d.plan.http + path)
		if err != nil {
			t.Error(path, err)
			return
		}
		// The body is not read: who keeps connections open would keep this one.
		t.Cleanup(func() { r.Body.Close() })
		if r.StatusCode != 200 || !r.Close && path != "/readyz" {
			t.Errorf("%s: %d, kept open %v", path, r.StatusCode, !r.Close)
		}
	}
	for range 3 * httpMax {
		get("/live.json")
	}
	get("/readyz")
}
