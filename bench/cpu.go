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
// used, and the time stolen from the machine by its host; false where the
// system does not tell.
func MachineCPU() (time.Duration, bool) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, false
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
	return time.Duration(ticks) * time.Second / ticksPerSecond, true
}

// ProcessTime is the processor time that a process of this machine has used,
// and when it began, in a unit of the kernel's: a number that was used again
// is another process.
func ProcessTime(pid int) (used time.Duration, began int64, ok bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, false
	}
	text := string(b)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return 0, 0, false
	}
	var n [3]int64
	for i, place := range [3]int{11, 12, 19} { // user, system, start
		if n[i], err = strconv.ParseInt(fields[place], 10, 64); err != nil {
			return 0, 0, false
		}
	}
	return time.Duration(n[0]+n[1]) * time.Second / ticksPerSecond, n[2], true
}
