package ring

// cacheLine is two lines of 64 bytes: adjacent lines are fetched in pairs.
const cacheLine = 128

// Sequence is a counter that one goroutine advances and others read, alone on
// its cache lines. The zero value means that nothing was published yet. Go's
// atomics are sequentially consistent: whoever loads a value sees everything
// that was written before it was stored.
type Sequence struct {
	_ [cacheLine - 8]byte
	v word
	_ [cacheLine - 8]byte
}

// Load returns the value. Any goroutine.
func (s *Sequence) Load() uint64 { return s.v.Load() }

// Store publishes a value. Only the one goroutine that owns the sequence.
func (s *Sequence) Store(v uint64) { s.v.Store(v) }
