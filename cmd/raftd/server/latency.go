package server

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/netio/resp"
)

// Events of LATENCY. Redis has others, such as fork, for what does not happen here.
const (
	eventCommand = "command"       // from the queue to the reply, see measure
	eventWrite   = "journal-write" // a write of this member's journal
	eventApply   = "apply"         // a call of the state machine: applied entries wait behind it
)

// latencyMonitor keeps what took longer than a threshold, for LATENCY. As in Redis an event has
// a sample a second, the longest, and its newest 160 are kept. Any goroutine.
type latencyMonitor struct {
	threshold atomic.Int64 // ms; 0: nothing is noted

	mu     sync.Mutex
	events []*latencyEvent // by name
}

const latencySamples = 160

type latencyEvent struct {
	name    string
	samples []latencySample // oldest first
	worst   int64           // ms, of all since the last reset
}

type latencySample struct{ at, ms int64 } // at: seconds since 1970

// note notes an event, if it took long enough.
func (m *latencyMonitor) note(name string, took time.Duration) {
	threshold, ms := m.threshold.Load(), took.Milliseconds()
	if threshold == 0 || ms < threshold {
		return
	}
	now := time.Now().Unix()
	m.mu.Lock()
	defer m.mu.Unlock()
	at, found := slices.BinarySearchFunc(m.events, name, func(e *latencyEvent, name string) int {
		return strings.Compare(e.name, name)
	})
	if !found {
		m.events = slices.Insert(m.events, at, &latencyEvent{name: name})
	}
	e := m.events[at]
	e.worst = max(e.worst, ms)
	if n := len(e.samples); n > 0 && e.samples[n-1].at == now {
		e.samples[n-1].ms = max(e.samples[n-1].ms, ms)
		return
	}
	if len(e.samples) == latencySamples {
		e.samples = e.samples[:copy(e.samples, e.samples[1:])]
	}
	e.samples = append(e.samples, latencySample{now, ms})
}

// reset forgets events, all when none is named, and returns how many there were.
func (m *latencyMonitor) reset(names [][]byte) (n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.events)
	m.events = slices.DeleteFunc(m.events, func(e *latencyEvent) bool {
		return len(names) == 0 || slices.ContainsFunc(names, func(name []byte) bool {
			return string(name) == e.name
		})
	})
	return int64(before - len(m.events))
}

func (m *latencyMonitor) appendLatest(dst []byte) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	dst = resp.AppendArray(dst, len(m.events))
	for _, e := range m.events {
		newest := e.samples[len(e.samples)-1]
		dst = resp.AppendBulkString(resp.AppendArray(dst, 4), e.name)
		dst = resp.AppendInt(resp.AppendInt(dst, newest.at), newest.ms)
		dst = resp.AppendInt(dst, e.worst)
	}
	return dst
}

func (m *latencyMonitor) appendHistory(dst []byte, name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.events {
		if e.name != name {
			continue
		}
		dst = resp.AppendArray(dst, len(e.samples))
		for _, s := range e.samples {
			dst = resp.AppendInt(resp.AppendInt(resp.AppendArray(dst, 2), s.at), s.ms)
		}
		return dst
	}
	return resp.AppendArray(dst, 0)
}

// What LATENCY DOCTOR says when there is nothing to say: the words of Redis.
const (
	doctorOff = "I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this Redis " +
		"instance. You may use \"CONFIG SET latency-monitor-threshold <milliseconds>.\" in order " +
		"to enable it. If we weren't in a deep space mission I'd suggest to take a look at " +
		"https://redis.io/topics/latency-monitor.\n"
	doctorWell = "Dave, no latency spike was observed during the lifetime of this Redis " +
		"instance, not in the slightest bit. I honestly think you ought to sit down calmly, take " +
		"a stress pill, and think things over.\n"
)

var latencyAdvice = map[string]string{
	eventCommand: "SLOWLOG GET says which commands they were. When journal-write has spikes at " +
		"the same time, it is the disk; INFO latencystats says in which stage batches wait.",
	eventWrite: "the disk took so long for one write: look after the device, and after what else " +
		"writes to it.",
	eventApply: "commands that touch many keys hold up all others while they are applied: ask " +
		"for fewer keys at a time.",
}

// doctor is what LATENCY DOCTOR says.
func (m *latencyMonitor) doctor() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case len(m.events) == 0 && m.threshold.Load() == 0:
		return doctorOff
	case len(m.events) == 0:
		return doctorWell
	}
	var b strings.Builder
	b.WriteString("Dave, I have observed latency spikes in this raftd instance.\n\n")
	for i, e := range m.events {
		sum, deviation := int64(0), int64(0)
		n := int64(len(e.samples))
		for _, s := range e.samples {
			sum += s.ms
		}
		for _, s := range e.samples {
			deviation += max(s.ms-sum/n, sum/n-s.ms)
		}
		period := float64(e.samples[n-1].at-e.samples[0].at) / float64(max(1, n-1))
		fmt.Fprintf(&b, "%d. %s: %d latency spikes (average %dms, mean deviation %dms, period "+
			"%.2f sec). Worst all time event %dms.\n", i+1, e.name, n, sum/n, deviation/n, period,
			e.worst)
	}
	b.WriteString("\nI have a few advices for you:\n\n")
	for _, e := range m.events {
		fmt.Fprintf(&b, "- %s: %s\n", e.name, latencyAdvice[e.name])
	}
	return b.String()
}

// latencyBuckets are those of LATENCY HISTOGRAM: bucket i has the commands that took at most
// 1024 << i ns, and longer than those before it. The last one has all that took longer.
const latencyBuckets = 30

func latencyBucket(ns int64) int {
	return min(bits.Len64(uint64(max(ns, 1)-1)>>10), latencyBuckets-1)
}

// bucketMicros is the bound of a bucket in µs, as the histogram of Redis rounds it.
func bucketMicros(i int) int64 {
	v := int64(1024) << i
	return (v + v>>7 - 1) / 1000
}

// latencyCounts is the histogram of one command in one loop, written by that loop.
type latencyCounts [latencyBuckets]atomic.Uint64

// latencies is the histogram of each command that was ever answered: how many took at most
// 1024 << i ns, and longer than that of i-1.
func (s *Server) latencies() map[string]*[latencyBuckets]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]*[latencyBuckets]uint64{}
	for place, d := range commands {
		var sum [latencyBuckets]uint64
		any := uint64(0)
		for _, t := range s.totals {
			for i := range sum {
				sum[i] += t.latency[place][i].Load()
			}
		}
		for i := range sum {
			sum[i] -= s.latencyBase[place][i]
			any += sum[i]
		}
		if any > 0 {
			all[d.name] = &sum
		}
	}
	return all
}

// resetLatencies begins the histograms anew.
func (s *Server) resetLatencies() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for place := range commands {
		for i := range latencyBuckets {
			sum := uint64(0)
			for _, t := range s.totals {
				sum += t.latency[place][i].Load()
			}
			s.latencyBase[place][i] = sum
		}
	}
}

// appendHistograms answers LATENCY HISTOGRAM for the commands that are named, or for all.
func (s *Server) appendHistograms(dst []byte, named [][]byte) []byte {
	all := s.latencies()
	var list []*command
	for _, d := range commands {
		wanted := len(named) == 0 || slices.ContainsFunc(named, func(name []byte) bool {
			return is(name, d.name)
		})
		if wanted && all[d.name] != nil {
			list = append(list, d)
		}
	}
	dst = resp.AppendMap(dst, len(list))
	for _, d := range list {
		counts := all[d.name]
		total, steps := uint64(0), 0
		for _, n := range counts {
			if total += n; n > 0 {
				steps++
			}
		}
		dst = resp.AppendMap(resp.AppendBulkString(dst, d.name), 2)
		dst = resp.AppendInt(resp.AppendBulkString(dst, "calls"), int64(total))
		dst = resp.AppendMap(resp.AppendBulkString(dst, "histogram_usec"), steps)
		total = 0
		for i, n := range counts {
			if total += n; n > 0 {
				dst = resp.AppendInt(resp.AppendInt(dst, bucketMicros(i)), int64(total))
			}
		}
	}
	return dst
}

var latencyHelp = []string{
	"LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"DOCTOR",
	"    Return a human readable latency analysis report.",
	"HISTORY <event>",
	"    Return time-latency samples for the <event> class.",
	"LATEST",
	"    Return the latest latency samples for all events.",
	"RESET [<event> ...]",
	"    Reset latency data of one or more <event> classes.",
	"    (default: reset all data for all event classes)",
	"HISTOGRAM [COMMAND ...]",
	"    Return a cumulative distribution of latencies in the format of a histogram for the " +
		"specified command names.",
	"    If no commands are specified then all histograms are replied.",
	"HELP",
	"    Prints this help.",
}

func runLatency(f *front, c *conn, args [][]byte, dst []byte) []byte {
	m := &f.server.latency
	switch {
	case is(args[1], "LATEST"):
		return m.appendLatest(dst)
	case is(args[1], "HISTORY"):
		return m.appendHistory(dst, string(args[2]))
	case is(args[1], "RESET"):
		return resp.AppendInt(dst, m.reset(args[2:]))
	case is(args[1], "DOCTOR"):
		return resp.AppendVerbatim(dst, "txt", m.doctor())
	case is(args[1], "HISTOGRAM"):
		f.publishCounts()
		return f.server.appendHistograms(dst, args[2:])
	}
	return appendHelp(dst, latencyHelp)
}

// watchEngine asks the engine for what took longest since the last tick. One loop does it.
func (f *front) watchEngine() {
	s := f.server
	if slowest := s.slowest.Load(); f.watches && slowest != nil {
		write, apply := (*slowest)()
		s.latency.note(eventWrite, write)
		s.latency.note(eventApply, apply)
	}
}
