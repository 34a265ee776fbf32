package bench

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"
)

// What cannot be computed is no number, in text and in JSON.
func TestNoFigureOfNothing(t *testing.T) {
	none := []Figure{None(), Figure(math.Inf(1)), Figure(math.Inf(-1)), Of(1, 0), Of(0, 0),
		Percentile(nil, 50), Percentile(NewHistogram(), 100), SpreadOf(nil).Median,
		SpreadOf([]Figure{None()}).Max, stageOf("empty", NewHistogram()).P50,
		Stage{}.known().P999}
	for i, f := range none {
		b, err := json.Marshal(f)
		if err != nil || string(b) != "null" || f.Known() || f.Grouped() != "–" {
			t.Errorf("%d: %s, %v, %q", i, b, err, f.Grouped())
		}
		if got := fmt.Sprintf("%5.1f|%-4.0f|%.2f", f, f, f); got != "    –|–   |–" {
			t.Errorf("%d: %q", i, got)
		}
	}
	b, err := json.Marshal([]Figure{1.5, 0})
	if got := fmt.Sprintf("%s %6.2f", b, Figure(2)); err != nil || got != "[1.5,0]   2.00" {
		t.Errorf("%q %v", got, err)
	}
	if got := SpreadOf([]Figure{3, None(), 1, 2}); got != (Spread{2, 1, 3}) {
		t.Errorf("%+v", got)
	}
}

// The oldest request that a plan allows is recorded with its age.
func TestNoLatencyIsCutOff(t *testing.T) {
	h, age := NewHistogram(), int64(2*ageMax)
	Record(h, age, 1)
	if got := h.Max(); got < age || float64(got) > float64(age)*1.001 {
		t.Errorf("%v for %v", time.Duration(got), time.Duration(age))
	}
}

// A rate out of reach leaves more requests than can be recorded one by one; all
// are counted, with their ages.
func TestAbandonIsQuick(t *testing.T) {
	const rate, seconds = 100e6, 3600
	rec := NewRecorder(Window{0, seconds * 1e9}, 0)
	s := NewSchedule(0, rate, 0, 1)
	s.Abandon(rec, seconds*1e9)
	if want := uint64(rate * seconds); rec.late != want ||
		uint64(rec.current.TotalCount()) != want {
		t.Errorf("%d late, %d recorded, want %d", rec.late, rec.current.TotalCount(), want)
	}
	for _, q := range []float64{1, 50, 99, 100} {
		want := q / 100 * seconds * 1e9
		if got := float64(rec.current.ValueAtPercentile(q)); math.Abs(got-want) > 0.003*want {
			t.Errorf("%v %%: %v, want %v", q, time.Duration(got), time.Duration(want))
		}
	}
	s.Abandon(rec, seconds*1e9)
	if rec.late != rate*seconds {
		t.Error("counted twice")
	}
}

const sec = int64(time.Second)

// silentRun summarizes what recorders saw in a window of ten seconds.
func silentRun(t *testing.T, recorders ...*Recorder) *Result {
	t.Helper()
	r, err := Summarize(DefaultPlan(), System{}, recorders, NewCollector(recorders))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// goodAt is a recorder of a driver that has a success each tenth of a second
// in some spans.
func goodAt(spans ...[2]float64) *Recorder {
	r := NewRecorder(Window{5 * sec, 15 * sec}, 0)
	for _, s := range spans {
		for at := 5*sec + int64(s[0]*1e9); at <= 5*sec+int64(s[1]*1e9); at += sec / 10 {
			r.Good(at, 1, 1)
		}
	}
	return r
}

func TestSilences(t *testing.T) {
	whole, dead := goodAt([2]float64{-2, 10}), goodAt([2]float64{-2, 3})
	gap := goodAt([2]float64{-2, 2}, [2]float64{4.5, 9.9})
	never, late := goodAt(), goodAt([2]float64{-2, 7}, [2]float64{12, 12})
	many := goodAt([2]float64{0, 1}, [2]float64{2, 3}, [2]float64{4, 5}, [2]float64{7, 8},
		[2]float64{9, 10})
	for i, r := range []*Recorder{whole, dead, gap, never, late, many} {
		r.End(i != 4)
	}
	for name, c := range map[string]struct {
		recorders []*Recorder
		want      string
		gone      bool
	}{
		"none":      {[]*Recorder{whole}, "", false},
		"dead":      {[]*Recorder{dead}, "no success from 3.0 s to the end", true},
		"gap":       {[]*Recorder{gap}, "no success from 2.0 s to 4.5 s", false},
		"never":     {[]*Recorder{never}, "no success from 0.0 s to the end", true},
		"after end": {[]*Recorder{late}, "no success from 7.0 s to 12.0 s", false},
		"many": {[]*Recorder{many}, "4 times no success for 250 ms or more, the longest from " +
			"5.0 s to 7.0 s", false},
		"one of two":  {[]*Recorder{dead, whole}, "", false},
		"both":        {[]*Recorder{dead, gap}, "no success from 3.0 s to 4.5 s", false},
		"both at end": {[]*Recorder{dead, never}, "no success from 3.0 s to the end", true},
	} {
		r := silentRun(t, c.recorders...)
		if got := r.silenceText(); got != c.want || r.Silent() != c.gone {
			t.Errorf("%s: %q, gone %v, want %q", name, got, r.Silent(), c.want)
		}
	}
}

// An open loop that asks seldom is not silent in between; it is when what it
// asks fails.
func TestAskingSeldomIsNoSilence(t *testing.T) {
	for _, fails := range []bool{false, true} {
		r := NewRecorder(Window{0, 10 * sec}, 0)
		for at := int64(0); at < 10*sec; at += 2 * sec {
			r.Asked(at)
			if fails && at > 0 {
				r.Failure(at+1000, "connection-lost", 1)
			} else {
				r.Good(at+1000, 1, 1)
			}
		}
		r.End(false)
		if got := silentRun(t, r); got.Silent() != fails || len(got.Silences) > 1 {
			t.Errorf("fails %v: %v", fails, got.Silences)
		}
	}
}
