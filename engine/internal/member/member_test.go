package member

import (
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/device"
	"github.com/ringraft/ringraft/journal/record"
	"github.com/ringraft/ringraft/ziplist"
)

// rig is one member without threads: its clock stands where the test says, its
// disk can be held, its links only know whether they are up.
type rig struct {
	*Member
	t      *testing.T
	now    int64
	disk   *heldDevice
	files  *fullDir
	up     map[uint64]bool
	frames map[uint64][][]byte    // sent to each
	limits map[uint64]peer.Limits // that they said
	jobs   []Job
	events []EventKind
	last   Event
	why    error // for which no link is up

	unlinked    []uint64
	directories map[uint64]raft.Directory // of the others, as their connections say
}

// rigDirectory is the own one.
var rigDirectory = raft.Directory{1, 2}

const (
	rigHeartbeat = 10 * time.Millisecond
	rigElection  = 50 * time.Millisecond
)

func newRig(t *testing.T, members raft.Configuration) *rig {
	t.Helper()
	return newRigWith(t, members, func(*Config) {})
}

func newRigWith(t *testing.T, members raft.Configuration, change func(*Config)) *rig {
	t.Helper()
	g := newEmptyRig(t, func(c *Config) {
		for _, id := range slices.Concat(members.Voters, members.Outgoing, members.Learners) {
			c.Founders = append(c.Founders, config.Member{ID: id})
		}
		c.OnConfig = func(uint64, []byte) (raft.Configuration, error) { return members, nil }
		change(c)
	})
	if err := g.Replica().Bootstrap([]byte("configuration")); err != nil {
		t.Fatal(err)
	}
	g.run(rigHeartbeat)
	return g
}

// newEmptyRig is one whose log is empty.
func newEmptyRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	g := &rig{t: t, now: 1, disk: &heldDevice{}, files: &fullDir{FS: device.NewMemory()},
		up: map[uint64]bool{}, frames: map[uint64][][]byte{}, limits: map[uint64]peer.Limits{}}
	j, rec, err := journal.Open(journal.Config{Mode: journal.Memory, FS: g.files,
		Identity: journal.Identity{Cluster: 7, Replica: 1}, SegmentBytes: 1 << 20,
		Directory:  rigDirectory,
		Foreground: true, Device: g.disk})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{ID: 1, Seed: 1,
		Times: Times{Heartbeat: rigHeartbeat, Election: rigElection, Stall: rigElection},
		Sizes: Sizes{Slots: 16}, Journal: j, Store: ziplist.Config{BudgetBytes: 1 << 20},
		Machine: echo{},
		Lanes:   func() []*pipeline.Lane { return nil },
		Start:   func(j Job) { g.jobs = append(g.jobs, j) },
		Link:    func(id uint64, at string) Link { return &rigLink{g: g, id: id, at: at} },
		Unlink:  func(id uint64) { g.unlinked = append(g.unlinked, id) },
		OnRole:  func(raft.Role, uint64, uint64) {},
		OnEvent: func(e Event) { g.events, g.last = append(g.events, e.Kind), e },
		Timing:  noTiming{}, Clock: func() int64 { return g.now }}
	change(&cfg)
	if g.Member, err = Build(cfg, rec); err != nil {
		t.Fatal(err)
	}
	return g
}

// run lets time pass, a tick at a time.
func (g *rig) run(d time.Duration) {
	g.t.Helper()
	for end := g.now + int64(d); g.now < end; {
		g.now += int64(rigHeartbeat / 2)
		g.Watch(g.now)
		g.Poll(g.now)
		g.PollApply()
		if err := g.After(g.now); err != nil {
			g.t.Fatal(err)
		}
	}
}

// heldDevice completes what it is given at once, unless it is held.
type heldDevice struct {
	held            bool
	submitted, done uint64
	err             error
}

func (d *heldDevice) Submit(ops []device.Op, tag uint64) {
	d.err = device.Run(ops)
	if d.submitted = tag; !d.held {
		d.done = tag
	}
}

func (d *heldDevice) Inline(ops []device.Op, tag uint64) time.Duration {
	d.err = device.Run(ops)
	d.submitted, d.done = tag, tag
	return time.Hour // so slow that the next group is submitted
}

func (d *heldDevice) release() { d.held, d.done = false, d.submitted }

func (d *heldDevice) Done() (uint64, error) { return d.done, d.err }
func (d *heldDevice) OnDone(func())         {}
func (d *heldDevice) Close()                {}

// fullDir is a directory that makes no file while it is full.
type fullDir struct {
	device.FS
	full bool
}

func (d *fullDir) Create(name string, f device.Flags) (device.File, error) {
	if d.full {
		return nil, syscall.ENOSPC
	}
	return d.FS.Create(name, f)
}

type rigLink struct {
	g    *rig
	id   uint64
	at   string
	sent int
}

func (l *rigLink) Send(front, records []byte) {
	l.sent++
	l.g.frames[l.id] = append(l.g.frames[l.id], slices.Concat(front, records))
}
func (l *rigLink) Flush() {}
func (l *rigLink) Session() peer.Session {
	return peer.Session{Directory: l.g.directories[l.id], Incarnation: 1}
}
func (l *rigLink) Limits() peer.Limits { return l.g.limits[l.id] }
func (l *rigLink) Err() error          { return l.g.why }
func (l *rigLink) State() (uint64, int) {
	if l.g.up[l.id] {
		return 1, 1 << 20
	}
	return 0, 0
}

type echo struct{}

func (echo) Apply([]pipeline.Entry, *pipeline.Replies) {}
func (echo) Read(query, dst []byte) []byte             { return append(dst, query...) }

type noTiming struct{}

func (noTiming) Claimed(int64, int64)   {}
func (noTiming) Durable(int64, int64)   {}
func (noTiming) Committed(int64, int64) {}
func (noTiming) Applied(int64)          {}

// transfer asks for a transfer and returns the answer, errPending if there is
// none after an election timeout.
func (g *rig) transfer(to uint64) error {
	err := errPending
	g.RequestTransfer(NewTransfer(to, func(_ uint64, e error) { err = e }))
	g.run(2 * rigElection)
	return err
}

var errPending = errors.New("no answer")

// A leader hands over to voters alone: neither when a learner is named, nor
// when the learner is the only member that is connected.
func TestLeadershipGoesToVotersOnly(t *testing.T) {
	g := newRig(t, raft.Configuration{Index: 1, Voters: []uint64{1}, Learners: []uint64{2}})
	if err := g.Begin(g.now); err != nil {
		t.Fatal(err)
	}
	g.run(rigElection)
	if role, _, _ := g.Replica().Role(); role != raft.Leader {
		t.Fatalf("the only voter is %v", role)
	}
	g.up[2] = true
	for _, x := range []struct {
		to   uint64
		want error
	}{{2, ErrNotMember}, {0, ErrNotConnected}, {1, ErrLeadsAlready}, {9, ErrNotMember}} {
		if err := g.transfer(x.to); !errors.Is(err, x.want) {
			t.Errorf("to %d: %v, want %v", x.to, err, x.want)
		}
	}
}

func TestWhoDoesNotLeadHandsNothingOver(t *testing.T) {
	g := newRig(t, raft.Configuration{Index: 1, Voters: []uint64{1, 2, 3}})
	if err := g.transfer(2); !errors.Is(err, ErrNotLeader) {
		t.Errorf("%v", err)
	}
	err := errPending
	g.RequestTransfer(NewTransfer(2, func(_ uint64, e error) { err = e }))
	if g.Close(false); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// A transfer to a named member does not succeed when another one leads.
func TestTransferIsNotClaimedForAnother(t *testing.T) {
	for _, x := range []struct {
		named, leader uint64
		want          error
	}{{0, 3, nil}, {0, 0, nil}, {2, 2, nil}, {2, 3, ErrAnotherWon}, {2, 0, ErrNobodyWon}} {
		if err := NewTransfer(x.named, nil).verdict(x.leader); !errors.Is(err, x.want) {
			t.Errorf("%d named, %d leads: %v", x.named, x.leader, err)
		}
	}
}

// Time in which the process did not run is no time in which its disk hung.
func TestAPauseIsNoHang(t *testing.T) {
	g := newRig(t, raft.Configuration{Index: 1, Voters: []uint64{1, 2, 3}})
	g.disk.held = true
	g.replica.Campaign() // its own vote is written
	g.run(rigHeartbeat)
	before := g.Watch(g.now)
	if before == 0 {
		t.Fatal("no write is under way")
	}
	g.now += int64(time.Minute)
	if age := g.Watch(g.now); age > before+pauseTicks*g.tick {
		t.Fatalf("a pause of a minute counts as %v", age)
	}
}

// A disk that hangs is reported once when it begins and once when it ends, and a
// member that follows does not campaign in between.
func TestAHangingDiskIsTold(t *testing.T) {
	g := newRig(t, raft.Configuration{Index: 1, Voters: []uint64{1, 2, 3}})
	g.disk.held = true
	g.replica.Campaign()
	g.run(4 * rigElection)
	if want := []EventKind{NotCampaigning}; !slices.Equal(g.events, want) {
		t.Fatalf("told %v", g.events)
	}
	term := g.core.Hard().Term
	if g.run(10 * rigElection); g.core.Hard().Term != term {
		t.Errorf("it campaigned in terms %d to %d", term, g.core.Hard().Term)
	}
	g.disk.release()
	g.run(rigHeartbeat)
	if want := []EventKind{NotCampaigning, DiskBack}; !slices.Equal(g.events, want) {
		t.Errorf("told %v", g.events)
	}
}

// A large write may take as long as a slow disk needs for it.
func TestALargeWriteIsNoHang(t *testing.T) {
	g := newRig(t, raft.Configuration{Index: 1, Voters: []uint64{1, 2, 3}})
	large := record.AppendCommand(nil, make([]byte, 900<<10)) // 28 ms of a slow disk
	g.disk.held = true
	b := journal.Batch{Hard: journal.Hard{Term: 1}, First: 2, Count: 1, Term: 1, Sequence: 1 << 20}
	if !g.cfg.Journal.Append(&b, large) {
		t.Fatal("refused")
	}
	if g.run(rigElection + 20*time.Millisecond); len(g.events) > 0 {
		t.Fatalf("told %v, of a write of %d bytes", g.events, g.cfg.Journal.WriteBytes())
	}
	if g.run(4 * rigElection); !slices.Equal(g.events, []EventKind{NotCampaigning}) {
		t.Errorf("told %v", g.events)
	}
}

// A disk without room for another segment is told once. When the present segment is full
// too, the member does not campaign: its vote would wait, and each try raise the term.
func TestAFullDiskIsTold(t *testing.T) {
	g := newRig(t, raft.Configuration{Index: 1, Voters: []uint64{1, 2, 3}})
	g.files.full = true
	for n := 0; !g.replica.Stuck(); n++ {
		if g.replica.Campaign(); n > 2000 {
			t.Fatal("two thousand votes found room in segments of 1 MiB")
		}
		g.run(rigHeartbeat)
	}
	if want := []EventKind{DiskFull}; !slices.Equal(g.ofDisk(), want) {
		t.Fatalf("told %v", g.ofDisk())
	}
	g.run(rigHeartbeat)
	term := g.core.Hard().Term
	for range 10 {
		g.replica.Campaign()
		g.run(rigElection)
	}
	if now := g.core.Hard().Term; now != term {
		t.Errorf("it campaigned in terms %d to %d", term, now)
	}
	g.files.full = false
	g.run(time.Second) // the journal tries again now and then
	g.replica.Campaign()
	if g.run(rigHeartbeat); g.core.Hard().Term != term+1 || g.replica.Stuck() {
		t.Errorf("there is room, and it is in term %d after %d", g.core.Hard().Term, term)
	}
	if want := []EventKind{DiskFull, DiskHasRoom}; !slices.Equal(g.ofDisk(), want) {
		t.Errorf("told %v", g.ofDisk())
	}
}

// ofDisk are the events, but for those of the others, who are not there.
func (g *rig) ofDisk() []EventKind {
	return slices.DeleteFunc(slices.Clone(g.events),
		func(k EventKind) bool { return k == Unreachable })
}

// While apply waits for entries from the journal it has nothing to do. It was
// polled all the same, and took the processor from whoever was reading them.
func TestApplySleepsWhileTheJournalIsRead(t *testing.T) {
	g := newRig(t, raft.Configuration{Index: 1, Voters: []uint64{1, 2, 3}})
	g.apply.Ready().Store(8)
	if !g.ApplyDue() {
		t.Error("nothing is due although entries are ready")
	}
	g.applyRead.Fetch(2)
	if len(g.jobs) != 1 || g.ApplyDue() {
		t.Errorf("%d reads are under way, and yet something is due", len(g.jobs))
	}
	g.applyRead.Fetch(3)
	if len(g.jobs) != 1 {
		t.Error("a second read was begun beside the first")
	}
	g.jobs[0].Done()
	if !g.ApplyDue() {
		t.Error("nothing is due although what it asked for is there")
	}
	if _, _, ok := g.applyRead.Result(); !ok {
		t.Error("the read has no result")
	}
	g.applyRead.Fetch(2) // again under way: only notices are looked at now
	o := g.apply.Notices()
	o.Expire(1, pipeline.LeadershipLost)
	if g.ApplyDue() {
		t.Error("a notice counts before it is published")
	}
	if o.Publish(); !g.ApplyDue() {
		t.Error("nothing is due although a notice waits")
	}
}

// What was read is as long as the longest command: a reader that rests keeps none of it.
func TestAReadKeepsNothingItHandedOver(t *testing.T) {
	c := &journalRead{start: func(j Job) {
		r := j.(*Read)
		r.Run = ziplist.Run{Term: 1, First: r.Index, Count: 1, Records: make([]byte, 1<<10)}
		r.Done()
	}}
	c.Fetch(5)
	run, err, ok := c.Result()
	if !ok || err != nil || run.First != 5 || len(run.Records) != 1<<10 {
		t.Fatal(run, err, ok)
	}
	if c.read.Run.Records != nil {
		t.Error("the bytes are held until the next read")
	}
}
