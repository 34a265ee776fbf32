package sim

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ringraft/ringraft/engine/internal/member"
	"github.com/ringraft/ringraft/engine/internal/snapshot"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/journal"
)

// Snapshots lie on the member's disk beside its journal. They are written by a job
// whose operations fail, and in any of which power may go.
//
// Whoever lacks what the leader's log no longer has is sent the leader's. Members take none
// where faults damage the journal: what a damaged log still holds behind its hole, and a
// snapshot that takes its place, is not judged.

// SnapshotPlan is when members take snapshots.
type SnapshotPlan struct {
	Snapshots bool
	After     int64 // bytes of log; negative: when asked
	Margin    int64
}

// damages lists the faults that take from a log what was acknowledged.
var damages = []FaultKind{RotLast, Rot, LostWrite, Misdirected, RolledBack, Forgetful,
	DiskReadError}

// drawSnapshots makes, of half of the plans, ones in which members take snapshots. It
// draws for itself, as the others do, and others take the places of the faults that cannot
// be with them.
func (p *Plan) drawSnapshots() {
	r := random{mix(p.Seed, 0x5a4b)}
	if !r.chance(0.5) {
		return
	}
	p.Snapshots = true
	p.After = pick(&r, -1, int64(16<<10), 64<<10, 256<<10)
	p.Margin = pick(&r, 0, 0, int64(32<<10), 256<<10)
	for i := range p.Faults {
		f := &p.Faults[i]
		for slices.Contains(damages, f.Kind) {
			if k := FaultKind(r.n(int(faultKinds))); faults[k].fits(p) {
				f.Kind = k
			}
		}
	}
	for range 4 + r.n(4) {
		p.insert(Fault{At: r.between(1*sec, p.Duration-sec), Kind: AskSnapshot,
			Member: r.n(p.Members) + 1, X: r.next()})
	}
}

// files is the directory of a member's snapshots.
func (h *host) files() *snapshot.Dir { return &snapshot.Dir{FS: h.disk, Cluster: cluster} }

// snapshots is the member's Config.Snapshots.
func (h *host) snapshots() member.Snapshots {
	p := &h.w.plan.SnapshotPlan
	if !p.Snapshots {
		return member.Snapshots{}
	}
	return member.Snapshots{Dir: h.files(), After: p.After, Margin: p.Margin,
		Wall: func() int64 { return h.w.now }}
}

// load restores the state machine, as the engine does.
func (h *host) load(rec *journal.Recovery) (*member.Start, error) {
	w, dir := h.w, h.files()
	if err := dir.Clean(); err != nil {
		return nil, err
	}
	ids, err := dir.List()
	if err != nil {
		return nil, err
	}
	if len(ids) > 0 && ids[0].Index > rec.Snapshot.Index {
		w.hit(UnnamedSnapshot)
	}
	from, err := h.loadFrom(dir, rec)
	var lost *member.NoSnapshotError
	if errors.As(err, &lost) && !h.disk.unread && !errors.Is(err, errCrash) ||
		err == nil && from.Skipped != nil && !h.disk.unread {
		w.fail("snapshots are whole", "member %d: %v, %v", h.id, err, from.Skipped)
	}
	if err != nil {
		return nil, err
	}
	if from.Info.Index > 0 && !from.Own {
		w.hit(StartedFromSnapshot)
		w.judge.restored(h, &from)
	}
	return &from, nil
}

// startSnapshot runs the member's other jobs: they write or remove snapshots.
func (h *host) startSnapshot(job member.Job) {
	at := event{kind: evCall, host: h, life: h.life}
	at.call = func() {
		if h.rng.chance(0.1) && !h.w.healed {
			h.disk.taking = 1 + h.rng.n(12)
		}
		job.Work()
		h.disk.taking = 0
		if h.disk.gone {
			h.crash()
			h.restart(10*ms, 2*sec)
			return
		}
		done := at
		done.call = func() {
			job.Done()
			h.wake(0)
		}
		h.w.at(max(h.disk.Stalled-h.w.now, h.rng.tail(20*h.w.plan.DiskMean)), done)
	}
	h.w.at(h.rng.tail(20*h.w.plan.DiskMean), at)
}

// faultAskSnapshot asks a member for a snapshot. The answer has to be of all that was
// applied when it was asked.
func (w *World) faultAskSnapshot(f *Fault) {
	h := w.target(f)
	if !h.up {
		return
	}
	applied := h.apply.Applied().Load()
	h.member.RequestSnapshot(member.NewSnapshotRequest(func(i snapshot.Info, err error) {
		if err != nil {
			return
		}
		w.hit(SnapshotAsked)
		if i.Index < applied {
			w.fail("a snapshot is as new as asked for", "member %d gives one up to %d, applied "+
				"was %d", h.id, i.Index, applied)
		}
	}))
}

// restored: the state in a snapshot is what the log up to its index amounts to, and it is
// of that index and term.
func (j *judge) restored(h *host, from *member.Start) {
	i := &from.Info
	if i.Index > j.commit || j.chosen[i.Index-1].term != i.Term {
		j.w.fail("snapshots are committed", "member %d restores one up to %d of term %d", h.id,
			i.Index, i.Term)
		return
	}
	if !h.witness {
		j.state(h, i.Index, "a snapshot is the state")
	}
}

// compacted: the log goes only before a snapshot that is durable, and on a leader only
// as far as everybody has it.
func (j *judge) compacted(h *host) {
	first := h.core.First()
	if first == h.first {
		return
	}
	h.first = first
	j.w.hit(LogCompacted)
	j.keepsForFull(h, first)
	if mark := h.journal.Snapshot(); first > max(mark.Index, h.restored)+1 {
		j.w.fail("the log goes before a snapshot", "member %d has its log from %d on, and a "+
			"snapshot up to %d", h.id, first, mark.Index)
	}
	var gone *journal.CompactedError
	if _, err := h.journal.NewReader().Read(1, 1); errors.As(err, &gone) {
		j.w.hit(LogRecycled)
	}
}

// sentSnapshot takes note of a frame of a transfer.
func (j *judge) sentSnapshot(h *host, b []byte) {
	var f wire.Snapshot
	if err := wire.ParseSnapshot(b, &f); err != nil {
		j.w.fail("frames", "member %d sends what it cannot read: %v", h.id, err)
		return
	}
	j.w.trace = mix(j.w.trace, uint64(f.Kind)<<56^f.Term<<40^f.Index<<8^f.Chunk)
	j.w.logf("n%d → n%d  snapshot %d/%d: kind %d, round %d, chunk %d, done %t %s", h.id, f.To,
		f.Index, f.LastTerm, f.Kind, f.Round, f.Chunk, f.Done, f.Refused)
	j.offered(h, &f)
	if f.Kind != wire.Answer || f.Chunk == 0 {
		return
	}
	if h.wanted == f.Digest && h.wantedIn != h.life {
		j.w.hit(SnapshotResumed)
	}
	h.wanted, h.wantedIn = f.Digest, h.life
}

// restore takes note of a batch that puts a snapshot in the log's place: the log is what
// the snapshot holds, which is what is committed.
func (p *platter) restore(s, term uint64) {
	w := p.disk.w
	if s > w.judge.commit || w.judge.chosen[s-1].term != term {
		p.err = fmt.Errorf("entry %d of term %d is restored and not committed", s, term)
		return
	}
	for i, e := range p.log[:min(uint64(len(p.log)), w.judge.commit)] {
		if e != w.judge.chosen[i] {
			w.hit(RestoredOverTail)
			break
		}
	}
	p.log, p.hole = slices.Clone(w.judge.chosen[:s]), 0
	p.base, p.cut = int(s), nil
	w.logf("n%d durable: the snapshot of entry %d of term %d", p.disk.host.id, s, term)
}

// marked takes note of a snapshot that the state file names, and whose batch power cut.
func (p *platter) marked(m journal.Mark) {
	if e, ok := p.at(m.Index); m.Index > 0 && (!ok || e.term != m.Term) {
		p.restore(m.Index, m.Term)
	}
}
