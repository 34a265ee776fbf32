package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/founding"
	"github.com/ringraft/ringraft/engine/internal/member"
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/ziplist"
)

const cluster = 77 // any number, the same for all members

// given is the list that every founder starts with.
func (w *World) given() config.Config {
	var voters []config.Member
	for _, h := range w.hosts[:w.plan.Members] {
		voters = append(voters, config.Member{ID: h.id, Address: fmt.Sprint("n", h.id),
			Witness: h.witness})
	}
	return config.New(cluster, voters)
}

// nobody is the metadata of a directory whose cluster is not founded yet.
func nobody() []byte {
	c := config.Config{Cluster: cluster}
	return c.Encode()
}

// founders is what the member needs until its log has a configuration, and the
// configuration of a log that has lost its own.
func (h *host) founders(rec *journal.Recovery, from *member.Start) (f member.Founding,
	first raft.Configuration) {
	given := h.w.given()
	known := len(rec.Configs) > 0 || from.Info.Index > 0
	if from.Info.Index > 0 {
		c, err := decodeConfig(from.Configuration.Index, from.Configuration.Data)
		if err != nil {
			h.w.fail("recovery", "member %d: the configuration of a snapshot: %v", h.id, err)
		}
		first = c
	}
	if c, err := config.Decode(rec.Metadata); err == nil && !known && !rec.Fresh &&
		len(c.Voters) > 0 {
		known, first = true, c.Raft(0)
	}
	if f.Founders = given.Voters; h.joins {
		if conf := &h.w.judge.conf; len(conf.Voters) > 0 {
			f.Founders = conf.Members() // as whom it was told to join
		}
		return f, first
	}
	f.Founder = founding.New(h.id, h.directory, given, h.promise, known)
	f.Promise, f.OnFounded = h.promises, h.founds
	return f, first
}

// promises makes a promise durable, at once and whole.
func (h *host) promises(list []byte) error {
	h.effect("promise")
	h.w.judge.promised(h, list)
	h.promise = slices.Clone(list)
	h.effect("promise kept")
	return nil
}

// founds is told that the member founds; sometimes power goes soon.
func (h *host) founds(list []byte) {
	h.w.judge.founded(h, list)
	if err := h.journal.SetMetadata(list); err != nil {
		h.w.fail("founding", "member %d: %v", h.id, err)
	}
	if h.armed == 0 && h.w.sched.chance(0.1) {
		h.armed = 1 + h.w.sched.n(4)
	}
}

// onMembers keeps the members as the journal's metadata.
func (h *host) onMembers(_ uint64, data []byte) {
	if err := h.journal.SetMetadata(data); err != nil {
		h.w.fail("members are recorded", "member %d: %v", h.id, err)
	}
}

// boot builds the member, as the engine does.
func (h *host) boot(j *journal.Journal, rec *journal.Recovery, from *member.Start) {
	w, p := h.w, h.w.plan
	birth, first := h.founders(rec, from)
	seed := h.rng.next()
	old := h.lanes // of its last life
	h.reads, h.clientLanes, h.lanes = [16]*journalRead{}, nil, nil
	h.limits.Run = j.Largest()
	for i := range p.Lanes {
		var over *pipeline.Lane
		if i < len(old) {
			over = old[i]
		}
		h.addLane(i, over)
	}
	m, err := member.Build(member.Config{
		ID: h.id, Members: first, Founding: birth, Seed: seed,
		Times: member.Times{Heartbeat: time.Duration(p.Heartbeat),
			Election: time.Duration(p.Election), Stall: time.Duration(p.Election)},
		Sizes: member.Sizes{Slots: p.Slots, CommandMax: h.limits.Command,
			FrameBytes: p.FrameBytes, ReadBytes: 32 << 10},
		Journal: j, Machine: h.stateMachine(), Group: h.inGroup(),
		Lanes: func() []*pipeline.Lane {
			h.seam()
			return h.lanes
		},
		Link: h.linkTo, Unlink: h.unlink, Start: h.startJob,
		Snapshots: h.snapshots(), WitnessLog: p.WitnessLog, From: *from,
		Store: ziplist.Config{ChunkBytes: p.ChunkBytes, BudgetBytes: p.Budget, HotBytes: p.Hot,
			Codec: p.Codec, Background: h.background},
		Serial: p.Serial,
		OnRole: h.onRole, OnMembers: h.onMembers, OnConfig: decodeConfig, OnEvent: h.onEvent,
		Timing: seams{h}, Clock: h.local,
	}, rec)
	if err != nil {
		w.fail("recovery", "member %d: %v", h.id, err)
		return
	}
	h.up, h.member, h.journal = true, m, j
	h.core, h.store, h.apply, h.replica = m.Core(), m.Store(), m.Apply(), m.Replica()
	h.founding, h.crashPlan = len(h.disk.platter.log) == 0, crashPlan{}
	h.turnAt, h.busy, h.stalledTo, h.applyStall, h.hold = 0, 0, 0, 0, false
	h.seenCommit, h.seenApplied = h.core.Commit(), from.Applied
	h.sentUndurable, h.first, h.restored = false, h.core.First(), 0
	h.role, h.term, h.lastAck, h.quiet = raft.Follower, h.core.Hard().Term, 0, w.now
	h.clock, h.real = 1, w.now
	h.rounds, h.agreed, h.fullAt, h.stuckAt = h.rounds[:0], map[raft.Directory]int64{}, 0, 0
	h.forces, h.told = h.forces[:0], false
	h.ledBy = ledBy{silent: w.now, looked: w.now}
	for _, o := range w.hosts {
		h.led[o.id] = lead{}
		if o != h && o.up && o.core.Role() == raft.Leader {
			h.led[o.id] = lead{o.core.Hard().Term, o.core.Last()}
		}
	}
	j.OnDone(func() { h.wake(0) })
	if err := m.Begin(h.local()); err != nil {
		w.fail("founding", "member %d: %v", h.id, err)
		return
	}
	w.at(p.Heartbeat/2, event{kind: evTick, host: h, life: h.life})
	h.wake(0)
	w.net.started(h)
}

// connectionTo is the connection to another host; connections outlive the process.
func (h *host) connectionTo(id uint64) *connection {
	for _, c := range h.connections {
		if c.to.id == id {
			return c
		}
	}
	return nil
}

// linkTo lets the connection to another member be dialed at an address.
func (h *host) linkTo(id uint64, address string) member.Link {
	c := h.connectionTo(id)
	c.linked, c.address = true, address
	if h.up {
		c.dial(0)
	}
	return c
}

// unlink ends the connection to another one for good.
func (h *host) unlink(id uint64) {
	c := h.connectionTo(id)
	c.linked = false
	c.broken()
	c.queue = c.queue[:0]
}

// onEvent takes the events that an operator would see.
func (h *host) onEvent(e member.Event) {
	h.onWitness(&e)
	switch e.Kind {
	case member.HandingOver:
		h.w.hit(StallHandedOver)
	case member.SnapshotTaken:
		h.w.hit(SnapshotMarked)
		h.w.judge.synced(h, e.Have)
	case member.SnapshotFailed:
		h.w.hit(SnapshotFailed)
	case member.SnapshotSent:
		h.w.hit(SnapshotSent)
		if !h.core.Votes(e.Member) {
			h.w.hit(LearnerGivenSnapshot)
		}
	case member.Preferred:
		h.w.hit(PriorityFollowed)
	case member.SnapshotInstalled:
		h.w.hit(SnapshotRestored)
		if h.restored = e.Have; !h.w.healed && h.rng.chance(0.1) {
			h.armed = 1 + h.rng.n(3)
		}
	case member.SnapshotRefused:
		h.w.hit(SnapshotRefused)
	case member.SteppedDown:
		h.w.hit(StallSteppedDown)
	case member.DiskFull:
		h.fullAt = h.w.now
	case member.DiskHasRoom:
		h.fullAt = 0
	case member.HandingOverFull:
		h.w.judge.handedOverFull(h, e.Member)
	}
	h.w.logf("n%d notifies: event %d, member %d, write of %v, %v", h.id, e.Kind, e.Member, e.Age,
		e.Err)
}

func (h *host) onRole(role raft.Role, leader, term uint64) {
	w := h.w
	w.logf("n%d is %v in term %d, leader %d", h.id, role, term, leader)
	if h.armedRole > 0 {
		h.armed, h.armedRole = h.armedRole, 0
	}
	w.judge.campaigns(h, role)
	w.judge.candidate(h, role, term)
	was := h.role
	switch {
	case role == raft.Leader:
		h.noop, h.quiet, h.looked, h.counted = h.core.Last(), w.now, w.now, [16]uint64{}
		h.leads = w.now
		w.judge.elected(h, term)
	case was == raft.Leader && term == h.term:
		w.hit(SteppedDown)
	case was == raft.Leader:
		w.hit(LeaderDeposed)
	case role == raft.PreCandidate && (was == raft.PreCandidate || was == raft.Candidate):
		w.hit(SplitVote)
	case was == raft.Candidate && leader != 0 && term == h.term:
		w.hit(CandidateYielded)
	}
	if role == raft.Follower && leader != 0 && w.judge.leaders[h.term] == h.id && term > h.term {
		w.hit(OldLeaderRejoined)
	}
	h.role, h.term = role, term
}

// background runs the store's tasks at once, later, or refuses them.
func (h *host) background(task func()) bool {
	switch h.rng.n(4) {
	case 0:
		return false
	case 1:
		task()
	default:
		h.w.later(h.rng.tail(h.w.plan.DiskMean), task)
	}
	h.w.hit(Packed)
	return true
}

func decodeConfig(index uint64, data []byte) (raft.Configuration, error) {
	c, err := config.Decode(data)
	return c.Raft(index), err
}
