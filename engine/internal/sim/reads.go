package sim

import (
	"github.com/ringraft/ringraft/engine/internal/member"
)

// journalRead is a read of the journal that the member has asked for. It is done
// later, as another goroutine would do it.
type journalRead struct {
	*member.Read
	worked bool  // it has been read, and the member does not know yet
	due    int64 // when the read completes
}

// startJob is the member's Start.
func (h *host) startJob(job member.Job) {
	read, ok := job.(*member.Read)
	if !ok {
		h.startSnapshot(job)
		return
	}
	r := &journalRead{Read: read}
	h.reads[r.For] = r
	if r.For == 0 {
		h.w.hit(AppliedFromJournal)
	} else {
		h.w.hit(CaughtUpFromJournal)
	}
	h.w.at(h.rng.tail(h.disk.mean), event{kind: evFetch, host: h, life: h.life, read: r})
}

// fetch reads what was asked for, and then completes. Both take time: a disk
// that hangs hangs for readers too, and the reader's thread may stand still
// with what it has read.
func (h *host) fetch(r *journalRead) {
	w := h.w
	if !r.worked {
		r.Work()
		r.worked = true
		r.due = max(h.disk.Stalled, w.now+h.rng.tail(w.plan.ReadDelay))
	}
	if !w.healed && (h.hold || r.due > w.now) { // in steps, for healing ends it
		step := 50 * ms
		if !h.hold {
			step = min(step, r.due-w.now)
		}
		w.at(step, event{kind: evFetch, host: h, life: h.life, read: r})
		return
	}
	if r.For > 0 && r.Err == nil {
		if t, ok := h.core.Term(r.Run.First + uint64(r.Run.Count) - 1); !ok || t != r.Run.Term {
			w.hit(ReadOverruled)
		}
	}
	r.Done()
	h.wake(0)
}
