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

func (r *Replica) timeDurable(seq uint64) {
	if r.flightAt == len(r.flights) {
		return
	}
	for now := r.cfg.Clock(); r.flightAt < len(r.flights) && r.flights[r.flightAt].seq <= seq; r.flightAt++ {
		r.cfg.Timing.Durable(r.flights[r.flightAt].claimed, now)
	}
	r.trimFlights()
}

func (r *Replica) timeCommitted(index uint64) {
	if r.flightCm == len(r.flights) {
		return
	}
	for now := r.cfg.Clock(); r.flightCm < len(r.flights) && r.flights[r.flightCm].last <= index; r.flightCm++ {
		r.cfg.Timing.Committed(r.flights[r.flightCm].claimed, now)
	}
	r.trimFlights()
}

func (r *Replica) trimFlights() {
	n := min(r.flightAt, r.flightCm)
	if n == 0 || n < len(r.flights) && n < 256 {
		return
	}
	r.flights = r.flights[:copy(r.flights, r.flights[n:])]
	r.flightAt -= n
	r.flightCm -= n
}
