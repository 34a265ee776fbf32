package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ringraft/ringraft/cmd/raftd/web"
	"github.com/ringraft/ringraft/engine"
)

// httpServer is the side door for operators. A nil one does nothing.
type httpServer struct {
	listener net.Listener
	server   *http.Server
}

func port(address string) string {
	_, p, _ := net.SplitHostPort(address)
	return p
}

// listenHTTP takes the address before the member starts, so that a port in use is found early.
func listenHTTP(address string) (*httpServer, error) {
	if address == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		err = fmt.Errorf("%w; choose another address or stop the process that holds it", err)
	}
	if err != nil {
		return nil, err
	}
	return &httpServer{listener: limitListener(l, httpMax)}, nil
}

func (h *httpServer) serve(d *daemon) {
	if h == nil {
		return
	}
	h.server = &http.Server{Handler: bounded(d.routes(h.listener.Addr().String())),
		ReadHeaderTimeout: httpHeaderTime, IdleTimeout: time.Minute}
	go func() {
		if err := h.server.Serve(h.listener); err != http.ErrServerClosed {
			d.log.Error("http stopped", "err", err)
		}
	}()
}

const (
	// httpHeaderTime is how long a request may take to come, and as long again with its body, which
	// nobody reads.
	httpHeaderTime = 5 * time.Second
	// httpWriteTime is how long an answer may take to go.
	httpWriteTime = 10 * time.Second
)

// bounded bounds how long a request holds one of the few places: who sends the body of a request,
// or takes an answer, as slowly as can be keeps nobody else out. A profile takes as long as it was
// asked for.
func bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		if r.Body != http.NoBody {
			_ = c.SetReadDeadline(time.Now().Add(httpHeaderTime)) // of a connection: it can be set
		}
		if !strings.HasPrefix(r.URL.Path, profilePath) {
			_ = c.SetWriteDeadline(time.Now().Add(httpWriteTime))
		}
		next.ServeHTTP(w, r)
	})
}

// routes are what is answered on an address.
func (d *daemon) routes(address string) *http.ServeMux {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &collector{d})
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/healthz", d.healthz)
	mux.HandleFunc("/readyz", d.readyz)
	web.Handle(mux, isLoopback(address), (&liveState{d: d}).read)
	serveProfiles(mux, address)
	return mux
}

func (h *httpServer) close() {
	switch {
	case h == nil:
	case h.server == nil:
		h.listener.Close()
	default:
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if h.server.Shutdown(ctx) != nil {
			h.server.Close()
		}
	}
}

// healthz: the process is alive and its journal is sound. So it is while it starts.
func (d *daemon) healthz(w http.ResponseWriter, _ *http.Request) {
	if e := d.live.engine.Load(); e != nil && e.Err() != nil {
		http.Error(w, e.Err().Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// readyWait is how long /readyz waits for this member to have what its leader had committed when
// it was asked. The leader's next heartbeat tells it.
func (p *plan) readyWait() time.Duration { return max(500*time.Millisecond, 3*p.heartbeat) }

// readyz: this member has applied what its leader had committed when it was asked.
func (d *daemon) readyz(w http.ResponseWriter, r *http.Request) {
	e := d.live.engine.Load()
	if e == nil {
		http.Error(w, d.unstarted(), http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), d.plan.readyWait())
	defer cancel()
	err := e.Ready(ctx)
	st := e.Status()
	if d.stopping.Load() {
		http.Error(w, "not ready: it stops", http.StatusServiceUnavailable)
		return
	}
	if err == nil && st.Notice() == "" && st.LedByWitness == 0 {
		role := st.Role.String()
		if st.Witness {
			role = "witness"
		}
		fmt.Fprintf(w, "ready: %s, leader %d, applied %d\n", role, st.Leader, st.Applied)
		return
	}
	http.Error(w, unready(&st, e.Err()), http.StatusServiceUnavailable)
}

// unstarted says what a member does whose engine has not started.
func (d *daemon) unstarted() string {
	p, since := d.plan, time.Since(d.began).Round(time.Second)
	if !p.searches() {
		return fmt.Sprintf("not ready: it recovers its data directory, for %v so far", since)
	}
	where := []string{}
	if p.join != nil {
		where = append(where, "--join "+strings.Join(p.join, ","))
	}
	if p.discover != "" {
		where = append(where, "--discover "+p.discover)
	}
	if p.expect != 0 {
		where = append(where, fmt.Sprintf("--bootstrap-expect %d", p.expect))
	}
	return fmt.Sprintf("not ready: for %v it looks for its cluster (%s), or recovers its data "+
		"directory; the log says who has answered", since, strings.Join(where, ", "))
}

// unready says what is missing on a member that is not ready.
func unready(st *engine.Status, failure error) string {
	if failure != nil {
		return failure.Error()
	}
	return "not ready: " + st.Unready()
}

// publishLimit is how long a scrape waits for what the loops have counted since their last ticks.
const publishLimit = 100 * time.Millisecond

// collector reads everything at the moment of the scrape; nothing is kept up to date in between.
type collector struct{ d *daemon }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("raftd_"+name, help, labels, nil)
}

var (
	descRole    = desc("raft_role", "1 for the role this member has.", "role")
	descLeader  = desc("raft_leader_id", "Id of the leader this member knows; 0 when none.")
	descWitness = desc("raft_witness", "1 when this member is a witness.")
	descInterim = desc("raft_led_by_witness", "Id of the witness that leads until a full member "+
		"can; 0 when none does.")
	descBeyond = desc("raft_witness_beyond", "1 when this witness cannot bring a full member up "+
		"to date any more.")
	descTerm    = desc("raft_term", "Current term.")
	descCommit  = desc("raft_commit_index", "Newest index known to be committed.")
	descApplied = desc("raft_applied_index", "Newest index applied.")
	descLeaders = desc("raft_leader_commit_index", "Newest index that the leader has told to be "+
		"committed; 0 when it has told none in this term.")
	descLast    = desc("raft_last_index", "Newest index in the log.")
	descDurable = desc("raft_durable_index", "Newest index on this member's disk.")
	descMatch   = desc("raft_member_match_index", "Newest index a member is known to hold, "+
		"as its leader sees it.", "member")
	descLag = desc("raft_member_lag", "Entries that a member has not acknowledged, as its leader "+
		"sees it.", "member")
	descConnected  = desc("raft_member_connected", "1 when a member is connected.", "member")
	descMembers    = desc("raft_members", "Members of the cluster, by what they do.", "kind")
	descStoreBytes = desc("store_bytes", "Log entries in memory.")
	descStoreHeld  = desc("store_memory_bytes", "Memory that log entries take.")
	descPacked     = desc("store_packed_bytes", "Log entries in memory that are packed, as they "+
		"were before.")
	descCompressed = desc("store_compressed_bytes", "Memory that packed log entries take.")
	descWrites     = desc("journal_writes_total", "Durable writes of the journal.")
	descWritten    = desc("journal_bytes_total", "Bytes written to the journal.")
	descElections  = desc("raft_elections_won_total", "Elections won by this member.")
	descWriteAge   = desc("journal_write_age_seconds", "Age of the journal's write in flight; 0 "+
		"when there is none.")
	descStalls = desc("raft_stall_transfers_total",
		"Leaderships given up because the disk hung.")
	descNoSpace = desc("raft_space_transfers_total",
		"Leaderships given up because the disk was full.")
	descSnapIndex = desc("snapshot_index", "Newest index in the newest snapshot; 0 for none.")
	descSnapBytes = desc("snapshot_bytes", "Size of the newest snapshot's file.")
	descSnapAge   = desc("snapshot_age_seconds", "Age of the newest snapshot; 0 for none.")
	descSnapTook  = desc("snapshot_seconds", "How long the newest snapshot took, since the start.")
	descSnapWait  = desc("snapshot_wait_seconds",
		"Longest that commands waited for the writer of the newest snapshot.")
	descSnapRuns  = desc("snapshot_in_progress", "1 while a snapshot is taken.")
	descSnapFails = desc("snapshot_failed", "1 when the last attempt to take one failed.")
	descSnapTaken = desc("snapshots_total", "Snapshots taken.")
	descSnapLog   = desc("snapshot_log_bytes", "Log applied since the newest snapshot.")
	descSnapView  = desc("snapshot_view_bytes", "Memory that a snapshot under way takes.")
	descFirst     = desc("raft_first_index", "Oldest index in the log.")
	descJournal   = desc("journal_durable", "1 when the journal's mode is durable.", "mode")
	descStage     = desc("stage_seconds", "Time of a batch from one stage to the next.", "stage")
	descKeys      = desc("keys", "Keys in the machine.")
	descMemory    = desc("dataset_bytes", "Estimated memory of keys and values.")
	descBacklog   = desc("client_bytes", "Memory that replies and input of clients take.")
	descRetained  = desc("retained_bytes", "Of client_bytes, values that only replies hold.")
	descOverload  = desc("clients_overload_total",
		"Clients closed because client_bytes was near its limit.")
	descClients  = desc("connections", "Client connections now.")
	descAccepted = desc("connections_total", "Client connections so far.")
	descRejected = desc("connections_refused_total",
		"Client connections refused because --maxclients were open.")
	descCommands  = desc("commands_total", "Commands by name.", "command")
	descRefused   = desc("refused_total", "Commands refused by reason.", "reason")
	descForwarded = desc("forwarded_total", "Commands forwarded to the leader.")
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descRole, descLeader, descWitness,
		descInterim, descBeyond, descTerm, descCommit, descLeaders,
		descApplied, descLast, descDurable, descMatch, descLag, descConnected, descMembers,
		descStoreBytes, descStoreHeld, descPacked, descCompressed, descWrites,
		descWritten, descElections, descWriteAge, descStalls,
		descNoSpace, descSnapIndex, descSnapBytes, descSnapAge, descSnapTook, descSnapWait,
		descSnapRuns, descSnapFails, descSnapTaken, descSnapLog, descSnapView, descFirst,
		descJournal, descStage, descKeys, descMemory, descBacklog, descRetained,
		descOverload, descClients, descAccepted, descRejected,
		descCommands, descRefused, descForwarded, descHeard, descSent, descDatagrams,
		descBeats, descAlone, descHearing, descBeatsHeard, descUnbacked, descBeatsIn} {
		out <- d
	}
	for _, d := range moreDescs {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	if c.d.live.engine.Load() == nil {
		return // it has not started
	}
	st := c.d.engine.Status()
	gauge(descRole, 1, st.Role.String())
	gauge(descLeader, float64(st.Leader))
	gauge(descWitness, truth(st.Witness))
	gauge(descInterim, float64(st.LedByWitness))
	gauge(descBeyond, truth(st.BeyondWitness != ""))
	gauge(descTerm, float64(st.Term))
	gauge(descCommit, float64(st.Commit))
	gauge(descLeaders, float64(st.LeaderCommit))
	gauge(descApplied, float64(st.Applied))
	gauge(descLast, float64(st.Last))
	gauge(descDurable, float64(st.Durable))
	kinds := [engine.Outside]int{}
	for _, m := range st.Members {
		if m.Kind < engine.Outside {
			kinds[m.Kind]++
		}
		id := fmt.Sprint(m.ID)
		gauge(descMatch, float64(m.Match), id)
		gauge(descLag, float64(m.Lag), id)
		gauge(descConnected, truth(m.Connected), id)
	}
	for kind, n := range kinds {
		gauge(descMembers, float64(n), engine.MemberKind(kind).String())
	}
	gauge(descStoreBytes, float64(st.Counters.StoreBytes))
	gauge(descStoreHeld, float64(st.Counters.StoreMemory))
	gauge(descPacked, float64(st.Counters.StorePacked))
	gauge(descCompressed, float64(st.Counters.StoreCompressed))
	count(descWrites, st.Counters.JournalWrites)
	count(descWritten, st.Counters.JournalBytes)
	count(descElections, st.Counters.Elections)
	gauge(descWriteAge, st.WriteAge.Seconds())
	count(descStalls, st.Counters.StallTransfers)
	count(descNoSpace, st.Counters.SpaceTransfers)
	c.snapshots(&st.Snapshot, gauge, count)
	gauge(descJournal, truth(st.JournalDurable), st.Journal)
	for _, s := range st.Stages {
		out <- prometheus.MustNewConstSummary(descStage, s.Count, 0, map[float64]float64{
			0.5: s.P50.Seconds(), 0.9: s.P90.Seconds(), 0.99: s.P99.Seconds(),
			0.999: s.P999.Seconds()}, s.Name)
	}
	gauge(descKeys, float64(c.d.machine.Keys()))
	gauge(descMemory, float64(c.d.machine.Memory()))
	gauge(descBacklog, float64(c.d.server.ClientBytes()))
	gauge(descRetained, float64(c.d.machine.Retained()))
	gauge(descSnapWait, c.d.machine.ViewWait().Seconds())
	count(descOverload, c.d.server.Overloads())
	now, all := c.d.server.Connections()
	gauge(descClients, float64(now))
	count(descAccepted, all)
	count(descRejected, c.d.engine.Refused())
	ctx, cancel := context.WithTimeout(context.Background(), publishLimit)
	defer cancel()
	c.d.server.Publish(ctx)
	counts := c.d.server.Counts()
	for name, n := range counts.Commands {
		count(descCommands, n.Calls, name)
	}
	count(descRefused, counts.Faults, "fault")
	count(descRefused, counts.Refused, "state")
	count(descForwarded, counts.Forwarded)
	c.discovery(&st.Heartbeats, gauge, count)
	c.more(&st, out)
}

func (c *collector) snapshots(s *engine.SnapshotStatus,
	gauge func(*prometheus.Desc, float64, ...string),
	count func(*prometheus.Desc, uint64, ...string)) {
	age := 0.0
	if s.Index > 0 {
		age = time.Since(s.Taken).Seconds()
	}
	gauge(descSnapIndex, float64(s.Index))
	gauge(descSnapBytes, float64(s.Bytes))
	gauge(descSnapAge, age)
	gauge(descSnapTook, s.Took.Seconds())
	gauge(descSnapRuns, truth(s.Underway))
	gauge(descSnapFails, truth(s.Error != ""))
	count(descSnapTaken, s.Count)
	gauge(descSnapLog, float64(s.LogBytes))
	gauge(descSnapView, float64(c.d.machine.ViewMemory()))
	gauge(descFirst, float64(s.LogFirst))
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
