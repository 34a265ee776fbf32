package server

import (
	"fmt"
	"math"
	"strconv"

	"github.com/ringraft/ringraft/cmd/raftd/kv"
)

// watchSettings are what SLOWLOG, LATENCY and ACL LOG note: CONFIG SET changes it until raftd ends.
func (s *Server) watchSettings() []Setting {
	return []Setting{
		{Name: "acllog-max-len", Get: decimal(s.aclLog.most.Load),
			Prepare: integer(0, s.aclLog.setMost)},
		{Name: "latency-monitor-threshold", Get: decimal(s.latency.threshold.Load),
			Prepare: integer(0, s.setLatencyThreshold)},
		{Name: "slowlog-log-slower-than", Get: decimal(s.slowLog.slower.Load),
			Prepare: integer(-1, s.setSlowerThan)},
		{Name: "slowlog-max-len", Get: decimal(s.slowLog.most.Load),
			Prepare: integer(0, s.slowLog.setMost)},
	}
}

// setLatencyThreshold takes ms; 0: LATENCY notes nothing.
func (s *Server) setLatencyThreshold(ms int64) {
	if slowest := s.slowest.Load(); slowest != nil {
		(*slowest)() // what was before does not count
	}
	s.tune(func() { s.latency.threshold.Store(ms) })
}

// setSlowerThan takes µs; -1: SLOWLOG notes nothing.
func (s *Server) setSlowerThan(us int64) {
	s.tune(func() { s.slowLog.slower.Store(us) })
}

func decimal(get func() int64) func() string {
	return func() string { return strconv.FormatInt(get(), 10) }
}

// integer reads a number that is at least so much, as Redis does.
func integer(least int64, set func(int64)) func(value string) (apply func(), fault string) {
	return func(value string) (func(), string) {
		n, ok := kv.ParseInt([]byte(value))
		switch {
		case !ok:
			return nil, "argument couldn't be parsed into an integer"
		case n < least:
			return nil, fmt.Sprintf("argument must be between %d and %d inclusive", least,
				int64(math.MaxInt64))
		}
		return func() { set(n) }, ""
	}
}
