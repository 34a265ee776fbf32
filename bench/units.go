package bench

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// units are the multipliers of counts and sizes, longest suffix first.
var units = []struct {
	suffix string
	factor float64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9},
	{"k", 1e3}, {"m", 1e6}, {"g", 1e9}, {"b", 1},
}

// ParseCount reads a count, a rate or a size in bytes: 250, 10k, 1.5m, 4KiB,
// 1MiB, 64kB. k, m and g (and kB, MB, GB) are powers of a thousand; KiB, MiB
// and GiB of 1024. Upper and lower case are the same; a trailing /s is ignored.
func ParseCount(s string) (int64, error) {
	text := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(s)), "/s")
	factor := 1.0
	for _, u := range units {
		if strings.HasSuffix(text, u.suffix) {
			text, factor = strings.TrimSpace(strings.TrimSuffix(text, u.suffix)), u.factor
			break
		}
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || strings.ContainsAny(text, "xpe_i") {
		return 0, fmt.Errorf("%q is not a number such as 250, 10k, 1m or 4KiB", s)
	}
	v *= factor
	if v < 0 || v > 1<<53 {
		return 0, fmt.Errorf("%q is out of range", s)
	}
	if v != math.Trunc(v) {
		return 0, fmt.Errorf("%q is not a whole number", s)
	}
	return int64(v), nil
}

// ParseCounts reads a comma-separated list of counts.
func ParseCounts(s string) ([]int64, error) {
	var list []int64
	for part := range strings.SplitSeq(s, ",") {
		v, err := ParseCount(part)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// ParseDuration reads a duration: 500us, 250ms, 10s, 1m30s, or plain seconds.
func ParseDuration(s string) (time.Duration, error) {
	text := strings.TrimSpace(s)
	if v, err := strconv.ParseFloat(text, 64); err == nil && v >= 0 && v < 1e9 {
		return time.Duration(v * float64(time.Second)), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a duration such as 500us, 250ms, 10s or 2m", s)
	}
	return d, nil
}

// ParseRatio reads set:get, such as 1:0 or 1:10.
func ParseRatio(s string) (sets, gets int, err error) {
	a, b, ok := strings.Cut(s, ":")
	sets, errA := strconv.Atoi(a)
	gets, errB := strconv.Atoi(b)
	if !ok || errA != nil || errB != nil || sets < 0 || gets < 0 || sets > 1e6 || gets > 1e6 ||
		sets+gets == 0 {
		return 0, 0, fmt.Errorf("%q is not a ratio of sets to gets such as 1:0 or 1:10", s)
	}
	return sets, gets, nil
}

// Grouped prints a number with thousands separated: 1234567 is 1,234,567.
func Grouped(v int64) string {
	s := strconv.FormatInt(v, 10)
	at := len(s) % 3
	var b strings.Builder
	b.WriteString(s[:at])
	for ; at < len(s); at += 3 {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(s[at : at+3])
	}
	return b.String()
}

// SizeText prints bytes as a person would: 16 B, 4 KiB, 1.5 MiB.
func SizeText(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<18) == 0:
		return strconv.FormatFloat(float64(n)/(1<<20), 'f', -1, 64) + " MiB"
	case n >= 1<<10 && n%(1<<8) == 0:
		return strconv.FormatFloat(float64(n)/(1<<10), 'f', -1, 64) + " KiB"
	}
	return strconv.FormatInt(n, 10) + " B"
}
