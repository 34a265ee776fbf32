package sim

import (
	"github.com/ringraft/ringraft/engine/internal/replica"
)

// wake schedules a turn.
func (h *host) wake(delay int64) {
	t := h.w.now + delay
	if h.turnAt != 0 && h.turnAt <= t {
		return
	}
	h.turnAt = t
	h.token++
	h.w.push(event{at: t, kind: evTurn, host: h, life: h.life, n: h.token})
}

// wakeUp is wake, of a process that may be down.
func (h *host) wakeUp() {
	if h.up {
		h.wake(0)
	}
}

// tick lets the process notice that time passes. The engine's ticking goroutine
// goes on while the polling one hangs in a write, but not while the process is
// stopped.
func (h *host) tick() {
	w := h.w
	if h.paused <= w.now {
		h.member.Watch(h.local())
	}
	t := w.plan.Heartbeat / 2
	w.at(t-t/1e6*h.rate, event{kind: evTick, host: h, life: h.life})
	h.wake(0)
}

// turn polls the member's stages: all of them, or, as threads might, some.
func (h *host) turn() {
	w := h.w
	h.turnAt = 0
	if !h.up {
		return
	}
	if until := max(h.busy, h.paused); until > w.now {
		h.wake(until - w.now)
		return
	}
	h.cut(func() {
		if h.work(); h.up {
			h.after()
		}
	})
}

// cut reports that power went in what the process does: it is down then.
func (h *host) cut(f func()) (cut bool) {
	defer func() {
		if x := recover(); x != nil {
			if _, ok := x.(crashed); !ok {
				panic(x)
			}
			// What it called committed since its turn began may be on its disk by now.
			h.w.judge.committed(h)
			h.crash()
			h.restart(10*ms, 2*sec)
			cut = true
		}
	}()
	f()
	return false
}

func (h *host) work() {
	w, p := h.w, h.w.plan
	parts, later := replica.All, false
	if p.Partial > 0 && !w.healed && w.sched.chance(p.Partial) {
		parts = replica.Part(w.sched.next()) | replica.Ticks
		later = true
		w.hit(StagesApart)
	}
	if h.stalledTo > w.now {
		parts &^= h.stalled
	}
	h.inside = true
	worked := h.member.Turn(h.local(), parts)
	w.judge.committed(h)
	if h.applyStall <= w.now && !(later && w.sched.chance(0.5)) {
		k, more := h.member.PollApply()
		worked += k
		if more {
			worked++
		}
	}
	h.inside = false
	if worked > 0 || later || len(h.visits) > 0 {
		h.wake(p.Gap)
	}
}

// after is what follows every poll; then the judges act.
func (h *host) after() {
	w := h.w
	var err error
	if h.cut(func() { err = h.member.After(h.local()) }) {
		return
	}
	w.judge.turned(h)
	if w.failure != nil {
		return
	}
	if err != nil {
		h.stop(err)
		return
	}
	if h.core.Refused() {
		w.hit(EmptiedFed)
	}
	h.founding = h.founding && h.replica.DurableIndex() == 0
	if h.probation && !h.core.Probation() {
		w.judge.trusted(h)
		h.probation, h.suspect, h.settling = false, false, true
		h.disk.platter.lostEntries = nil
		w.hit(ProbationEnded)
		if h.damaged {
			w.hit(DamageFilled)
		}
		w.logf("n%d: probation ended", h.id)
	}
	h.settling = h.settling && h.disk.platter.incomplete
}
