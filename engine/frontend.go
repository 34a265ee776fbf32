package engine

import "github.com/ringraft/ringraft/netio"

// Env is what a front end, a service whose connections live on the engine's own
// network loops, gets for one loop. Builder.Serve registers front ends.
//
// The loop's handlers, and the functions that OnCompletions and OnTick name, run in
// the loop and must not block it: it carries the other members' messages, too, and
// with threads fused it does everything else. So they must not call what waits (see Engine):
// that would wait for the loop that waits for it. They use Lane, and Engine.Leadership and
// Engine.Status.
type Env struct {
	// Engine is the engine that serves. While the function given to Builder.Serve
	// runs, it is not started yet; Leadership and Status may be called.
	Engine *Engine
	// Loop is where the front end's connections of this Env live.
	Loop *netio.Loop
	// Lane is the loop's own lane: the loop is its owner, so only what runs in the
	// loop may use it.
	Lane *Lane
	// Index counts the loops from 0: one with threads fused, two threaded.
	Index int

	completions *func()
	tick        *func()
}

// OnCompletions names the function that is called in the loop when completions
// have arrived in Lane. It takes them, and may add requests and flush. Call
// OnCompletions once, in the function given to Builder.Serve.
//
// With threads fused f runs inside the loop's poll of the engine, once for each
// batch that was applied, and what it flushes is taken up in the same poll. It is
// never called while a handler runs, nor from within a method of Lane.
func (e Env) OnCompletions(f func()) { *e.completions = f }

// OnTick names a function that is called in the loop every half heartbeat
// (Builder.Heartbeat), with or without traffic: for what nothing else announces,
// such as a socket that has drained. Call OnTick once, in the function given to
// Builder.Serve.
func (e Env) OnTick(f func()) { *e.tick = f }

// service is a front end that Serve registered.
type service struct {
	address string
	open    func(Env) netio.Acceptor

	secureAddress string // of a second listener, whose connections are secured
	secure        netio.Securer
}
