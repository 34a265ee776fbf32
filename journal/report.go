package journal

import (
	"fmt"
	"slices"
)

// Kind is what is wrong with bytes in a journal's directory.
type Kind string

// Kinds of findings.
const (
	Torn       Kind = "torn"       // a write that a crash cut short; it was never acknowledged
	Rotten     Kind = "rotten"     // written whole, and changed since
	Stale      Kind = "stale"      // something older stands where something newer was written
	Misplaced  Kind = "misplaced"  // bytes of another place
	Foreign    Kind = "foreign"    // of another member or cluster
	Missing    Kind = "missing"    // it is not there at all
	Unreadable Kind = "unreadable" // the device returns an error
	Wrong      Kind = "wrong"      // checksums are right, but what they cover makes no sense
	Leftover   Kind = "leftover"   // of an interrupted operation; the next opening removes it
)

// Finding is one place where a directory is not as it was written. Harm: what
// was acknowledged may be gone. First and Last are the entries touched, Last <
// First when there are none, Last the largest uint64 when nobody knows how far
// it goes.
type Finding struct {
	Kind   Kind   `json:"kind"`
	Harm   bool   `json:"harm"`
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Bytes  int64  `json:"bytes"` // how many, 0 unknown
	First  uint64 `json:"first"`
	Last   uint64 `json:"last"`
	Text   string `json:"text"` // in plain words
}

// Entries names the entries touched, "" for none.
func (f *Finding) Entries() string {
	switch {
	case f.Last < f.First:
		return ""
	case f.First == f.Last:
		return fmt.Sprint(f.First)
	}
	return Range{First: f.First, Last: f.Last}.Entries()
}

// Segment is one segment file.
type Segment struct {
	File  string `json:"file"`
	Bytes int64  `json:"bytes"` // whole blocks
	Live  bool   `json:"live"`  // part of the log
	// it may hold what counts, and is never written over; neither Live nor Aside: a
	// spare, whose content counts for nothing
	Aside   bool   `json:"aside"`
	Ordinal uint64 `json:"ordinal"`
	Batches int    `json:"batches"`
	Entries uint64 `json:"entries"` // written in it, also those that later batches overruled
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"` // of those, Last < First for none
	End     int64  `json:"end"`  // where its last batch ends
}

// Report is what Examine found. It belongs to the caller.
type Report struct {
	Dir          string   `json:"dir"`
	Holder       int      `json:"holder"` // process that has the directory open, 0: none known of
	Identity     Identity `json:"identity"`
	SegmentBytes int64    `json:"segment_bytes"`
	BlockBytes   int      `json:"block_bytes"`
	// of the state file's record that agree; 4 when all is well
	Copies   int       `json:"copies"`
	Segments []Segment `json:"segments"`
	// what Open would find; Incarnation and Hard are those of the newest opening
	Recovery Recovery  `json:"recovery"`
	Findings []Finding `json:"findings"`
	Batches  int       `json:"batches"`
	Payload  int64     `json:"payload"` // bytes of entries as encoded, in the batches read
	// Sizes[i] batches take at most 4096<<i bytes in their file
	Sizes    []int `json:"sizes"`
	Seals    int   `json:"seals"`
	Openings int   `json:"openings"` // incarnations seen
	// the last batch is promised: a clean stop, or 20 ms of idleness
	Sealed bool `json:"sealed"`
}

// Sound reports that nothing acknowledged is gone.
func (r *Report) Sound() bool {
	return !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Harm })
}

// Harm is the findings that do harm.
func (r *Report) Harm() (list []Finding) {
	for _, f := range r.Findings {
		if f.Harm {
			list = append(list, f)
		}
	}
	return list
}

// BatchInfo is one batch that Examine walked over.
type BatchInfo struct {
	File    string
	Offset  int64
	Ordinal uint64 // of the segment
	Inspected
	Promise  uint64 // number of the newest batch durable before it
	Metadata []byte // valid until the visit ends
	Records  []byte // encoded entries; valid until the visit ends
	Bad      string // what is wrong with it, "" nothing; then Records is empty
	// Live is how many of its entries, from the first, no later batch overruled.
	Live uint32
}
