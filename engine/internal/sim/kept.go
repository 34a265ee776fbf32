package sim

import (
	"errors"
	"io"

	"github.com/ringraft/ringraft/engine/internal/member"
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/snapshot"
	"github.com/ringraft/ringraft/journal"
)

// In some of the plans the state machine keeps its state on a disk of its own: what it has
// applied becomes durable when it is synced, or by itself whenever it likes, always
// together with its index. Power takes the rest. Now and then all of it is lost.

// KeptPlan is whether state machines keep their state.
type KeptPlan struct {
	Kept    bool
	Commits float64 // chance that what a call has applied becomes durable by itself
}

// drawKept draws for itself, as the others do.
func (p *Plan) drawKept() {
	r := random{mix(p.Seed, 0xd15c)}
	if p.Kept = r.chance(0.4); p.Kept {
		p.Commits = pick(&r, 0, 0.02, 0.5, 1)
	}
}

// kept is what is durable of a state, and stays when the process ends.
type kept struct {
	applied       uint64 // entries whose effect it has
	index, digest uint64
	values        []uint64
	lost          bool // it was, and was not made again yet
}

// keptMachine is a machine that keeps its state.
type keptMachine struct{ *machine }

var (
	_ member.DiskMachine = keptMachine{}
	_ pipeline.Viewer    = keptMachine{}
)

// stateMachine is the one of the process, as the member drives it.
func (h *host) stateMachine() pipeline.StateMachine {
	if h.witness {
		return member.Witness{}
	}
	if h.w.plan.Kept {
		return keptMachine{h.machine}
	}
	return h.machine
}

// Open implements member.DiskMachine.
func (m keptMachine) Open() (applied uint64, err error) {
	k := &m.host.kept
	m.index, m.digest = k.index, k.digest
	clear(m.values)
	copy(m.values, k.values)
	return k.applied, nil
}

// keep makes the state durable, as one that has the entries up to applied.
func (m keptMachine) keep(applied uint64) {
	k := &m.host.kept
	k.applied, k.index, k.digest = max(m.index, applied), m.index, m.digest
	k.values, k.lost = append(k.values[:0], m.values...), false
}

// Apply implements pipeline.StateMachine.
func (m keptMachine) Apply(entries []pipeline.Entry, replies *pipeline.Replies) {
	m.machine.Apply(entries, replies)
	if h := m.host; h.rng.chance(h.w.plan.Commits) {
		m.keep(m.index)
	}
}

// Restore implements member.Restorer.
func (m keptMachine) Restore(r io.Reader) (install func(), err error) {
	inner, err := m.machine.Restore(r)
	return func() {
		inner()
		if h := m.host; h.rng.chance(h.w.plan.Commits) {
			m.keep(m.index)
		}
	}, err
}

var errNoSync = errors.New("no sync for now")

// Sync implements member.DiskMachine: it fails, and power goes, before it has done
// anything or after.
func (m keptMachine) Sync(applied uint64) error {
	h, brought := m.host, m.host.kept.applied < m.host.restored
	cut := 0.03
	if brought {
		cut = 0.3
	}
	switch {
	case h.w.healed:
	case h.up && h.rng.chance(0.05):
		return errNoSync
	case h.rng.chance(cut):
		h.w.logf("n%d: power goes while its state is synced", h.id)
		h.w.hit(CrashSyncingState)
		if h.rng.chance(0.5) {
			m.keep(applied)
		}
		h.disk.gone = true
		return errCrash
	}
	m.keep(applied)
	if brought && h.up {
		h.w.hit(StateBrought)
	}
	return nil
}

// loadFrom is member.Load. Damage may take from the log what the state has: then the
// operator removes the state, as the error says, and the log makes it again.
func (h *host) loadFrom(dir *snapshot.Dir, rec *journal.Recovery) (member.Start, error) {
	w, k := h.w, &h.kept
	if k.applied > 0 && !w.healed && h.rng.chance(0.03) {
		w.logf("n%d: its state is lost, which was of entry %d", h.id, k.applied)
		h.kept = kept{lost: true}
	}
	found, lost := k.applied, k.lost
	from, err := member.Load(dir, h.stateMachine(), rec)
	if ahead := (*member.AheadError)(nil); errors.As(err, &ahead) {
		w.logf("n%d: %v", h.id, err)
		if !rec.Probation && !rec.Damaged {
			w.fail("a state is not ahead of its log", "member %d: %v", h.id, err)
		}
		w.hit(StateAhead)
		h.kept, h.machine = kept{lost: true}, newMachine(h, w.plan.Keys)
		found, lost = 0, true
		from, err = member.Load(dir, h.stateMachine(), rec)
	}
	if err != nil || !w.plan.Kept || h.witness {
		return from, err
	}
	w.judge.kept(h, &from)
	switch {
	case from.Own && from.Applied < rec.Commit:
		w.hit(StateBehind)
	case from.Own:
		w.hit(StateKept)
	case from.Info.Index > 0 && lost:
		w.hit(StateMadeAgain)
	case from.Info.Index > found:
		w.hit(StateCutOff)
	}
	return from, nil
}

// kept: a state that was kept is what the log amounts to up to the entry that it says, and
// those are committed.
func (j *judge) kept(h *host, from *member.Start) {
	if !from.Own {
		return
	}
	if from.Applied > j.commit {
		j.w.fail("a state is committed", "member %d has one of entry %d on its disk, commit is %d",
			h.id, from.Applied, j.commit)
		return
	}
	j.state(h, from.Applied, "a state is what was applied")
}

// state: what a state machine begins with is what the log amounts to up to an entry.
func (j *judge) state(h *host, upto uint64, promise string) {
	m := h.machine
	if m.index > upto || m.index > 0 && j.digests[m.index].sum != m.digest {
		j.w.fail(promise, "member %d: the one of entry %d has another state after entry %d", h.id,
			upto, m.index)
		return
	}
	for k := m.index + 1; k <= min(upto, j.newest); k++ {
		if j.digests[k].sum != 0 {
			j.w.fail(promise, "member %d: the one of entry %d lacks command %d", h.id, upto, k)
		}
	}
	for k := range m.values {
		value := uint64(0)
		for _, v := range j.history[k] {
			if v.index <= m.index {
				value = v.value
			}
		}
		if m.values[k] != value {
			j.w.fail(promise, "member %d: the one of entry %d has %d at key %d, not %d", h.id, upto,
				m.values[k], k, value)
		}
	}
}

// synced: a member names a snapshot of its own, and lets the log before it go, when its
// state is durable as far.
func (j *judge) synced(h *host, upto uint64) {
	if j.w.plan.Kept && !h.witness && h.kept.applied < upto {
		j.w.fail("the log stays until the state is durable", "member %d names its snapshot of "+
			"entry %d, its disk has the state of entry %d", h.id, upto, h.kept.applied)
	}
}
