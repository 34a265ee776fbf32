// Package ziplist keeps the log's entries in memory, as they are encoded: one
// list per run of one term, contiguous, four to six bytes per entry beyond the
// command itself and one sparse offset per sixteen. docs/ziplist.md tells more.
//
//	store   list(term 3) ── list(term 5) ── list(term 5) ── list(term 8)
//	list    packed ── packed ── chunk ── chunk      each up to ChunkBytes of entries
//	             cold ◄── Pack          hot ──► open
//
// A list is append-only and never overwritten. A truncation seals: it lowers
// the logical end, and the next append opens another list, even for the same
// term. So whoever still holds bytes of what was cut (the journal, an actor)
// reads what it always read.
//
// Chunks that have gone cold are packed in the background (S2 or Snappy, in
// blocks that each carry a checksum) and unpacked block by block for readers
// that are far behind. Over the memory budget the oldest go, once the journal
// holds them.
//
// One goroutine writes: Mark, Append, Truncate, Reset, Pack, Evict, Retire and
// Stats are its. Any number read beside it: the table of pieces is copied on
// change and published by an atomic pointer, appends inside a chunk are
// published by its count.
package ziplist
