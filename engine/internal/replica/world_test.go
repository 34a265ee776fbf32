package replica

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/device"
	"github.com/ringraft/ringraft/journal/record"
	"github.com/ringraft/ringraft/ring"
	"github.com/ringraft/ringraft/ziplist"
)

// world is member 1 of a cluster for transcripts: the replica, the pipeline, the
// actors and the journal are those of production; the disk, the links, the
// other members and time are the script's.
type world struct {
	t      *testing.T
	lines  []string // what happened
	hidden raft.MessageType
	failed error

	members int
	slots   int
	cells   int
	segment int64
	retry   int64
	serial  bool
	after   bool // apply follows the own journal

	files *directory
	disk  *disk
	now   int64

	core    *raft.Core
	r       *Replica
	journal *journal.Journal
	machine *machine
	lanes   []*pipeline.Lane
	links   map[uint64]*wireTap
	in      map[uint64]*Source
	reads   map[string]*journalRead // of apply and of the actors, by name
	stands  bool                    // apply stands still

	written int    // commands, over all lanes
	round   uint64 // own rounds are counted from here on: they start at random
	downs   uint64 // connections that broke

	// What was logged already.
	shown, durable, durableTo, commit uint64
}

// disk does what was submitted only when the script says so.
type disk struct {
	queue []device.Op
	ends  []int // of each group in queue
	tags  []uint64
	tag   uint64
	quick bool // a write that the loop does itself is done at once
}

func (d *disk) Submit(ops []device.Op, tag uint64) {
	d.queue = append(d.queue, ops...)
	d.ends, d.tags = append(d.ends, len(ops)), append(d.tags, tag)
}

// Inline leaves the write to the script, as to a writer, unless the disk is quick.
func (d *disk) Inline(ops []device.Op, tag uint64) time.Duration {
	if d.Submit(ops, tag); d.quick {
		d.write()
	}
	return 0
}

func (d *disk) Done() (uint64, error) { return d.tag, nil }
func (d *disk) OnDone(func())         {}
func (d *disk) Close()                {}

// write performs the oldest group; false when there is none.
func (d *disk) write() bool {
	if len(d.tags) == 0 {
		return false
	}
	n := d.ends[0]
	if err := device.Run(d.queue[:n]); err != nil {
		panic(err)
	}
	d.tag = d.tags[0]
	d.queue, d.ends, d.tags = d.queue[n:], d.ends[1:], d.tags[1:]
	return true
}

// directory may have no space left for another file.
type directory struct {
	*device.Memory
	full bool
}

func (d *directory) Create(name string, f device.Flags) (device.File, error) {
	if d.full {
		return nil, fmt.Errorf("create %s: %w", name, syscall.ENOSPC)
	}
	return d.Memory.Create(name, f)
}

// wireTap is a link that logs what is sent over it.
type wireTap struct {
	w           *world
	connection  uint64
	incarnation uint64
}

func (l *wireTap) State() (uint64, int) { return l.connection, 1 << 20 }
func (l *wireTap) Session() peer.Session {
	return peer.Session{Incarnation: l.incarnation}
}
func (l *wireTap) Limits() peer.Limits { return peer.Limits{} }
func (l *wireTap) Flush()              {}
func (l *wireTap) Send(front, records []byte) {
	var m raft.Message
	if _, err := wire.Parse(append(append([]byte(nil), front...), records...), &m); err != nil {
		panic(err)
	}
	if m.Type == raft.Heartbeat || m.Type == raft.PreVote {
		if l.w.round == 0 {
			l.w.round = m.Round - 1
		}
		m.Round -= l.w.round
	}
	if l.connection != 0 && m.Type != l.w.hidden {
		l.w.say("send %s", &m)
	}
}

// journalRead is a catch-up read that ends when the script says so.
type journalRead struct {
	name   string
	reader *journal.Reader
	asked  uint64 // 0: nothing is
	run    *ziplist.Run
}

func (c *journalRead) Fetch(index uint64) {
	if c.asked == 0 {
		c.asked = index
	}
}

func (c *journalRead) Result() (ziplist.Run, error, bool) {
	if c.run == nil {
		return ziplist.Run{}, nil, false
	}
	run := *c.run
	c.asked, c.run = 0, nil
	return run, nil, true
}

func (w *world) newRead(name string) *journalRead {
	w.reads[name] = &journalRead{name: name, reader: w.journal.NewReader()}
	return w.reads[name]
}

// machine keeps the commands applied. A reply is what was applied and where; a
// read is answered by the last command.
type machine struct {
	w    *world
	last string
}

func (m *machine) Apply(entries []pipeline.Entry, replies *pipeline.Replies) {
	for _, e := range entries {
		m.last = string(e.Data)
		m.w.say("apply %d %s", e.Index, e.Data)
		if replies.Wanted() {
			replies.End(fmt.Appendf(replies.Begin(), "%s at %d", e.Data, e.Index))
		}
	}
}

func (m *machine) Read(_, dst []byte) []byte { return fmt.Appendf(dst, "sees %s", m.last) }

func (w *world) say(format string, args ...any) {
	w.lines = append(w.lines, "  "+fmt.Sprintf(format, args...))
}

// start makes the process from what the disk holds.
func (w *world) start() {
	voters := make([]byte, w.members)
	for i := range voters {
		voters[i] = byte(i + 1)
	}
	conf, err := decode(1, voters)
	w.must(err)
	rec := w.open(voters)
	if rec.Fresh {
		conf = raft.Configuration{}
	}
	o := raft.Options{ID: 1, Config: conf, HeartbeatTicks: 2, ElectionTicks: 10, Seed: 1}
	first := Recovered(&o, rec)
	w.core, err = raft.New(o)
	w.must(err)
	w.connectAll(ziplist.New(ziplist.Config{ChunkBytes: 64 << 10, BudgetBytes: 16 << 20}, first),
		rec.Last)
	w.round = 0
	w.shown, w.durable, w.durableTo, w.commit = 0, 0, rec.Last, w.core.Commit()
	if rec.Fresh {
		w.must(w.r.Bootstrap(voters))
	}
}

// open opens the journal over a disk that holds what was written.
func (w *world) open(voters []byte) *journal.Recovery {
	w.disk = &disk{}
	j, rec, err := journal.Open(journal.Config{
		Mode:     journal.Direct,
		Identity: journal.Identity{Cluster: 1, Replica: 1}, Metadata: voters,
		SegmentBytes: w.segment, SealAfter: time.Hour, Foreground: true,
		FS: w.files, Device: w.disk,
	})
	w.must(err)
	w.journal = j
	return rec
}

// connectAll makes the replica over its parts: lanes, links and actors.
func (w *world) connectAll(store *ziplist.Store, last uint64) {
	clock := func() int64 { return w.now }
	w.lanes, w.reads = nil, map[string]*journalRead{}
	w.links, w.in = map[uint64]*wireTap{}, map[uint64]*Source{}
	for i := range uint16(2) {
		sizes := pipeline.LaneConfig{Cells: w.cells, Bytes: 1, Queries: 1 << 12, Replies: 1 << 12}
		l := pipeline.NewLane(i, sizes, 1<<10, func() {}, clock)
		w.lanes = append(w.lanes, l)
	}
	table := func() []*pipeline.Lane { return w.lanes }
	w.machine = &machine{w: w}
	cfg := Config{ID: 1, Core: w.core, Store: store, Journal: w.journal, Lanes: table,
		Slots: w.slots, Serial: w.serial, ApplyDurable: w.after, Tick: rigTick, ElectionTicks: 10,
		Apply:    pipeline.NewApply(store, w.machine, table, w.newRead("apply"), nobody{}),
		OnConfig: decode, Timing: nobody{}, Clock: clock,
		OnRole: func(role raft.Role, leader, term uint64) {
			w.say("role %s leader %d term %d", role, leader, term)
		}}
	for id := uint64(2); id <= uint64(w.members); id++ {
		w.links[id] = &wireTap{w: w, connection: 1, incarnation: 1}
		cfg.Actors = append(cfg.Actors, peer.New(peer.Config{Self: 1, Member: id, Link: w.links[id],
			Store: store, Terms: w.core, Catchup: w.newRead(fmt.Sprint(id)), Retry: w.retry}))
	}
	w.r = New(cfg, last)
	for id := uint64(2); id <= uint64(w.members); id++ {
		w.in[id] = NewSource(id, raft.Directory{}, ring.NewBytes(1<<16))
		w.r.AddSource(w.in[id])
	}
}

func decode(index uint64, data []byte) (raft.Configuration, error) {
	c := raft.Configuration{Index: index}
	for _, v := range data {
		c.Voters = append(c.Voters, uint64(v))
	}
	return c, nil
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// settle takes turns until nothing is left to do without the script.
func (w *world) settle() {
	for range 50 {
		w.now++
		n := w.r.Turn(w.now, Frames|Ticks|Reads|Writes)
		w.showSlots()
		n += w.r.Turn(w.now, Append|Send)
		cause := len(w.lines)
		n += w.r.Turn(w.now, Journal)
		w.showProgress(cause)
		if !w.stands {
			k, _ := w.r.cfg.Apply.Poll()
			n += k
		}
		if err := w.r.Check(); err != nil && w.failed == nil {
			w.failed = err
			return
		}
		if n == 0 {
			return
		}
	}
}

var sourceNames = [...]string{
	"", " from a lane", " from a frame", ", the no-op", ", the configuration",
}

// showSlots logs the slots published since the last time, before Append
// takes them.
func (w *world) showSlots() {
	for to := w.r.ring.Cursor().Load(); w.shown < to; {
		w.shown++
		s := w.r.ring.At(w.shown)
		if s.Count > 0 {
			w.say("slot %d: entries %d-%d of term %d%s", w.shown, s.First, s.Last(), s.Term,
				sourceNames[s.Source])
		} else {
			w.say("slot %d: term %d vote %d, the log ends at %d", w.shown, s.Hard.Term, s.Hard.Vote,
				s.First-1)
		}
	}
}

// showProgress logs what is newly durable, before what followed from it,
// and committed.
func (w *world) showProgress(cause int) {
	follows := slices.Clone(w.lines[cause:])
	w.lines = w.lines[:cause]
	if d, to := w.r.durable.reached, w.r.durable.index(); d != w.durable || to != w.durableTo {
		w.durable, w.durableTo = d, to
		w.say("durable slot %d, the log up to %d", d, to)
	}
	w.lines = append(w.lines, follows...)
	if w.r.commit != w.commit {
		w.commit = w.r.commit
		w.say("commit %d", w.commit)
	}
}

// frame is a frame that comes over a member's link, with commands for entries;
// short has it bring one entry less than it says.
func (w *world) frame(m *raft.Message, over uint64, short bool) {
	b := wire.AppendFront(nil, m)
	if m.Count > 0 {
		run := record.AppendRunHeader(nil, m.EntryTerm, m.PrevIndex+1)
		for i := range m.Count {
			if !short || i > 0 {
				command := fmt.Appendf(nil, "%c%d", 'a'+byte(m.From-1), m.PrevIndex+1+uint64(i))
				run = record.AppendCommand(run, command)
			}
		}
		b = append(wire.AppendRunFront(b, len(run)), run...)
	}
	s := w.in[over]
	copy(s.Ring.Reserve(len(b)), b)
	s.Ring.Commit(len(b))
	s.Ring.Publish()
}

// answers takes the lanes' completions.
func (w *world) answers() {
	for i, l := range w.lanes {
		for c := l.Next(); c != nil; c = l.Next() {
			line := fmt.Sprintf("lane%d request %d %s", i, c.Request, c.Outcome)
			if c.Reason != pipeline.None {
				line += ": " + c.Reason.String()
			}
			if len(c.Reply) > 0 {
				line += ": " + string(c.Reply)
			}
			w.say("%s", line)
		}
		l.Release()
	}
}
