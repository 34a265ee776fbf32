package bench

import (
	"fmt"
	"slices"
)

// Spread is the middle and the ends of several runs.
type Spread struct {
	Median Figure `json:"median"`
	Min    Figure `json:"min"`
	Max    Figure `json:"max"`
}

// SpreadOf is the spread of those of v that are known; of none if there are
// none.
func SpreadOf(v []Figure) Spread {
	s := slices.DeleteFunc(slices.Clone(v), func(f Figure) bool { return !f.Known() })
	if len(s) == 0 {
		return Spread{None(), None(), None()}
	}
	slices.Sort(s)
	return Spread{Median: s[len(s)/2], Min: s[0], Max: s[len(s)-1]}
}

// Text is the median with the ends in parentheses.
func (s Spread) Text(digits int) string {
	return fmt.Sprintf("%.*f (%.*f–%.*f)", digits, s.Median, digits, s.Min, digits, s.Max)
}
