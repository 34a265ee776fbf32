package journal

import "github.com/ringraft/ringraft/journal/record"

// Iterator walks durable entries from an index on, as far as they are there.
// Batches are read ahead, readAhead bytes at a time. It belongs to one
// goroutine and blocks in reads.
//
//	for it := j.Iterate(from); it.Next(); {
//		use(it.Index(), it.Term(), it.Entry())
//	}
type Iterator struct {
	r     *Reader
	run   Run
	rest  []byte // records of the run behind the entry
	index uint64
	entry record.Entry
	err   error
}

// Iterate returns an iterator that stands before the entry at index. Any
// goroutine.
func (j *Journal) Iterate(index uint64) *Iterator {
	return &Iterator{r: j.NewReader(), index: index - 1}
}

// Next goes to the next entry; false at the end or on an error. Asked again,
// it goes on when more has become durable. An entry that is overruled while it
// is being walked over may be seen as it was.
func (it *Iterator) Next() bool {
	if len(it.rest) == 0 {
		if it.run, it.err = it.r.Read(it.index+1, readAhead); it.err != nil {
			return false
		}
		it.rest = it.run.Records
	}
	n, err := record.Parse(it.rest, &it.entry)
	if err != nil {
		it.err = err
		return false
	}
	it.rest = it.rest[n:]
	it.index++
	return true
}

// Err is why Next returned false: ErrNotYet at the end, a *CompactedError
// for what was compacted, a *DamageError, or the file's error.
func (it *Iterator) Err() error { return it.err }

// Index is the entry's index.
func (it *Iterator) Index() uint64 { return it.index }

// Term is the entry's term.
func (it *Iterator) Term() uint64 { return it.run.Term }

// Entry is the entry. Its Data is valid until the next call of Next.
func (it *Iterator) Entry() *record.Entry { return &it.entry }
