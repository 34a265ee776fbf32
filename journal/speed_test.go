package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/ringraft/ringraft/journal/device"
	"github.com/ringraft/ringraft/journal/record"
)

// JRN-14: a journal is ready in the time of reading it once. Opt-in, since it
// is a measurement: RINGRAFT_RECOVERY=1024 MiB. It prints recovery and a plain
// O_DIRECT sequential read of the same files, interleaved, and their ratio,
// whose median is at most 1.3.
func TestJRN14RecoverySpeed(t *testing.T) {
	mib, err := strconv.Atoi(os.Getenv("RINGRAFT_RECOVERY"))
	if err != nil {
		t.Skip("RINGRAFT_RECOVERY=1024 measures the recovery of 1 GiB")
	}
	for _, size := range []int{128, 4 << 10} {
		t.Run(fmt.Sprint(size, "-byte entries"), func(t *testing.T) {
			recoverySpeed(t, int64(mib)<<20, size)
		})
	}
}

func recoverySpeed(t *testing.T, bytes int64, size int) {
	cfg := Config{Dir: t.TempDir(), Mode: Direct, Identity: testID}
	j, _, err := Open(cfg)
	if errors.Is(err, ErrNoDirect) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	wake := make(chan struct{}, 1)
	j.OnDone(func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	recs := record.AppendCommand(nil, make([]byte, size))
	m, start := Batch{Hard: Hard{1, 1}, Count: 1, Term: 1}, time.Now()
	for int64(j.Stats().Bytes) < bytes {
		m.First, m.Sequence = m.First+1, m.Sequence+1
		for !j.Append(&m, recs) {
			if j.Poll(int64(time.Since(start))+1, false) == 0 {
				<-wake
			}
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	var plain, ready, ratio []float64
	for round := range 7 {
		read := readPlain(t, cfg.Dir)
		begun := time.Now()
		j, rec, err := Open(cfg)
		took := time.Since(begun).Seconds()
		if err != nil || rec.Last != m.First || rec.Probation || rec.Damaged {
			t.Fatalf("%+v %v", rec, err)
		}
		if round > 0 { // the first warms up
			plain, ready, ratio = append(plain, read), append(ready, took), append(ratio, took/read)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		t.Logf("round %d: plain read %.3f s, ready after %.3f s, ratio %.2f (%d batches, %d MiB "+
			"believed)", round, read, took, took/read, rec.Batches, rec.Bytes>>20)
	}
	t.Logf("%d-byte entries: plain read %s s, ready after %s s, ratio %s", size, spread(plain),
		spread(ready), spread(ratio))
	if most := 1.3; ratio[len(ratio)/2] > most { // sorted by now
		t.Errorf("the median ratio is above %.1f", most)
	}
}

// spread is the median, and the least and the most.
func spread(v []float64) string {
	slices.Sort(v)
	return fmt.Sprintf("%.3f (%.3f–%.3f)", v[len(v)/2], v[0], v[len(v)-1])
}

// readPlain reads the live segments as plain as can be: O_DIRECT, in order, a
// window at a time, and nothing else.
func readPlain(t *testing.T, dir string) float64 {
	t.Helper()
	r, err := device.OpenReadOnly(filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	names, err := r.List()
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := readState(r)
	if err != nil {
		t.Fatal(err)
	}
	sc, err := scanSegments(r, device.Flags{Direct: true}, &s.state, names, false)
	defer sc.close()
	if err != nil {
		t.Fatal(err)
	}
	b := device.Aligned(defaultRead, 4096)
	start := time.Now()
	for _, seg := range sc.live {
		for off := int64(0); off < seg.size; off += defaultRead {
			if err := seg.file.ReadAt(b[:min(defaultRead, seg.size-off)], off); err != nil {
				t.Fatal(err)
			}
		}
	}
	return time.Since(start).Seconds()
}
