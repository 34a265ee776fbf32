package engine

import (
	"fmt"
	"strings"
)

// Pipeline says from where a leader's replication may read: from memory as soon
// as an entry is there, or only what the leader's own journal has made durable.
type Pipeline int

// The pipelines.
const (
	// Parallel replicates while the leader's own journal writes. The default: a
	// commit needs the disks of a majority, and so they write at the same time.
	Parallel Pipeline = iota
	// Serial replicates after the leader's own journal has written: what a
	// follower holds, the leader that sent it held durably.
	Serial
)

// String returns "parallel" or "serial".
func (p Pipeline) String() string { return name("pipeline", int(p), "parallel", "serial") }

// ParsePipeline reads "parallel" or "serial". The error is a *ConfigError.
func ParsePipeline(s string) (Pipeline, error) {
	for _, p := range []Pipeline{Parallel, Serial} {
		if p.String() == s {
			return p, nil
		}
	}
	return 0, &ConfigError{"Pipeline", fmt.Sprintf("%q is unknown; use parallel or serial", s)}
}

// Threads maps the stages to goroutines.
type Threads int

// The mappings.
const (
	// Fused polls every stage in one network loop, and one more goroutine writes
	// the journal. The default, and the better choice on few cores.
	Fused Threads = iota
	// Threaded has two network loops and a goroutine each for the replica, for
	// applying commands and for writing the journal.
	Threaded
)

// String returns "fused" or "threaded".
func (t Threads) String() string { return name("threads", int(t), "fused", "threaded") }

// ParseThreads reads "fused" or "threaded". The error is a *ConfigError.
func ParseThreads(s string) (Threads, error) {
	for _, t := range []Threads{Fused, Threaded} {
		if t.String() == s {
			return t, nil
		}
	}
	return 0, &ConfigError{"Threads", fmt.Sprintf("%q is unknown; use fused or threaded", s)}
}

// name is the i-th of names, or what kind of number i is.
func name(kind string, i int, names ...string) string {
	if i >= 0 && i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("%s(%d)", kind, i)
}

// ConfigError says which option has a value that cannot be used. Nothing was
// started.
type ConfigError struct {
	// Option is the method of Builder that gives it, as "ElectionTimeout", or the field
	// of LaneConfig with its type, as "LaneConfig.Cells".
	Option  string
	Problem string // the value and what it has to be
}

// ListenError: an address cannot be listened on. errors.Is matches it with what the system
// said, as syscall.EADDRINUSE.
type ListenError struct {
	Option  string // the method of Builder that gives the address: Listen, Members, Serve or Secure
	Address string
	Err     error
}

// Error names the method and the address, and says what is wrong.
func (e *ListenError) Error() string {
	return "ringraft: " + e.Option + ": " + strings.TrimPrefix(e.Err.Error(), "netio: ")
}

// Unwrap returns what the system said.
func (e *ListenError) Unwrap() error { return e.Err }

// Error names the option and the problem.
func (e *ConfigError) Error() string { return "ringraft: " + e.Option + ": " + e.Problem }
