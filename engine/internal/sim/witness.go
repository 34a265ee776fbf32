package sim

import (
	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/member"
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/wire"
)

// In some of the plans the last founders are witnesses, and some of the hosts that join. A
// host is one or is none for good. What others are asked of them they refuse, and sometimes
// one is asked to be added as what it is not.

// WitnessPlan says who is a witness.
type WitnessPlan struct {
	Witness    [16]bool // by id
	WitnessLog int64    // bytes of log that they keep for full members
}

// wholeLog is more than any log has.
const wholeLog = 1 << 40

// drawWitnesses draws for itself, as the others do. Where witnesses keep little, no member
// stays down: nobody else might bring another one up to date.
func (p *Plan) drawWitnesses() {
	r := random{mix(p.Seed, 0x3172e55)}
	p.WitnessLog = wholeLog
	if p.Members < 3 || !r.chance(0.4) {
		return
	}
	for _, f := range p.Faults {
		if f.Kind == FullDisks { // leadership goes where there is room, and cannot go to these
			return
		}
	}
	for id := p.Members - r.n((p.Members-1)/2); id <= p.Members; id++ {
		p.Witness[id] = true
	}
	for id := p.Members + 1; id <= p.Members+p.Joiners; id++ {
		p.Witness[id] = r.chance(0.4)
	}
	if p.Snapshots && r.chance(0.3) {
		p.WitnessLog, p.Down = int64(16<<10), 0
	}
}

// asMember is a host as it is to be added; now and then as what it is not.
func (h *host) asMember(r *random) config.Member {
	m := config.Member{ID: h.id, Address: h.address, Witness: h.witness}
	if h.w.plan.Witness != [16]bool{} && r.chance(0.1) {
		m.Witness = !m.Witness
	}
	return m
}

// refusesAll: a witness answers no request but by refusing it.
func (j *judge) refusesAll(h *host, id int, c *pipeline.Completion) {
	if !h.witness {
		return
	}
	if c.Outcome != pipeline.NotApplied {
		j.w.fail("a witness serves nobody", "member %d answers operation %d: %v %v", h.id, id,
			c.Outcome, c.Reason)
	}
	if h.up && h.core.Role() == raft.Leader {
		j.w.hit(WitnessRefused)
	}
}

// offered: what is offered to a full member is of one, and to a witness there is no state.
func (j *judge) offered(h *host, f *wire.Snapshot) {
	if f.Kind == wire.Answer {
		return
	}
	to := j.w.hosts[f.To-1]
	empty := f.Kind == wire.Offer && len(f.Configuration) > 0
	switch {
	case h.witness && !to.witness:
		j.w.fail("a witness gives no state", "member %d offers full member %d its snapshot of "+
			"entry %d", h.id, f.To, f.Index)
	case empty != to.witness:
		j.w.fail("a witness takes no state", "member %d offers member %d the snapshot of entry %d",
			h.id, f.To, f.Index)
	}
}

// keepsForFull: a witness lets no entry go that a full voter has not on its disk, unless it
// keeps more than it has to. What a full voter has lost it does not count: others have it.
func (j *judge) keepsForFull(h *host, first uint64) {
	w := j.w
	if !h.witness || first <= h.restored+1 || w.plan.Joiners > 0 || w.plan.WitnessLog < wholeLog {
		return
	}
	for _, v := range j.conf.Voters {
		o := w.hosts[v.ID-1]
		if v.Witness || o.suspect || o.probation || o.emptied || o.lost != "" {
			continue
		}
		if has := uint64(len(o.disk.platter.log)); has+1 < first {
			w.fail("a witness keeps what others need", "member %d has its log from %d on, and "+
				"full member %d has it up to %d", h.id, first, o.id, has)
		}
	}
}

// keeping notes that a witness keeps log before its snapshot that a full member lacks.
func (j *judge) keeping(h *host) {
	if !h.witness {
		return
	}
	if f := h.core.Floor(); f.Member != 0 && f.Index+1 < h.journal.Snapshot().Index &&
		h.core.First() <= f.Index+1 {
		j.w.hit(WitnessKeeps)
	}
}

// onWitness takes the events of witnesses.
func (h *host) onWitness(e *member.Event) {
	switch e.Kind {
	case member.WitnessLeads:
		h.w.hit(WitnessLed)
	case member.BeyondWitness:
		h.w.hit(WitnessBeyond)
	case member.SnapshotInstalled:
		if h.witness {
			h.w.hit(WitnessRestored)
		}
		if h.w.hosts[e.Member-1].witness && !h.witness {
			h.w.fail("a witness gives no state", "member %d goes on from the snapshot of entry "+
				"%d of witness %d", h.id, e.Have, e.Member)
		}
	}
}
