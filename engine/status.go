package engine

import (
	"time"

	"github.com/ringraft/ringraft/engine/internal/link"
	"github.com/ringraft/ringraft/engine/internal/raft"
)

// Role is what a replica is in its term.
type Role = raft.Role

// Roles.
const (
	Follower     = raft.Follower
	PreCandidate = raft.PreCandidate
	Candidate    = raft.Candidate
	Leader       = raft.Leader
)

// Status is a snapshot of a replica. It is renewed on every tick and role
// change; Commit and Applied are read when asked for.
type Status struct {
	ID, Cluster   uint64
	Incarnation   uint64 // grows with every start of this directory
	Role          Role
	Leader        uint64 // 0: none known
	LeaderAddress string // what the leader advertised to clients
	Term          uint64
	Last          uint64        // newest log entry
	Durable       uint64        // newest entry on this replica's disk
	WriteAge      time.Duration // of the journal's write in flight, 0: none
	Commit        uint64
	Applied       uint64
	Members       []MemberStatus
	Stages        []StageStatus
	Counters      Counters

	Journal        string
	JournalDurable bool
	Pipeline       string
	Threads        string
	Uptime         time.Duration
}

// MemberStatus is one member as this replica sees it. Match, Mode and Sent*
// are known to a leader only.
type MemberStatus struct {
	ID         uint64
	Address    string // for peers
	Advertised string // for clients, "" until it said so
	Connected  bool
	Match      uint64
	Mode       string
	SentBytes  uint64
	Restarts   uint64 // times replication began anew after a lost answer
}

// Counters count since the start.
type Counters struct {
	Commands, Reads, Unknown         uint64 // applied, answered, outcomes unknown
	Proposals, Batches, Refused      uint64
	Frames, BadFrames, DroppedFrames uint64
	Elections                        uint64 // won
	StallTransfers                   uint64 // leaderships given up because the disk hung
	StoreEntries, StoreBytes         uint64 // of the log in memory; bytes as encoded
	StoreMemory                      uint64 // what they take
	StorePacked, StoreCompressed     uint64 // of the bytes, those in packed chunks; what these take
	StoreUnpacked                    uint64 // blocks unpacked for members that were behind
	JournalWrites, JournalBytes      uint64
}

// Status returns a snapshot. It never waits; any goroutine may call it.
func (e *Engine) Status() Status {
	s := *e.status.Load()
	s.Applied = e.member.Apply().Applied().Load()
	s.Commit = max(s.Commit, e.member.Apply().Ready().Load())
	s.Counters.Commands, s.Counters.Reads, s.Counters.Unknown = e.member.Apply().Counts()
	s.WriteAge = e.journal.WriteAge(e.clock())
	s.Counters.StallTransfers = e.member.StallTransfers()
	s.Stages = e.timing.status()
	s.Uptime = time.Since(e.started)
	return s
}

// ResetStages forgets the stage times so far, for a measurement that starts
// after a warm-up.
func (e *Engine) ResetStages() { e.timing.reset() }

// publishStatus renews the snapshot, in the goroutine that polls the replica.
func (e *Engine) publishStatus() {
	role, leader, term := e.member.Replica().Role()
	hard := e.member.Core().Hard()
	s := &Status{ID: e.b.id, Cluster: e.membership.cluster, Incarnation: e.recovery.Incarnation,
		Role: role, Leader: leader, Term: max(term, hard.Term), Last: e.member.Core().Last(), Commit: e.member.Core().Commit(),
		Durable: e.member.Replica().DurableIndex(), Journal: e.b.mode.String(), JournalDurable: e.b.mode.Durable(),
		Pipeline: e.b.pipeline.String(), Threads: e.b.threads.String()}
	st := e.member.Replica().Stats()
	s.Counters = Counters{Proposals: st.Proposals, Batches: st.Batches, Refused: st.Refused, Frames: st.Frames,
		BadFrames: st.BadFrames, Elections: st.Elections}
	zs := e.member.Store().Stats()
	s.Counters.StoreEntries, s.Counters.StoreBytes, s.Counters.StoreMemory = zs.Entries, uint64(zs.Bytes), uint64(zs.Held())
	s.Counters.StorePacked, s.Counters.StoreCompressed = uint64(zs.PackedBytes), uint64(zs.Compressed)
	s.Counters.StoreUnpacked = zs.Unpacked
	js := e.journal.Stats()
	s.Counters.JournalWrites, s.Counters.JournalBytes = js.Writes, js.Bytes
	s.Members = append(s.Members, MemberStatus{ID: e.b.id, Advertised: e.b.advertise, Connected: true,
		Match: s.Durable, Mode: "self"})
	if m, ok := e.membership.member(e.b.id); ok {
		s.Members[0].Address = m.Address
	}
	for _, p := range e.peers.All() {
		s.Members = append(s.Members, e.memberStatus(p, role == Leader))
	}
	for _, m := range s.Members {
		if m.ID == leader {
			s.LeaderAddress = m.Advertised
		}
	}
	e.status.Store(s)
}

func (e *Engine) memberStatus(p *link.Peer, leads bool) MemberStatus {
	m := MemberStatus{ID: p.ID(), Address: p.Address(), Advertised: p.Advertised(), Connected: p.Connected()}
	if leads {
		known, _ := e.member.Core().Member(p.ID())
		m.Match, m.Mode = known.Match, known.Mode.String()
	}
	m.SentBytes, _, m.Restarts = e.member.Replica().Sent(p.ID())
	return m
}

// Leadership is who leads, as far as this replica knows: cheap enough to ask
// for every batch. address is what the leader advertised to clients, "" if
// that is not known yet; leader is 0 when nobody is known to lead.
func (e *Engine) Leadership() (leading bool, leader uint64, address string) {
	s := e.status.Load()
	return s.Role == Leader, s.Leader, s.LeaderAddress
}

// Memory is the sum of the buffers that the engine has set aside, in bytes:
// what they may grow to, most of it untouched while there is little load.
func (e *Engine) Memory() (total int64, parts []MemoryPart) {
	var lanes int64
	for _, l := range e.lanes.all() {
		lanes += int64(l.Memory())
	}
	parts = []MemoryPart{
		{"entries", e.member.Store().Most()},
		{"lanes", lanes},
		{"member inboxes", e.peers.Memory()},
		{"mutation ring", int64(e.b.slots * 64)},
		{"journal groups", e.journal.Memory()},
	}
	for _, p := range parts {
		total += p.Bytes
	}
	return total, parts
}

// MemoryPart is one term of the sum.
type MemoryPart struct {
	Name  string
	Bytes int64
}
