package server

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/netio/resp"
)

// Commands by which clients that know Redis Cluster find the leader, with --follower redirect. The
// cluster is one shard: the leader has all slots, and the other members are its replicas. A member
// that forwards is no part of a cluster that clients have to know, and says so as Redis does.

const (
	lastSlot       = 16383
	faultNoCluster = "ERR This instance has cluster support disabled"
)

func clusterCommands() []*command {
	flags := []string{"loading", "stale", "fast"}
	return []*command{
		{name: "cluster", arity: -2,
			subs: []subcommand{
				{"cluster|info", 2, 0}, {"cluster|keyslot", 3, 0}, {"cluster|myid", 2, 0},
				{"cluster|nodes", 2, 0}, {"cluster|shards", 2, 0}, {"cluster|slots", 2, 0},
			},
			run: runCluster, group: "cluster", since: "3.0.0",
			summary: "With --follower redirect: INFO, KEYSLOT, MYID, NODES, SHARDS, SLOTS"},
		{name: "asking", arity: 1, flags: []string{"fast"},
			run: runClusterMode, group: "cluster", since: "3.0.0",
			summary: "With --follower redirect: changes nothing, no slot ever moves"},
		{name: "readonly", arity: 1, flags: flags,
			run: runClusterMode, group: "cluster", since: "3.0.0",
			summary: "With --follower redirect: changes nothing, reads go to the leader"},
		{name: "readwrite", arity: 1, flags: flags,
			run: runClusterMode, group: "cluster", since: "3.0.0",
			summary: "With --follower redirect: changes nothing"},
	}
}

// clusters reports whether clients are to find the leader by themselves.
func (s *Server) clusters() bool { return s.cfg.Follower == Redirect }

// mode is what HELLO and INFO call that.
func (s *Server) mode() string {
	if s.clusters() {
		return "cluster"
	}
	return "standalone"
}

func runClusterMode(f *front, c *conn, args [][]byte, dst []byte) []byte {
	if !f.server.clusters() {
		return resp.AppendError(dst, faultNoCluster)
	}
	return resp.AppendOK(dst)
}

func runCluster(f *front, c *conn, args [][]byte, dst []byte) []byte {
	if !f.server.clusters() {
		return resp.AppendError(dst, faultNoCluster)
	}
	st := f.server.status()
	switch strings.ToLower(string(args[1])) {
	case "keyslot":
		return resp.AppendInt(dst, int64(slotOf(args[2])))
	case "myid":
		return resp.AppendBulkString(dst, nodeID(&st, st.ID))
	case "info":
		return resp.AppendVerbatim(dst, "txt", clusterInfo(&st))
	case "nodes":
		return resp.AppendVerbatim(dst, "txt", clusterNodes(&st))
	case "slots":
		return appendSlots(dst, &st)
	}
	return appendShards(dst, &st)
}

// nodeID makes an id of the length that Redis Cluster's have.
func nodeID(st *engine.Status, member uint64) string {
	return fmt.Sprintf("%016x%024x", st.Cluster, member)
}

// reachable are the members whose addresses for clients are known, the leader first. One that
// waits to be added, or was removed, is none.
func reachable(st *engine.Status) []engine.MemberStatus {
	var list []engine.MemberStatus
	for _, m := range st.Members {
		if m.Advertised != "" && m.Kind != engine.Outside {
			list = append(list, m)
		}
	}
	slices.SortFunc(list, func(a, b engine.MemberStatus) int {
		switch {
		case a.ID == st.Leader:
			return -1
		case b.ID == st.Leader:
			return 1
		}
		return int(a.ID) - int(b.ID)
	})
	return list
}

// shard are the members of the one shard there is; none while no leader can be named.
func shard(st *engine.Status) []engine.MemberStatus {
	if list := reachable(st); len(list) > 0 && st.Leader != 0 && list[0].ID == st.Leader {
		return list
	}
	return nil
}

func clusterInfo(st *engine.Status) string {
	state, assigned, size := "ok", lastSlot+1, 1
	nodes, _ := countMembers(st)
	if shard(st) == nil {
		state, assigned, size = "fail", 0, 0
	}
	return fmt.Sprintf("cluster_state:%s\r\ncluster_slots_assigned:%d\r\ncluster_slots_ok:%d\r\n"+
		"cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:%d\r\n"+
		"cluster_size:%d\r\ncluster_current_epoch:%d\r\ncluster_my_epoch:%d\r\n"+
		"cluster_stats_messages_sent:0\r\ncluster_stats_messages_received:0\r\n"+
		"total_cluster_links_buffer_limit_exceeded:0\r\n",
		state, assigned, assigned, nodes, size, st.Term, st.Term)
}

func clusterNodes(st *engine.Status) string {
	var lines strings.Builder
	for _, m := range reachable(st) {
		_, peerPort := splitAddress(m.Address)
		flags, master, link, slots := "slave", "-", "connected", ""
		if m.ID == st.Leader {
			flags, slots = "master", fmt.Sprint(" 0-", lastSlot)
		} else if st.Leader != 0 {
			master = nodeID(st, st.Leader)
		}
		switch {
		case m.ID == st.ID:
			flags = "myself," + flags
		case st.Role == engine.Leader && !m.Connected:
			link = "disconnected"
		}
		fmt.Fprintf(&lines, "%s %s@%s %s %s 0 0 %d %s%s\n", nodeID(st, m.ID), m.Advertised,
			peerPort, flags, master, st.Term, link, slots)
	}
	return lines.String()
}

// appendSlots answers CLUSTER SLOTS: the range of all slots, and who has it.
func appendSlots(dst []byte, st *engine.Status) []byte {
	members := shard(st)
	if members == nil {
		return resp.AppendArray(dst, 0)
	}
	dst = resp.AppendArray(dst, 1)
	dst = resp.AppendArray(dst, 2+len(members))
	dst = resp.AppendInt(resp.AppendInt(dst, 0), lastSlot)
	for _, m := range members {
		host, port := hostPort(m.Advertised)
		dst = resp.AppendArray(dst, 4)
		dst = resp.AppendBulkString(dst, host)
		dst = resp.AppendInt(dst, port)
		dst = resp.AppendBulkString(dst, nodeID(st, m.ID))
		dst = resp.AppendMap(dst, 0) // other addresses
	}
	return dst
}

func appendShards(dst []byte, st *engine.Status) []byte {
	members := shard(st)
	if members == nil {
		return resp.AppendArray(dst, 0)
	}
	dst = resp.AppendMap(resp.AppendArray(dst, 1), 2)
	dst = resp.AppendBulkString(dst, "slots")
	dst = resp.AppendInt(resp.AppendInt(resp.AppendArray(dst, 2), 0), lastSlot)
	dst = resp.AppendBulkString(dst, "nodes")
	dst = resp.AppendArray(dst, len(members))
	for _, m := range members {
		host, port := hostPort(m.Advertised)
		role := "replica"
		if m.ID == st.Leader {
			role = "master"
		}
		health, offset := "online", m.Match
		switch {
		case m.ID == st.ID:
			offset = st.Last
		case st.Role == engine.Leader && !m.Connected:
			health = "fail"
		}
		dst = resp.AppendMap(dst, 7)
		dst = appendTexts(dst, "id", nodeID(st, m.ID))
		dst = resp.AppendInt(resp.AppendBulkString(dst, "port"), port)
		dst = appendTexts(dst, "ip", host, "endpoint", host, "role", role)
		dst = resp.AppendInt(resp.AppendBulkString(dst, "replication-offset"), int64(offset))
		dst = appendTexts(dst, "health", health)
	}
	return dst
}

func hostPort(address string) (host string, port int64) {
	host, text := splitAddress(address)
	port, _ = strconv.ParseInt(text, 10, 64) // 0 when it is a name, which no client could dial
	return host, port
}

func appendTexts(dst []byte, texts ...string) []byte {
	for _, s := range texts {
		dst = resp.AppendBulkString(dst, s)
	}
	return dst
}
