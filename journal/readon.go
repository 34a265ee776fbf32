package journal

// ReadOn is Read that goes on behind the end of a batch, as long as entries are of
// the same term and within maxBytes. A log of one-entry batches would otherwise
// cost its reader a request for each entry. The records are the caller's.
func (r *Reader) ReadOn(index uint64, maxBytes int) (Run, error) {
	run, err := r.Read(index, maxBytes)
	if err != nil {
		return run, err
	}
	run.Records = append([]byte(nil), run.Records...)
	for len(run.Records) < maxBytes {
		next, err := r.Read(run.First+uint64(run.Count), maxBytes-len(run.Records))
		if err != nil || next.Term != run.Term || len(run.Records)+len(next.Records) > maxBytes {
			break // it is told when it is asked for
		}
		run.Records = append(run.Records, next.Records...)
		run.Count += next.Count
	}
	return run, nil
}
