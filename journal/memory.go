package journal

import (
	"unsafe"

	"github.com/ringraft/ringraft/journal/record"
)

// Memory is the most that the groups take, in bytes, if no mutation has more
// than so many bytes of records: one fills while two wait for the disk. What a
// large mutation needs is given back when it is written. Beside it there are the
// index and the readers; and while Open reads, twice Config.ReadBytes. Any
// goroutine.
func (j *Journal) Memory(mutation int) int64 {
	room := max(j.cfg.GroupBytes, mutation+record.RunHeaderMax)
	return int64(len(j.groups)) * int64(batchMost(room, j.block))
}

// batchMost is the most that a batch of so much payload takes.
func batchMost(payload, block int) int {
	return roundUp(headerSectors(payload, metadataMax)*sectorBytes+payload, block)
}

// ReaderMemory is the most that a Reader takes, in bytes, what ReadOn returns
// with it, if no mutation had more than so many bytes of records. Any goroutine.
func (j *Journal) ReaderMemory(mutation int) int64 {
	batch := batchMost(mutation+record.RunHeaderMax, j.block)
	return int64(max(bufferKept, batch) + max(readAhead, mutation))
}

// IndexMemory is what the index takes, in bytes. It grows with the log: by 40
// bytes for each stretch, of which there are at most eight a MiB of log, and one
// more for each change of term or segment. Any goroutine.
func (j *Journal) IndexMemory() int64 { return j.index.memory() }

func (x *index) memory() (bytes int64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, seg := range x.segments {
		bytes += int64(cap(seg.stretches)) * int64(unsafe.Sizeof(stretch{}))
	}
	return bytes + int64(cap(x.segments))*int64(unsafe.Sizeof(segmentIndex{})+unsafe.Sizeof(x))
}
