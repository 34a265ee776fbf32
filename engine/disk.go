package engine

import (
	"github.com/ringraft/ringraft/journal"
)

// DiskPart is one part of Engine.Disk's sum.
type DiskPart struct {
	Name  string // in words: "spare segments"
	Bytes int64
}

// Disk is what the data directory may grow to, in bytes, and its parts, as long as
// snapshots are not larger than the newest one: the log up to the next snapshot and the
// margin that stays before it, on a witness as much as Builder.WitnessLog says, segments
// that wait to be used again, two snapshots and a third one that is being taken. Beside it
// there is what is written to the log while a snapshot is taken, and while members that are
// behind are sent one. Bounded is false, and the parts are none, when the log is never let
// go: without snapshots, or in memory. Any goroutine may call it.
func (e *Engine) Disk() (total int64, parts []DiskPart, bounded bool) {
	after := e.member.Pace().After
	if e.files == nil || after < 0 {
		return 0, nil, false
	}
	st := e.status.Load()
	newest, segment := st.Snapshot.Bytes, e.journal.SegmentBytes()
	after = max(after, newest)
	margin := min(after/4, marginMax)
	if len(st.Members) == 1 { // it keeps the log behind the snapshot before the newest
		margin = after
	}
	if e.b.witness {
		margin = max(margin, e.witnessLog())
	}
	// The first segment is let go of in part, and the last is not full.
	live := (after+margin+segment-1)/segment + 2
	parts = []DiskPart{
		{"log", live * segment},
		{"spare segments", journal.SparesMost(live) * segment},
		{"snapshots", 3 * newest},
	}
	for _, p := range parts {
		total += p.Bytes
	}
	return total, parts, true
}
