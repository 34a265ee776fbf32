package member

// sizes is how many bytes the log has up to an index, as far as it matters when a
// snapshot is taken and what stays before it: sampled, and a straight line between
// two samples.
type sizes struct {
	samples []sizeOf
	step    int64 // bytes between two, at least
}

// sizeOf is the bytes of the log up to an entry, counted from anywhere.
type sizeOf struct {
	index uint64
	bytes int64
}

const (
	sizesMax  = 512 // samples
	sizesStep = 64 << 10
)

// note adds a sample. A log that was cut forgets those behind its end.
func (z *sizes) note(index uint64, bytes int64) {
	s := z.samples
	for len(s) > 0 && s[len(s)-1].index >= index {
		s = s[:len(s)-1]
	}
	// The last one moves with the end of the log, until it is far enough from the one before.
	z.step = max(z.step, sizesStep)
	if n := len(s); n > 1 && s[n-1].bytes-s[n-2].bytes < z.step {
		s = s[:n-1]
	}
	if s = append(s, sizeOf{index, bytes}); len(s) > sizesMax {
		z.step *= 2
		k := 1
		for _, b := range s[1 : len(s)-1] {
			if b.bytes-s[k-1].bytes >= z.step {
				s[k] = b
				k++
			}
		}
		s = append(s[:k], s[len(s)-1])
	}
	z.samples = s
}

// forget drops what is of no use for entries from first on.
func (z *sizes) forget(first uint64) {
	n := 0
	for n+1 < len(z.samples) && z.samples[n+1].index < first {
		n++
	}
	if z.samples = append(z.samples[:0], z.samples[n:]...); len(z.samples) < sizesMax/8 {
		z.step /= 2
	}
}

// upTo is the bytes up to an entry, on the same count as the samples.
func (z *sizes) upTo(index uint64) int64 {
	for i, b := range z.samples {
		if index > b.index {
			continue
		}
		if i == 0 {
			return b.bytes
		}
		a := z.samples[i-1]
		share := float64(index-a.index) / float64(b.index-a.index)
		return a.bytes + int64(share*float64(b.bytes-a.bytes))
	}
	if n := len(z.samples); n > 0 {
		return z.samples[n-1].bytes
	}
	return 0
}

// between is the bytes from behind one entry up to another one.
func (z *sizes) between(from, to uint64) int64 { return max(0, z.upTo(to)-z.upTo(from)) }

// before is the last entry that has at least so many bytes of the log between itself
// and the entry at index; 0 when the log does not go back so far.
func (z *sizes) before(index uint64, bytes int64) uint64 {
	at := z.upTo(index) - bytes
	for i := len(z.samples) - 1; i >= 0; i-- {
		if s := z.samples[i]; s.bytes <= at {
			return min(s.index, index)
		}
	}
	return 0
}
