package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/ringraft/ringraft/cmd/raftd/server"
	"github.com/ringraft/ringraft/cmd/raftd/web"
	"github.com/ringraft/ringraft/engine"
)

// stagesAge is how long ago the reading before may be for what the page says of stages: a page
// that opens after a night says nothing of the night.
const stagesAge = 5 * time.Second

// liveState is what the page shows, worked out when a page asks.
type liveState struct {
	d      *daemon
	before *engine.StageTimes // of the state before; nil: there is none
	at     time.Time          // when that was
}

// read is called by one goroutine at a time.
func (l *liveState) read() web.State {
	if l.d.live.engine.Load() == nil { // from then on d.engine is there
		return l.d.starting()
	}
	st := l.d.engine.Status()
	s := web.State{Time: time.Now().UnixMilli(), Uptime: st.Uptime.Milliseconds(),
		Cluster: fmt.Sprintf("%016x", st.Cluster), ID: decimal(st.ID), Incarnation: st.Incarnation,
		Version: server.Version(), Role: st.Role.String(), Witness: st.Witness, Term: st.Term,
		Problems: problems(&st, l.d.engine.Err()),
		Log: web.Log{First: st.Snapshot.LogFirst, Last: st.Log.Last,
			Durable: st.Log.Durable, Commit: st.Log.Commit, Applied: st.Log.Applied,
			LeaderCommit: st.LeaderCommit},
		Ring: web.Ring{Slots: st.Ring.Slots, Claimed: st.Ring.Claimed, Stored: st.Ring.Stored,
			Durable: st.Ring.Durable},
		Members: []web.Member{}, Stages: l.stages(),
	}
	if leader := max(st.Leader, st.LedByWitness); leader != 0 {
		s.Leader = decimal(leader)
	}
	for i := range st.Members {
		s.Members = append(s.Members, liveMember(&st, &st.Members[i]))
	}
	l.fill(&s, &st)
	return s
}

// starting is what the page shows of a member whose engine has not started.
func (d *daemon) starting() web.State {
	return web.State{Time: time.Now().UnixMilli(), Uptime: time.Since(d.began).Milliseconds(),
		ID: decimal(d.plan.id), Version: server.Version(), Role: "starting",
		Problems: []string{d.unstarted()}, Members: []web.Member{}, Stages: []web.Stage{}}
}

func decimal(id uint64) string { return strconv.FormatUint(id, 10) }

// stages are the times since the state before, none when that is long ago.
func (l *liveState) stages() []web.Stage {
	now, times := time.Now(), l.d.engine.StageTimes()
	before, list := l.before, []web.Stage{}
	if now.Sub(l.at) > stagesAge {
		before = nil
	}
	l.before, l.at = times, now
	if before == nil {
		return list
	}
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	for _, s := range times.Since(before) {
		list = append(list, web.Stage{Name: s.Name, Count: s.Count, P50: us(s.P50), P99: us(s.P99),
			Max: us(s.Max)})
	}
	return list
}

func liveMember(st *engine.Status, m *engine.MemberStatus) web.Member {
	return web.Member{ID: decimal(m.ID), Kind: m.Kind.String(), Witness: m.Witness,
		Address: m.Address, Client: m.Advertised, Connected: m.Connected, Error: m.Error,
		Known: m.ID == st.ID || st.Role == engine.Leader, Match: m.Match, Lag: m.Lag,
		LagTime: m.LagTime.Milliseconds(), LagBytes: m.LagBytes, Mode: m.Mode, Sent: m.SentBytes,
		Restarts: m.Restarts}
}

// fill adds what was done here, what the disk does and what is held.
func (l *liveState) fill(s *web.State, st *engine.Status) {
	counts := l.d.server.Counts()
	writes, applies := l.d.engine.Durations()
	clients, _ := l.d.server.Connections()
	s.Work = web.Work{Commands: counts.Total, Applied: st.Counters.Commands,
		Reads: st.Counters.Reads, Forwarded: counts.Forwarded, Elections: st.Counters.Elections,
		Applies: total(&applies), ApplyTime: applies.Sum.Microseconds()}
	s.Journal = web.Journal{Mode: st.Journal, Durable: st.JournalDurable, Writes: total(&writes),
		Bytes: st.Counters.JournalBytes, WriteTime: writes.Sum.Microseconds(),
		WriteAge: st.WriteAge.Microseconds(), Shortage: st.Shortage}
	s.Snapshot = web.Snapshot{Index: st.Snapshot.Index, Bytes: st.Snapshot.Bytes,
		Underway: st.Snapshot.Underway, Log: st.Snapshot.LogBytes}
	if st.Snapshot.Index > 0 {
		s.Snapshot.Age = int64(time.Since(st.Snapshot.Taken).Seconds())
	}
	s.Data = web.Data{Keys: l.d.machine.Keys(), Bytes: l.d.machine.Memory(),
		Store: int64(st.Counters.StoreMemory), Clients: clients,
		ClientBytes: l.d.server.ClientBytes()}
}

func total(h *engine.Histogram) (n uint64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// problems are what is wrong as this member sees it, the worst first.
func problems(st *engine.Status, failure error) []string {
	list := []string{}
	wrong := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	switch {
	case failure != nil:
		wrong("this member has failed: %v", failure)
	case st.Role == engine.Stopped:
		wrong("this member stops")
	case st.Notice() != "":
		wrong("%s", st.Notice())
	case st.LedByWitness != 0:
		wrong("witness %d leads until a full member has what it has", st.LedByWitness)
	case st.Leader == 0:
		wrong("no leader is known: writes and reads wait for a majority")
	}
	if st.BeyondWitness != "" {
		wrong("%s", st.BeyondWitness)
	}
	if st.Shortage != "" {
		wrong("the journal lacks room: %s", st.Shortage)
	}
	if st.WriteAge >= hangMillis*time.Millisecond {
		wrong("the disk has not finished a write for more than a second")
	}
	if st.Snapshot.Error != "" {
		wrong("the last snapshot failed: %s", st.Snapshot.Error)
	}
	for i := range st.Members {
		switch m := &st.Members[i]; {
		case m.ID == st.ID || m.Kind == engine.Outside || st.Role == engine.Stopped:
		case !m.Connected:
			wrong("member %d is not connected", m.ID)
		case m.Error != "":
			wrong("member %d: %s", m.ID, m.Error)
		}
	}
	return list
}
