package main

import (
	"runtime/metrics"
	"testing"
)

// Buffers that are not filled are no room for garbage: replies of clients made a member grow by
// 700 MiB while its clients had 250.
func TestMemoryLimit(t *testing.T) {
	const mib = 1 << 20
	for _, x := range []struct {
		what             string
		live, most, data int64
		want             int64
	}{
		{"buffers that are hardly filled", 300 * mib, 800 * mib, 0, 444 * mib},
		{"all in use", 800 * mib, 800 * mib, 0, 944 * mib},
		{"what is in use is not clear yet", 2000 * mib, 800 * mib, 0, 944 * mib},
		{"keys and values, and as much that is not found yet", 1300 * mib, 800 * mib, 1000 * mib,
			2444 * mib},
		{"before the first collection", 0, 800 * mib, 0, 944 * mib},
	} {
		if got := memoryLimit(x.live, x.most, x.data); got != x.want {
			t.Errorf("%s: %d MiB, want %d", x.what, got/mib, x.want/mib)
		}
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	if metrics.Read(live); live[0].Value.Kind() != metrics.KindUint64 {
		t.Error("the runtime does not say what is in use")
	}
}
