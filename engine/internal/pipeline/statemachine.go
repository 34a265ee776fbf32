package pipeline

// Entry is one committed command. Data is valid only during the call that
// hands it over.
type Entry struct {
	Index uint64
	Data  []byte
}

// StateMachine is what the log drives. Every replica calls Apply with the same
// commands in the same order, so it must not use clocks, randomness, map order
// or anything else that differs between replicas.
//
// All calls come from one goroutine (the apply stage's).
type StateMachine interface {
	// Apply executes committed commands in index order. When replies.Wanted,
	// it gives exactly one reply per entry, in order; otherwise it may skip
	// formatting them.
	Apply(entries []Entry, replies *Replies)
	// Read answers a query against the state after the last Apply, appending
	// to dst, and returns the extended slice.
	Read(query, dst []byte) []byte
}

// Replies collects the replies of one Apply call.
//
//	b := replies.Begin()
//	b = append(b, "OK"...)
//	replies.End(b)
type Replies struct {
	buf    []byte
	ends   []uint32
	wanted bool
}

// Wanted reports whether anybody on this replica waits for these replies.
func (r *Replies) Wanted() bool { return r.wanted }

// Begin returns the buffer to append one reply to.
func (r *Replies) Begin() []byte { return r.buf }

// End takes back the buffer of Begin, extended by one reply.
func (r *Replies) End(b []byte) {
	r.buf = b
	r.ends = append(r.ends, uint32(len(b)))
}

func (r *Replies) reset(wanted bool) {
	if cap(r.buf) > keptBytes {
		r.buf = nil
	}
	r.buf, r.ends, r.wanted = r.buf[:0], r.ends[:0], wanted
}

// reply returns the i-th reply; empty when the state machine gave none.
func (r *Replies) reply(i int) []byte {
	if i >= len(r.ends) {
		return nil
	}
	from := uint32(0)
	if i > 0 {
		from = r.ends[i-1]
	}
	return r.buf[from:r.ends[i]:r.ends[i]]
}
