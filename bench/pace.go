package bench

import "time"

// Schedule says when the requests of an open loop are meant to leave: request
// i at start + i×interval, whatever the server does. Sent counts those that
// left; what is due and not sent is the backlog, whose age is latency.
type Schedule struct {
	start    int64
	Interval float64 // nanoseconds between requests
	Sent     uint64
}

// NewSchedule shares a rate evenly among several clients, interleaved.
func NewSchedule(start int64, rate float64, client, clients int) *Schedule {
	each := 1e9 / rate
	return &Schedule{start: start + int64(each*float64(client)), Interval: each * float64(clients)}
}

// Shift has the schedule begin later by so many nanoseconds.
func (s *Schedule) Shift(by int64) { s.start += by }

// intended is the clock time at which request i is meant to leave.
func (s *Schedule) intended(i uint64) int64 { return s.start + int64(float64(i)*s.Interval) }

// Due is how many requests are meant to have left by now.
func (s *Schedule) Due(now int64) uint64 {
	if now < s.start {
		return 0
	}
	n := uint64(float64(now-s.start) / s.Interval)
	// Rounding may be off by one either way: intended is the authority.
	for n > 0 && s.intended(n-1) > now {
		n--
	}
	for s.intended(n) <= now {
		n++
	}
	return n
}

// Next is the intended time of the first request that has not left.
func (s *Schedule) Next() int64 { return s.intended(s.Sent) }

// Abandon records, at the end of a run, the age of every request that was due
// within the window and never left: the least latency it can have had. Those
// whose ages a histogram cannot tell apart are recorded together, with the age
// of the oldest, for a rate out of reach leaves a great many of them.
func (s *Schedule) Abandon(r *Recorder, now int64) {
	const indistinct = 2000 // half of the last of three digits
	due := s.Due(r.Window.End - 1)
	for s.Sent < due {
		age := now - s.Next()
		n := min(due-s.Sent, 1+uint64(max(0, float64(age)/indistinct/s.Interval)))
		r.late += n
		r.Latency(now, age, int(n))
		s.Sent += n
	}
}

// spinMax is how long before an intended time the pacer stops sleeping and
// polls. pacerQuantum is the shortest sleep of a schedule too dense for that:
// what falls due meanwhile leaves together, and the wait is in its latency.
const (
	spinMax      = 20 * time.Microsecond
	pacerQuantum = 50 * time.Microsecond
)

// Pause says how long to sleep at now for a request due at next, with so many
// nanoseconds between requests; 0 means to poll without sleeping.
func Pause(now, next int64, interval float64) time.Duration {
	wait := time.Duration(next - now)
	if wait <= 0 {
		return 0
	}
	if interval < float64(2*spinMax) {
		return max(wait, pacerQuantum)
	}
	return max(wait-spinMax, 0)
}
