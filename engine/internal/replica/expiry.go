package replica

import "github.com/ringraft/ringraft/engine/internal/pipeline"

// expiry makes runs of terms up to term unknown at a time.
type expiry struct {
	term uint64
	at   int64
}

// expiriesMax bounds the leaderships whose requests wait for their end.
const expiriesMax = 16

// expireLater makes what was appended up to a term unknown in two election
// timeouts. Leaderships that come and go faster than that share the last one.
func (r *Replica) expireLater(term uint64) {
	x := expiry{term: term, at: r.clock.now + 2*int64(r.cfg.ElectionTicks)*r.cfg.Tick}
	if n := len(r.expiries); n == expiriesMax {
		r.expiries[n-1] = x
	} else {
		r.expiries = append(r.expiries, x)
	}
}

// expire answers what was appended under a leadership that is over and has not
// been judged for long. It does not wait for the disk.
func (r *Replica) expire() {
	n := 0
	for n < len(r.expiries) && r.expiries[n].at <= r.clock.now {
		n++
	}
	if n > 0 && r.room() {
		r.notices.Expire(r.expiries[n-1].term, pipeline.LeadershipLost)
		r.expiries = r.expiries[:copy(r.expiries, r.expiries[n:])]
	}
}
