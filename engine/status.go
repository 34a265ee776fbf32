package engine

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/founding"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/snapshot"
)

// Role is what a member is in its term.
type Role uint8

// The roles.
const (
	// Follower: it follows a leader, or waits for one.
	Follower Role = iota
	// PreCandidate: it has heard from no leader for an election timeout and asks
	// whether it could win; no term begins.
	PreCandidate
	// Candidate: it asks for votes in a term of its own.
	Candidate
	// Leader: it won the election of its term.
	Leader
	// Stopped: the engine closes or is closed, and has no role.
	Stopped
)

// String returns "follower", "pre-candidate", "candidate", "leader" or "stopped".
func (r Role) String() string {
	if r == Stopped {
		return "stopped"
	}
	return raft.Role(r).String()
}

// Status is a snapshot of a member, and belongs to whoever asked for it. It is
// renewed every half heartbeat and when role, leader or term change; Commit,
// Applied, WriteAge, Stages, Uptime and some counters are as of the call. Once the
// engine closes it says Stopped, that no leader is known and nobody is connected, and
// otherwise how things stood last.
type Status struct {
	ID          uint64 // of this member
	Cluster     uint64 // id of the cluster
	Incarnation uint64 // grows with every start of this data directory
	Role        Role
	// Leader is the id of the leader of this term; 0: none is known, or a witness leads.
	Leader uint64
	// LeaderAddress is what the leader passed to Builder.Advertise; "": nothing, or it is
	// not known.
	LeaderAddress string
	// LedByWitness is the id of a witness that leads, and takes nothing, until a full member
	// has what it has; 0: none does.
	LedByWitness uint64
	Witness      bool   // this member is a witness: it has no state
	Term         uint64 // grows with every election
	Last         uint64 // index of the newest entry of the log
	Durable      uint64 // index of the newest entry on this member's disk
	Commit       uint64 // index of the newest entry known to be committed
	Applied      uint64 // index of the newest entry applied here
	// LeaderCommit is Commit of the leader of this term, as it told last; 0: it has not yet.
	// What lies between Applied and it is missing here.
	LeaderCommit uint64
	// CommandMax is the longest command that the cluster takes, in bytes: the least
	// Builder.MaxCommand of its voters, as far as they have said.
	CommandMax int
	WriteAge   time.Duration  // of the journal's write in flight, 0: none
	Members    []MemberStatus // of the configuration in force, and this one, which is first
	Stages     []StageStatus  // of the batches proposed here, in the order of their way
	Counters   Counters
	Snapshot   SnapshotStatus
	Ring       RingStatus
	Log        LogStatus // Last, Durable, Commit and Applied of one moment
	Heartbeats HeartbeatStatus

	Journal        string        // Builder.Journal
	JournalDurable bool          // what was acknowledged survives a power cut
	Pipeline       string        // Builder.Pipeline
	Threads        string        // Builder.Threads
	Uptime         time.Duration // since Builder.Start
	Unfounded      string        // why the cluster is not founded yet, "" it is
	Joining        bool          // this member is in no configuration, and waits to be added
	Admitted       bool          // the leader has admitted it: it waits for the log
	Removed        bool          // this member was one, and was removed
	Refused        bool          // another data directory is known as this member
	Bound          bool          // each voter is known by its data directory
	BeyondWitness  string        // whom this witness cannot bring up to date, "" nobody
	Shortage       string        // why the journal cannot make its next segment, "" it can
	Secrets        []string      // names of those in force, the first is dialed with; nil: none
	Locked         string        // by which secrets no other member can be spoken to, "" it can
}

// LogStatus is how far the log has come on this member, all as of one moment, which is that of
// MemberStatus.Match: the differences between them are true, as those of Status itself are not.
type LogStatus struct{ Last, Durable, Commit, Applied uint64 }

// RingStatus is how far mutations of the log have come in this process, by their numbers: each
// that is claimed will be stored in memory, then be durable on this member's disk. At most Slots
// are under way.
type RingStatus struct {
	Slots                    int
	Claimed, Stored, Durable uint64
}

// MemberStatus is one member as this one sees it.
type MemberStatus struct {
	ID         uint64
	Kind       MemberKind
	Witness    bool
	Address    string // for members
	Advertised string // for clients: what it passed to Builder.Advertise, "": nothing or unknown
	Connected  bool   // messages can be sent to it
	Error      string // why not, or why it is not fed; "": nothing is known to be wrong
	Match      uint64 // this one's Durable; on a leader what others have acknowledged, else 0
	Lag        uint64 // on a leader: entries of its log that the member has not acknowledged
	// On a leader: what its journal has written since the member had all, roughly, in bytes; and
	// how long ago the first entry that the member lacks was put into the log, to a tick, and up to
	// the time that it leads.
	LagBytes uint64
	LagTime  time.Duration

	CommandMax int    // its Builder.MaxCommand, 0: it has not said
	Mode       string // "self"; on a leader "probe", "stream" or "snapshot"; else ""
	SentBytes  uint64 // of the log, since the start
	Restarts   uint64 // times that replication to it began anew, since the start
}

// Counters count since the start, except those of the store, which say what is in
// it now.
type Counters struct {
	Commands uint64 // applied here
	Reads    uint64 // answered, refusals among them
	Unknown  uint64 // commands whose outcome was said to be Unknown

	Proposals      uint64 // commands put into the log here, as the leader
	Batches        uint64 // in which they were
	Refused        uint64 // commands that were not
	Elections      uint64 // won
	StallTransfers uint64 // leaderships given up because the disk hung
	SpaceTransfers uint64 // leaderships given up because the disk was full

	Frames    uint64 // messages from members
	BadFrames uint64 // those that made no sense and were dropped

	StoreEntries    uint64 // of the log in memory
	StoreBytes      uint64 // they have, as they are encoded
	StoreMemory     uint64 // bytes of memory that they take
	StorePacked     uint64 // of StoreBytes, those that are packed
	StoreCompressed uint64 // bytes that these take
	StoreUnpacked   uint64 // blocks unpacked so far, for members that were behind

	JournalWrites uint64 // to the disk
	JournalBytes  uint64 // in them
}

// Status returns a snapshot. It works out the distributions of Stages under a lock
// that the engine takes, too: for operators and tests, a few times a second. Who
// leads is cheaper to get from Leadership.
func (e *Engine) Status() Status {
	s := *e.status.Load()
	s.Applied = e.member.Apply().Applied().Load()
	s.Commit = max(s.Commit, e.member.Apply().Ready().Load())
	s.Counters.Commands, s.Counters.Reads, s.Counters.Unknown = e.member.Apply().Counts()
	s.WriteAge = e.journal.WriteAge(e.clock())
	r := &s.Ring
	r.Claimed, r.Stored, r.Durable, r.Slots = e.member.Replica().Line()
	s.Counters.StallTransfers = e.member.StallTransfers()
	s.Counters.SpaceTransfers = e.member.SpaceTransfers()
	s.Stages = e.timing.status()
	s.Uptime = time.Since(e.started)
	if err := e.journal.Space(); err != nil {
		s.Shortage = err.Error()
	}
	if e.lifecycle.stopping.Load() {
		s.stop()
	}
	return s
}

// Notice says in words why this member takes no part in the cluster: it is not founded
// yet, this member waits to be added, or was removed, or another data directory is known
// as this member, or it cannot speak with the others because of its secret. "" it does.
func (s *Status) Notice() string {
	switch {
	case s.Refused:
		return founding.Refusal(s.ID)
	case s.Removed:
		return fmt.Sprintf("member %d was removed from the cluster: stop it, and remove its data "+
			"directory before it is added again", s.ID)
	case s.Locked != "":
		return "no other member can be spoken to: " + s.Locked
	case s.Joining && s.Admitted:
		return fmt.Sprintf("member %d was admitted to cluster %016x, and waits for its leader",
			s.ID, s.Cluster)
	case s.Joining:
		return fmt.Sprintf("this server has joined cluster %016x and is no member yet: add it on "+
			"the leader: raftd member add %d=%s", s.Cluster, s.ID, s.Members[0].Address)
	}
	return s.Unfounded
}

// Unready says in words what a call of Ready waits for that has not returned, as far as this
// status shows it: for whoever looks after the member.
func (s *Status) Unready() string {
	switch {
	case s.Notice() != "":
		return s.Notice()
	case s.LedByWitness != 0:
		return fmt.Sprintf("witness %d leads until a full member has what it has", s.LedByWitness)
	case s.Leader == 0:
		return "no leader is known"
	case s.LeaderCommit == 0:
		return fmt.Sprintf("leader %d has not said yet what is committed", s.Leader)
	case s.Applied < s.LeaderCommit:
		return fmt.Sprintf("applied %d of %d that leader %d has committed", s.Applied,
			s.LeaderCommit, s.Leader)
	}
	return fmt.Sprintf("leader %d is silent, or its term has committed nothing yet", s.Leader)
}

// stop makes it the status of an engine that closes. What it shares with others it
// copies.
func (s *Status) stop() {
	s.Role, s.Leader, s.LeaderAddress, s.LedByWitness = Stopped, 0, "", 0
	s.Members = slices.Clone(s.Members)
	for i := range s.Members {
		if m := &s.Members[i]; m.ID != s.ID {
			m.Connected, m.Match, m.Mode = false, 0, ""
		}
	}
}

// ResetStages discards the stage times so far, for a measurement that begins after a
// warm-up.
func (e *Engine) ResetStages() { e.timing.reset() }

// publishStatus renews the snapshot, in the goroutine that polls the replica.
func (e *Engine) publishStatus() {
	e.follow()
	e.publishMembers()
	core, replica := e.member.Core(), e.member.Replica()
	role, leader, term := replica.Role()
	hard := core.Hard()
	s := &Status{ID: e.b.id, Cluster: e.membership.Cluster, Incarnation: e.recovery.Incarnation,
		Role: Role(role), Leader: leader, Term: max(term, hard.Term), Last: core.Last(),
		Commit: core.Commit(), CommandMax: min(e.b.maxCommand, replica.CommandMax()),
		Durable: replica.DurableIndex(), Journal: e.b.mode.String(),
		JournalDurable: e.b.mode.Durable(), Pipeline: e.b.pipeline.String(),
		Threads: e.b.threads.String()}
	s.LeaderCommit, _ = core.LeaderCommit()
	s.Log = LogStatus{Last: s.Last, Durable: s.Durable, Commit: s.Commit,
		Applied: e.member.Apply().Applied().Load()}
	s.Unfounded, s.Refused = e.member.Unfounded(), e.member.Refused()
	s.Joining, s.Removed = e.joins && len(core.Config().Voters) == 0, e.member.Removed()
	s.Admitted = s.Joining && e.found.admitted
	s.Refused = s.Refused || s.Joining && e.isFound()
	s.Bound = bound(core)
	s.Secrets, s.Locked = e.secretStatus()
	s.Snapshot = e.snapshotStatus()
	st := replica.Stats()
	s.Counters = Counters{Proposals: st.Proposals, Batches: st.Batches, Refused: st.Refused,
		Frames: st.Frames, BadFrames: st.BadFrames + core.Counters().Garbled,
		Elections: st.Elections}
	s.Heartbeats = HeartbeatStatus{Alone: st.Heartbeats, Multicast: st.BeatsSent,
		Hearing: replica.Hearers(), Heard: st.BeatsTaken, Refused: st.BeatsRefused}
	zs := e.member.Store().Stats()
	s.Counters.StoreEntries, s.Counters.StoreBytes = zs.Entries, uint64(zs.Bytes)
	s.Counters.StoreMemory = uint64(zs.Held())
	s.Counters.StorePacked = uint64(zs.PackedBytes)
	s.Counters.StoreCompressed = uint64(zs.Compressed)
	s.Counters.StoreUnpacked = zs.Unpacked
	js := e.journal.Stats()
	e.lag.note(role == raft.Leader, lagSample{e.clock(), s.Last, js.Bytes})
	s.Counters.JournalWrites, s.Counters.JournalBytes = js.Writes, js.Bytes
	s.Members = e.memberStatuses(s.Durable, role == raft.Leader)
	if core.Witness(leader) || leader == e.b.id && e.b.witness {
		s.Leader, s.LedByWitness = 0, leader
	}
	s.LeaderAddress = e.advertisedBy(s.Leader)
	s.Witness, s.BeyondWitness = e.b.witness, e.member.BeyondWitness()
	e.status.Store(s)
	e.noteStanding()
}

// bound reports whether every voter of the configuration in force, which is committed,
// is known by its data directory.
func bound(core *raft.Core) bool {
	c := core.Config()
	return c.Index <= core.Commit() && len(c.Voters) > 0 &&
		!slices.ContainsFunc(c.Voters, func(id uint64) bool {
			return c.DirectoryOf(id) == raft.Directory{}
		})
}

// memberStatuses is this member and the others of the configuration in force; before there
// is one, those that this member was given.
func (e *Engine) memberStatuses(durable uint64, leads bool) []MemberStatus {
	c := e.listed()
	own := MemberStatus{ID: e.b.id, Kind: kindOf(c, e.b.id), Address: e.ownAddress(),
		Advertised: e.b.advertise, Connected: true, Match: durable, Mode: "self",
		CommandMax: e.b.maxCommand, Witness: e.b.witness}
	if m, ok := c.Find(e.b.id); ok {
		own.Address = m.Address
	}
	all := []MemberStatus{own}
	for _, m := range c.Members() {
		if m.ID != e.b.id {
			all = append(all, e.memberStatus(c, &m, leads))
		}
	}
	return all
}

func (e *Engine) memberStatus(c *config.Config, of *config.Member, leads bool) MemberStatus {
	m := MemberStatus{ID: of.ID, Kind: kindOf(c, of.ID), Witness: of.Witness,
		Address: of.Address}
	p := e.peers.Find(of.ID)
	if p == nil {
		return m // the link to it is about to be made
	}
	m.Address, m.Advertised = p.Address(), p.Advertised()
	m.Connected, m.CommandMax = p.Connected(), p.Limits().Command
	core, replica := e.member.Core(), e.member.Replica()
	wrong := p.Err()
	switch {
	case leads:
		known, _ := core.Member(p.ID())
		m.Match, m.Mode, m.Lag = known.Match, known.Mode.String(), core.Last()-known.Match
		m.LagBytes, m.LagTime = e.lag.of(known.Match, e.clock())
		if m.Connected && m.Lag > 0 {
			wrong = e.member.Unfed(p.ID())
		}
	case wrong == nil && p.ID() == core.Leader() && e.member.Behind() && p.Complaint() != "":
		wrong = errors.New(p.Complaint())
	}
	if wrong != nil {
		m.Error = wrong.Error()
	}
	m.SentBytes, _, m.Restarts = replica.Sent(p.ID())
	return m
}

// advertisedBy is where clients reach a member, "" when that is not known. The leader may
// be one that the configuration here does not name yet.
func (e *Engine) advertisedBy(id uint64) string {
	if id == e.b.id {
		return e.b.advertise
	}
	if p := e.peers.Find(id); p != nil {
		return p.Advertised()
	}
	return ""
}

// Leadership says who leads as far as this member knows, which is nobody while a witness
// does: whether this member does, the leader's id, 0 if none is known, and what the leader
// passed to Builder.Advertise, "" if that is nothing or not known yet. Once the engine closes
// nobody does. It costs next to nothing, waits for nothing, and may be asked for every
// request; Changed says when to ask again.
func (e *Engine) Leadership() (leading bool, leader uint64, address string) {
	if e.lifecycle.stopping.Load() {
		return false, 0, ""
	}
	s := e.status.Load()
	return s.Role == Leader && !s.Witness, s.Leader, s.LeaderAddress
}

// CommandMax is the longest command that the cluster takes, in bytes; see Status. It
// costs next to nothing, waits for nothing, and may be asked for every request.
func (e *Engine) CommandMax() int { return e.status.Load().CommandMax }

// Memory is the sum of the buffers that the engine has set aside, in bytes, and its
// parts: what they may grow to, most of it untouched while there is little load. The
// journal's index is what it is now, since it grows with the log: by 160 bytes a MiB, and
// by 320 at most. The state machine's own memory is not in it.
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
		{"journal groups", e.journal.Memory(e.b.maxCommand + runBytes)},
		{"journal readers", int64(len(e.listed().Members())) *
			e.journal.ReaderMemory(e.b.maxCommand+runBytes)},
		{"journal index", e.journal.IndexMemory()},
	}
	if e.files != nil {
		parts = append(parts, MemoryPart{"snapshot chunks", 3 * snapshot.ChunkBytes})
	}
	for _, p := range parts {
		total += p.Bytes
	}
	return total, parts
}

// MemoryPart is one part of Engine.Memory's sum.
type MemoryPart struct {
	Name  string // in words: "member inboxes"
	Bytes int64
}
