package bench

import (
	"testing"
	"time"
)

func TestParseCount(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "250": 250, "10k": 10_000, "10K": 10_000,
		"1m": 1_000_000, "1.5m": 1_500_000, "2g": 2_000_000_000, "4KiB": 4096, "4kib": 4096,
		"1MiB": 1 << 20, "64kB": 64_000, "16 B": 16, "200k/s": 200_000} {
		if got, err := ParseCount(text); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "k", "-1", "1.5", "10x", "0x10", "1e3", "nan", "inf", "1_000",
		"99999999g", "1kk"} {
		if got, err := ParseCount(text); err == nil {
			t.Errorf("%q: %d, want an error", text, got)
		}
	}
	if got, err := ParseCounts("1,64,16k"); err != nil || len(got) != 3 || got[2] != 16_000 {
		t.Errorf("list: %v, %v", got, err)
	}
	if _, err := ParseCounts("1,,2"); err == nil {
		t.Error("an empty element is no number")
	}
}

func TestParseDurationAndRatio(t *testing.T) {
	for text, want := range map[string]time.Duration{"500us": 500 * time.Microsecond,
		"250ms": 250 * time.Millisecond, "10s": 10 * time.Second, "10": 10 * time.Second,
		"0.5": 500 * time.Millisecond, "1m30s": 90 * time.Second} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1s", "10x", "nan", "-5"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q: %v, want an error", text, got)
		}
	}
	if s, g, err := ParseRatio("1:10"); s != 1 || g != 10 || err != nil {
		t.Errorf("1:10: %d %d %v", s, g, err)
	}
	for _, text := range []string{"", "1", "0:0", "-1:2", "a:b", "1:2:3"} {
		if _, _, err := ParseRatio(text); err == nil {
			t.Errorf("%q: want an error", text)
		}
	}
}

func TestTexts(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 12: "12", 999: "999", 1000: "1,000",
		1234567: "1,234,567"} {
		if got := Grouped(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{16: "16 B", 1000: "1000 B", 1024: "1 KiB",
		1536: "1.5 KiB", 1 << 20: "1 MiB"} {
		if got := SizeText(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestScheduleKeepsTheRate(t *testing.T) {
	for _, rate := range []float64{1, 3, 1000, 7777, 333_333, 5e6} {
		s := NewSchedule(1_000_000, rate, 0, 1)
		if s.Due(999_999) != 0 || s.Due(1_000_000) != 1 {
			t.Errorf("rate %v: the first request is due at the start, not before", rate)
		}
		for _, i := range []uint64{0, 1, 2, 99, 12345} {
			at := s.intended(i)
			if s.Due(at) < i+1 || i > 0 && s.Due(at-1) > i {
				t.Errorf("rate %v: request %d at %d, but %d due then and %d before", rate, i, at,
					s.Due(at), s.Due(at-1))
			}
		}
		if got := s.intended(uint64(rate*10)) - s.start; got < 10e9-10 || got > 10e9+10 {
			t.Errorf("rate %v: ten seconds of requests take %v", rate, time.Duration(got))
		}
	}
}

func TestScheduleIsSharedEvenly(t *testing.T) {
	var due uint64
	for i := range 3 {
		due += NewSchedule(0, 3000, i, 3).Due(999_999_999)
	}
	if due != 3000 {
		t.Errorf("three clients have due %d in a second, want 3000", due)
	}
}

func TestPauseSleepsThenPolls(t *testing.T) {
	if got := Pause(0, 1_000_000, 1e6); got != time.Millisecond-spinMax {
		t.Errorf("far: %v", got)
	}
	if got := Pause(0, int64(spinMax)/2, 1e6); got != 0 {
		t.Errorf("near: %v, want to poll", got)
	}
	if got := Pause(0, 1000, 1000); got != pacerQuantum {
		t.Errorf("dense: %v, want %v", got, pacerQuantum)
	}
	if got := Pause(10, 5, 1000); got != 0 {
		t.Errorf("overdue: %v", got)
	}
}
