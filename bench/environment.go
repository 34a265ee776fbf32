package bench

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// Environment is where a run happened, saved beside every result.
type Environment struct {
	CPU        string    `json:"cpu"`
	Cores      int       `json:"cores"`
	Kernel     string    `json:"kernel"`
	Go         string    `json:"go"`
	MaxProcs   int       `json:"gomaxprocs"`
	Filesystem string    `json:"filesystem,omitempty"`
	Device     string    `json:"device,omitempty"` // and how it is mounted
	Revision   string    `json:"revision,omitempty"`
	Disk       DiskProbe `json:"disk_probe"`

	ClientCPU float64  `json:"client_cpu_s,omitempty"`
	ServerCPU float64  `json:"servers_cpu_s,omitempty"`
	Warnings  []string `json:"warnings"`
}

// Machine is the environment of what uses no disk.
func Machine() Environment {
	return Environment{CPU: processorName(), Cores: runtime.NumCPU(), Kernel: kernelName(),
		Go: runtime.Version(), MaxProcs: runtime.GOMAXPROCS(0), Revision: revision(),
		Disk: noProbe("not probed"), Warnings: []string{}}
}

// Fingerprint looks at the machine, and probes the disk of dir ("" probes
// none, because the servers' disk may be elsewhere).
func Fingerprint(dir string) Environment {
	e := Machine()
	if dir == "" {
		e.Filesystem, e.Disk.Error = "unknown", "not probed: the servers' directories are not known"
		return e
	}
	e.Filesystem, e.Device, e.Disk = Filesystem(dir), deviceName(dir), probeDisk(dir)
	return e
}

func processorName() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		name, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func kernelName() string {
	sys, _ := os.ReadFile("/proc/sys/kernel/ostype")
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	text := strings.TrimSpace(string(sys)) + " " + strings.TrimSpace(string(release))
	return strings.TrimSpace(text)
}

func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var rev, dirty string
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			rev = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "+changes"
			}
		}
	}
	return rev[:min(len(rev), 12)] + dirty
}

var filesystems = map[int64]string{0xef53: "ext4", 0x58465342: "xfs", 0x9123683e: "btrfs",
	0x01021994: "tmpfs", 0x858458f6: "ramfs", 0x794c7630: "overlay", 0x6969: "nfs",
	0x2fc12fc1: "zfs", 0xf2f52010: "f2fs"}

// Filesystem is the name of the file system of a directory, or its number.
func Filesystem(dir string) string {
	number, err := filesystemType(dir)
	if err != nil {
		return "unknown"
	}
	if name, ok := filesystems[number]; ok {
		return name
	}
	return fmt.Sprintf("type %#x", number)
}
