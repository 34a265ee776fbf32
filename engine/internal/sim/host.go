package sim

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ringraft/ringraft/engine/internal/member"
	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/replica"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/ziplist"
)

// host is one member: a disk that stays, and a process that comes and goes.
type host struct {
	w    *World
	id   uint64
	rng  random
	disk *disk

	// The process; void while down.
	up          bool
	life        int
	member      *member.Member
	core        *raft.Core       // the member's
	store       *ziplist.Store   // the member's
	apply       *pipeline.Apply  // the member's
	replica     *replica.Replica // the member's
	journal     *journal.Journal
	machine     *machine
	clientLanes []*clientLane
	lanes       []*pipeline.Lane
	reads       [16]*journalRead // of the journal, by whom they are for; 0: apply
	connections []*connection    // to the others
	founding    bool

	token, armed  int // of the turn scheduled; crash at this many effects from now, 0: none
	turnAt        int64
	armedRole     int   // crash so many effects after its next change of role
	armedQueue    int   // or after a second group is queued
	busy          int64 // an inline write holds the loop until then
	paused        int64 // resumes then
	stalled       replica.Part
	stalledTo     int64
	applyStall    int64
	hold          bool  // its readers of the journal stand still
	rate          int64 // millionths that its clock is fast
	clock, real   int64 // its clock said clock at real
	seenCommit    uint64
	seenApplied   uint64
	hard          raft.Hard // newest ever durable, as recovered or reported
	suspect       bool      // a fault took something from the disk that it has not got back
	settling      bool      // it has got it back, and its disk does not say so yet
	probation     bool
	damaged       bool
	lost          string // what it named as lost, refusing to go on
	dead          bool   // for good
	role          raft.Role
	term          uint64 // of role
	noop          uint64 // index of its no-op, when it leads
	lastAck       uint64
	quiet         int64 // since when it has led without hearing a majority
	looked        int64
	heard         [16]int64
	counted       [16]uint64 // what it counts of the others, when it leads
	led           [16]lead   // who led when it started
	rounds        []round    // of heartbeats, as first sent
	agreed        [16]int64  // when the newest round began that each of the others answered
	sentUndurable bool
	restarts      int
}

// lead is a member's term, when it leads, and where its log ends.
type lead struct{ term, last uint64 }

// crashed unwinds a turn in whose middle power went.
type crashed struct{}

func newHost(w *World, id uint64, rng random) *host {
	h := &host{w: w, id: id, rng: rng, clock: 1}
	h.disk = newDisk(w, h, rng.fork(1))
	h.setRate()
	return h
}

func (h *host) setRate() {
	h.clock, h.real = h.local(), h.w.now
	if s := h.w.plan.Skew; s > 0 {
		h.rate = h.rng.between(-s, s)
		h.w.hit(ClockFast)
	}
}

// local is what its monotonic clock says.
func (h *host) local() int64 {
	d := h.w.now - h.real
	return h.clock + d + d/1e6*h.rate
}

const cluster = 77 // any number: all members are told the same

// start boots the process from what the disk holds.
func (h *host) start() {
	if h.up || h.dead {
		return
	}
	w, p := h.w, h.w.plan
	h.restarts++
	voters := make([]byte, p.Members)
	for i := range voters {
		voters[i] = byte(i + 1)
	}
	promised := h.disk.platter.log // recovery's own seal cuts what it did not find
	h.disk.platter.opening = true
	j, rec, err := journal.Open(journal.Config{Dir: fmt.Sprintf("n%d", h.id), Mode: journal.Direct,
		Identity: journal.Identity{Cluster: cluster, Replica: h.id}, SegmentBytes: p.Segment, GroupBytes: p.GroupBytes, ReadBytes: int(p.Segment / 8),
		SealAfter: 20 * time.Millisecond, Metadata: voters, Foreground: true, Damaged: true, FS: h.disk, Device: h.disk})
	h.disk.platter.log, h.disk.platter.opening = promised, false
	if err != nil {
		h.refuse(err)
		return
	}
	h.disk.opens, h.disk.readFail, h.disk.readBad = 0, 0, block{}
	if rec.Fresh && w.sched.chance(0.1) {
		w.later(w.sched.between(0, 2*ms), func() {
			h.crash()
			w.later(50*ms, h.start)
		})
	}
	w.logf("n%d starts: log %d-%d, commit %d, term %d vote %d, torn %d, probation %t", h.id, rec.First, rec.Last,
		rec.Commit, rec.Hard.Term, rec.Hard.Vote, rec.Torn, rec.Probation)
	h.noteRecovery(rec)
	if err := h.disk.platter.recovered(j, rec); err != nil {
		w.fail("recovery", "member %d: %v", h.id, err)
		return
	}
	h.boot(j, rec, voters)
}

func (h *host) noteRecovery(rec *journal.Recovery) {
	w := h.w
	if rec.Torn > 0 {
		w.hit(TornCut)
	}
	if rec.Segments > 1 {
		w.hit(SecondSegment)
	}
	if rec.Last > w.judge.commit {
		w.hit(RestartWithTail)
	}
	if rec.Probation {
		w.hit(ProbationBegun)
		if h.suspect && !h.probation {
			w.hit(RotFound)
		}
	}
	h.probation, h.damaged = rec.Probation || rec.Damaged, rec.Damaged
	for _, lost := range rec.Lost {
		w.hit(DamageFound)
		w.hit(DamageNamed)
		w.logf("n%d: lost: %v", h.id, lost)
	}
	if h.suspect && !h.probation {
		h.suspect = false // a later batch had overruled what was damaged
	}
	h.lost, h.settling = "", false
}

// boot builds the member, as the engine does.
func (h *host) boot(j *journal.Journal, rec *journal.Recovery, voters []byte) {
	w, p := h.w, h.w.plan
	ids := make([]uint64, len(voters))
	for i := range voters {
		ids[i] = uint64(voters[i])
	}
	seed := h.rng.next()
	h.machine = newMachine(h, p.Keys)
	h.reads, h.clientLanes, h.lanes = [16]*journalRead{}, nil, nil
	for i := range p.Lanes {
		h.addLane(i)
	}
	m, err := member.Build(member.Config{ID: h.id, Members: raft.Configuration{Index: 1, Voters: ids}, Seed: seed,
		Times: member.Times{Heartbeat: time.Duration(p.Heartbeat), Election: time.Duration(p.Election),
			Stall: time.Duration(p.Election)},
		Sizes:   member.Sizes{Slots: p.Slots, FrameBytes: p.FrameBytes, ReadBytes: 32 << 10},
		Journal: j, Machine: h.machine, Lanes: func() []*pipeline.Lane { return h.lanes }, Link: h.linkTo, Start: h.startRead,
		Store: ziplist.Config{ChunkBytes: p.ChunkBytes, BudgetBytes: p.Budget, HotBytes: p.Hot, Codec: p.Codec,
			Background: h.background},
		Serial: p.Serial, OnRole: h.onRole, OnConfig: decodeVoters, OnEvent: h.onEvent, Timing: noTiming{}, Clock: h.local}, rec)
	if err == nil {
		err = j.SetMetadata(voters)
	}
	if err != nil {
		w.fail("recovery", "member %d: %v", h.id, err)
		return
	}
	h.up, h.member, h.journal = true, m, j
	h.core, h.store, h.apply, h.replica = m.Core(), m.Store(), m.Apply(), m.Replica()
	h.founding, h.armed, h.armedRole, h.armedQueue, h.busy, h.turnAt = rec.Fresh, 0, 0, 0, 0, 0
	h.stalledTo, h.applyStall, h.hold = 0, 0, false
	h.seenCommit, h.seenApplied, h.sentUndurable = h.core.Commit(), 0, false
	h.role, h.term, h.lastAck, h.quiet = raft.Follower, h.core.Hard().Term, 0, w.now
	h.clock, h.real = 1, w.now
	h.rounds, h.agreed = h.rounds[:0], [16]int64{}
	for _, o := range w.hosts {
		h.led[o.id] = lead{}
		if o != h && o.up && o.core.Role() == raft.Leader {
			h.led[o.id] = lead{o.core.Hard().Term, o.core.Last()}
		}
	}
	j.OnDone(func() { h.wake(0) })
	if rec.Fresh {
		m.Bootstrap(voters)
	}
	m.Begin()
	w.at(p.Heartbeat/2, event{kind: evTick, host: h, life: h.life})
	h.wake(0)
	w.net.started(h)
}

// linkTo is the link to another member; links outlive the process.
func (h *host) linkTo(id uint64) peer.Link {
	for _, l := range h.connections {
		if l.to.id == id {
			return l
		}
	}
	return nil
}

// onEvent takes what the member has to tell its operator.
func (h *host) onEvent(e member.Event) {
	switch e.Kind {
	case member.HandingOver:
		h.w.hit(StallHandedOver)
	case member.SteppedDown:
		h.w.hit(StallSteppedDown)
	}
	h.w.logf("n%d notifies: event %d, member %d, write of %v, %v", h.id, e.Kind, e.Member, e.Age, e.Err)
}

// verifyStore holds what a store packed against its checksums, at the end of
// a life.
func (h *host) verifyStore() {
	if err := h.store.Verify(); err != nil {
		h.w.fail("memory", "member %d: %v", h.id, err)
	}
	if h.store.Stats().Unpacked > 0 {
		h.w.hit(Unpacked)
	}
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

func decodeVoters(index uint64, data []byte) (raft.Configuration, error) {
	c := raft.Configuration{Index: index}
	for _, v := range data {
		c.Voters = append(c.Voters, uint64(v))
	}
	return c, nil
}

type noTiming struct{}

func (noTiming) Claimed(int64, int64)   {}
func (noTiming) Durable(int64, int64)   {}
func (noTiming) Committed(int64, int64) {}
func (noTiming) Applied(int64)          {}

// refuse deals with a journal that does not open.
func (h *host) refuse(err error) {
	w := h.w
	w.logf("n%d does not open: %v", h.id, err)
	var damage *journal.DamageError
	switch {
	case h.disk.unread && !errors.Is(err, errCrash): // a later try may read it
	case errors.Is(err, errCrash):
		h.disk.powerCut()
		h.life++
		w.later(h.rng.between(5*ms, 500*ms), h.start)
		return
	case errors.As(err, &damage):
		w.hit(DamageFound)
		w.hit(DamageNamed)
		if len(damage.Ranges) == 0 {
			w.fail("names what is lost", "member %d refuses without a range: %v", h.id, err)
		}
		h.lost = err.Error()
	case errors.Is(err, journal.ErrState), errors.Is(err, journal.ErrAmnesia):
		if w.plan.Mode == Atlas {
			w.fail("recovery", "member %d: %v", h.id, err)
		}
		h.lost = err.Error()
	case strings.Contains(err.Error(), "no space left") || strings.Contains(err.Error(), "input/output error"):
	default:
		w.fail("recovery", "member %d: unexpected: %v", h.id, err)
	}
	h.disk.off()
	h.life++
	if !w.healed {
		w.later(h.rng.between(100*ms, 2*sec), h.start)
	}
}

// effect is called before whatever leaves the process: the moments between
// which it may die.
func (h *host) effect(what string) {
	if h.armed > 0 {
		if h.armed--; h.armed == 0 {
			h.w.logf("n%d: power goes before: %s", h.id, what)
			panic(crashed{})
		}
	}
}

// crash ends the process and cuts its power.
func (h *host) crash() {
	if !h.up || h.w.calm > 0 { // what was planned for later comes too late
		return
	}
	w := h.w
	w.logf("n%d crashes: %v term %d, log %d, durable %d, commit %d, applied %d", h.id, h.core.Role(), h.core.Hard().Term,
		h.core.Last(), len(h.disk.platter.log), h.core.Commit(), h.apply.Applied().Load())
	h.verifyStore()
	if h.founding && h.journal.Durable() == 0 {
		w.hit(CrashAtFounding)
	}
	if h.core.Role() == raft.Leader && h.sentUndurable && uint64(len(h.disk.platter.log)) < h.core.Last() {
		w.hit(CrashAfterSend)
	}
	if hard := h.disk.platter.hard; hard.Vote != 0 && hard.Vote != h.id && !w.judge.answeredVote(h.id, hard.Term) {
		w.hit(CrashBeforeReply)
	}
	h.disk.powerCut()
	h.down()
}

// down is the end of a process: its clients and links notice.
func (h *host) down() {
	h.up = false
	h.life++
	for _, l := range h.connections {
		if _, _, restarts := h.replica.Sent(l.to.id); restarts > 0 {
			h.w.hit(ActorRestarted)
		}
	}
	for _, r := range h.clientLanes {
		r.closed()
	}
	h.w.net.stopped(h)
	h.member, h.core, h.journal, h.store, h.apply, h.replica, h.machine = nil, nil, nil, nil, nil, nil, nil
	all := true
	for _, o := range h.w.hosts {
		all = all && !o.up
	}
	if all && len(h.w.hosts) > 1 {
		h.w.hit(AllDown)
	}
}

// restart starts the process again after a while.
func (h *host) restart(lo, hi int64) { h.w.later(h.rng.between(lo, hi), h.start) }

// wake schedules a turn.
func (h *host) wake(delay int64) {
	t := h.w.now + delay
	if h.turnAt != 0 && h.turnAt <= t {
		return
	}
	h.turnAt = t
	h.token++
	h.w.push(event{at: t, kind: evTurn, host: h, life: h.life, n: h.token})
}

// tick lets the process notice that time passes. The engine's ticking goroutine
// goes on while the polling one hangs in a write, but not while the process is
// stopped.
func (h *host) tick() {
	w := h.w
	if h.paused <= w.now {
		h.member.Watch(h.local())
	}
	t := w.plan.Heartbeat / 2
	w.at(t-t/1e6*h.rate, event{kind: evTick, host: h, life: h.life})
	h.wake(0)
}

// turn polls the member's stages: all of them, or, as threads might, some.
func (h *host) turn() {
	w := h.w
	h.turnAt = 0
	if !h.up {
		return
	}
	if until := max(h.busy, h.paused); until > w.now {
		h.wake(until - w.now)
		return
	}
	if h.armed > 0 || h.armedRole > 0 || h.armedQueue > 0 {
		if h.turnArmed() {
			h.crash()
			h.restart(10*ms, 2*sec)
			return
		}
	} else {
		h.work()
	}
	if h.up {
		h.after()
	}
}

// turnArmed reports that power went during the turn.
func (h *host) turnArmed() (cut bool) {
	defer func() {
		if x := recover(); x != nil {
			if _, ok := x.(crashed); !ok {
				panic(x)
			}
			cut = true
		}
	}()
	h.work()
	return false
}

func (h *host) work() {
	w, p := h.w, h.w.plan
	parts, later := replica.All, false
	if p.Partial > 0 && !w.healed && w.sched.chance(p.Partial) {
		parts = replica.Part(w.sched.next()) | replica.Ticks
		later = true
		w.hit(StagesApart)
	}
	if h.stalledTo > w.now {
		parts &^= h.stalled
	}
	worked := h.member.Turn(h.local(), parts)
	w.judge.committed(h)
	if h.applyStall <= w.now && !(later && w.sched.chance(0.5)) {
		k, more := h.member.PollApply()
		worked += k
		if more {
			worked++
		}
	}
	if worked > 0 || later {
		h.wake(p.Gap)
	}
}

// after is what follows every poll; then the judges look.
func (h *host) after() {
	w := h.w
	err := h.member.After(h.local())
	w.judge.turned(h)
	if w.failure != nil {
		return
	}
	if err != nil {
		h.stop(err)
		return
	}
	if h.founding && h.journal.Durable() > 0 {
		h.founding = false
		w.net.started(h)
	}
	if h.probation && !h.core.Probation() {
		w.judge.trusted(h)
		h.probation, h.suspect, h.settling = false, false, true
		h.disk.platter.lostEntries = nil
		w.hit(ProbationEnded)
		if h.damaged {
			w.hit(DamageFilled)
		}
		w.logf("n%d: probation ended", h.id)
	}
	h.settling = h.settling && h.disk.platter.incomplete
}

// stop is the end of a process that lost its ground: it answers what it can.
func (h *host) stop(err error) {
	w := h.w
	w.logf("n%d stops: %v", h.id, err)
	h.member.Close(true)
	for _, r := range h.clientLanes {
		r.drain()
	}
	h.disk.powerCut()
	h.down()
	h.restart(50*ms, 2*sec)
}

func (h *host) onRole(role raft.Role, leader, term uint64) {
	w := h.w
	w.logf("n%d is %v in term %d, leader %d", h.id, role, term, leader)
	if h.armedRole > 0 {
		h.armed, h.armedRole = h.armedRole, 0
	}
	was := h.role
	switch {
	case role == raft.Leader:
		h.noop, h.quiet, h.looked, h.counted = h.core.Last(), w.now, w.now, [16]uint64{}
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

// journalRead is a read of the journal that the member has asked for. It is done
// later, as another goroutine would do it.
type journalRead struct {
	*member.Read
	worked bool  // it has been read, and is not told yet
	due    int64 // it is told then
}

// startRead is the member's Start.
func (h *host) startRead(job member.Job) {
	r := &journalRead{Read: job.(*member.Read)}
	h.reads[r.For] = r
	if r.For == 0 {
		h.w.hit(AppliedFromJournal)
	} else {
		h.w.hit(CaughtUpFromJournal)
	}
	h.w.at(h.rng.tail(h.disk.mean), event{kind: evFetch, host: h, life: h.life, n: int(r.For)})
}

// fetch reads what was asked for, and then tells. Both take their time: a disk
// that hangs hangs for readers too, and the reader's thread may stand still
// with what it has read.
func (h *host) fetch(id int) {
	r, w := h.reads[id], h.w
	if !r.worked {
		r.Work()
		r.worked = true
		r.due = max(h.disk.Stalled, w.now+h.rng.tail(w.plan.ReadDelay))
	}
	if !w.healed && (h.hold || r.due > w.now) { // in steps, for healing ends it
		step := 50 * ms
		if !h.hold {
			step = min(step, r.due-w.now)
		}
		w.at(step, event{kind: evFetch, host: h, life: h.life, n: id})
		return
	}
	if r.For > 0 && r.Err == nil {
		if t, ok := h.core.Term(r.Run.First + uint64(r.Run.Count) - 1); !ok || t != r.Run.Term {
			w.hit(ReadOverruled)
		}
	}
	r.Done()
	h.wake(0)
}
