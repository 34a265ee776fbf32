package bench

import (
	"fmt"
	"math"
	"strings"
)

// Silence is a time in which nothing succeeded although something was asked,
// in clock time.
type Silence struct{ From, To int64 }

// silenceMin is the shortest silence that a report speaks of. silenceOpen is
// the end of one that lasted until the end of the run.
const (
	silenceMin  = int64(250e6)
	silenceOpen = int64(math.MaxInt64)
)

// silences finds what one driver saw.
type silences struct {
	since   int64 // nothing has succeeded since, although something was asked
	failing bool  // something failed since then
	list    []Silence
}

// success ends a silence.
func (s *silences) success(now int64, w Window) {
	s.add(max(s.since, w.Start), now)
	s.since, s.failing = now, false
}

func (s *silences) add(from, to int64) {
	if to-from >= silenceMin {
		s.list = append(s.list, Silence{from, to})
	}
}

// common is the time that lies in both of two lists, in order.
func common(a, b []Silence) (both []Silence) {
	for len(a) > 0 && len(b) > 0 {
		from, to := max(a[0].From, b[0].From), min(a[0].To, b[0].To)
		if to-from >= silenceMin {
			both = append(both, Silence{from, to})
		}
		if a[0].To < b[0].To {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return both
}

// silenceShown is how many silences a report lists.
const silenceShown = 3

// silenceText says when nothing succeeded, in seconds since the window began.
func (r *Result) silenceText() string {
	var parts []string
	at := func(s Silence) string {
		text := fmt.Sprintf("from %.1f s to ", float64(s.From-r.start)/1e9)
		if s.To == silenceOpen {
			return text + "the end"
		}
		return text + fmt.Sprintf("%.1f s", float64(s.To-r.start)/1e9)
	}
	if n := len(r.Silences); n > silenceShown {
		longest := r.Silences[0]
		for _, s := range r.Silences {
			if s.To-s.From > longest.To-longest.From {
				longest = s
			}
		}
		parts = append(parts, fmt.Sprintf("%d times no success for %.0f ms or more, the longest %s",
			n, float64(silenceMin)/1e6, at(longest)))
	} else if n > 0 {
		list := make([]string, n)
		for i, s := range r.Silences {
			list[i] = at(s)
		}
		parts = append(parts, "no success "+strings.Join(list, " and "))
	}
	if r.Lost > 0 {
		parts = append(parts, fmt.Sprintf("%s connections lost, %s made anew",
			Grouped(int64(r.Lost)), Grouped(int64(r.Again))))
	}
	return strings.Join(parts, "; ")
}

// jsonSilence is a silence in seconds since the window began.
type jsonSilence struct {
	From Figure `json:"from_s"`
	To   Figure `json:"to_s"` // none: until the end
}

func (r *Result) jsonSilences() (list []jsonSilence) {
	for _, s := range r.Silences {
		one := jsonSilence{Of(float64(s.From-r.start), 1e9).rounded(3), None()}
		if s.To != silenceOpen {
			one.To = Of(float64(s.To-r.start), 1e9).rounded(3)
		}
		list = append(list, one)
	}
	return list
}
