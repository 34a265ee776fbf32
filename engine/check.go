package engine

import (
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/device"
	"github.com/ringraft/ringraft/ziplist"
)

// What Start and Engine.Lane take at most. Beyond it a value is a mistake, such as
// of a unit, and some would overflow where they are added up.
const (
	heartbeatMax = time.Minute
	timeoutMax   = time.Hour
	giveUpMax    = 24 * time.Hour
	commandMax   = 32 << 20
	memoryMax    = 1 << 40
	slotsMax     = 1 << 20
	segmentMax   = 64 << 30
	advertiseMax = 255
	cellsMax     = 1 << 22
	laneBytesMax = 1 << 30
)

// Check says what Start would refuse before it takes anything, a socket, a lock or a file: a
// *ConfigError, the first that is found, or nil. It reads the file of secrets, and nothing else.
func (b *Builder) Check() error { return b.check() }

// check holds every option against what it may be, and against each other. Each
// error names the method to change.
func (b *Builder) check() error {
	return cmp.Or(b.checkIdentity(), b.checkChoices(), b.checkTimes(), b.checkSizes(),
		b.checkAddresses(), b.checkMembers(), b.checkWitness(), b.checkDiscovery(), b.checkJoin(),
		b.checkExpect(), b.admitting.check(), b.connections.check(), b.checkSecret())
}

func (b *Builder) checkIdentity() error {
	switch {
	case b.id == 0:
		return &ConfigError{"ID", "must not be 0"}
	case b.machine == nil && !b.witness:
		return &ConfigError{"StateMachine", "none given; commands need something to be applied to"}
	case b.dir == "" && b.mode != journal.Memory:
		return &ConfigError{"Dir", "no data directory given; only journal.Memory works without one"}
	case strings.ContainsRune(b.dir, 0):
		return &ConfigError{"Dir", fmt.Sprintf("%q is no path", b.dir)}
	case b.logger == nil:
		return &ConfigError{"Logger", "nil; leave it out for none"}
	}
	return nil
}

func (b *Builder) checkChoices() error {
	switch {
	case b.mode < 0 || int(b.mode) >= len(journal.Modes()):
		return &ConfigError{"Journal",
			fmt.Sprintf("mode %d; must be journal.Direct to journal.Memory", int(b.mode))}
	case b.pipeline != Parallel && b.pipeline != Serial:
		return &ConfigError{"Pipeline", fmt.Sprintf("%d; must be Parallel or Serial",
			int(b.pipeline))}
	case b.threads != Fused && b.threads != Threaded:
		return &ConfigError{"Threads", fmt.Sprintf("%d; must be Fused or Threaded", int(b.threads))}
	case b.codec > ziplist.None:
		return &ConfigError{"Compress", fmt.Sprintf(
			"codec %d; must be ziplist.S2, ziplist.Snappy or ziplist.None", uint8(b.codec))}
	}
	return nil
}

func (b *Builder) checkTimes() error {
	between := func(method string, d, least, most time.Duration) error {
		if d < least || d > most {
			return &ConfigError{method, fmt.Sprintf("%v; must be %v to %v", d, least, most)}
		}
		return nil
	}
	if err := cmp.Or(
		between("Heartbeat", b.heartbeat, 2*time.Millisecond, heartbeatMax),
		between("ElectionTimeout", b.election, 0, timeoutMax),
		between("StallLimit", b.stallLimit, 0, timeoutMax),
		between("GiveUp", b.giveUp, 0, giveUpMax),
		between("KeepAlive", b.keepAlive, 0, KeepAliveMax),
	); err != nil {
		return err
	}
	switch {
	case b.election < 3*b.heartbeat:
		return &ConfigError{"ElectionTimeout",
			fmt.Sprintf("%v; must be at least three heartbeats of %v", b.election, b.heartbeat)}
	case b.keepAlive != 0 && b.keepAlive < KeepAliveMin:
		return &ConfigError{"KeepAlive", fmt.Sprintf("%v; must be 0 or at least 3s", b.keepAlive)}
	case b.giveUp > 0 && b.giveUp < max(b.stallLimit, b.election):
		return &ConfigError{"GiveUp", fmt.Sprintf(
			"%v; must be 0, which is never, or not shorter than the stall limit of %v",
			b.giveUp, max(b.stallLimit, b.election))}
	}
	return nil
}

func (b *Builder) checkSizes() error {
	least := int64(b.maxCommand) + runBytes
	least += least/32 + 32<<10 // headers and checksums, generously; adopt asks the journal
	switch {
	case b.maxCommand < 1 || b.maxCommand > commandMax:
		return &ConfigError{"MaxCommand",
			fmt.Sprintf("%d bytes; must be 1 to 32 MiB", b.maxCommand)}
	case b.memory < 0 || b.memory > memoryMax:
		return &ConfigError{"Memory",
			fmt.Sprintf("%d bytes; must be 0, which is 64 MiB, or up to 1 TiB", b.memory)}
	case b.slots < 2 || b.slots > slotsMax || b.slots&(b.slots-1) != 0:
		return &ConfigError{"Slots",
			fmt.Sprintf("%d; must be a power of two, 2 to %d", b.slots, slotsMax)}
	case b.segment < 0 || b.segment > segmentMax || b.segment%device.Block != 0:
		return &ConfigError{"SegmentBytes", fmt.Sprintf("%d bytes; must be 0, which is 64 MiB, "+
			"or a multiple of %d up to 64 GiB", b.segment, device.Block)}
	case b.snapshot > SnapshotAfterMax || b.snapshot > 0 && b.snapshot < SnapshotAfterMin:
		return &ConfigError{"SnapshotAfter", fmt.Sprintf("%d bytes; must be 0, which is 256 MiB, "+
			"negative, which is never, or %d to %d", b.snapshot, SnapshotAfterMin,
			SnapshotAfterMax)}
	case b.segment > 0 && b.segment < least:
		return &ConfigError{"SegmentBytes", fmt.Sprintf(
			"%d bytes; with MaxCommand of %d it must be at least %d",
			b.segment, b.maxCommand, least)}
	}
	return nil
}

func (b *Builder) checkAddresses() error {
	if b.listen != "" {
		if _, _, err := splitAddress(b.listen); err != nil {
			return &ConfigError{"Listen", fmt.Sprintf("%q: %v", b.listen, err)}
		}
	}
	if len(b.advertise) > advertiseMax || strings.ContainsFunc(b.advertise, unicode.IsControl) {
		return &ConfigError{"Advertise",
			fmt.Sprintf("%.40q; must be at most %d bytes without control characters",
				b.advertise, advertiseMax)}
	}
	for _, s := range b.services {
		switch {
		case s.secureAddress != "" && s.address == "" && s.open == nil:
			return &ConfigError{"Secure", "no front end before it: give Serve first"}
		case s.secureAddress != "" && s.secure == nil:
			return &ConfigError{"Secure", s.secureAddress + ": how is nil"}
		}
		if _, _, err := splitAddress(s.address); err != nil {
			return &ConfigError{"Serve", fmt.Sprintf("address %q: %v", s.address, err)}
		}
		if s.open == nil {
			return &ConfigError{"Serve",
				fmt.Sprintf("%s: the function that opens the front end is nil", s.address)}
		}
		if s.secure == nil {
			continue
		}
		if _, _, err := splitAddress(s.secureAddress); err != nil {
			return &ConfigError{"Secure", fmt.Sprintf("address %q: %v", s.secureAddress, err)}
		}
	}
	return nil
}

// check holds a lane's sizes against what they may be.
func (cfg *LaneConfig) check() error {
	for _, f := range []struct {
		name  string
		value int
		most  int
	}{{"Cells", cfg.Cells, cellsMax}, {"Bytes", cfg.Bytes, laneBytesMax},
		{"Queries", cfg.Queries, laneBytesMax}, {"Replies", cfg.Replies, laneBytesMax}} {
		if f.value < 0 || f.value > f.most {
			return &ConfigError{"LaneConfig." + f.name,
				fmt.Sprintf("%d; must be 0, which is the default, or up to %d", f.value, f.most)}
		}
	}
	return nil
}
