package bench

import (
	"os"
	"slices"
	"time"
)

// DiskProbe is what one aligned durable write costs on a directory's disk:
// 4 KiB with O_DIRECT|O_DSYNC over a file written before, one at a time.
type DiskProbe struct {
	Writes int    `json:"writes"`
	P50    Figure `json:"p50_us"`
	P99    Figure `json:"p99_us"`
	Error  string `json:"error,omitempty"`
}

const (
	probeBlock  = 4096
	probeBlocks = 256
	probeWrites = 512
	probeTime   = 150 * time.Millisecond
)

// noProbe says why there is none.
func noProbe(why string) DiskProbe { return DiskProbe{P50: None(), P99: None(), Error: why} }

// probeDisk measures a directory's disk for a moment.
func probeDisk(dir string) DiskProbe {
	f, err := os.CreateTemp(dir, "raftbench-probe-")
	if err != nil {
		return noProbe(err.Error())
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}()
	if _, err = f.Write(make([]byte, probeBlock*probeBlocks)); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return noProbe(err.Error())
	}
	fd, err := openDirect(f.Name())
	if err != nil {
		return noProbe("no O_DIRECT here: " + err.Error())
	}
	defer closeFile(fd)
	block := Aligned(probeBlock, probeBlock)
	times := make([]int64, 0, probeWrites)
	for began := Clock(); len(times) < probeWrites && Clock()-began < int64(probeTime); {
		at := Clock()
		if err = writeAt(fd, block, int64(len(times)%probeBlocks)*probeBlock); err != nil {
			return noProbe(err.Error())
		}
		times = append(times, Clock()-at)
	}
	if len(times) == 0 {
		return noProbe("no write ended in time")
	}
	slices.Sort(times)
	us := func(q float64) Figure { return Microseconds(times[int(q*float64(len(times)-1))]) }
	return DiskProbe{Writes: len(times), P50: us(0.5), P99: us(0.99)}
}
