package pipeline

import "github.com/ringraft/ringraft/journal"

// Source says where the bytes of a slot's entries lie before Append has
// stored them.
type Source uint16

const (
	// SourceNone: the mutation has no entries (hard state, truncation), or
	// Append has replaced the source by the store reference.
	SourceNone Source = iota
	// SourceLane: encoded records in the batch ring of a lane.
	SourceLane
	// SourceFrame: encoded records in the frame ring of a member's link.
	SourceFrame
	// SourceNoOp: the empty entry of a new leader; Append makes it.
	SourceNoOp
	// SourceConfig: the encoded record of a configuration entry, which the
	// replica keeps.
	SourceConfig
	// SourceRestore: no entries; a snapshot takes the log's place. See Restore.
	SourceRestore
)

// Slot is one mutation on the sequence line: "term and vote are Hard; after
// First-1 the log is these Count entries of Term". It is one cache line and
// holds no pointer.
//
// The replica writes a slot until it publishes it; Append then replaces the
// source (Source, Origin, Off, Len) by the store reference (Chunk, Off, Len);
// the journal only reads. A slot is given back when durable passes it.
type Slot struct {
	Hard   journal.Hard // term and vote in force after this mutation
	First  uint64       // index of the first entry, or truncation point + 1
	Term   uint64       // term of the entries
	Commit uint64       // commit index known when the slot was claimed
	Off    uint64       // source: absolute offset in the ring; store: offset in the chunk
	Count  uint32       // entries; 0 for a truncation or a hard state alone
	Len    uint32       // bytes of the encoded records
	Chunk  uint32       // store: chunk id
	Source Source
	Origin uint16 // lane number or frame source number
}

// Last is the index of the log's last entry after this mutation.
func (s *Slot) Last() uint64 {
	if s.Source == SourceRestore {
		return s.Off
	}
	return s.First + uint64(s.Count) - 1
}
