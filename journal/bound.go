package journal

import "fmt"

// Bound is what terms and indices are below, 2⁶², so that no arithmetic on them
// overflows. The journal makes no larger one durable: whoever has such a number
// was told it by a message that makes no sense.
const Bound = 1 << 62

// BoundError: a term or an index is at or above Bound, or an index is 0.
type BoundError struct {
	What   string // "term", "index" or "commit"
	Number uint64
	Place  string // file and offset where it stands, "" it was about to be written
}

func (e *BoundError) Error() string {
	if e.Place == "" {
		return fmt.Sprintf("journal: %s %d is none that a log can have, and was not written: "+
			"start this member again, and find out who sent it", e.What, e.Number)
	}
	return fmt.Sprintf("journal: %s: %s %d is none that a log can have: restore the directory "+
		"from a copy, or remove it and join this member anew under a new id", e.Place, e.What,
		e.Number)
}

// within returns what is wrong with the numbers of a mutation or a batch, nil if
// they can be.
func within(hard, term, commit, first uint64, count uint32) error {
	if err := numbers(hard, term, commit, first, count); err != nil {
		return err
	}
	return nil
}

// within is what is wrong with the numbers of a batch.
func (h *header) within() *BoundError {
	return numbers(h.hard.Term, h.entryTerm, h.commit, h.first, h.count)
}

func numbers(hard, term, commit, first uint64, count uint32) *BoundError {
	switch {
	case max(hard, term) >= Bound:
		return &BoundError{What: "term", Number: max(hard, term)}
	case commit >= Bound:
		return &BoundError{What: "commit", Number: commit}
	case first == 0 || first > Bound-uint64(count):
		return &BoundError{What: "index", Number: first}
	}
	return nil
}
