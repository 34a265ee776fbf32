package bench

import (
	"encoding/json"
	"fmt"
	"math"
)

// Figure is a measured number, or none: NaN, or an infinity that came of a
// division. A report shows a dash in place of none, and JSON has null.
type Figure float64

// None is what was not measured, or cannot be known.
func None() Figure { return Figure(math.NaN()) }

// Of is a quotient, none where there is nothing to divide by.
func Of(part, whole float64) Figure {
	if whole == 0 {
		return None()
	}
	return Figure(part / whole)
}

// Known says whether there is a number.
func (f Figure) Known() bool { return !math.IsNaN(float64(f)) && !math.IsInf(float64(f), 0) }

// Format implements fmt.Formatter: as a float64, a dash for none.
func (f Figure) Format(s fmt.State, verb rune) {
	if f.Known() {
		_, _ = fmt.Fprintf(s, fmt.FormatString(s, verb), float64(f))
		return
	}
	width, _ := s.Width()
	if s.Flag('-') {
		width = -width
	}
	_, _ = fmt.Fprintf(s, "%*s", width, "–")
}

// Grouped prints the whole part with thousands separated.
func (f Figure) Grouped() string {
	if !f.Known() {
		return "–"
	}
	return Grouped(int64(f))
}

// MarshalJSON implements json.Marshaler.
func (f Figure) MarshalJSON() ([]byte, error) {
	if !f.Known() {
		return []byte("null"), nil
	}
	return json.Marshal(float64(f))
}

// rounded has so many digits after the point.
func (f Figure) rounded(digits int) Figure {
	scale := math.Pow10(digits)
	return Figure(math.Round(float64(f)*scale) / scale)
}
