package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"time"

	"github.com/ringraft/ringraft/cmd/raftd/kv"
	"github.com/ringraft/ringraft/cmd/raftd/server"
)

const (
	// connectionBytes is the most that an idle connection takes.
	connectionBytes = 10 << 10
	// tlsConnectionBytes is the same with TLS: keys, and buffers for the longest record, which the
	// standard library does not give back. handshakesBytes is what those under way take.
	tlsConnectionBytes = 56 << 10
	handshakesBytes    = 16 << 20
	// runtimeBytes is what the program takes by itself: code, stacks, tables of the collector.
	runtimeBytes = 48 << 20
	// garbageBytes is what the collector may leave beside as much again as keys and values take.
	// It is part of server.ClientsMax, because clients make it.
	garbageBytes = 96 << 20

	memoryLimitEvery = 100 * time.Millisecond
	memoryLimitStep  = 8 << 20
)

// memoryLine says what this member takes at most. Two times keys and values come to it: the second
// is what the collector has not found yet.
func (d *daemon) memoryLine() string {
	total, parts := d.engine.Memory()
	var sum strings.Builder
	add := func(name string, bytes int64) {
		fmt.Fprintf(&sum, "%s %s + ", name, size(bytes))
	}
	for _, p := range parts {
		add(p.Name, p.Bytes)
	}
	connections := int64(d.places) * d.plan.connectionBytes()
	add("a snapshot's view", kv.ViewBudget)
	add("a snapshot's copy", server.FetchBytes)
	add("clients", server.ClientsMax)
	add(fmt.Sprintf("%d connections", d.places), connections)
	if d.plan.tlsServer != nil {
		add("handshakes", handshakesBytes)
		connections += handshakesBytes
	}
	total += kv.ViewBudget + server.FetchBytes + server.ClientsMax + connections + runtimeBytes
	return fmt.Sprintf("%sruntime %s = at most %s beside twice the keys and values; longest "+
		"value %s", sum.String(), size(runtimeBytes),
		size(total), size(int64(d.plan.maxValue)))
}

// connectionBytes is the most that one takes: any may be one with TLS, if there are such.
func (p *plan) connectionBytes() int64 {
	if p.tlsServer != nil {
		return tlsConnectionBytes
	}
	return connectionBytes
}

// diskLine says what the data directory takes at most.
func (d *daemon) diskLine() string {
	total, parts, bounded := d.engine.Disk()
	if !bounded {
		return "the log grows without end, for no snapshot lets it go"
	}
	var sum []string
	for _, p := range parts {
		sum = append(sum, p.Name+" "+size(p.Bytes))
	}
	return fmt.Sprintf("%s = at most %s while snapshots do not grow, beside what is written "+
		"while one is taken", strings.Join(sum, " + "), size(total))
}

// keepMemoryLimit tells the Go runtime what memoryLine promises, or less: what is in use now. It
// ends with the engine. A limit from the environment stays.
func (d *daemon) keepMemoryLimit() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	buffers, _ := d.engine.Memory()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(memoryLimitEvery)
	defer tick.Stop()
	for last := int64(0); ; {
		connections, _ := d.server.Connections()
		metrics.Read(live)
		limit := memoryLimit(int64(live[0].Value.Uint64()),
			buffers+int64(connections)*d.plan.connectionBytes()+server.FetchBytes+
				d.server.ClientBytes()+d.machine.ViewMemory(), d.machine.Memory())
		if limit-last >= memoryLimitStep || last-limit >= memoryLimitStep {
			debug.SetMemoryLimit(limit)
			last = limit
		}
		select {
		case <-tick.C:
		case <-d.engine.Done():
			return
		}
	}
}

// memoryLimit is what the process may take now. live is what the last collection found in use, most
// what may be in use beside keys and values: buffers may never be filled, and until they are the
// collector is not to leave that much more garbage instead.
func memoryLimit(live, most, data int64) int64 {
	if live == 0 { // there was none yet
		live = most + data
	}
	return runtimeBytes + garbageBytes + data + min(live, most+data)
}
