// Package ring is the house's way of handing work from one goroutine to
// another: sequences on cache lines of their own, a ring of slots with claim
// and publish, a ring of bytes, and a parker.
//
//	pipeline   producer ─► slots ─► stage 1 ─► stage 2        each consumer follows a
//	                                                           Sequence of the one before
//	diamond    producer ─► slots ─┬─► a ─┬─► c                 c follows the slower of
//	                              └─► b ─┘                     a and b
//	multicast  producer ─► slots ─┬─► a                        neither waits for the other
//	                              └─► b
//	gates      the producer reuses a slot when every gating Sequence has passed it
//
// Two ways to use it. The engine polls its stages itself, from one goroutine
// or several, and ties Ring, Sequence and Parker together by hand. Pipeline is
// the rest of the family for programs that want goroutines per stage: several
// producers (Many), claims of n, wait strategies, a halt that drains, failures
// that surface, depth and waiting time per stage.
//
// One writer per sequence; nothing is locked. Go's atomics are sequentially
// consistent, so a consumer that loads a published sequence sees every write
// made before the store, and a parker that announces itself before its last
// look at the condition cannot miss the store that makes it true.
package ring
