// Package ring hands work from one goroutine to another. The engine uses
// Sequence, Ring, Bytes and Parker; Pipeline and what belongs to it, in the
// files pipeline*.go, is for other programs, and the engine's own pipeline is
// another thing (engine/internal/pipeline).
//
//	pipeline   producer ─► slots ─► stage 1 ─► stage 2        each consumer follows a
//	                                                           Sequence of the one before
//	diamond    producer ─► slots ─┬─► a ─┬─► c                 c follows the slower of
//	                              └─► b ─┘                     a and b
//	multicast  producer ─► slots ─┬─► a                        neither waits for the other
//	                              └─► b
//	gates      the producer reuses a slot when every gating Sequence has passed it
//
// The engine polls its stages itself, from one goroutine or several, and ties
// Ring, Sequence and Parker together by hand. Pipeline gives every stage a
// goroutine: with several producers (Many), claims of n, wait strategies, a
// halt that drains, failures that surface, depth and waiting time per stage.
//
// One writer per sequence; nothing is locked. Go's atomics are sequentially
// consistent, so a consumer that loads a published sequence sees every write
// made before the store, and a parker that announces itself before its last
// look at the condition cannot miss the store that makes it true.
package ring
