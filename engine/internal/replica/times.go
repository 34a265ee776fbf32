package replica

// Timing receives the times of batches, in ns; all calls come from the
// polling goroutine.
type Timing interface {
	Claimed(flushed, claimed int64)
	Durable(claimed, durable int64)
	Committed(claimed, committed int64)
}

// flight is a claimed lane batch on its way, for stage times.
type flight struct {
	seq, last uint64
	claimed   int64
}

// times follows the lane batches of a leader until they are durable and
// committed.
type times struct {
	flights   []flight // by sequence
	durable   int      // flights reported durable
	committed int      // and committed
}

func (t *times) claimed(f flight) { t.flights = append(t.flights, f) }

// reset drops the flights: the leadership is over.
func (t *times) reset() { t.flights, t.durable, t.committed = t.flights[:0], 0, 0 }

func (t *times) trim() {
	n := min(t.durable, t.committed)
	if n == 0 || n < len(t.flights) && n < 256 {
		return
	}
	t.flights = t.flights[:copy(t.flights, t.flights[n:])]
	t.durable -= n
	t.committed -= n
}

// timeDurable reports the times of flights up to a durable sequence.
func (r *Replica) timeDurable(seq uint64) {
	t := &r.times
	if t.durable == len(t.flights) {
		return
	}
	now := r.cfg.Clock()
	for ; t.durable < len(t.flights) && t.flights[t.durable].seq <= seq; t.durable++ {
		r.cfg.Timing.Durable(t.flights[t.durable].claimed, now)
	}
	t.trim()
}

// timeCommitted reports the times of flights up to a committed index.
func (r *Replica) timeCommitted(index uint64) {
	t := &r.times
	if t.committed == len(t.flights) {
		return
	}
	now := r.cfg.Clock()
	for ; t.committed < len(t.flights) && t.flights[t.committed].last <= index; t.committed++ {
		r.cfg.Timing.Committed(t.flights[t.committed].claimed, now)
	}
	t.trim()
}
