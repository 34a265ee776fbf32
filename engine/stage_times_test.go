package engine

import (
	"testing"
	"time"
)

// What Since tells is what was recorded between two readings, and all of it after a reset.
func TestStageTimesSince(t *testing.T) {
	e := &Engine{timing: newTiming(func() int64 { return 0 })}
	record := func(n int, d time.Duration) {
		for range n {
			e.timing.Durable(0, int64(d))
		}
	}
	journal := func(list []StageStatus) StageStatus {
		if len(list) != stageCount || list[stageJournal].Name != "journal" {
			t.Fatalf("%+v", list)
		}
		return list[stageJournal]
	}
	near := func(got, want time.Duration) bool { return got > want*98/100 && got < want*102/100 }
	record(100, time.Millisecond)
	first := e.StageTimes()
	if s := journal(first.Since(nil)); s.Count != 100 || !near(s.P50, time.Millisecond) {
		t.Errorf("all: %+v", s)
	}
	record(10, 20*time.Millisecond)
	second := e.StageTimes()
	if s := journal(second.Since(first)); s.Count != 10 || !near(s.P50, 20*time.Millisecond) ||
		!near(s.Max, 20*time.Millisecond) {
		t.Errorf("between: %+v", s)
	}
	if s := journal(second.Since(nil)); s.Count != 110 || !near(s.P50, time.Millisecond) {
		t.Errorf("all: %+v", s)
	}
	if s := journal(second.Since(second)); s.Count != 0 || s.P99 != 0 || s.Max != 0 {
		t.Errorf("nothing: %+v", s)
	}
	e.ResetStages()
	record(1, 5*time.Millisecond)
	s := journal(e.StageTimes().Since(second))
	if s.Count != 1 || !near(s.P99, 5*time.Millisecond) {
		t.Errorf("after a reset: %+v", s)
	}
}
