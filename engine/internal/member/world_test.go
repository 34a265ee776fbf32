package member

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/replica"
	"github.com/ringraft/ringraft/engine/internal/snapshot"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/device"
	"github.com/ringraft/ringraft/ring"
	"github.com/ringraft/ringraft/ziplist"
)

// world is a cluster of members that give each other snapshots: the code is that of
// production, and the seed decides in which order turns, frames, writes and jobs come,
// which frames are lost, and who crashes. A crash takes what the journal has not written.
type world struct {
	t      *testing.T
	rng    *rand.Rand
	now    int64
	nodes  []*node
	frames []worldFrame
	broken bool              // frames are lost, and members crash
	states map[uint64]uint64 // index → digest after it
	seen   map[string]int    // what happened
	kept   bool              // state machines keep their state on disk

	proposed, connections uint64
}

type worldFrame struct {
	from, to   uint64
	connection uint64
	bytes      []byte
}

// node is one member of a world.
type node struct {
	*Member
	w            *world
	id           uint64
	files        *fullDir
	snaps        *tightDir
	dir          *snapshot.Dir
	disk         *slowDevice
	journal      *journal.Journal
	machine      *register
	durableState durable // of the machine, if it keeps its state
	lanes        []*pipeline.Lane
	in           map[uint64]*replica.Source
	links        map[uint64]*worldLink
	jobs         []Job
	up           bool
	life         uint64
	restored     uint64 // by a snapshot whose acknowledgement was not judged yet
	resting      bool   // it is not started again
	hangs        bool   // its disk does
	stands       bool   // its apply does
	tail         bool   // its log had more than is committed, after its last turn
	resumes      bool   // it was started while a snapshot was on its way
}

// tightDir is a directory whose disk takes nothing while it is full.
type tightDir struct {
	device.FS
	full bool
}

type tightFile struct {
	device.File
	dir *tightDir
}

func (d *tightDir) Create(name string, f device.Flags) (device.File, error) {
	if d.full {
		return nil, syscall.ENOSPC
	}
	file, err := d.FS.Create(name, f)
	return &tightFile{file, d}, err
}

func (d *tightDir) Open(name string, f device.Flags) (device.File, error) {
	file, err := d.FS.Open(name, f)
	return &tightFile{file, d}, err
}

func (f *tightFile) WriteAt(b []byte, off int64) error {
	if f.dir.full {
		return syscall.ENOSPC
	}
	return f.File.WriteAt(b, off)
}

// slowDevice does what was submitted when the world says so.
type slowDevice struct {
	ops  [][]device.Op
	tags []uint64
	done uint64
	torn bool
}

func (d *slowDevice) Submit(ops []device.Op, tag uint64) {
	d.ops, d.tags = append(d.ops, ops), append(d.tags, tag)
}
func (d *slowDevice) Inline(ops []device.Op, tag uint64) time.Duration {
	d.Submit(ops, tag)
	return 0
}
func (d *slowDevice) Done() (uint64, error) { return d.done, nil }
func (d *slowDevice) OnDone(func())         {}
func (d *slowDevice) Close()                {}

// write does the oldest submission.
func (d *slowDevice) write() {
	if len(d.tags) == 0 {
		return
	}
	if err := device.Run(d.ops[0]); err != nil {
		panic(err)
	}
	d.done = d.tags[0]
	d.ops, d.tags = d.ops[1:], d.tags[1:]
}

// register is a state machine: how many commands it has applied, and a digest of them
// all, which shows one that is missing, applied twice or out of order. It is as large as
// its padding.
type register struct {
	n       *node
	index   uint64
	sum     uint64
	padding []byte
}

func (r *register) Apply(entries []pipeline.Entry, replies *pipeline.Replies) {
	for _, e := range entries {
		if e.Index <= r.index {
			r.n.w.t.Fatalf("member %d applies entry %d after %d", r.n.id, e.Index, r.index)
		}
		r.index = e.Index
		r.sum = xxhash.Sum64(binary.LittleEndian.AppendUint64(e.Data[:8:8], r.sum))
		r.n.w.applied(r.n, r.index, r.sum)
		if replies.Wanted() {
			replies.End(replies.Begin())
		}
	}
}

func (r *register) Read(_, dst []byte) []byte { return dst }

// Snapshot implements pipeline.Viewer.
func (r *register) Snapshot() (pipeline.View, error) {
	var b bytes.Buffer
	err := r.write(&b)
	return &copied{b}, err
}

// copied is a view that is whole already.
type copied struct{ bytes.Buffer }

func (*copied) Close() error { return nil }

func (r *register) write(w io.Writer) error {
	b := binary.LittleEndian.AppendUint64(nil, r.index)
	b = binary.LittleEndian.AppendUint64(b, r.sum)
	_, err := w.Write(append(b, r.padding...))
	return err
}

// Restore implements Restorer.
func (r *register) Restore(from io.Reader) (func(), error) {
	b, err := io.ReadAll(from)
	if err != nil {
		return nil, err
	}
	if len(b) != 16+len(r.padding) {
		return nil, fmt.Errorf("a state of %d bytes", len(b))
	}
	return func() {
		index := binary.LittleEndian.Uint64(b)
		if index < r.index {
			r.n.w.t.Fatalf("member %d installs entry %d after %d", r.n.id, index, r.index)
		}
		r.index, r.sum = index, binary.LittleEndian.Uint64(b[8:])
		r.n.w.seen["installed"]++
		r.n.w.applied(r.n, r.index, r.sum)
	}, nil
}

// applied: the state after an entry is one, wherever it comes from.
func (w *world) applied(n *node, index, sum uint64) {
	if old, ok := w.states[index]; ok && old != sum {
		w.t.Fatalf("member %d differs from others after entry %d", n.id, index)
	}
	w.states[index] = sum
}

// worldLink is the way from one member to another.
type worldLink struct {
	w          *world
	from, to   *node
	connection uint64
	old        bool // the other side is of an earlier release
}

func (l *worldLink) State() (uint64, int) {
	if !l.to.up {
		return 0, 0
	}
	return l.connection, 1 << 20
}
func (l *worldLink) Session() peer.Session {
	return peer.Session{Incarnation: l.to.life}
}
func (l *worldLink) Limits() peer.Limits {
	if l.to.journal == nil {
		return peer.Limits{}
	}
	return peer.Limits{Run: l.to.journal.Largest(), Snapshots: !l.old}
}
func (l *worldLink) Err() error { return nil }
func (l *worldLink) Flush()     {}
func (l *worldLink) Send(front, records []byte) {
	b := append(append([]byte(nil), front...), records...)
	l.from.sent(b)
	if l.old && !earlierKnows(b) {
		l.w.t.Fatalf("member %d of an earlier release is sent %x", l.to.id, b[:min(len(b), 64)])
	}
	l.w.frames = append(l.w.frames, worldFrame{l.from.id, l.to.id, l.connection, b})
}

// sent judges what a member says.
func (n *node) sent(b []byte) {
	w := n.w
	var f wire.Snapshot
	if wire.ParseSnapshot(b, &f) == nil {
		n.saidOfSnapshot(&f, len(b))
		return
	}
	var m raft.Message
	if _, err := wire.Parse(b, &m); err != nil {
		w.t.Fatalf("member %d sends what it cannot read: %v", n.id, err)
	}
	if m.Type != raft.AppendAck || m.Reject || m.Match < n.restored && w.rng.IntN(50) > 0 ||
		n.restored == 0 && w.rng.IntN(50) > 0 {
		return
	}
	if d := n.durable(); m.Match > d {
		w.t.Fatalf("member %d acknowledges %d, and its disk holds %d", n.id, m.Match, d)
	}
	if m.Match >= n.restored {
		n.restored = 0
	}
}

func (n *node) saidOfSnapshot(f *wire.Snapshot, bytes int) {
	w := n.w
	switch {
	case f.Kind == wire.Chunk && bytes > 256<<10+128:
		w.t.Fatalf("a frame of %d bytes", bytes)
	case f.Kind == wire.Offer:
		w.seen["offer"]++
	case f.Kind == wire.Chunk:
		w.seen["chunk"]++
	case f.Kind == wire.Answer && f.Refused != "":
		w.seen["refused"]++
	case f.Kind == wire.Answer && f.Done:
		w.seen["done"]++
	case f.Kind == wire.Answer && f.Chunk > 0 && n.resumes:
		n.resumes = false
		w.seen["resumed"]++
	}
}

// durable is where the log ends that a crash now would leave.
func (n *node) durable() uint64 {
	_, rec, err := journal.Open(n.journalConfig(copyOf(n.w.t, n.files), &slowDevice{}))
	if err != nil {
		n.w.t.Fatalf("member %d: %v", n.id, err)
	}
	return rec.Last
}

func copyOf(t *testing.T, from device.FS) device.FS {
	to := device.NewMemory()
	names, err := from.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		a, err := from.Open(name, device.Flags{})
		if err != nil {
			t.Fatal(err)
		}
		size, _ := a.Size()
		b, _ := to.Create(name, device.Flags{})
		buf := make([]byte, size)
		if err := errors.Join(a.ReadAt(buf, 0), b.WriteAt(buf, 0)); size > 0 && err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func (n *node) journalConfig(files device.FS, d device.Device) journal.Config {
	return journal.Config{Mode: journal.Direct, FS: files, Device: d, Foreground: true,
		Identity: journal.Identity{Cluster: 7, Replica: n.id}, SegmentBytes: 128 << 10,
		GroupBytes: 16 << 10, SealAfter: 5 * time.Millisecond, Metadata: []byte{1}}
}

func newWorld(t *testing.T, seed uint64, padding int) *world {
	return newWorldWith(t, seed, padding, false)
}

func newWorldWith(t *testing.T, seed uint64, padding int, kept bool) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: 1, states: map[uint64]uint64{},
		seen: map[string]int{}, kept: kept}
	for id := uint64(1); id <= 3; id++ {
		n := &node{w: w, id: id, files: &fullDir{FS: device.NewMemory()},
			snaps: &tightDir{FS: device.NewMemory()}, links: map[uint64]*worldLink{}}
		n.dir = &snapshot.Dir{FS: n.snaps, Cluster: 7, Buffered: true}
		n.machine = &register{n: n, padding: make([]byte, padding)}
		for i := range n.machine.padding {
			n.machine.padding[i] = byte(w.rng.Uint32()) // does not compress
		}
		w.nodes = append(w.nodes, n)
	}
	for _, a := range w.nodes {
		for _, b := range w.nodes {
			a.links[b.id] = &worldLink{w: w, from: a, to: b}
		}
	}
	for _, n := range w.nodes {
		n.start()
	}
	return w
}

func decodeWorld(b []byte) (raft.Configuration, error) {
	if len(b) < 9 {
		return raft.Configuration{}, fmt.Errorf("a configuration of %d bytes", len(b))
	}
	c := raft.Configuration{Index: binary.LittleEndian.Uint64(b)}
	for _, v := range b[8:] {
		c.Voters = append(c.Voters, uint64(v))
	}
	return c, nil
}

var worldConfig = []byte{1, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3}

// start makes the process from what its disk holds.
func (n *node) start() {
	w := n.w
	n.life++
	n.resumes = n.Member != nil && n.receiving.stage == filling
	n.disk, n.jobs, n.restored = &slowDevice{}, nil, 0
	n.machine = &register{n: n, padding: n.machine.padding}
	j, rec, err := journal.Open(n.journalConfig(n.files, n.disk))
	if err != nil {
		w.t.Fatalf("member %d: %v", n.id, err)
	}
	n.journal = j
	clock := func() int64 { return w.now }
	n.lanes = []*pipeline.Lane{pipeline.NewLane(0, pipeline.LaneConfig{Cells: 64}, 1<<14, func() {},
		clock)}
	conf, err := decodeWorld(worldConfig)
	w.must(err)
	found := n.durableState.applied
	from, err := Load(n.dir, n.stateMachine(), rec)
	w.must(err)
	n.startedFrom(&from, found, rec.Snapshot)
	if from.Skipped != nil {
		w.t.Fatalf("member %d: %v", n.id, from.Skipped)
	}
	var founders []config.Member
	for _, id := range conf.Voters {
		founders = append(founders, config.Member{ID: id})
	}
	if from.Info.Index == 0 {
		conf = raft.Configuration{} // the log says, or nobody yet
	}
	n.Member, err = Build(Config{ID: n.id, Members: conf, Seed: w.rng.Uint64(),
		Founding: Founding{Founders: founders},
		Times:    Times{Heartbeat: rigHeartbeat, Election: rigElection, Stall: time.Second},
		Sizes:    Sizes{Slots: 16}, Journal: j, Store: ziplist.Config{BudgetBytes: 1 << 16,
			ChunkBytes: 16 << 10}, Machine: n.stateMachine(),
		Lanes:     func() []*pipeline.Lane { return n.lanes },
		Start:     func(j Job) { n.jobs = append(n.jobs, j) },
		Link:      func(id uint64, _ string) Link { return n.links[id] },
		Unlink:    func(uint64) {},
		Snapshots: Snapshots{Dir: n.dir, After: -1, Rate: 1 << 30, Wall: clock},
		From:      from,
		OnRole:    func(raft.Role, uint64, uint64) {},
		OnConfig: func(_ uint64, data []byte) (raft.Configuration, error) {
			return decodeWorld(data)
		},
		OnEvent: n.event, Timing: noTiming{}, Clock: clock}, rec)
	w.must(err)
	if from.Info.Index > 0 {
		w.seen["started from one"]++
	}
	if n.up = true; rec.Fresh {
		w.must(n.Replica().Bootstrap(worldConfig))
		for j.Durable() == 0 {
			w.now += int64(time.Millisecond)
			n.Poll(w.now)
			n.disk.write()
		}
	}
	w.connect(n)
}

func (n *node) event(e Event) {
	switch e.Kind {
	case SnapshotInstalled:
		n.w.seen["restored"]++
		if n.restored = e.Have; n.tail {
			n.w.seen["restored over a tail"]++
		}
		if n.w.t.Failed() {
			return
		}
		if last := n.machine.index; last > e.Have {
			n.w.t.Errorf("member %d restores %d with %d applied", n.id, e.Have, last)
		}
	case SnapshotSent:
		n.w.seen["sent"]++
	case SnapshotRefused:
		n.w.seen["refusing"]++
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// connect gives a member new connections with all that are up.
func (w *world) connect(n *node) {
	for _, o := range w.nodes {
		if o != n && o.up {
			w.join(n, o)
			w.join(o, n)
		}
	}
}

// join makes a new connection; what was on the one before is lost.
func (w *world) join(a, b *node) {
	w.connections++
	l := a.links[b.id]
	l.connection = w.connections
	s := replica.NewSource(a.id, raft.Directory{}, ring.NewBytes(2<<20))
	b.inboxes()[a.id] = s
	b.Replica().AddSource(s)
}

func (n *node) inboxes() map[uint64]*replica.Source {
	if n.in == nil {
		n.in = map[uint64]*replica.Source{}
	}
	return n.in
}

func (w *world) deliver(f worldFrame) {
	to := w.nodes[f.to-1]
	if !to.up || w.nodes[f.from-1].links[f.to].connection != f.connection {
		return
	}
	r := to.in[f.from].Ring
	if b := r.Reserve(len(f.bytes)); b != nil {
		copy(b, f.bytes)
		r.Commit(len(f.bytes))
		r.Publish()
	}
}

func (n *node) crash() {
	if n.disk.torn = len(n.disk.tags) > 0; n.disk.torn && n.w.rng.IntN(2) == 0 {
		_ = device.Run(n.disk.ops[0][:n.w.rng.IntN(len(n.disk.ops[0])+1)])
	}
	if n.machine.index < n.core.Commit() && n.Apply().Behind() {
		n.w.seen["crashed while behind"]++
	}
	if s := n.journal.Snapshot().Index; n.core.First() > s+1 {
		n.w.seen["crashed before its mark was durable"]++
	}
	n.up = false
	for _, s := range n.in {
		s.Close()
	}
}

// take asks for a snapshot of what is applied.
func (n *node) take() {
	n.RequestSnapshot(NewSnapshotRequest(func(_ snapshot.Info, err error) {
		if err == nil {
			n.w.seen["taken"]++
		}
	}))
}

// turn is a turn of a member, of all its stages or, as threads might, of some.
func (n *node) turn(parts replica.Part) {
	n.Turn(n.w.now, parts)
	if !n.stands {
		n.PollApply()
	}
	if err := n.After(n.w.now); err != nil {
		n.w.t.Fatalf("member %d: %v", n.id, err)
	}
	if err := n.replica.Check(); err != nil {
		n.w.t.Fatalf("member %d: %v", n.id, err)
	}
	n.tail = n.core.Last() > n.core.Commit()
	for c := n.lanes[0].Next(); c != nil; c = n.lanes[0].Next() {
	}
	n.lanes[0].Release()
}

func (n *node) job() {
	if len(n.jobs) > 0 {
		i := n.w.rng.IntN(len(n.jobs))
		j := n.jobs[i]
		n.jobs = append(n.jobs[:i:i], n.jobs[i+1:]...)
		j.Work()
		j.Done()
	}
}

func (n *node) propose() {
	if role, _, _ := n.replica.Role(); role != raft.Leader {
		return
	}
	for range 1 + n.w.rng.IntN(4) {
		n.w.proposed++
		b := make([]byte, 8+n.w.rng.IntN(4<<10))
		binary.LittleEndian.PutUint64(b, n.w.proposed)
		if _, err := n.lanes[0].Write(b); err != nil {
			break
		}
	}
	n.lanes[0].Flush()
}

// step is one thing that happens next.
func (w *world) step() {
	w.now += int64(w.rng.IntN(int(200 * time.Microsecond)))
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	if !n.up {
		if !n.resting && (w.rng.IntN(400) == 0 || !w.broken) {
			n.start()
		}
		return
	}
	switch k := w.rng.IntN(100); {
	case k < 45:
		parts := replica.All
		if w.rng.IntN(4) == 0 {
			parts = replica.Part(w.rng.Uint32()) | replica.Ticks
		}
		n.turn(parts)
	case k < 70:
		w.frame()
	case k < 82 && !n.hangs:
		n.disk.write()
	case k < 94:
		n.job()
	case w.broken:
		n.propose()
	}
	if w.broken {
		w.fault(n)
	}
	if w.broken && n.up && n.restored > 0 && w.rng.IntN(150) == 0 {
		n.crash()
	}
}

// frame has a frame arrive, or not.
func (w *world) frame() {
	if len(w.frames) == 0 {
		return
	}
	i := 0
	if w.broken && w.rng.IntN(20) == 0 {
		i = w.rng.IntN(len(w.frames))
	}
	f := w.frames[i]
	lost := w.broken && w.rng.IntN(30) == 0
	if again := w.broken && w.rng.IntN(100) == 0; !again {
		w.frames = append(w.frames[:i:i], w.frames[i+1:]...)
	}
	if !lost {
		w.deliver(f)
	}
}

func (w *world) fault(n *node) {
	switch w.rng.IntN(3000) {
	case 0, 1, 2:
		n.crash()
	case 3, 4:
		w.connect(n)
	case 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19:
		n.take()
	case 20:
		n.snaps.full = !n.snaps.full
	case 21, 22:
		n.hangs = true
	case 23, 24, 25, 26, 27, 28, 29, 30:
		n.hangs, n.stands = false, false
	case 31, 32, 33:
		n.stands = true
	}
}

// settle heals the world and waits until all members are equal.
func (w *world) settle() {
	w.t.Helper()
	w.broken = false
	for _, n := range w.nodes {
		n.snaps.full, n.hangs, n.stands = false, false, false
	}
	for range 400_000 {
		if w.step(); w.rng.IntN(50) == 0 && w.equal() {
			return
		}
	}
	for _, n := range w.nodes {
		w.t.Logf("member %d: %v, log %d-%d, durable %d, commit %d, applied %d, phase %d, %d jobs",
			n.id, n.core.Role(), n.core.First(), n.core.Last(), n.replica.DurableIndex(),
			n.core.Commit(), n.machine.index, n.receiving.stage, len(n.jobs))
		for _, o := range w.nodes {
			p, _ := n.core.Member(o.id)
			w.t.Logf("of member %d: %v, %v", o.id, &p, n.Unfed(o.id))
		}
	}
	w.t.Fatalf("the members do not become equal; %d frames", len(w.frames))
}

func (w *world) equal() bool {
	a := w.nodes[0]
	for _, n := range w.nodes {
		if !n.up || n.core.Commit() != n.core.Last() || n.core.Commit() != a.core.Commit() ||
			n.Apply().Applied().Load() != n.core.Commit() || n.machine.sum != a.machine.sum {
			return false
		}
	}
	return a.machine.index > 0
}

// leader runs the world until there is one.
func (w *world) leader() *node {
	w.t.Helper()
	for range 100_000 {
		w.step()
		for _, n := range w.nodes {
			if role, _, _ := n.replica.Role(); n.up && role == raft.Leader &&
				n.core.Commit() == n.core.Last() {
				return n
			}
		}
	}
	w.t.Fatal("nobody leads")
	return nil
}
