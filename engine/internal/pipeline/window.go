package pipeline

// windowRun is a run of lane writes that wait for their entries to be
// applied: the reply window's unit. Runs replace cells per entry, because a
// claim is a run of consecutive indices, write ordinals and one term.
type windowRun struct {
	first, last uint64 // indices
	term        uint64
	ordinal     uint64 // write ordinal of first
	flushed     int64
	lane        uint16
}

func (w *windowRun) ordinalOf(index uint64) uint64 { return w.ordinal + index - w.first }

// window is the reply window: runs in index order, without overlap. It is
// apply's alone. A run is judged when its indices are applied: the same term
// is success, another term proves that the run's entries never will be. A
// truncation proves nothing and does not touch it.
type window struct {
	runs []windowRun
	head int
}

func (w *window) compact() {
	if w.head == len(w.runs) {
		w.runs, w.head = w.runs[:0], 0
	} else if w.head >= 1024 && w.head*2 >= len(w.runs) {
		w.runs = w.runs[:copy(w.runs, w.runs[w.head:])]
		w.head = 0
	}
}

// push adds a run. Older runs whose place it takes can no longer be judged
// one by one; they are unknown.
func (w *window) push(r windowRun, a *Apply) {
	for len(w.runs) > w.head {
		t := &w.runs[len(w.runs)-1]
		if t.last < r.first {
			break
		}
		from := max(t.first, r.first)
		a.settle(t, from, t.last, Unknown, LeadershipLost)
		if from > t.first {
			t.last = from - 1
			break
		}
		w.runs = w.runs[:len(w.runs)-1]
	}
	w.compact()
	w.runs = append(w.runs, r)
}

// piece returns how far entries index..last of term can be applied in one
// go, and the run that they answer. Runs of another term on the way are
// settled: their entries certainly were not applied.
func (w *window) piece(index, last, term uint64, a *Apply) (end uint64, r *windowRun) {
	for w.head < len(w.runs) {
		t := &w.runs[w.head]
		switch {
		case t.last < index: // answered
			w.head++
			continue
		case t.first > last:
			return last, nil
		case t.first > index:
			return t.first - 1, nil
		case t.term == term:
			return min(last, t.last), t
		}
		end := min(last, t.last)
		a.settle(t, index, end, NotApplied, Superseded)
		t.first, t.ordinal = end+1, t.ordinalOf(end+1) // so much is answered
		return end, nil
	}
	w.compact()
	return last, nil
}

// settle answers part of a run without the state machine. A write whose outcome is
// unknown may yet be executed, and nobody will notice then that the lane's reads
// before it come first: they are answered now, or refused.
func (a *Apply) settle(t *windowRun, first, last uint64, o Outcome, why Reason) {
	lane := a.lanes()[t.lane]
	for i := first; i <= last; i++ {
		request := lane.writeRequest(t.ordinalOf(i))
		if o == Unknown {
			a.endReads(lane, request)
		}
		lane.complete(request, o, why, nil)
	}
	if o == Unknown {
		a.unknown.Add(last - first + 1)
	}
}

// expire makes every run up to term unknown.
func (w *window) expire(term uint64, why Reason, applied uint64, a *Apply) {
	kept := w.runs[:w.head]
	for i := w.head; i < len(w.runs); i++ {
		t := w.runs[i]
		if t.term > term {
			kept = append(kept, t)
			continue
		}
		if from := max(t.first, applied+1); from <= t.last {
			a.settle(&t, from, t.last, Unknown, why)
		}
	}
	w.runs = kept
	w.compact()
}
