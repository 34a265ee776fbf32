package journal

import (
	"fmt"
	"strings"
)

// Preallocation is how segments get their place on the disk, and what becomes
// of those that compaction frees.
//
// A durable write into place that was written before changes no metadata: it
// is the data and one flush. Anything else makes the file system commit its
// own journal with every write. And what is allocated ahead is there: a full
// disk is known a whole segment before it matters (Space), while without
// preallocation it is a write error, which poisons.
type Preallocation int

// Preallocations. All are as safe; they differ in speed, and in when a full
// disk is noticed. Spares that lie in the directory when it is opened are
// used first, however they were made.
const (
	Recycled   Preallocation = iota // zero-filled once, used again after compaction: the default
	ZeroFilled                      // zero-filled for each use; each byte is written twice
	// allocated, never written before: the first write of a block converts it
	Fallocated
	Unreserved // nothing: blocks are found when they are written
)

var preallocationNames = [...]string{"recycled", "zero-filled", "fallocate", "none"}

func (p Preallocation) String() string { return preallocationNames[p] }

// Preallocations lists the names that ParsePreallocation takes.
func Preallocations() []string { return preallocationNames[:] }

// ParsePreallocation reads a preallocation's name.
func ParsePreallocation(s string) (Preallocation, error) {
	for i, n := range preallocationNames {
		if n == s {
			return Preallocation(i), nil
		}
	}
	return 0, fmt.Errorf("journal: preallocation %q is unknown; use one of %s", s,
		strings.Join(preallocationNames[:], ", "))
}

// reserves says whether making a segment is a matter of metadata only.
func (p Preallocation) reserves() bool { return p == Fallocated || p == Unreserved }
