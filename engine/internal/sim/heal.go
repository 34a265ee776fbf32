package sim

import (
	"fmt"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

// The end of every seed: everything heals but what is down for good, and the
// cluster must converge within bounds and then keep still (reliability B.2, 16
// and 17).
const (
	leaderWithin  = 10 // election timeouts: somebody leads
	answersWithin = 20 // election timeouts: everything outstanding is answered
	convergeIn    = 60 * sec
	handOverIn    = 10 * sec // once a leader has waited to give way to a higher priority
)

func (w *World) heal() {
	w.logf("HEAL")
	w.healed = true
	w.net.storm, w.net.losses, w.net.delay = 0, 0, 200*us
	w.net.cut, w.net.deaf = [16][16]bool{}, [16]bool{}
	for _, c := range w.net.connections {
		c.revive()
	}
	w.net.clog = [16][16]int64{}
	for _, h := range w.hosts {
		h.paused, h.busy, h.stalledTo, h.applyStall = 0, min(h.busy, w.now), 0, 0
		h.crashPlan = crashPlan{}
		h.disk.heal()
		for _, r := range h.clientLanes {
			r.slow = 0
		}
	}
	w.leaveDown()
	for i, h := range w.hosts {
		if h.up {
			h.wake(0)
		} else {
			w.later(int64(i)*ms, h.start)
		}
	}
	for _, c := range w.net.connections {
		c.dial(0)
	}
	for _, c := range w.clients {
		w.at(0, event{kind: evClient, n: c.id})
	}
	w.at(10*ms, event{kind: evCheck})
}

// leaveDown takes a minority away for good.
func (w *World) leaveDown() {
	voters := w.voters(1)
	left := min(w.plan.Down, (len(voters)-1)/2)
	for _, h := range voters {
		if h.suspect || h.lost != "" || h.probation || h.emptied {
			left--
		}
	}
	for _, h := range voters {
		if left <= 0 || w.changing() {
			return
		}
		if !h.suspect && h.lost == "" && !h.probation && !h.emptied && w.rng.chance(0.5) {
			h.crash()
			h.dead = true
			left--
			w.logf("n%d is down for good", h.id)
		}
	}
}

// check asks whether the cluster has converged, and fails the run when it is late.
func (w *World) check() {
	since := w.now - w.plan.Duration
	leader, why := w.converged()
	if w.calm > 0 {
		w.stable(leader, why)
		return
	}
	if why == "" {
		w.calm, w.calmTerm = w.now, w.hosts[leader-1].core.Hard().Term
		w.at(10*ms, event{kind: evCheck})
		return
	}
	if w.plan.Mode == Beyond && since > 10*sec && w.excused() {
		w.end()
		return
	}
	if why == waitsForPriority {
		w.wished = w.now
	}
	et := 2*w.plan.Election + w.slack()
	switch {
	// While leadership is handed to who should lead, nobody has it for a moment.
	case leader == 0 && min(since, w.now-w.wished) > leaderWithin*et:
		w.late("no leader", why)
	case since > answersWithin*et && w.outstanding() > 0:
		w.logOutstanding()
		w.late(fmt.Sprintf("%d requests without an answer", w.outstanding()), why)
	case since > convergeIn && w.now-w.wished > handOverIn || since > 2*convergeIn+handOverIn:
		w.late("not converged", why)
	}
	w.at(10*ms, event{kind: evCheck})
}

// calmFor is how long, in election timeouts, a healed cluster must keep its
// leader and its term.
const calmFor = 10

// stable: nothing happens any more once everybody is equal.
func (w *World) stable(leader uint64, why string) {
	switch {
	case leader == 0 || w.hosts[leader-1].core.Hard().Term != w.calmTerm:
		w.fail("stability", "%s after all were equal in term %d: %s", seconds(w.now-w.calm),
			w.calmTerm, why)
	case w.now-w.calm > calmFor*w.plan.Election:
		w.end()
	default:
		w.at(10*ms, event{kind: evCheck})
	}
}

// slack is the time that members need to start and to find each other.
func (w *World) slack() int64 { return 200 * ms }

func (w *World) late(what, why string) {
	if w.plan.Mode == Beyond && w.excused() {
		w.end()
		return
	}
	w.fail("liveness", "%s after the healing: %s (%s)", seconds(w.now-w.plan.Duration), what, why)
}

// excused reports that members have lost something, so that the cluster may stand still.
func (w *World) excused() bool {
	for _, h := range w.hosts {
		if h.lost != "" || h.suspect || h.probation {
			return true
		}
	}
	return false
}

func (w *World) outstanding() (n int) {
	for i := range w.judge.ops {
		if o := &w.judge.ops[i]; i > 0 && o.state == waiting && o.invoked <= w.plan.Duration {
			n++
		}
	}
	return n
}

func (w *World) logOutstanding() {
	for i := range w.judge.ops {
		if o := &w.judge.ops[i]; i > 0 && o.state == waiting {
			w.logf("operation %d waits: kind %d on n%d since %s, applied at %d", i, o.kind, o.host,
				seconds(o.invoked), o.appliedAt)
		}
	}
}

// converged returns the leader, and what is still missing.
func (w *World) converged() (leader uint64, why string) {
	var last, commit uint64
	for _, h := range w.hosts {
		if !h.up || h.core.Role() != raft.Leader {
			continue
		}
		if leader != 0 {
			return 0, fmt.Sprintf("%d and %d both lead", leader, h.id)
		}
		leader, last, commit = h.id, h.core.Last(), h.core.Commit()
	}
	if leader == 0 {
		return 0, "nobody leads"
	}
	if w.hosts[leader-1].witness {
		return leader, "a witness leads"
	}
	if why := w.unsettled(w.hosts[leader-1]); why != "" {
		return leader, why
	}
	for _, m := range w.judge.conf.Members() {
		if m.Address != w.hosts[m.ID-1].address {
			return leader, fmt.Sprintf("member %d has moved", m.ID)
		}
	}
	for _, h := range w.hosts {
		switch {
		case h.dead || h.lost != "" || !w.judge.belongs(h):
		case !h.up:
			return leader, fmt.Sprintf("member %d is down: %s", h.id, h.lost)
		case h.core.Last() != last || h.core.Commit() != commit ||
			h.apply.Applied().Load() != commit || commit != last:
			return leader, fmt.Sprintf(
				"member %d has log %d, commit %d, applied %d; the leader %d, %d",
				h.id, h.core.Last(), h.core.Commit(), h.apply.Applied().Load(), last, commit)
		case h.probation:
			return leader, fmt.Sprintf("member %d is still on probation", h.id)
		}
	}
	for _, c := range w.clients {
		if c.proofs < proofs {
			return leader, fmt.Sprintf("client %d waits", c.id)
		}
	}
	if n := w.outstanding(); n > 0 {
		return leader, fmt.Sprintf("%d requests outstanding", n)
	}
	return leader, w.outranked(w.hosts[leader-1])
}

// end judges the run as a whole: nothing acknowledged is lost, all members are equal.
func (w *World) end() {
	w.ended = true
	for _, h := range w.hosts {
		if h.up {
			h.verifyStore()
		}
	}
	j := &w.judge
	for i := range j.ops {
		o := &j.ops[i]
		if i == 0 || o.kind == opGet {
			continue
		}
		if o.state == applied && o.appliedAt == 0 {
			w.fail("no acknowledged write lost", "operation %d was acknowledged and is nowhere", i)
		}
		if o.state == notApplied && o.appliedAt != 0 {
			w.fail("true outcomes", "operation %d was certainly not applied, and is at %d", i,
				o.appliedAt)
		}
	}
	j.counters()
	for _, h := range w.hosts {
		if !h.up || h.witness {
			continue
		}
		for k, v := range h.machine.values {
			if h.apply.Applied().Load() == j.commit && v != j.model[k] {
				w.fail("state-machine safety", "member %d ends with %d at key %d instead of %d",
					h.id, v, k, j.model[k])
			}
		}
	}
	if w.failure == nil {
		j.porcupine()
	}
}

// counters: a counter ends between what was acknowledged and what may have
// happened.
func (j *judge) counters() {
	ok, maybe := make([]uint64, len(j.model)), make([]uint64, len(j.model))
	for i := range j.ops {
		o := &j.ops[i]
		switch {
		case i == 0 || o.kind != opIncr:
		case o.state == applied:
			ok[o.key]++
		case o.state != notApplied:
			maybe[o.key]++
		}
	}
	for k := range ok {
		if k&1 == 1 && (j.model[k] < ok[k] || j.model[k] > ok[k]+maybe[k]) {
			j.w.fail("counters", "key %d counted %d, acknowledged %d, perhaps %d more", k,
				j.model[k], ok[k], maybe[k])
		}
	}
}
