package bench

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the kernel's USER_HZ, the same on every Linux of use.
const ticksPerSecond = 100

// ThreadCPU is the processor time of the calling thread.
func ThreadCPU() time.Duration { return usage(rusageThread) }

// ProcessCPU is the processor time of this process.
func ProcessCPU() time.Duration { return usage(rusageSelf) }

// MachineCPU is the processor time that all of this machine's processes have
// used, and the time stolen from the machine by its host.
func MachineCPU() time.Duration {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	fields := strings.Fields(line)
	var ticks int64
	for i, text := range fields {
		if i == 0 || i == 4 || i == 5 || i > 8 { // name, idle, waiting for disks, guests
			continue
		}
		n, _ := strconv.ParseInt(text, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond
}

// ProcessTime is the processor time that a process of this machine has used.
func ProcessTime(pid int) (time.Duration, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	text := string(b)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return 0, false
	}
	user, errU := strconv.ParseInt(fields[11], 10, 64)
	sys, errS := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+sys) * time.Second / ticksPerSecond, errU == nil && errS == nil
}
