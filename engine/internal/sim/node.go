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

// node is one member: a disk that stays, and a process that comes and goes.
type node struct {
	w    *World
	id   uint64
	rng  random
	disk *disk

	// The process; void while down.
	up       bool
	life     int
	member   *member.Member
	core     *raft.Core       // the member's
	store    *ziplist.Store   // the member's
	apply    *pipeline.Apply  // the member's
	replica  *replica.Replica // the member's
	journal  *journal.Journal
	machine  *machine
	roads    []*road
	lanes    []*pipeline.Lane
	reads    [16]*journalRead // of the journal, by whom they are for; 0: apply
	links    []*link          // to the others
	founding bool

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
	doubt         bool      // a fault took something from the disk that it has not got back
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

func newNode(w *World, id uint64, rng random) *node {
	n := &node{w: w, id: id, rng: rng, clock: 1}
	n.disk = newDisk(w, n, rng.fork(1))
	n.setRate()
	return n
}

func (n *node) setRate() {
	n.clock, n.real = n.local(), n.w.now
	if s := n.w.plan.Skew; s > 0 {
		n.rate = n.rng.between(-s, s)
		n.w.hit(ClockFast)
	}
}

// local is what its monotonic clock says.
func (n *node) local() int64 {
	d := n.w.now - n.real
	return n.clock + d + d/1e6*n.rate
}

const cluster = 77 // any number: all members are told the same

// start boots the process from what the disk holds.
func (n *node) start() {
	if n.up || n.dead {
		return
	}
	w, p := n.w, n.w.plan
	n.restarts++
	voters := make([]byte, p.Members)
	for i := range voters {
		voters[i] = byte(i + 1)
	}
	promised := n.disk.said.log // recovery's own seal cuts what it did not find
	n.disk.said.opening = true
	j, rec, err := journal.Open(journal.Config{Dir: fmt.Sprintf("n%d", n.id), Mode: journal.Direct,
		Identity: journal.Identity{Cluster: cluster, Replica: n.id}, SegmentBytes: p.Segment, GroupBytes: p.GroupBytes, ReadBytes: int(p.Segment / 8),
		SealAfter: 20 * time.Millisecond, Metadata: voters, Foreground: true, Damaged: true, FS: n.disk, Device: n.disk})
	n.disk.said.log, n.disk.said.opening = promised, false
	if err != nil {
		n.refuse(err)
		return
	}
	n.disk.opens, n.disk.readFail, n.disk.readBad = 0, 0, block{}
	if rec.Fresh && w.sched.chance(0.1) {
		w.later(w.sched.between(0, 2*ms), func() {
			n.crash()
			w.later(50*ms, n.start)
		})
	}
	w.logf("n%d starts: log %d-%d, commit %d, term %d vote %d, torn %d, probation %t", n.id, rec.First, rec.Last,
		rec.Commit, rec.Hard.Term, rec.Hard.Vote, rec.Torn, rec.Probation)
	n.noteRecovery(rec)
	if err := n.disk.said.recovered(j, rec); err != nil {
		w.fail("recovery", "member %d: %v", n.id, err)
		return
	}
	n.boot(j, rec, voters)
}

func (n *node) noteRecovery(rec *journal.Recovery) {
	w := n.w
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
		if n.doubt && !n.probation {
			w.hit(RotFound)
		}
	}
	n.probation, n.damaged = rec.Probation || rec.Damaged, rec.Damaged
	for _, lost := range rec.Lost {
		w.hit(DamageFound)
		w.hit(DamageNamed)
		w.logf("n%d: lost: %v", n.id, lost)
	}
	if n.doubt && !n.probation {
		n.doubt = false // a later batch had overruled what was damaged
	}
	n.lost, n.settling = "", false
}

// boot builds the member, as the engine does.
func (n *node) boot(j *journal.Journal, rec *journal.Recovery, voters []byte) {
	w, p := n.w, n.w.plan
	ids := make([]uint64, len(voters))
	for i := range voters {
		ids[i] = uint64(voters[i])
	}
	seed := n.rng.next()
	n.machine = newMachine(n, p.Keys)
	n.reads, n.roads, n.lanes = [16]*journalRead{}, nil, nil
	for i := range p.Lanes {
		n.addRoad(i)
	}
	m, err := member.Build(member.Config{ID: n.id, Members: raft.Configuration{Index: 1, Voters: ids}, Seed: seed,
		Times: member.Times{Heartbeat: time.Duration(p.Heartbeat), Election: time.Duration(p.Election),
			Stall: time.Duration(p.Election)},
		Sizes:   member.Sizes{Slots: p.Slots, FrameBytes: p.FrameBytes, ReadBytes: 32 << 10},
		Journal: j, Machine: n.machine, Lanes: func() []*pipeline.Lane { return n.lanes }, Link: n.linkTo, Start: n.startRead,
		Store: ziplist.Config{ChunkBytes: p.ChunkBytes, BudgetBytes: p.Budget, HotBytes: p.Hot, Codec: p.Codec,
			Background: n.background},
		Serial: p.Serial, OnRole: n.onRole, OnConfig: decodeVoters, OnEvent: n.onEvent, Timing: noTiming{}, Clock: n.local}, rec)
	if err == nil {
		err = j.SetMetadata(voters)
	}
	if err != nil {
		w.fail("recovery", "member %d: %v", n.id, err)
		return
	}
	n.up, n.member, n.journal = true, m, j
	n.core, n.store, n.apply, n.replica = m.Core(), m.Store(), m.Apply(), m.Replica()
	n.founding, n.armed, n.armedRole, n.armedQueue, n.busy, n.turnAt = rec.Fresh, 0, 0, 0, 0, 0
	n.stalledTo, n.applyStall, n.hold = 0, 0, false
	n.seenCommit, n.seenApplied, n.sentUndurable = n.core.Commit(), 0, false
	n.role, n.term, n.lastAck, n.quiet = raft.Follower, n.core.Hard().Term, 0, w.now
	n.clock, n.real = 1, w.now
	n.rounds, n.agreed = n.rounds[:0], [16]int64{}
	for _, o := range w.nodes {
		n.led[o.id] = lead{}
		if o != n && o.up && o.core.Role() == raft.Leader {
			n.led[o.id] = lead{o.core.Hard().Term, o.core.Last()}
		}
	}
	j.OnDone(func() { n.wake(0) })
	if rec.Fresh {
		m.Bootstrap(voters)
	}
	m.Begin()
	w.at(p.Heartbeat/2, event{kind: evTick, node: n, life: n.life})
	n.wake(0)
	w.net.started(n)
}

// linkTo is the link to another member; links outlive the process.
func (n *node) linkTo(id uint64) peer.Link {
	for _, l := range n.links {
		if l.to.id == id {
			return l
		}
	}
	return nil
}

// onEvent takes what the member has to tell its operator.
func (n *node) onEvent(e member.Event) {
	switch e.Kind {
	case member.HandingOver:
		n.w.hit(StallHandedOver)
	case member.SteppedDown:
		n.w.hit(StallSteppedDown)
	}
	n.w.logf("n%d tells: event %d, member %d, write of %v, %v", n.id, e.Kind, e.Member, e.Age, e.Err)
}

// lookIntoStore holds what a store packed against its checksums, at the end of
// a life.
func (n *node) lookIntoStore() {
	if err := n.store.Verify(); err != nil {
		n.w.fail("memory", "member %d: %v", n.id, err)
	}
	if n.store.Stats().Unpacked > 0 {
		n.w.hit(Unpacked)
	}
}

// background runs the store's tasks at once, later, or refuses them.
func (n *node) background(task func()) bool {
	switch n.rng.n(4) {
	case 0:
		return false
	case 1:
		task()
	default:
		n.w.later(n.rng.tail(n.w.plan.DiskMean), task)
	}
	n.w.hit(Packed)
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
func (n *node) refuse(err error) {
	w := n.w
	w.logf("n%d does not open: %v", n.id, err)
	var damage *journal.DamageError
	switch {
	case n.disk.unread && !errors.Is(err, errCrash): // a later try may read it
	case errors.Is(err, errCrash):
		n.disk.powerCut()
		n.life++
		w.later(n.rng.between(5*ms, 500*ms), n.start)
		return
	case errors.As(err, &damage):
		w.hit(DamageFound)
		w.hit(DamageNamed)
		if len(damage.Ranges) == 0 {
			w.fail("names what is lost", "member %d refuses without a range: %v", n.id, err)
		}
		n.lost = err.Error()
	case errors.Is(err, journal.ErrState), errors.Is(err, journal.ErrAmnesia):
		if w.plan.Mode == Atlas {
			w.fail("recovery", "member %d: %v", n.id, err)
		}
		n.lost = err.Error()
	case strings.Contains(err.Error(), "no space left") || strings.Contains(err.Error(), "input/output error"):
	default:
		w.fail("recovery", "member %d: unexpected: %v", n.id, err)
	}
	n.disk.off()
	n.life++
	if !w.healed {
		w.later(n.rng.between(100*ms, 2*sec), n.start)
	}
}

// effect is called before whatever leaves the process: the moments between
// which it may die.
func (n *node) effect(what string) {
	if n.armed > 0 {
		if n.armed--; n.armed == 0 {
			n.w.logf("n%d: power goes before: %s", n.id, what)
			panic(crashed{})
		}
	}
}

// crash ends the process and cuts its power.
func (n *node) crash() {
	if !n.up || n.w.calm > 0 { // what was planned for later comes too late
		return
	}
	w := n.w
	w.logf("n%d crashes: %v term %d, log %d, durable %d, commit %d, applied %d", n.id, n.core.Role(), n.core.Hard().Term,
		n.core.Last(), len(n.disk.said.log), n.core.Commit(), n.apply.Applied().Load())
	n.lookIntoStore()
	if n.founding && n.journal.Durable() == 0 {
		w.hit(CrashAtFounding)
	}
	if n.core.Role() == raft.Leader && n.sentUndurable && uint64(len(n.disk.said.log)) < n.core.Last() {
		w.hit(CrashAfterSend)
	}
	if h := n.disk.said.hard; h.Vote != 0 && h.Vote != n.id && !w.judge.answeredVote(n.id, h.Term) {
		w.hit(CrashBeforeReply)
	}
	n.disk.powerCut()
	n.down()
}

// down is the end of a process: its clients and links notice.
func (n *node) down() {
	n.up = false
	n.life++
	for _, l := range n.links {
		if _, _, restarts := n.replica.Sent(l.to.id); restarts > 0 {
			n.w.hit(ActorRestarted)
		}
	}
	for _, r := range n.roads {
		r.gone()
	}
	n.w.net.stopped(n)
	n.member, n.core, n.journal, n.store, n.apply, n.replica, n.machine = nil, nil, nil, nil, nil, nil, nil
	all := true
	for _, o := range n.w.nodes {
		all = all && !o.up
	}
	if all && len(n.w.nodes) > 1 {
		n.w.hit(AllDown)
	}
}

// restart starts the process again after a while.
func (n *node) restart(lo, hi int64) { n.w.later(n.rng.between(lo, hi), n.start) }

// wake schedules a turn.
func (n *node) wake(delay int64) {
	t := n.w.now + delay
	if n.turnAt != 0 && n.turnAt <= t {
		return
	}
	n.turnAt = t
	n.token++
	n.w.push(event{at: t, kind: evTurn, node: n, life: n.life, n: n.token})
}

// tick lets the process notice that time passes. The engine's ticking goroutine
// goes on while the polling one hangs in a write, but not while the process is
// stopped.
func (n *node) tick() {
	w := n.w
	if n.paused <= w.now {
		n.member.Watch(n.local())
	}
	t := w.plan.Heartbeat / 2
	w.at(t-t/1e6*n.rate, event{kind: evTick, node: n, life: n.life})
	n.wake(0)
}

// turn polls the member's stages: all of them, or, as threads might, some.
func (n *node) turn() {
	w := n.w
	n.turnAt = 0
	if !n.up {
		return
	}
	if until := max(n.busy, n.paused); until > w.now {
		n.wake(until - w.now)
		return
	}
	if n.armed > 0 || n.armedRole > 0 || n.armedQueue > 0 {
		if n.turnArmed() {
			n.crash()
			n.restart(10*ms, 2*sec)
			return
		}
	} else {
		n.work()
	}
	if n.up {
		n.after()
	}
}

// turnArmed reports that power went during the turn.
func (n *node) turnArmed() (cut bool) {
	defer func() {
		if x := recover(); x != nil {
			if _, ok := x.(crashed); !ok {
				panic(x)
			}
			cut = true
		}
	}()
	n.work()
	return false
}

func (n *node) work() {
	w, p := n.w, n.w.plan
	parts, later := replica.All, false
	if p.Partial > 0 && !w.healed && w.sched.chance(p.Partial) {
		parts = replica.Part(w.sched.next()) | replica.Ticks
		later = true
		w.hit(StagesApart)
	}
	if n.stalledTo > w.now {
		parts &^= n.stalled
	}
	worked := n.member.Turn(n.local(), parts)
	w.judge.committed(n)
	if n.applyStall <= w.now && !(later && w.sched.chance(0.5)) {
		k, more := n.member.PollApply()
		worked += k
		if more {
			worked++
		}
	}
	if worked > 0 || later {
		n.wake(p.Gap)
	}
}

// after is what follows every poll; then the judges look.
func (n *node) after() {
	w := n.w
	err := n.member.After(n.local())
	w.judge.turned(n)
	if w.failure != nil {
		return
	}
	if err != nil {
		n.stop(err)
		return
	}
	if n.founding && n.journal.Durable() > 0 {
		n.founding = false
		w.net.started(n)
	}
	if n.probation && !n.core.Probation() {
		w.judge.trusted(n)
		n.probation, n.doubt, n.settling = false, false, true
		n.disk.said.ghosts = nil
		w.hit(ProbationEnded)
		if n.damaged {
			w.hit(DamageFilled)
		}
		w.logf("n%d: probation ended", n.id)
	}
	n.settling = n.settling && n.disk.said.doubt
}

// stop is the end of a process that lost its ground: it answers what it can.
func (n *node) stop(err error) {
	w := n.w
	w.logf("n%d stops: %v", n.id, err)
	n.member.Close(true)
	for _, r := range n.roads {
		r.drain()
	}
	n.disk.powerCut()
	n.down()
	n.restart(50*ms, 2*sec)
}

func (n *node) onRole(role raft.Role, leader, term uint64) {
	w := n.w
	w.logf("n%d is %v in term %d, leader %d", n.id, role, term, leader)
	if n.armedRole > 0 {
		n.armed, n.armedRole = n.armedRole, 0
	}
	was := n.role
	switch {
	case role == raft.Leader:
		n.noop, n.quiet, n.looked, n.counted = n.core.Last(), w.now, w.now, [16]uint64{}
		w.judge.elected(n, term)
	case was == raft.Leader && term == n.term:
		w.hit(SteppedDown)
	case was == raft.Leader:
		w.hit(LeaderDeposed)
	case role == raft.PreCandidate && (was == raft.PreCandidate || was == raft.Candidate):
		w.hit(SplitVote)
	case was == raft.Candidate && leader != 0 && term == n.term:
		w.hit(CandidateYielded)
	}
	if role == raft.Follower && leader != 0 && w.judge.leaders[n.term] == n.id && term > n.term {
		w.hit(OldLeaderRejoined)
	}
	n.role, n.term = role, term
}

// journalRead is a read of the journal that the member has asked for. It is done
// later, as another goroutine would do it.
type journalRead struct {
	*member.Read
	worked bool  // it has been read, and is not told yet
	due    int64 // it is told then
}

// startRead is the member's Start.
func (n *node) startRead(job member.Job) {
	r := &journalRead{Read: job.(*member.Read)}
	n.reads[r.For] = r
	if r.For == 0 {
		n.w.hit(AppliedFromJournal)
	} else {
		n.w.hit(CaughtUpFromJournal)
	}
	n.w.at(n.rng.tail(n.disk.mean), event{kind: evFetch, node: n, life: n.life, n: int(r.For)})
}

// fetch reads what was asked for, and then tells. Both take their time: a disk
// that hangs hangs for readers too, and the reader's thread may stand still
// with what it has read.
func (n *node) fetch(id int) {
	r, w := n.reads[id], n.w
	if !r.worked {
		r.Work()
		r.worked = true
		r.due = max(n.disk.Stalled, w.now+n.rng.tail(w.plan.Told))
	}
	if !w.healed && (n.hold || r.due > w.now) { // in steps, for healing ends it
		step := 50 * ms
		if !n.hold {
			step = min(step, r.due-w.now)
		}
		w.at(step, event{kind: evFetch, node: n, life: n.life, n: id})
		return
	}
	if r.For > 0 && r.Err == nil {
		if t, ok := n.core.Term(r.Run.First + uint64(r.Run.Count) - 1); !ok || t != r.Run.Term {
			w.hit(ReadOverruled)
		}
	}
	r.Done()
	n.wake(0)
}
