// Package ring is the house's way of handing work from one goroutine to
// another: sequences on cache lines of their own, a ring of slots with claim
// and publish, a ring of bytes, and a parker.
//
//	pipeline   producer ─► slots ─► stage 1 ─► stage 2        each consumer follows a
//	                                                           Sequence of the one before
//	diamond    producer ─► slots ─┬─► a ─┬─► c                 c follows a Barrier over
//	                              └─► b ─┘                     a and b
//	gates      the producer reuses a slot when every gating Sequence has passed it
//
// One writer per sequence; nothing is locked. Go's atomics are sequentially
// consistent, so a consumer that loads a published sequence sees every write
// made before the store, and a parker that announces itself before its last
// look at the condition cannot miss the store that makes it true.
package ring
