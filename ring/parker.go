package ring

// Parker lets one goroutine sleep until others have something for it. Unpark
// costs one atomic load while nobody sleeps. No wake-up is lost: the sleeper
// announces itself before it looks at its condition for the last time.
type Parker struct {
	_      [cacheLine - 8]byte
	parked flag
	bell   bell
	_      [cacheLine - 16]byte
}

// NewParker returns a parker.
func NewParker() *Parker { return &Parker{bell: newBell()} }

// Park sleeps until cond holds. cond is checked after every wake-up, which may
// be spurious. One goroutine at a time.
func (p *Parker) Park(cond func() bool) {
	for {
		p.parked.Store(true)
		if cond() {
			p.parked.Store(false)
			return
		}
		p.bell.wait()
	}
}

// Unpark wakes the sleeper, if there is one. Any goroutine.
func (p *Parker) Unpark() {
	if p.parked.Load() && p.parked.CompareAndSwap(true, false) {
		p.bell.ring()
	}
}
