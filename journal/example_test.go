package journal_test

import (
	"fmt"
	"os"
	"time"

	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/record"
)

// A log by itself: three entries are appended, become durable as one write or
// a few, and are read back.
func Example() {
	dir, err := os.MkdirTemp("", "journal")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	j, recovery, err := journal.Open(journal.Config{Dir: dir, Mode: journal.BufferedDsync,
		SegmentBytes: 1 << 20, Identity: journal.Identity{Cluster: 1, Replica: 1}})
	if err != nil {
		panic(err)
	}
	fmt.Println("recovered", recovery.Last, "entries")

	wake := make(chan struct{}, 1)
	j.OnDone(func() { // from the writer: come and poll
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	start := time.Now()
	poll := func() {
		if j.Poll(int64(time.Since(start))+1, false) > 0 {
			return
		}
		select { // nothing to do until a write is done; a full disk is tried again
		case <-wake:
		case <-time.After(100 * time.Millisecond):
		}
	}
	for i := uint64(1); i <= 3; i++ {
		m := journal.Batch{Hard: journal.Hard{Term: 1}, First: i, Count: 1, Term: 1, Sequence: i}
		for !j.Append(&m, record.AppendCommand(nil, fmt.Append(nil, "entry ", i))) &&
			j.Err() == nil {
			poll() // the group is full
		}
	}
	for j.Durable() < 3 && j.Err() == nil {
		poll()
	}
	it := j.Iterate(1)
	for it.Next() {
		fmt.Println(it.Index(), string(it.Entry().Data))
	}
	// The program has made a snapshot of what the first two entries amount to: they
	// may go, by whole segments.
	if err := j.SetSnapshot(journal.Mark{Index: 2, Term: 1}, 3); err != nil {
		panic(err)
	}
	if err := j.Close(); err != nil {
		panic(err)
	}
	// Output:
	// recovered 0 entries
	// 1 entry 1
	// 2 entry 2
	// 3 entry 3
}
