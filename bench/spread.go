package bench

import (
	"fmt"
	"slices"
)

// Spread is the middle and the ends of several runs.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// SpreadOf is the spread of v, which must not be empty.
func SpreadOf(v []float64) Spread {
	s := slices.Sorted(slices.Values(v))
	return Spread{Median: s[len(s)/2], Min: s[0], Max: s[len(s)-1]}
}

// Text is the median with the ends in parentheses.
func (s Spread) Text(digits int) string {
	return fmt.Sprintf("%.*f (%.*f–%.*f)", digits, s.Median, digits, s.Min, digits, s.Max)
}
