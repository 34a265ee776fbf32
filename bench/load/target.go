// Package load puts a system under load and measures it: in a closed loop,
// where a number of requests is always outstanding, or in an open loop, where
// requests leave at a rate whatever the system does.
//
// The generator decides what is sent and when, and records what comes back. A
// Target is all that it knows of a system: three replicas in this process
// (lanes.go), servers that speak RESP (sockets.go), or whatever a program of
// its own brings along and hands to Run.
//
// It is built not to flatter:
//
//   - Only verified successes count as goodput. Errors are counted apart, by
//     class.
//   - With a rate, latency counts from the time a request was meant to leave,
//     so a server that stalls shows its stall in every request that was due
//     meanwhile. Requests that never left, or were never answered, are
//     recorded with the age they had reached when the run ended.
//   - The clock is read once per batch, not per request, always on the side
//     that makes a latency longer: before a batch is sent, and after a batch
//     was received. Every request is recorded, none is sampled; requests of
//     one batch that left together share one HDR record call.
//     (A record costs 5 ns and a clock reading 24 ns on the reference machine:
//     BenchmarkRecord.)
//   - Values come from a pool of incompressible bytes.
//   - The report says in words whether an answer meant durable on a majority,
//     and warns of whatever weakens the figures.
//
// Where to read: config.go says what raftbench runs, run.go runs it and
// reports; client.go is the generator, requests.go makes the requests.
// replicas.go and lanes.go drive the engine; servers.go, sockets.go, redial.go
// and conn.go drive RESP; os_linux.go has the system calls.
package load

import (
	"context"
	"time"

	"github.com/ringraft/ringraft/bench"
)

// Target is a system that can be put under load. Run calls its methods from
// one goroutine: Open once, System after it, Close at the end, also when Open
// failed.
type Target interface {
	// Open makes the system ready for a load and returns the sessions that
	// carry it, at least one. Each is driven by a goroutine of its own, which
	// gets an equal share of the plan's outstanding requests and of its rate.
	// The plan stays as it is until Close.
	Open(ctx context.Context, p *bench.Plan) ([]Session, error)

	// System says what was opened: names and settings for the report, and
	// what its acknowledgements and reads are worth.
	System() bench.System

	// Close ends the system, or the connections to it, and removes what Open
	// made.
	Close() error
}

// Session is one way into a system, with many requests outstanding. Calls
// never overlap, and none but Wait may block. They come once per batch, so
// that their cost, and what a session does beside, is shared by many requests.
//
// A session allocates nothing per request: it keeps the ID of a request
// wherever it keeps the request, and gives it back in a Completion.
type Session interface {
	// Submit takes requests, in order, and returns how many: fewer when no
	// more fit now. Those left out were not sent; the generator comes again
	// after the next completions. What was taken leaves by Flush at the
	// latest, and is answered by exactly one Completion.
	//
	// The slice is the generator's again when Submit returns. The values in
	// it stay as they are for the whole run and must not be written to.
	Submit(requests []Request) (taken int)

	// Flush sends what Submit took.
	Flush()

	// Take writes completions that have arrived into done, and returns how
	// many, 0 for none. Fewer than len(done) means that the generator should
	// submit before it asks again.
	Take(done []Completion) int

	// Wait returns when Take may have something, and after about d in any
	// case. It may return early. An error ends the run.
	Wait(d time.Duration) error

	// Close lets go of the session. What is outstanding is lost.
	Close() error
}

// Kind is what a request does.
type Kind uint8

// Kinds of requests.
const (
	Write Kind = iota
	Read
)

// Request is one request, chosen by the generator.
type Request struct {
	ID    uint32 // below the plan's Outstanding; used again once it was answered
	Kind  Kind
	Key   uint64 // below the plan's Keys; 0 if that is 0
	Value []byte // of a Write
}

// Completion is the answer to one request.
type Completion struct {
	ID    uint32 // of the request, or NoRequest
	Bytes int32  // of the value that a Read returned
	Class string // of an error, one word; "": a verified success
}

// NoRequest in a Completion means a failure that no request suffered, such as
// an idle connection that broke.
const NoRequest = ^uint32(0)

// The rest is for targets that can do more. The generator asks for it by a
// type assertion.

// Observer is a Target that measures something itself in the window.
type Observer interface {
	// Begin and End are called at the borders of the window, beside the load,
	// from the goroutine that called Open.
	Begin()
	End()
	// Report adds to the result what the target saw, such as stages and the
	// processor time of its servers, and returns warnings.
	Report(r *bench.Result) (warnings []string)
}

// Probed is a Target that can say after a load that went silent whether it
// answers now, within a few seconds, and if not, why.
type Probed interface {
	Probe() error
}

// Reconnecting is a Session that counts the connections that broke, and those
// that were made anew. Run asks when the load is over.
type Reconnecting interface {
	Session
	Reconnects() (lost, again uint64)
}

// SelfDriven is a Session with a loop of its own, in which taking a turn costs
// no wake-up. The generator then has no goroutine for it, and never calls Wait.
type SelfDriven interface {
	Session
	// Drive gives the session the function that takes, records and submits.
	// The session calls it once to begin, and whenever there are completions,
	// from any goroutine; turns exclude each other. After the run it does
	// nothing.
	Drive(turn func())
}

// Threaded is a Session whose Wait blocks in the kernel. It gets a thread of
// its own, whose processor time is watched.
type Threaded interface {
	Session
	OwnThread()
}

// Sized is a Session that carries another share of the plan's outstanding
// requests than an equal one.
type Sized interface {
	Session
	Outstanding() int
}
