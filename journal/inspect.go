package journal

// Inspected is what one batch says of itself.
type Inspected struct {
	Identity     Identity
	Hard         Hard
	Commit       uint64
	First, Term  uint64
	Count        uint32
	Number       uint64 // of the batch; never used twice in a directory
	Opens, Seals bool   // it opens a segment; it promises what stands before it
	Restores     bool   // the log begins anew: entry First-1, of Term, is a snapshot's
	Doubt        bool   // written on probation, or while entries were missing
	Size         int    // bytes in the file, rounded to a sector
}

// Inspector reads batches for tools and simulations. It keeps buffers, so one
// goroutine uses it.
type Inspector struct{ batch, glued []byte }

// Batch reads the batch at the beginning of b, which stays as it is, and
// verifies header and payload as recovery does. run is its EntryRun,
// empty for a batch without entries and valid until the next call. Errors say
// what is wrong, in words.
func (x *Inspector) Batch(b []byte) (i Inspected, run []byte, err error) {
	sectors, payload, _, ok := readPrefix(b)
	size := roundUp(sectors*sectorBytes+payload, sectorBytes)
	if !ok || size > len(b) {
		return i, nil, errNoHeader
	}
	x.batch = append(x.batch[:0], b[:size]...)
	if need := sectors * pieceBytes; cap(x.glued) < need {
		x.glued = make([]byte, 0, need)
	}
	h, tail, err := parseHeader(x.batch, x.glued)
	if err != nil {
		return i, nil, err
	}
	if tagged(x.batch, h.epoch, h.number) == 0 {
		return i, nil, errTorn // the image of a header: padding may be missing, not all tags
	}
	if run, err = h.restore(x.batch, tail); err != nil {
		return i, nil, err
	}
	return h.inspected(size), run, nil
}

func (h *header) inspected(size int) Inspected {
	return Inspected{Identity: h.id, Hard: h.hard, Commit: h.commit, First: h.first,
		Term: h.entryTerm, Count: h.count, Number: h.number, Opens: h.flags&flagOpen != 0,
		Seals: h.flags&flagSeal != 0, Restores: h.flags&flagRestore != 0,
		Doubt: h.flags&(flagProbation|flagDamaged) != 0, Size: size}
}
