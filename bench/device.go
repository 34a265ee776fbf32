package bench

import (
	"os"
	"path/filepath"
	"strings"
)

// deviceName is the device that a directory lies on, what it says of its
// cache, and the mount options: "/dev/vda (virtio, write back) rw,relatime".
// "" when the system does not tell.
func deviceName(dir string) string {
	number, err := deviceNumber(dir)
	if err != nil {
		return ""
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		own, rest, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(own), strings.Fields(rest)
		if !ok || len(left) < 6 || len(right) < 3 || left[2] != number {
			continue
		}
		return right[1] + queueText(number) + " " + mountOptions(left[5]+","+right[2])
	}
	return ""
}

// mountOptions drops what was said before.
func mountOptions(list string) string {
	var kept []string
	seen := map[string]bool{}
	for o := range strings.SplitSeq(list, ",") {
		if !seen[o] {
			kept = append(kept, o)
		}
		seen[o] = true
	}
	return strings.Join(kept, ",")
}

// queueText is the driver and the write cache of a block device.
func queueText(number string) string {
	var parts []string
	dir := filepath.Join("/sys/dev/block", number)
	for _, up := range []string{"", ".."} { // a partition's queue is its disk's
		b, err := os.ReadFile(filepath.Join(dir, up, "queue", "write_cache"))
		if err != nil {
			continue
		}
		if driver, err := os.Readlink(filepath.Join(dir, up, "device", "driver")); err == nil {
			parts = append(parts, filepath.Base(driver))
		}
		parts = append(parts, strings.TrimSpace(string(b))+" cache")
		break
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// Volatile says that a file system keeps nothing over a restart of the machine.
func Volatile(filesystem string) bool { return filesystem == "tmpfs" || filesystem == "ramfs" }
