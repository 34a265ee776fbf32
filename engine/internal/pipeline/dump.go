package pipeline

import (
	"fmt"
	"strings"
)

// String is one line for people: what waits for its answer. The goroutine that
// polls only.
func (a *Apply) String() string {
	var waits []string
	applied := a.applied.Load()
	for _, r := range a.window.runs[a.window.head:] {
		if first := max(r.first, applied+1); first <= r.last {
			waits = append(waits, fmt.Sprintf("lane%d: writes at %d-%d of term %d", r.lane, first,
				r.last, r.term))
		}
	}
	for _, l := range a.lanes() {
		for i, g := range l.app.groups {
			from := l.app.reads
			if i > 0 {
				from = l.app.groups[i-1].upto
			}
			s := fmt.Sprintf("lane%d: reads %d-%d ", l.id, from+1, g.upto)
			if g.settled {
				s += fmt.Sprintf("until %d is applied", g.index)
			} else {
				s += fmt.Sprintf("in round %d", g.ctx)
			}
			waits = append(waits, s)
		}
	}
	if waits == nil {
		return "nothing waits"
	}
	return strings.Join(waits, "; ")
}
