package peer

// flights is the most appends in flight to one member.
const flights = 1024

// flight is an append without an answer.
type flight struct {
	last  uint64 // index of its last entry
	bytes int
}

// inFlight is the appends without an answer, oldest first. They take up the
// member's grant.
type inFlight struct {
	ring       [flights]flight
	head, tail int // counting up
	bytes      int
}

func (f *inFlight) len() int    { return f.tail - f.head }
func (f *inFlight) empty() bool { return f.tail == f.head }
func (f *inFlight) full() bool  { return f.len() == flights }

func (f *inFlight) push(x flight) {
	f.ring[f.tail%flights] = x
	f.tail++
	f.bytes += x.bytes
}

// ack takes out what an answer up to match covers; true when nothing is left.
func (f *inFlight) ack(match uint64) (empty bool) {
	for f.head < f.tail && f.ring[f.head%flights].last <= match {
		f.bytes -= f.ring[f.head%flights].bytes
		f.head++
	}
	return f.empty()
}

// reset drops all: they are lost, or their answers count no more.
func (f *inFlight) reset() { f.head, f.tail, f.bytes = 0, 0, 0 }

func (f *inFlight) valid() bool {
	n := f.len()
	return n >= 0 && n <= flights && f.bytes >= 0 && (n > 0 || f.bytes == 0)
}
