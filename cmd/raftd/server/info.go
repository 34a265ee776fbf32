package server

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/netio/resp"
)

// field is one line of INFO, or one pair of RAFT.STATUS.
type field struct{ name, value string }

func number[T int | int64 | uint64 | uint32](n T) string { return fmt.Sprint(n) }

// section is a part of INFO.
type section struct {
	name   string // as the client names it, lower case
	title  string
	fields func(s *Server, st *engine.Status) []field
}

var sections = []section{
	{"server", "Server", serverFields},
	{"clients", "Clients", clientFields},
	{"memory", "Memory", memoryFields},
	{"persistence", "Persistence", persistenceFields},
	{"stats", "Stats", statsFields},
	{"replication", "Replication", replicationFields},
	{"raft", "Raft", infoRaftFields},
	{"commandstats", "Commandstats", commandFields},
	{"latencystats", "Latencystats", stageFields},
	{"cluster", "Cluster", clusterFields},
	{"keyspace", "Keyspace", keyspaceFields},
}

// notDefault are sections that only "all", "everything" or their own name shows.
var notDefault = map[string]bool{"commandstats": true, "latencystats": true}

func runInfo(f *front, c *conn, args [][]byte, dst []byte) []byte {
	asked := make(map[string]bool)
	for _, a := range args[1:] {
		asked[strings.ToLower(string(a))] = true
	}
	all := asked["all"] || asked["everything"]
	standard := len(args) == 1 || asked["default"]
	st := f.server.status()
	f.publishCounts()
	var b strings.Builder
	for _, s := range sections {
		if !asked[s.name] && !all && (!standard || notDefault[s.name]) {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString("# " + s.title + "\r\n")
		for _, p := range s.fields(f.server, &st) {
			b.WriteString(p.name + ":" + p.value + "\r\n")
		}
	}
	return resp.AppendVerbatim(dst, "txt", b.String())
}

func serverFields(s *Server, st *engine.Status) []field {
	up := int64(time.Since(s.start).Seconds())
	return []field{
		{"redis_version", redisVersion},
		{"raftd_version", version},
		{"redis_mode", s.mode()},
		{"os", runtime.GOOS + " " + runtime.GOARCH},
		{"arch_bits", strconv.Itoa(strconv.IntSize)},
		{"go_version", runtime.Version()},
		{"gomaxprocs", number(runtime.GOMAXPROCS(0))},
		{"process_id", number(os.Getpid())},
		{"run_id", fmt.Sprintf("%016x%016x%08x", st.Cluster, st.ID, uint32(st.Incarnation))},
		{"tcp_port", s.cfg.Client[strings.LastIndexByte(s.cfg.Client, ':')+1:]},
		{"uptime_in_seconds", number(up)},
		{"uptime_in_days", number(up / 86400)},
		{"executable", os.Args[0]},
	}
}

func clientFields(s *Server, st *engine.Status) []field {
	now, _ := s.Connections()
	return []field{{"connected_clients", number(now)}, {"maxclients", number(s.MaxClients())},
		{"blocked_clients", "0"}, {"held_clients", number(s.Counts().Held)}}
}

func memoryFields(s *Server, st *engine.Status) []field {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return []field{
		{"used_memory", number(m.HeapAlloc)},
		{"used_memory_rss", number(m.Sys - m.HeapReleased)},
		{"used_memory_dataset", number(s.cfg.Machine.Memory())},
		{"mem_clients_normal", number(s.ClientBytes())},
		{"mem_clients_limit", number(int64(ClientsMax))},
		{"mem_values_retained", number(s.cfg.Machine.Retained())},
		{"values_pinned", number(s.cfg.Machine.Pins())},
		{"mem_snapshot_view", number(s.cfg.Machine.ViewMemory())},
		{"maxmemory", "0"},
		{"maxmemory_policy", "noeviction"},
		{"gc_runs", number(m.NumGC)},
		{"mem_allocator", "go"},
	}
}

func persistenceFields(s *Server, st *engine.Status) []field {
	fields := []field{
		{"loading", "0"},
		{"aof_enabled", "1"},
		{"journal", st.Journal},
		{"journal_durable", yesNo(st.JournalDurable)},
		{"journal_incarnation", number(st.Incarnation)},
		{"journal_write_age_ms", number(st.WriteAge.Milliseconds())},
	}
	fields = append(fields, saveFields(st)...)
	if st.Shortage != "" {
		fields = append(fields, field{"journal_shortage", st.Shortage})
	}
	for i, text := range s.cfg.Warnings {
		fields = append(fields, field{"warning_" + strconv.Itoa(i+1), text})
	}
	return fields
}

func statsFields(s *Server, st *engine.Status) []field {
	_, all := s.Connections()
	c := s.Counts()
	return append([]field{
		{"total_connections_received", number(all)},
		{"rejected_connections", number(s.Refused())},
		{"total_commands_processed", number(c.Total)},
		{"total_error_replies", number(c.Faults + c.Refused)},
		{"rejected_commands", number(c.Refused)},
		{"forwarded_commands", number(c.Forwarded)},
		{"retried_commands", number(c.Retried)},
		{"slowlog_skipped", number(c.SlowSkipped)},
		{"monitor_lines_lost", number(s.monitorLost.Load())},
		{"clients_killed", number(s.closed[closedKilled].Load())},
		{"leader_links_lost", number(c.ForwardersLost)},
		{"client_output_buffer_limit_disconnections", number(s.Overloads())},
		{"expired_keys", "0"},
		{"evicted_keys", "0"},
	}, s.deniedFields()...)
}

func replicationFields(s *Server, st *engine.Status) []field {
	if st.Role == engine.Leader && !st.Witness {
		fields := []field{{"role", "master"}, {"connected_slaves", ""}}
		n := 0
		for _, m := range st.Members {
			if m.ID == st.ID || !m.Connected {
				continue
			}
			host, port := splitAddress(m.Advertised)
			fields = append(fields, field{"slave" + strconv.Itoa(n), fmt.Sprintf(
				"ip=%s,port=%s,state=online,offset=%d,lag=%d",
				host, port, m.Match, int64(st.Last)-int64(m.Match))})
			n++
		}
		fields[1].value = strconv.Itoa(n)
		return append(fields, field{"master_repl_offset", number(st.Commit)})
	}
	host, port := splitAddress(st.LeaderAddress)
	up := "up"
	if st.Leader == 0 {
		up = "down"
	}
	return []field{
		{"role", "slave"},
		{"master_host", host},
		{"master_port", port},
		{"master_link_status", up},
		{"master_sync_in_progress", "0"},
		{"slave_repl_offset", number(st.Applied)},
		{"slave_read_only", "0"},
		{"connected_slaves", "0"},
		{"master_repl_offset", number(st.Commit)},
	}
}

func splitAddress(a string) (host, port string) {
	if i := strings.LastIndexByte(a, ':'); i >= 0 {
		return strings.Trim(a[:i], "[]"), a[i+1:]
	}
	return a, "0"
}

// raftFields names things as RedisRaft does where it has them.
func raftFields(st *engine.Status) []field {
	state := "up"
	if st.Leader == 0 {
		state = "uninitialized"
	}
	nodes, voting := countMembers(st)
	fields := []field{
		{"raft_cluster_id", fmt.Sprintf("%016x", st.Cluster)},
		{"raft_node_id", number(st.ID)},
		{"raft_state", state},
		{"raft_role", st.Role.String()},
		{"raft_is_voting", yesNo(isVoting(st))},
		{"raft_is_witness", yesNo(st.Witness)},
		{"raft_led_by_witness", number(st.LedByWitness)},
		{"raft_witness_notice", oneField(st.BeyondWitness)},
		{"raft_leader_id", number(st.Leader)},
		{"raft_leader_address", st.LeaderAddress},
		{"raft_current_term", number(st.Term)},
		{"raft_num_nodes", number(nodes)},
		{"raft_num_voting_nodes", number(voting)},
		{"raft_log_last_index", number(st.Last)},
		{"raft_durable_index", number(st.Durable)},
		{"raft_commit_index", number(st.Commit)},
		{"raft_leader_commit_index", number(st.LeaderCommit)},
		{"raft_last_applied_index", number(st.Applied)},
		{"raft_command_max", number(st.CommandMax)},
		{"raft_journal", st.Journal},
		{"raft_journal_durable", yesNo(st.JournalDurable)},
		{"raft_pipeline", st.Pipeline},
		{"raft_threads", st.Threads},
		{"raft_incarnation", number(st.Incarnation)},
		{"raft_founded", yesNo(st.Unfounded == "")},
		{"raft_identity", identity(st)},
		{"raft_identity_notice", oneField(st.Notice())},
		{"raft_secret", cmp.Or(strings.Join(st.Secrets, " "), "none")},
		{"raft_write_age_ms", number(st.WriteAge.Milliseconds())},
		{"raft_journal_shortage", oneField(st.Shortage)},
		{"raft_stall_transfers", number(st.Counters.StallTransfers)},
		{"raft_space_transfers", number(st.Counters.SpaceTransfers)},
		{"raft_heartbeats_alone", number(st.Heartbeats.Alone)},
		{"raft_heartbeats_multicast", number(st.Heartbeats.Multicast)},
		{"raft_heartbeats_hearing", number(st.Heartbeats.Hearing)},
	}
	return append(fields, snapshotFields(st)...)
}

// countMembers is how many members the cluster has, and how many of them vote.
func countMembers(st *engine.Status) (nodes, voting int) {
	for i := range st.Members {
		if st.Members[i].Kind != engine.Outside {
			nodes++
		}
		if votes(&st.Members[i]) {
			voting++
		}
	}
	return nodes, voting
}

// votes reports that a member votes: until the change that is under way is done, perhaps.
func votes(m *engine.MemberStatus) bool {
	return m.Kind == engine.Voter || m.Kind == engine.Leaving
}

// isVoting reports that this member votes.
func isVoting(st *engine.Status) bool {
	for i := range st.Members {
		if m := &st.Members[i]; m.ID == st.ID {
			return votes(m)
		}
	}
	return false
}

// identity says whether members are known by their data directories, and this one by
// its own.
func identity(st *engine.Status) string {
	switch {
	case st.Refused:
		return "refused"
	case st.Bound:
		return "bound"
	}
	return "unbound"
}

func infoRaftFields(s *Server, st *engine.Status) []field {
	fields := raftFields(st)
	for _, m := range st.Members {
		if m.ID == st.ID {
			continue
		}
		host, port := splitAddress(m.Address)
		state := "disconnected"
		if m.Connected {
			state = "connected"
		}
		fields = append(fields, field{"raft_node" + number(m.ID), fmt.Sprintf(
			"id=%d,state=%s,voting=%s,addr=%s,port=%s,client=%s,mode=%s,match=%d,lag=%d,"+
				"command_max=%d,witness=%s,error=%s",
			m.ID, state, yesNo(votes(&m)), host, port, m.Advertised, m.Mode, m.Match, m.Lag,
			m.CommandMax, yesNo(m.Witness), oneField(m.Error))})
	}
	for i, text := range s.cfg.Warnings {
		fields = append(fields, field{"raft_warning_" + strconv.Itoa(i+1), text})
	}
	return fields
}

// oneField is a text in which commas and line ends would begin another field.
func oneField(s string) string {
	return strings.NewReplacer(",", ";", "\r", " ", "\n", " ").Replace(s)
}

func commandFields(s *Server, st *engine.Status) (fields []field) {
	c := s.Counts()
	for _, d := range commands {
		n, asked := c.Commands[d.name]
		if !asked {
			continue
		}
		each := 0.0
		if n.Calls > 0 {
			each = n.Time.Seconds() * 1e6 / float64(n.Calls)
		}
		fields = append(fields, field{"cmdstat_" + d.name, fmt.Sprintf(
			"calls=%d,usec=%d,usec_per_call=%.2f,rejected_calls=%d,failed_calls=%d",
			n.Calls, n.Time.Microseconds(), each, n.Rejected, n.Failed)})
	}
	return fields
}

// stageFields are the times of the engine's stages in microseconds.
func stageFields(s *Server, st *engine.Status) (fields []field) {
	us := func(d time.Duration) float64 { return float64(d) / 1e3 }
	for _, p := range st.Stages {
		fields = append(fields, field{"latency_percentiles_usec_stage_" + p.Name, fmt.Sprintf(
			"p50=%.3f,p90=%.3f,p99=%.3f,p99.9=%.3f,max=%.3f",
			us(p.P50), us(p.P90), us(p.P99), us(p.P999), us(p.Max))})
	}
	return fields
}

func clusterFields(s *Server, _ *engine.Status) []field {
	if s.clusters() {
		return []field{{"cluster_enabled", "1"}}
	}
	return []field{{"cluster_enabled", "0"}}
}

func keyspaceFields(s *Server, st *engine.Status) []field {
	n := s.cfg.Machine.Keys()
	if n == 0 {
		return nil
	}
	return []field{{"db0", fmt.Sprintf("keys=%d,expires=0,avg_ttl=0", n)}}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
