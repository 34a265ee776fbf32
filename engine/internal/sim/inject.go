package sim

import (
	"github.com/ringraft/ringraft/engine/internal/member"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/replica"
)

// The faults, as they are carried out. Each uses the fault's own number for
// its choices, so that it does the same whatever else is taken away.

func (w *World) target(f *Fault) *host {
	h := w.hosts[(f.Member-1+int(f.X>>40%uint64(1+w.plan.Joiners)))%len(w.hosts)]
	if f.X&1 == 1 { // every second fault hits a leader
		for _, o := range w.hosts {
			if o.up && o.core.Role() == raft.Leader {
				return o
			}
		}
	}
	return h
}

func (f *Fault) random() random { return random{f.X} }

func (w *World) faultCrash(f *Fault) {
	h := w.target(f)
	h.crash()
	w.later(f.Span, h.start)
}

func (w *World) faultCrashAtEffect(f *Fault) {
	h := w.target(f)
	r := f.random()
	switch f.X >> 4 & 3 {
	case 0, 2:
		h.armedRole = 1 + r.n(4) // at an election
	case 1:
		h.armedQueue = 1 + r.n(4) // behind two groups
	default:
		h.armed = 1 + r.n(40)
	}
}

func (w *World) faultCrashReopening(f *Fault) {
	h := w.target(f)
	r := f.random()
	h.crash()
	h.disk.opens = 1 + r.n(30)
	w.later(f.Span/8, h.start)
}

func (w *World) faultCrashAll(f *Fault) {
	r := f.random()
	for _, h := range w.hosts {
		w.later(r.between(0, 20*ms), func() {
			h.crash()
			w.later(r.between(0, f.Span), h.start)
		})
	}
}

func (w *World) faultPause(f *Fault) {
	h := w.target(f)
	if h.up && h.core.Role() == raft.Leader {
		w.hit(PausedLeader)
	}
	h.paused = w.now + f.Span
	h.wakeUp()
}

func (w *World) faultClock(f *Fault) {
	h := w.target(f)
	h.clock, h.real = h.local(), w.now
	h.rate = h.rng.between(-50000, 50000)
	w.hit(ClockFast)
}

func (w *World) faultTransfer(f *Fault) {
	for _, h := range w.hosts {
		if !h.up || h.core.Role() != raft.Leader {
			continue
		}
		to := uint64(f.Member)
		if f.X>>1&1 == 0 {
			to = 0
		}
		term := h.core.Hard().Term
		h.member.RequestTransfer(member.NewTransfer(to, func(chosen uint64, err error) {
			w.judge.transferred(h, term, to, chosen, err)
		}))
		h.wake(0)
	}
}

// faultStage lets some stages of a member stand still.
func (w *World) faultStage(f *Fault) {
	h := w.target(f)
	h.stalled = replica.Part(f.X>>8) &^ replica.Ticks
	span := f.Span / 4
	h.stalledTo = w.now + span
	if f.X>>16&1 == 0 {
		h.applyStall = w.now + span
	}
	w.later(span, h.wakeUp)
}

func (w *World) faultSlowReaders(f *Fault) {
	h := w.target(f)
	for _, r := range h.clientLanes {
		r.slow = f.Span / 4
		w.later(f.Span, func() { r.slow = 0 })
	}
}

func (w *World) faultBurst(f *Fault) {
	for _, c := range w.clients {
		c.extra += 20
	}
}
