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

// host is one host of the cluster: a disk that stays, and a process, a member,
// that comes and goes.
type host struct {
	w           *World
	id          uint64
	rng         random
	disk        *disk
	connections []*connection // to the others
	limits      peer.Limits   // of what it takes
	directory   raft.Directory
	address     string // where the others reach it
	promise     []byte // on the disk: the founding that the directory has promised
	localClock
	health

	process
	schedule
	crashPlan
	observed
	kept  kept // of the state machine, on its disk
	ledBy ledBy
	group struct { // the configuration in which a datagram went to all last, and since when
		index uint64
		since int64
	}
}

// localClock is the host's monotonic clock. It showed clock at the world's time real.
type localClock struct {
	rate        int64 // millionths that it is fast
	clock, real int64
}

// health is what faults have taken from the disk, and what the member knows of it.
type health struct {
	suspect   bool // a fault took something from the disk that it has not got back
	settling  bool // it has got it back, and that is not recorded on its disk yet
	probation bool
	damaged   bool
	lost      string // what it named as lost, refusing to go on
	dead      bool   // for good
	emptied   bool   // its directory is not the one that the members know
	gone      []lostDirectory
	joins     bool // it starts as one that joins, not as a founder
	witness   bool // it has no state machine
}

// lostDirectory is a directory that a host had once, on a disk that is gone.
type lostDirectory struct {
	directory raft.Directory
	disk      *disk
}

// process is what runs, and is void while it is down. A life is one process.
type process struct {
	up       bool
	life     int
	restarts int
	founding bool // its first entry is not durable yet

	member  *member.Member
	core    *raft.Core       // the member's
	store   *ziplist.Store   // the member's
	apply   *pipeline.Apply  // the member's
	replica *replica.Replica // the member's
	journal *journal.Journal
	machine *machine

	clientLanes []*clientLane
	lanes       []*pipeline.Lane
	visits      []visit          // of clients, within its turns
	inside      bool             // a turn is under way
	calling     bool             // and an owner at a seam of it
	reads       [16]*journalRead // of the journal, by whom they are for; 0: apply
}

// schedule is when the process runs next, and what keeps it from running.
type schedule struct {
	token      int   // of the turn that is scheduled
	turnAt     int64 // when it is; 0: none
	busy       int64 // an inline write holds the loop until then
	paused     int64 // the process is stopped until then
	stalled    replica.Part
	stalledTo  int64 // those parts stand still until then
	applyStall int64 // and apply until then
	hold       bool  // its readers of the journal stand still
}

// crashPlan is at which effect from now the process dies; 0: at none.
type crashPlan struct {
	armed      int
	armedRole  int // so many after its next change of role
	armedQueue int // so many after a second group is queued
}

// observed is what the judges remember of a member.
type observed struct {
	seenCommit    uint64
	seenApplied   uint64
	first         uint64    // of the log, as the core had it last
	hard          raft.Hard // newest ever durable, as recovered or reported
	role          raft.Role
	term          uint64 // of role
	noop          uint64 // index of its no-op, when it leads
	leads         int64  // since when it does
	lastAck       uint64
	restored      uint64 // entry of the snapshot that took its log's place last
	wanted        uint64 // digest of the snapshot of which it wanted more
	wantedIn      int    // life in which it did
	sentUndurable bool   // it has sent, as a leader, what its own disk lacks
	quiet         int64  // since when it has led without hearing a majority
	looked        int64  // when that was judged last
	heard         [16]int64
	counted       [16]uint64 // what it counts of the others, when it leads
	led           [16]lead   // who led when it started
	rounds        []round    // of heartbeats, as first sent
	fullAt        int64      // since when it knows that its disk is full; 0: it is not
	stuckAt       int64      // since when its disk takes nothing any more; 0: it does
	forces        []force    // configurations, in the order in which they were in force
	told          bool       // it was told that it was removed
	// when the newest round began that each directory answered
	agreed map[raft.Directory]int64
}

// lead is a member's term, when it leads, and where its log ends.
type lead struct{ term, last uint64 }

// crashed unwinds a turn in whose middle power went.
type crashed struct{}

func newHost(w *World, id uint64, rng random) *host {
	h := &host{w: w, id: id, rng: rng, localClock: localClock{clock: 1}}
	h.limits = peer.Limits{Command: w.plan.command(id), Snapshots: true, Foundings: true,
		Changes: true, Witnesses: true, Witness: w.plan.Witness[id],
		Datagrams: w.plan.Group && w.plan.Hears[id]}
	h.witness = w.plan.Witness[id]
	h.disk = newDisk(w, h, rng.fork(1))
	h.directory, h.address = raft.Directory{id, 1}, fmt.Sprint("n", id)
	h.joins = id > uint64(w.plan.Members)
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

// local is the time on its monotonic clock.
func (h *host) local() int64 {
	d := h.w.now - h.real
	return h.clock + d + d/1e6*h.rate
}

// start boots the process from what the disk holds.
func (h *host) start() {
	if h.up || h.dead {
		return
	}
	w, p := h.w, h.w.plan
	h.restarts++
	promised := h.disk.platter.log // recovery's own seal cuts what it did not find
	h.disk.platter.opening, h.disk.platter.claim = true, journal.Inspected{}
	segment := p.segment(h.id)
	j, rec, err := journal.Open(journal.Config{Dir: fmt.Sprintf("n%d", h.id), Mode: journal.Direct,
		Identity: journal.Identity{Cluster: cluster, Replica: h.id}, SegmentBytes: segment,
		GroupBytes: p.GroupBytes, ReadBytes: int(segment / 8), SealAfter: 20 * time.Millisecond,
		Metadata: nobody(), Directory: h.directory, Foreground: true, Damaged: true,
		FS: h.disk, Device: h.disk})
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
	w.logf("n%d starts: log %d-%d, commit %d, term %d vote %d, torn %d, probation %t", h.id,
		rec.First, rec.Last, rec.Commit, rec.Hard.Term, rec.Hard.Vote, rec.Torn, rec.Probation)
	h.noteRecovery(rec)
	if err := h.disk.platter.recovered(j, rec); err != nil {
		w.fail("recovery", "member %d: %v", h.id, err)
		return
	}
	h.machine = newMachine(h, p.Keys)
	from, err := h.load(rec)
	if err != nil {
		h.refuse(err)
		return
	}
	h.boot(j, rec, from)
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
	case strings.Contains(err.Error(), "no space left") ||
		strings.Contains(err.Error(), "input/output error"):
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
	h.seam()
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
	w.logf("n%d crashes: %v term %d, log %d, durable %d, commit %d, applied %d", h.id,
		h.core.Role(), h.core.Hard().Term, h.core.Last(), len(h.disk.platter.log), h.core.Commit(),
		h.apply.Applied().Load())
	h.verifyStore()
	if h.founding && h.core.Last() > 0 {
		w.hit(CrashAtFounding)
	}
	if h.core.First() > h.journal.Snapshot().Index+1 {
		w.hit(CrashRestoring)
	}
	lacks := uint64(len(h.disk.platter.log)) < h.core.Last()
	if h.core.Role() == raft.Leader && h.sentUndurable && lacks {
		w.hit(CrashAfterSend)
	}
	hard := h.disk.platter.hard
	if hard.Vote != 0 && hard.Vote != h.id && !w.judge.answeredVote(h.id, hard.Term) {
		w.hit(CrashBeforeReply)
	}
	h.disk.powerCut()
	h.down()
}

// down is the end of a process: its clients and connections notice.
func (h *host) down() {
	h.up = false
	h.life++
	for _, c := range h.connections {
		if _, _, restarts := h.replica.Sent(c.to.id); restarts > 0 {
			h.w.hit(ActorRestarted)
		}
	}
	h.leave()
	for _, r := range h.clientLanes {
		r.closed()
	}
	h.w.net.stopped(h)
	h.member, h.core, h.store, h.apply, h.replica = nil, nil, nil, nil, nil
	h.journal, h.machine = nil, nil
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

// stop ends a process that cannot go on, as the engine does: it answers what it can.
func (h *host) stop(err error) {
	w := h.w
	w.logf("n%d stops: %v", h.id, err)
	if errors.Is(err, journal.ErrCompacted) {
		w.fail("apply finds its entries", "member %d: %v", h.id, err)
	}
	if broken := (*pipeline.MachineError)(nil); errors.As(err, &broken) {
		w.fail("state machine", "member %d: %v\n%s", h.id, err, broken.Stack)
	}
	h.member.Close(true)
	for _, r := range h.clientLanes {
		r.drain()
	}
	h.disk.powerCut()
	h.down()
	h.restart(50*ms, 2*sec)
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
