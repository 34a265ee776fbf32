// Package journal makes log mutations durable and gives them back.
//
// It is a sequence of batches in preallocated, zero-filled or recycled segment
// files of a fixed length, each batch one aligned durable write:
//
//	Append ─► open group ─┐ the writer is free, or the group is full
//	                      └─► one write ─► Durable ─► (idle) seal
//
//	directory   state   lock   000001.seg   000002.seg   …   (names are slots)
//
//	a segment   | opening batch | batch | batch | … | seal | batch | … | unused, zeros or old |
//	              hard state,     block-aligned, one write each
//	              metadata
//
//	a batch     | header ... tag | ... tag | payload ... tag | ... tag | zeros ... tag |
//	            `--- 512 bytes --´
//
// format.go draws a batch byte by byte, state.go the state file; verdict.go is
// the table of what recovery makes of what it finds; mark.go and begin.go are
// about a log that begins behind a snapshot.
//
// # Who may call what
//
// One goroutine, the stage, calls Append, Poll, Settle, SetMetadata, SetSnapshot
// and Close. Durable, Err, Space, Stats, Snapshot, WriteAge and NewReader are for
// any goroutine; a Reader belongs to one.
//
// # Order, and what it buys
//
// One write is under way at a time, so a batch's existence proves that every
// earlier one was durable; it says so in its promise. There is no timer: what
// gathered during a write is the next group, of at most GroupBytes unless one
// mutation is larger. A group that is full while the write still runs is
// queued, and the writer goes on without being woken. With nothing else to do
// and a quick disk, the caller writes inline.
//
//	a segment opens   opening batch → state file → data
//	hard state        state file → the batch that carries it
//	idle              seal batch → state file
//	a snapshot        state file (mark, first live ordinal) → the files are reused
//	one is restored   state file (mark, what counts no more) → an empty batch
//	recovery          sync what was read → state file (incarnation) → seal
//
// Batch numbers are incarnation<<40 + count. The incarnation is raised durably
// before the first number of an opening is used, so none is used twice.
//
// # What is believed
//
// A batch counts when its checksums are right, its chain names the batch
// before it, it lies where it says, and it was written as a batch: tags tell
// that from an image of one in a client's bytes. A torn last batch was never
// acknowledged and is cut. Bytes that a later promise, or the state file,
// covers are never cut: a *DamageError names file, offset and entries, and the
// journal does not open. A rotten last batch that nothing promised may have
// been acknowledged: the log ends before it, Recovery.Probation is set, and
// stays set over restarts until Settle.
//
// # What is not seen
//
// Until a seal follows it (SealAfter without a write, or the next batch), the
// very last batch is promised by nobody. If its write was acknowledged and then
// lost or rolled back by the device, wholly or in part, it looks torn and is
// cut. Rot in the sectors of that batch is seen as probation, except in the
// sector tags themselves together with its content. Checksums are 64 bits and
// not cryptographic: they defend against accidents. A state file whose four
// copies are all rolled back together is believed as far as segments do not
// contradict it.
package journal
