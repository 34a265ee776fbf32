package engine

import "github.com/ringraft/ringraft/engine/internal/pipeline"

// Lane is the asynchronous way into an engine, without locks and without an
// allocation for each request: requests go in, completions come out. Propose and
// Read share one; a program that keeps many requests under way opens its own.
//
//	request, err := lane.Write(command) // as many as there are
//	lane.Flush()
//	…                                   // LaneConfig.Notify says when to look
//	for c, ok := lane.Next(); ok; c, ok = lane.Next() {
//		…                           // c.Request says which one c answers
//	}
//	lane.Release()
//
// A lane has one owner: its methods may be called by one goroutine at a time. They
// never wait. Engine.Lane opens a lane for any goroutine, and Env.Lane is the one
// that belongs to a network loop.
//
// Requests are numbered 1, 2, 3, … as they are added. Writes are executed in that
// order. A read sees the write that it names, if that is applied, and none that was
// added to the lane after the read. Completions may come in any order.
//
// When the engine closes, everything flushed before that is answered; a request
// flushed too late for that never is. So an owner that waits for completions waits
// for Engine.Done, too.
type Lane struct {
	inner   *pipeline.Lane
	witness bool // there is no state to ask
}

// LaneConfig sizes a lane. Its memory, Lane.Memory, is set aside by Engine.Lane, which
// refuses sizes below 0, Cells above 4,194,304, and others above 1 GiB.
type LaneConfig struct {
	// Cells is how many requests may be outstanding: added, and their completions
	// not yet released. Rounded up to a power of two; 0 is 32,768. Completions
	// pass each other, and an old one that is missing keeps the places of those
	// behind it, so four times the number meant is a good choice.
	Cells int
	// Bytes bounds the commands that wait to be taken over, in bytes. Rounded up
	// to a power of two; 0 is 4 MiB, and the least is twice Builder.MaxCommand plus
	// 128 KiB.
	Bytes int
	// Queries bounds the queries that wait for their answer, in bytes; one query
	// may have a quarter of it. Rounded up to a power of two; 0 is 4 MiB.
	Queries int
	// Replies is the memory for replies that wait to be released, in bytes. A reply
	// that finds no room in it is allocated. Rounded up to a power of two; 0 is
	// 4 MiB.
	Replies int
	// Notify is called after completions were put into the lane, once for each
	// batch of them, and may be nil. The goroutine that applies commands calls it,
	// so it must not block, nor call what must not be called from a StateMachine.
	// With threads fused that goroutine is the network loop: when the loop owns
	// the lane, Notify may call the lane's methods; otherwise it notifies the owner,
	// for example by a send to a channel that does not wait.
	Notify func()
}

// Completion is the answer to one request of a lane.
type Completion struct {
	// Request is the number that Write, Read or ReadLocal returned.
	Request uint64
	// Reply is what the state machine replied when Outcome is Applied, else nil.
	// It is valid until the next Release and must not be changed.
	Reply   []byte
	Outcome Outcome
	// Reason says why Outcome is not Applied.
	Reason Reason
}

// Write adds a command and returns the request's number. cmd is copied. The
// command leaves with the next Flush. Errors are ErrBusy, ErrTooLarge and
// ErrClosed as they are, and mean that nothing was added.
func (l *Lane) Write(cmd []byte) (request uint64, err error) { return l.inner.Write(cmd) }

// Read adds a linearizable query and returns the request's number. The answer
// contains every write that was acknowledged, to anybody, before this call. It also
// contains the write of this lane whose number is after, unless that failed; 0 names
// none. query is copied and leaves with the next Flush. Errors are as for Write, and
// ErrTooLarge for a query above a quarter of LaneConfig.Queries.
func (l *Lane) Read(query []byte, after uint64) (request uint64, err error) {
	return l.inner.Read(query, after)
}

// ReadLocal adds a query against what this member has applied, which may be
// stale, and returns the request's number. Every full member answers it. query is
// copied and leaves with the next Flush. Errors are as for Read, and ErrWitness.
func (l *Lane) ReadLocal(query []byte) (request uint64, err error) {
	if l.witness {
		return 0, ErrWitness
	}
	return l.inner.ReadLocal(query)
}

// Flush hands over all requests added since the last one. It wakes the engine
// once, and costs next to nothing when there are none.
func (l *Lane) Flush() { l.inner.Flush() }

// Next takes the next completion; false when there is none now.
func (l *Lane) Next() (Completion, bool) {
	c := l.inner.Next()
	if c == nil {
		return Completion{}, false
	}
	return Completion{c.Request, c.Reply, Outcome(c.Outcome), Reason(c.Reason)}, true
}

// Release gives back the completions that Next returned: from here on their
// replies must not be looked at, and their requests are not outstanding any more.
// Call it after a batch of Next.
func (l *Lane) Release() { l.inner.Release() }

// Cells is how many requests may be outstanding: LaneConfig.Cells, rounded up. No
// two outstanding requests have the same Request&(Cells-1), so an array of that
// many holds what the owner has to remember of each. Any goroutine may call it.
func (l *Lane) Cells() int { return l.inner.Cells() }

// Outstanding is the number of requests that were added and whose completions were
// not yet released.
func (l *Lane) Outstanding() int { return l.inner.Outstanding() }

// Memory is the sum of the lane's buffers in bytes. Any goroutine may call it.
func (l *Lane) Memory() int { return l.inner.Memory() }
