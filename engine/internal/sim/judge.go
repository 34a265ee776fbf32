package sim

import (
	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/raft"
)

// judge holds the cluster to its promises, after every step. It knows what
// is durable on every disk, what every client was answered, and what was applied.
type judge struct {
	w *World

	// Raft (thesis, figure 3.2).
	leaders  map[uint64]uint64         // term → leader
	votes    map[[2]uint64]uint64      // member, term → candidate, as sent to others
	promises map[raft.Directory][]byte // directory → the list it has promised
	acked    map[said]uint64           // the highest match that was acknowledged
	seen     [][]entry                 // index → what any disk ever held there, one per term
	commit   uint64
	chosen   []entry // committed, index 1 at 0
	membership

	// The state machine: one history for all.
	digests []digest // by index
	model   []uint64
	history [][]version64 // by key: what it held from an index on
	newest  uint64        // index of the newest command applied anywhere

	// Clients. Operation 0 is none.
	ops      []operation
	floor    uint64 // index of the newest command whose effect a client has seen
	answered [3]int
}

// said is who speaks, and in which term.
type said struct {
	directory raft.Directory
	term      uint64
}

type digest struct {
	sum uint64
	op  uint64
}

type version64 struct{ index, value uint64 }

func (j *judge) init(w *World) {
	j.w = w
	j.leaders, j.promises = map[uint64]uint64{}, map[raft.Directory][]byte{}
	j.votes, j.acked = map[[2]uint64]uint64{}, map[said]uint64{}
	j.ops = make([]operation, 1, operations+operations/2)
	j.membership = membership{settled: map[uint64]config.Config{},
		written: map[[2]uint64]config.Config{}, without: map[uint64]uint64{},
		inside: map[uint64]bool{}, outsiders: map[uint64]uint64{}}
	j.model = make([]uint64, 2*w.plan.Keys)
	j.history = make([][]version64, 2*w.plan.Keys)
}

// transferred: who asked for a member to lead is answered yes only when it
// was elected later; named is whom they asked for, or 0.
func (j *judge) transferred(h *host, term, named, chosen uint64, err error) {
	won := false
	for t := term + 1; t <= h.core.Hard().Term; t++ {
		won = won || j.leaders[t] == chosen
	}
	if won && err == nil {
		j.w.hit(TransferDone)
	} else {
		j.w.hit(TransferFailed)
	}
	if named != 0 && err == nil && !won {
		j.w.fail("transfer", "member %d was told that %d leads after term %d; nobody elected it",
			h.id, named, term)
	}
}

// elected: at most one leader per term, and it has everything that earlier
// terms committed.
func (j *judge) elected(h *host, term uint64) {
	w := j.w
	w.hit(LeaderElected)
	if old, ok := j.leaders[term]; ok && old != h.id {
		w.fail("election safety", "term %d has leaders %d and %d", term, old, h.id)
	}
	j.leaders[term] = h.id
	if w.onElected != nil {
		w.onElected(h)
	}
	for i := j.commit; i > 0; i-- {
		if i+1 < h.core.First() {
			break // in its snapshot
		}
		if j.chosen[i-1].term >= term {
			continue // votes may come so late that a later leader has committed meanwhile
		}
		if t, ok := h.core.Term(i); !ok || t != j.chosen[i-1].term {
			w.fail("leader completeness", "member %d leads term %d without entry %d of term %d",
				h.id, term, i, j.chosen[i-1].term)
			return
		}
	}
	for _, o := range w.hosts {
		if o != h && o.up && o.core.Role() == raft.Leader {
			w.hit(TwoLeaders)
		}
	}
}

// matches: entries of one index and term are the same on every disk, and so is
// everything before them.
func (w *World) matches(id, index uint64, e entry) error {
	j := &w.judge
	for uint64(len(j.seen)) <= index {
		j.seen = append(j.seen, nil)
	}
	for _, s := range j.seen[index] {
		if s.term == e.term {
			if s != e {
				w.fail("log matching", "member %d: entry %d of term %d is not the one seen before",
					id, index, e.term)
			}
			return nil
		}
	}
	j.seen[index] = append(j.seen[index], e)
	return nil
}

// turned judges a member after its turn.
func (j *judge) turned(h *host) {
	w := j.w
	if err := h.replica.Check(); err != nil {
		w.fail("invariants", "member %d: %v", h.id, err)
		return
	}
	if err := h.disk.platter.err; err != nil {
		w.fail("journal", "member %d: %v", h.id, err)
		return
	}
	if h.replica.RingFull() {
		w.hit(RingFull)
	}
	j.stuck(h)
	j.compacted(h)
	j.keeping(h)
	j.checkQuorum(h)
	j.led(h)
	j.counts(h)
	hard := h.core.Hard()
	if hard.Term < h.hard.Term || hard.Term == h.hard.Term && h.hard.Vote != 0 &&
		hard.Vote != h.hard.Vote {
		w.fail("monotonic", "member %d: hard state went from %+v to %+v", h.id, h.hard, hard)
	}
	if d := h.disk.platter.hard; d.Term > h.hard.Term || d.Term == h.hard.Term && d.Vote != 0 {
		h.hard = raft.Hard{Term: d.Term, Vote: d.Vote}
	}
	j.committed(h)
	j.member(h)
	if a := h.apply.Applied().Load(); a < h.seenApplied || a > h.core.Commit() {
		w.fail("monotonic", "member %d: applied went from %d to %d, commit %d", h.id, h.seenApplied,
			a, h.core.Commit())
	} else {
		h.seenApplied = a
	}
}

// committed: what a member calls committed is on a majority's platters, and
// is what every other member calls committed.
func (j *judge) committed(h *host) {
	w := j.w
	j.force(h)
	c := h.core.Commit()
	if c == h.seenCommit {
		return
	}
	if c < h.seenCommit {
		w.fail("monotonic", "member %d: commit went from %d to %d", h.id, h.seenCommit, c)
		return
	}
	if c-h.seenCommit >= 100 {
		w.hit(CommitOfMany)
	}
	leads := h.core.Role() == raft.Leader
	if leads && uint64(len(h.disk.platter.log)) < c {
		w.hit(CommitWithoutOwnDisk)
	}
	for i := h.seenCommit + 1; i <= c; i++ {
		term, ok := h.core.Term(i)
		if i <= j.commit {
			if i+1 < h.core.First() {
				continue // compacted in the same turn
			}
			if !ok || term != j.chosen[i-1].term {
				w.fail("state-machine safety",
					"member %d commits entry %d of term %d, it is of term %d", h.id, i, term,
					j.chosen[i-1].term)
				return
			}
			continue
		}
		e, durable := j.onDisks(h, i, term)
		if !durable {
			w.fail("commit is durable",
				"member %d commits entry %d of term %d, which too few disks hold for %s", h.id, i,
				term, inWords(h.core.Config()))
			return
		}
		if leads && term < h.core.Hard().Term {
			w.hit(EarlierTermCommitted)
		}
		j.commit = i
		j.chosen = append(j.chosen, e)
		if conf, ok := j.written[[2]uint64{i, term}]; ok {
			j.configured(h, i, term, &conf)
		}
	}
	h.seenCommit = c
}

// checkQuorum: a leader that hears no majority for long does not lead on
// (check-quorum, thesis 6.2). Time in which its process stood still is not
// counted.
func (j *judge) checkQuorum(h *host) {
	w := j.w
	still := h.paused > w.now || h.busy > w.now || h.stalledTo > w.now
	if h.core.Role() != raft.Leader || still {
		h.quiet = w.now
		return
	}
	if gap := w.now - h.looked; gap > w.plan.Heartbeat {
		h.quiet += gap // it did not run
	}
	h.looked = w.now
	conf := h.core.Config()
	if majorities(&conf, func(id uint64) bool {
		return id == h.id || h.heard[id] > h.quiet
	}) {
		h.quiet = w.now
	}
	if w.now-h.quiet > 4*w.plan.Election {
		w.fail("check-quorum", "member %d leads term %d and has not heard a majority for %s", h.id,
			h.core.Hard().Term, seconds(w.now-h.quiet))
	}
}

// onDisks reports whether an entry is on the disks of a majority of the voters, by the
// configuration that is in force at a member, or was since its last turn.
func (j *judge) onDisks(h *host, i, term uint64) (e entry, durable bool) {
	for k := len(h.forces) - 1; k >= 0 && !durable; k-- {
		f := &h.forces[k]
		durable = majorities(&f.conf, func(id uint64) bool {
			x, ok := j.w.hosts[id-1].had(f.conf.DirectoryOf(id), i, term)
			if ok {
				e = x
			}
			return ok
		})
		if f.from < j.w.now {
			break
		}
	}
	return e, durable
}

// applied: every member applies the same command at the same index.
func (j *judge) applied(m *machine, index, op uint64, kind uint8, key int) {
	w := j.w
	for uint64(len(j.digests)) <= index {
		j.digests = append(j.digests, digest{})
	}
	if index <= m.index || index > j.commit {
		w.fail("state-machine safety", "member %d applies entry %d after %d, commit is %d",
			m.host.id, index, m.index, j.commit)
		return
	}
	d := &j.digests[index]
	if d.sum != 0 {
		if d.sum != m.digest {
			w.fail("state-machine safety", "member %d differs from the others at entry %d",
				m.host.id, index)
		}
		return
	}
	d.sum, d.op = m.digest, op
	if index <= j.newest {
		w.fail("state-machine safety", "member %d applies entry %d, which the others passed over",
			m.host.id, index)
		return
	}
	j.newest = index
	if op == 0 || op >= uint64(len(j.ops)) {
		w.fail("no invention", "entry %d is of no operation", index)
		return
	}
	o := &j.ops[op]
	switch {
	case o.appliedAt != 0:
		w.fail("applied once", "operation %d is applied at %d and at %d", op, o.appliedAt, index)
	case o.state == notApplied:
		w.fail("true outcomes", "operation %d was certainly not applied, and is at %d", op, index)
	}
	o.appliedAt, o.tookEffect = index, w.now
	j.history[key] = append(j.history[key], version64{index, execute(j.model, op, kind, key)})
}
