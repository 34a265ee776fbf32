package kv

import (
	"sync"
	"sync/atomic"
)

// pins are the large strings that replies on their way to clients name by a number. A reply is
// built by the goroutine that applies commands and sent by a network loop, which may be another, so
// pins have a lock. A number is taken once, by the loop that renders the reply.
//
//	GET, MGET … ─► pin ─► number in the reply ─► Take ─► Pin ─► Release, when sent or given up
//
// While a value is pinned its bytes do not change. One that is replaced or deleted meanwhile is
// retained: it takes memory beside the keys and values, and retained counts it.
type pins struct {
	mu      sync.Mutex
	waiting []*Pin // by number, not yet taken
	free    []int  // numbers
	spare   []*Pin
	home    *content // the table's: values of another one are not in the table
	current int64    // bytes of pinned values that are in the table

	count    atomic.Int64 // pins that are not released
	retained atomic.Int64
	viewed   atomic.Int64 // bytes of values that a view holds and that have left the table
}

// books are what pins remembers of a value, under its lock.
type books struct {
	pinned  int      // pins that hold it
	counted int64    // its memory in current or retained
	gone    bool     // not in the table any more
	home    *content // of the table when it came
	held    bool     // by the view
	viewed  int64    // its memory in pins.viewed
}

// left reports whether a value is in the table no more.
func (s *pins) left(v *large) bool { return v.gone || v.home != s.home }

// Pin holds a large string for a reply. It is used by one goroutine at a time.
type Pin struct {
	of    *large // nil: a reply of its own
	parts [][]byte
	size  int
	pins  *pins
}

// Size is the length of the string in bytes.
func (p *Pin) Size() int { return p.size }

// Parts are the string's bytes in order. They do not change before Release, and must not be
// changed.
func (p *Pin) Parts() [][]byte { return p.parts }

// Retained is this pin's share of the bytes that are in memory only because it, and others of the
// same value, hold them.
func (p *Pin) Retained() int {
	p.pins.mu.Lock()
	defer p.pins.mu.Unlock()
	switch v := p.of; {
	case v == nil:
		return p.size
	case p.pins.left(v):
		return int(v.counted) / v.pinned
	}
	return 0
}

// Release gives the string back. It is called once.
func (p *Pin) Release() {
	s := p.pins
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count.Add(-1)
	if v := p.of; v == nil {
		s.retained.Add(-int64(p.size))
	} else if v.pinned--; v.pinned == 0 {
		if s.left(v) {
			s.retained.Add(-v.counted)
		} else {
			s.current -= v.counted
		}
		v.counted = 0
	}
	clear(p.parts)
	*p = Pin{parts: p.parts[:0]}
	if len(s.spare) < 1024 && cap(p.parts) <= 64 {
		s.spare = append(s.spare, p)
	}
}

// pin holds the bytes of a value from start to end and returns the number.
func (s *pins) pin(v *large, start, end int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.next()
	p.of, p.size, p.parts = v, end-start, v.parts(p.parts, start, end)
	v.pinned++
	if n := v.capacity(); n > v.counted { // APPEND has added to it
		s.current += n - v.counted
		v.counted = n
	}
	return s.number(p)
}

// keep holds the bytes of a reply, which nothing else holds, and returns the number.
func (s *pins) keep(reply []byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.next()
	p.size, p.parts = len(reply), append(p.parts, reply)
	s.retained.Add(int64(p.size))
	return s.number(p)
}

func (s *pins) next() *Pin {
	s.count.Add(1)
	n := len(s.spare)
	if n == 0 {
		return &Pin{pins: s}
	}
	p := s.spare[n-1]
	s.spare = s.spare[:n-1]
	p.pins = s
	return p
}

func (s *pins) number(p *Pin) int {
	if n := len(s.free); n > 0 {
		number := s.free[n-1]
		s.free = s.free[:n-1]
		s.waiting[number] = p
		return number
	}
	s.waiting = append(s.waiting, p)
	return len(s.waiting) - 1
}

// size is the length of the string with a number that is not yet taken.
func (s *pins) size(number int) (n int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if number >= len(s.waiting) || s.waiting[number] == nil {
		return 0, false
	}
	return s.waiting[number].size, true
}

func (s *pins) take(number int) *Pin {
	s.mu.Lock()
	defer s.mu.Unlock()
	if number >= len(s.waiting) || s.waiting[number] == nil {
		return nil
	}
	p := s.waiting[number]
	s.waiting[number] = nil
	s.free = append(s.free, number)
	return p
}

// enter says that a value is in the table now.
func (s *pins) enter(v *large) { v.home = s.home }

// leave says that a value is in the table no more.
func (s *pins) leave(v *large) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v.gone = true
	s.current -= v.counted
	s.retained.Add(v.counted)
	if v.held {
		v.viewed = v.capacity()
		s.viewed.Add(v.viewed)
	}
}

// leaveAll says so of all values: next has the table's from now on.
func (s *pins) leaveAll(next *content) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.home = next
	s.retained.Add(s.current)
	s.current = 0
}

// unheld reports whether nobody holds a value. Only the goroutine that pins may rely on it.
func (s *pins) unheld(v *large) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return v.pinned == 0 && !v.held
}

// hold keeps the bytes of a value as they are for the view, until letGo. A value that replies hold
// is counted for clients; what a view holds is not, as no client can help it.
func (s *pins) hold(v *large) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v.held = true
}

func (s *pins) letGo(v *large) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v.held = false
	s.viewed.Add(-v.viewed)
	v.viewed = 0
}

// Take gives the string that a reply of this machine names by a number to whoever sends the reply;
// nil when there is none. Any goroutine may call it.
func (m *Machine) Take(number int) *Pin { return m.pairs.pins.take(number) }

// Kept is the length of the string with a number that has not been taken. Any goroutine may call
// it.
func (m *Machine) Kept(number int) (size int, ok bool) { return m.pairs.pins.size(number) }

// Pins is the number of strings that replies hold, and Retained the bytes that are in memory only
// because of that. Any goroutine may call them.
func (m *Machine) Pins() int64     { return m.pairs.pins.count.Load() }
func (m *Machine) Retained() int64 { return m.pairs.pins.retained.Load() }
