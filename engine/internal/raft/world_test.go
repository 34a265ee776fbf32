package raft

import (
	"fmt"
	"slices"

	"github.com/ringraft/ringraft/engine/internal/raft/progress"
)

// world is a handful of cores with toy disks, actors and a network of loose messages. Whoever
// drives it decides what happens next; every step is checked against what must always hold.
type world struct {
	servers   []*server // server i has id i+1
	net       []packet
	base      Configuration
	values    uint64
	committed []entry           // by anybody, ever
	leaders   map[uint64]uint64 // term -> leader
	votes     map[ballot]uint64
	restores  int
	wiped     bool // a directory was lost: likewise
	losses    bool // disks may lose their tail: committed is then not always on a majority
	seed      uint64
	trace     func(string)
	failure   error
}

type entry struct {
	term, value uint64
	conf        *Configuration
}

// ballot is what a server has one vote for: another directory of its id knows of none.
type ballot struct {
	id, term  uint64
	directory Directory
}

type packet struct {
	Message
	entries []entry       // of a snapshot: all up to its last
	conf    Configuration // of a snapshot
}

type write struct {
	hard    Hard
	first   uint64
	entries []entry
	commit  uint64
	restore *packet // the snapshot that takes the log's place
}

func (w *write) last() uint64 {
	if w.restore != nil {
		return w.restore.PrevIndex
	}
	return w.first - 1 + uint64(len(w.entries))
}

type actor struct {
	mode progress.Mode
	next uint64
	sent bool // a probe is out
}

type server struct {
	w  *world
	id uint64

	core    *Core
	effects Effects
	log     []entry // with those that only the snapshot has, before first
	first   uint64
	actors  map[uint64]*actor
	writes  []write // published and not durable, in order
	last    uint64  // last index after the newest durable write
	gated   []gated
	stepped *packet
	reads   []readWanted
	ctx     uint64
	commit  uint64
	role    Role

	disk struct { // survives a crash
		hard   Hard
		log    []entry // as above
		first  uint64
		commit uint64
	}
	directory   Directory     // drawn when the disk was made
	founding    Configuration // as the disk has it, before its log
	witness     bool          // it keeps no state
	down, lossy bool
	slow        bool // its clock hardly moves
}

type gated struct {
	hard   Hard
	packet packet
}

type readWanted struct{ ctx, index uint64 }

func newWorld(servers int, voters []uint64, seed uint64) *world {
	return newWorldOf(servers, Configuration{Voters: voters}, seed)
}

func newWorldOf(servers int, base Configuration, seed uint64) *world {
	w := &world{base: base, leaders: map[uint64]uint64{},
		votes: map[ballot]uint64{}, seed: seed, trace: func(string) {}}
	for i := range servers {
		s := &server{w: w, id: uint64(i + 1), founding: w.base}
		s.directory, s.disk.first = Directory{s.id, 1}, 1
		s.witness = slices.Contains(base.Witnesses, s.id)
		w.servers = append(w.servers, s)
		s.start()
	}
	return w
}

// bind binds members of a next configuration as they were, and some to their present directories.
func (w *world) bind(next *Configuration, now Configuration, some []uint64) {
	next.Bound = nil
	for _, id := range next.members() {
		d := now.DirectoryOf(id)
		if slices.Contains(some, id) {
			d = w.servers[id-1].directory
		}
		if d != (Directory{}) {
			next.Bound = append(next.Bound, Binding{id, d})
		}
	}
}

func (w *world) fail(format string, args ...any) {
	if w.failure == nil {
		w.failure = fmt.Errorf(format, args...)
	}
}

func (s *server) fail(format string, args ...any) {
	s.w.fail("server %d: %s\n%s", s.id, fmt.Sprintf(format, args...), s.core.Dump())
}

// start recovers from the disk.
func (s *server) start() {
	s.w.seed++
	snapshot := s.disk.first - 1
	o := Options{ID: s.id, Directory: s.directory, Config: s.configAt(s.disk.log[:snapshot]),
		Hard: s.disk.hard, First: s.disk.first, Last: uint64(len(s.disk.log)),
		Commit:         min(max(snapshot, s.disk.commit), uint64(len(s.disk.log))),
		HeartbeatTicks: 1, ElectionTicks: 10, Seed: s.w.seed, Probation: s.lossy,
		Witness: s.witness}
	for i, en := range s.disk.log {
		if i == 0 || s.disk.log[i-1].term != en.term {
			o.Runs = append(o.Runs, TermRun{First: uint64(i + 1), Term: en.term})
		}
	}
	if snapshot > 0 && s.w.seed%2 == 0 { // its term stands in the runs, or with the snapshot
		o.Snapshot = Position{snapshot, s.disk.log[snapshot-1].term}
		for len(o.Runs) > 1 && o.Runs[1].First <= o.First {
			o.Runs = o.Runs[1:]
		}
		if o.Runs[0].First = max(o.Runs[0].First, o.First); o.Last < o.First {
			o.Runs = nil
		}
	}
	core, err := New(o)
	if err != nil {
		s.w.fail("server %d does not start: %v %+v", s.id, err, o)
		return
	}
	s.core, s.down, s.role, s.commit = core, false, Follower, o.Commit
	s.log, s.first = slices.Clone(s.disk.log), s.disk.first
	s.last = uint64(len(s.log))
	s.writes, s.gated, s.reads, s.ctx = nil, nil, nil, 0
	s.actors = map[uint64]*actor{}
	s.putConfigs(s.first, s.log[s.first-1:])
}

// configAt is the configuration in force after entries, which begin at 1.
func (s *server) configAt(entries []entry) Configuration {
	for i := len(entries); i > 0; i-- {
		if conf := entries[i-1].conf; conf != nil {
			at := *conf
			at.Index = uint64(i)
			return at
		}
	}
	return s.founding
}

// empty puts an empty directory in the place of the server's, founded with the same list of voters,
// and starts it.
func (s *server) empty() {
	s.w.wiped = true
	s.directory[1]++
	s.disk.hard, s.disk.log, s.disk.first, s.disk.commit = Hard{}, nil, 1, 0
	s.founding = Configuration{Voters: s.w.base.Voters, Witnesses: s.w.base.Witnesses}
	s.start()
}

// compact takes a snapshot of what is committed and durable up to index, and begins the log there.
// A witness keeps what a full voter may need.
func (s *server) compact(index uint64) {
	if s.down {
		return
	}
	if s.witness {
		index = min(index, s.core.Floor().Index)
	}
	if index = min(index, s.commit, s.durable(), s.core.durable); index >= s.first {
		s.disk.first, s.first = index+1, index+1
		s.disk.commit = max(s.disk.commit, index)
		s.do(func(c *Core, e *Effects) { c.Compact(index+1, e) })
	}
}

func (s *server) putConfigs(first uint64, entries []entry) {
	for i, en := range entries {
		if en.conf != nil {
			conf := *en.conf
			conf.Index = first + uint64(i)
			s.core.PutConfig(conf)
		}
	}
}

// crash forgets everything that is not on the disk.
func (s *server) crash() {
	if !s.core.Probation() {
		s.lossy = false
	}
	s.down = true
}

// do calls the core and carries out what it asks for.
func (s *server) do(call func(c *Core, e *Effects)) {
	if s.down || s.w.failure != nil {
		return
	}
	s.effects.Reset()
	before := s.core.Hard()
	call(s.core, &s.effects)
	if h := s.core.Hard(); h.Term < before.Term {
		s.fail("term fell from %d", before.Term)
	}
	for i := range s.effects.List {
		f := &s.effects.List[i]
		s.w.trace(fmt.Sprintf("  %d: %s", s.id, f))
		s.carryOut(f)
	}
	if s.lossy && !s.core.Probation() {
		s.lossy = false
	}
	if s.core.Role() != s.role && s.core.Role() != Leader {
		s.reads = nil
		clear(s.actors) // a later leader's configuration may not know them
	}
	s.role = s.core.Role()
	if v := s.core.Verified(); v > s.core.Last() || s.core.Commit() > v {
		s.fail("verified %d", v)
	}
}

func (s *server) carryOut(f *Effect) {
	switch f.Kind {
	case Mutate:
		s.mutate(f)
	case Send:
		s.send(f)
	case Commit:
		s.checkCommit(f.Index)
	case ReadReady:
		for len(s.reads) > 0 && s.reads[0].ctx <= f.Ctx {
			if f.Index < s.reads[0].index {
				s.fail("read %d at %d, committed before it: %d", f.Ctx, f.Index, s.reads[0].index)
			}
			s.reads = s.reads[1:]
		}
	case RoleChange:
		if f.Role == Leader {
			s.checkLeader(f.Term)
		}
	case Peer:
		s.actors[f.Member] = &actor{mode: f.Mode, next: f.Next}
	case Restore:
		s.restore(f)
	}
}

func (s *server) restore(f *Effect) {
	p := s.stepped
	if p.Type != Snapshot || f.Index != p.PrevIndex || f.Term != p.PrevTerm ||
		f.Index <= s.commit || f.First != s.commit+1 || f.Index > uint64(len(s.w.committed)) {
		s.fail("%s does not fit %s, committed %d", f, p, len(s.w.committed))
		return
	}
	if n := f.Index; n <= uint64(len(s.log)) && s.log[n-1].term == f.Term {
		s.fail("%s over a log that holds it", f)
	}
	s.w.restores++
	s.log, s.first = p.entries, f.Index+1
	s.writes = append(s.writes, write{f.Hard, f.First, nil, f.Index, p})
}

func (s *server) mutate(f *Effect) {
	var entries []entry
	switch f.Source {
	case Frame:
		p := s.stepped
		if f.First != p.PrevIndex+1+uint64(f.Skip) || f.EntryTerm != p.EntryTerm {
			s.fail("mutation %s does not fit %s", f, p.String())
		}
		entries = p.entries[f.Skip:]
	case Config:
		conf := s.core.Config()
		entries = []entry{{term: f.EntryTerm, value: s.w.value(), conf: &conf}}
	case Proposals, NoOp:
		for range f.Count {
			entries = append(entries, entry{term: f.EntryTerm, value: s.w.value()})
		}
	}
	if len(entries) != int(f.Count) || f.First > uint64(len(s.log))+1 || f.First <= s.commit {
		s.fail("mutation %s over a log of %d", f, len(s.log))
		return
	}
	s.log = append(slices.Clip(s.log[:f.First-1]), entries...)
	s.writes = append(s.writes, write{f.Hard, f.First, entries, s.commit, nil})
}

func (w *world) value() uint64 {
	w.values++
	return w.values
}

func (s *server) send(f *Effect) {
	p := packet{Message: f.Message}
	p.Directory = s.directory
	if !f.Gated {
		if t := p.Type; t == Vote || t == VoteAck || t == AppendAck {
			s.fail("speaks before it persists: %s", f)
		}
		s.w.net = append(s.w.net, p)
		return
	}
	if p.Type == AppendAck && !p.Reject && p.Match > s.durable() {
		s.fail("acknowledges %d, durable %d", p.Match, s.durable())
	}
	if l := s.w.servers[p.To-1]; p.Type == AppendAck && p.Match > 0 && !l.down &&
		l.core.Role() == Leader && l.core.Hard().Term == p.Term &&
		(p.Match > uint64(len(l.log)) || l.log[p.Match-1] != s.disk.log[p.Match-1]) {
		s.fail("acknowledges %d, which is not the leader's", p.Match)
	}
	s.gated = append(s.gated, gated{s.core.Hard(), p})
	s.release()
}

// release sends gated messages whose hard state is durable.
func (s *server) release() {
	for len(s.gated) > 0 && s.hardOnDisk(s.gated[0].hard) {
		p := s.gated[0].packet
		s.gated = s.gated[1:]
		if p.Type == VoteAck && !p.Reject {
			key := ballot{s.id, p.Term, p.Directory}
			if to, ok := s.w.votes[key]; ok && to != p.To {
				s.fail("votes for %d and %d in term %d", to, p.To, p.Term)
			}
			s.w.votes[key] = p.To
		}
		s.w.net = append(s.w.net, p)
	}
}

func (s *server) hardOnDisk(h Hard) bool {
	d := s.disk.hard
	return d == h || d.Term > h.Term || d.Term == h.Term && h.Vote == 0
}

// durable is the rule of the durable index: what the newest durable write left, lowered by every
// later published one.
func (s *server) durable() uint64 {
	index := s.last
	for _, w := range s.writes {
		index = min(index, w.first-1)
	}
	return index
}

// persist makes the oldest write durable and, if asked, tells the core.
func (s *server) persist(tell bool) {
	if s.down {
		return
	}
	if len(s.writes) > 0 {
		w := s.writes[0]
		s.writes = s.writes[1:]
		if p := w.restore; p != nil {
			s.disk.log, s.disk.first = p.entries, p.PrevIndex+1
		} else {
			s.disk.log = append(slices.Clip(s.disk.log[:w.first-1]), w.entries...)
		}
		s.disk.hard, s.disk.commit, s.last = w.hard, w.commit, w.last()
	}
	if tell {
		s.release()
		s.do(func(c *Core, e *Effects) { c.DurableHard(s.disk.hard, e) })
		s.do(func(c *Core, e *Effects) { c.Durable(s.durable(), e) })
	}
}

func (s *server) deliver(p packet) {
	s.w.trace("deliver " + p.String())
	s.stepped = &p
	s.do(func(c *Core, e *Effects) {
		if p.Type != Snapshot {
			c.Step(&p.Message, e)
		} else if err := c.StepSnapshot(&p.Message, p.conf, e); err != nil {
			s.fail("%v", err)
		}
	})
	for i := range s.effects.List {
		if f := &s.effects.List[i]; f.Kind == Mutate && f.Source == Frame && !s.down {
			s.putConfigs(f.First, p.entries[f.Skip:])
		}
	}
}

// feed lets the actor of a member send one append.
func (s *server) feed(to uint64, most int) {
	a := s.actors[to]
	if s.down || s.core.Role() != Leader || a == nil || a.mode == progress.Probe && a.sent {
		return
	}
	if a.mode == progress.Snapshot {
		if s.witness && !s.w.servers[to-1].witness && !s.w.losses && !s.w.wiped {
			s.fail("it has dropped what full member %d needs", to)
		}
		s.sendSnapshot(to)
		return
	}
	first, last := a.next, s.core.Last()
	if first < s.first { // as its journal tells the actor
		s.do(func(c *Core, e *Effects) { c.NeedSnapshot(to, s.first, e) })
		return
	}
	if first > last && a.mode == progress.Stream {
		return
	}
	m := Message{Type: Append, From: s.id, To: to, Term: s.core.Hard().Term,
		PrevIndex: first - 1, Commit: s.core.Commit()}
	m.PrevTerm, _ = s.core.Term(first - 1)
	for i := first; i <= last && int(m.Count) < most; i++ {
		t, ok := s.core.Term(i)
		if !ok || t != s.log[i-1].term {
			s.fail("term of %d is %d, in the log %d", i, t, s.log[i-1].term)
			return
		}
		if m.Count > 0 && t != m.EntryTerm {
			break
		}
		m.EntryTerm = t
		m.Count++
	}
	a.sent = true
	if a.mode == progress.Stream {
		a.next += uint64(m.Count)
	}
	p := packet{Message: m, entries: slices.Clone(s.log[first-1 : first-1+uint64(m.Count)])}
	s.w.trace("  actor " + p.String())
	s.w.net = append(s.w.net, p)
}

// sendSnapshot sends what the log's beginning stands on, whole. Whether it arrived is reported
// apart.
func (s *server) sendSnapshot(to uint64) {
	if s.witness && !s.w.servers[to-1].witness {
		return // it has no state to send
	}
	last := s.first - 1
	p := packet{entries: s.log[:last:last], conf: s.configAt(s.log[:last]),
		Message: Message{Type: Snapshot, From: s.id, To: to, Term: s.core.Hard().Term,
			PrevIndex: last, PrevTerm: s.log[last-1].term, Commit: s.core.Commit()}}
	s.w.trace("  actor " + p.String())
	s.w.net = append(s.w.net, p)
}

func (s *server) read() {
	ctx, index := s.ctx+1, uint64(len(s.w.committed))
	s.do(func(c *Core, e *Effects) {
		if c.Serves() {
			s.ctx++
			s.reads = append(s.reads, readWanted{ctx, index})
			c.Read(ctx, e)
		}
	})
}

func (s *server) checkLeader(term uint64) {
	if id, ok := s.w.leaders[term]; ok && id != s.id {
		s.fail("second leader of term %d beside %d", term, id)
	}
	s.w.leaders[term] = s.id
	for i, en := range s.w.committed {
		if i >= len(s.log) || s.log[i] != en {
			s.fail("leader of term %d lacks committed entry %d", term, i+1)
			return
		}
	}
}

func (s *server) checkCommit(index uint64) {
	if index <= s.commit || index > uint64(len(s.log)) {
		s.fail("commit from %d to %d, log of %d", s.commit, index, len(s.log))
		return
	}
	for i := s.commit; i < index; i++ {
		if i < uint64(len(s.w.committed)) {
			if s.w.committed[i] != s.log[i] {
				s.fail("entry %d committed as %v, now %v", i+1, s.w.committed[i], s.log[i])
			}
			continue
		}
		s.w.committed = append(s.w.committed, s.log[i])
		conf := s.core.Config()
		if !s.w.losses && !s.w.wiped && (!s.w.onDisks(i, s.log[i], conf.Voters) ||
			!s.w.onDisks(i, s.log[i], conf.Outgoing)) {
			s.fail("entry %d committed without a majority of disks", i+1)
		}
	}
	s.commit = index
}

// onDisks judges from the platters.
func (w *world) onDisks(i uint64, en entry, voters []uint64) bool {
	n := 0
	for _, id := range voters {
		if d := w.servers[id-1].disk.log; i < uint64(len(d)) && d[i] == en {
			n++
		}
	}
	return len(voters) == 0 || n > len(voters)/2
}

// checkLogs: where two logs hold the same (index, term), they agree up to there.
func (w *world) checkLogs() {
	for i, a := range w.servers {
		if now, log := a.core.Config(), a.configAt(a.log); !a.down && now.Index != log.Index {
			a.fail("configuration %d in force, %d in the log", now.Index, log.Index)
		}
		if !a.down && (a.core.First() != a.first || a.core.Last() != uint64(len(a.log))) {
			a.fail("the log is %d-%d", a.first, len(a.log))
		}
		for _, b := range w.servers[:i] {
			same := true
			for k := range min(len(a.log), len(b.log)) {
				if a.log[k].term == b.log[k].term && (!same || a.log[k].value != b.log[k].value) {
					w.fail("logs of %d and %d differ at or before %d", a.id, b.id, k+1)
					return
				}
				same = same && a.log[k] == b.log[k]
			}
		}
	}
}
