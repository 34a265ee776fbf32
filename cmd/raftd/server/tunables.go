package server

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/ringraft/ringraft/cmd/raftd/kv"
	"github.com/ringraft/ringraft/netio/resp"
)

// tunable is a setting that CONFIG SET changes while the member runs: a number. It lasts until
// the process ends.
type tunable struct {
	name        string
	least, most int64
	get         func(s *Server) int64
	set         func(s *Server, n int64)
}

var tunables = []tunable{
	{"latency-monitor-threshold", 0, math.MaxInt64, latencyThreshold, setLatencyThreshold},
	{"slowlog-log-slower-than", -1, math.MaxInt64, slowerThan, setSlowerThan},
	{"slowlog-max-len", 0, math.MaxInt64, slowlogMost, setSlowlogMost},
}

// latencyThreshold is in ms; 0: LATENCY notes nothing.
func latencyThreshold(s *Server) int64 { return s.latency.threshold.Load() }

func setLatencyThreshold(s *Server, ms int64) {
	if slowest := s.slowest.Load(); slowest != nil {
		(*slowest)() // what was before does not count
	}
	s.latency.threshold.Store(ms)
	s.setLeast()
}

// slowerThan is in µs; -1: SLOWLOG notes nothing.
func slowerThan(s *Server) int64 { return s.slowLog.slower.Load() }

func setSlowerThan(s *Server, us int64) {
	s.slowLog.slower.Store(us)
	s.setLeast()
}

func slowlogMost(s *Server) int64 { return s.slowLog.most.Load() }

func setSlowlogMost(s *Server, n int64) { s.slowLog.setMost(n) }

// tuned are the tunables as CONFIG GET shows them.
func (s *Server) tuned() (list []setting) {
	for _, t := range tunables {
		list = append(list, setting{t.name, strconv.FormatInt(t.get(s), 10)})
	}
	return list
}

// parse reads a value, or says why it is none.
func (t *tunable) parse(value []byte) (n int64, fault string) {
	n, ok := kv.ParseInt(value)
	switch {
	case !ok:
		return 0, "argument couldn't be parsed into an integer"
	case n < t.least || n > t.most:
		return 0, fmt.Sprintf("argument must be between %d and %d inclusive", t.least, t.most)
	}
	return n, ""
}

// configSet carries out CONFIG SET name value [name value …]: all of it, or nothing. The answers
// are those of Redis.
func (s *Server) configSet(pairs [][]byte, dst []byte) []byte {
	failed := func(name, why string) []byte {
		return resp.AppendError(dst, "ERR CONFIG SET failed (possibly related to argument '"+name+
			"') - "+why)
	}
	if len(pairs)%2 != 0 {
		return resp.AppendError(dst, faultSyntax)
	}
	found := make([]*tunable, len(pairs)/2)
	for i := range found {
		name := printable(pairs[2*i], 128)
		for k := range tunables {
			if strings.EqualFold(name, tunables[k].name) {
				found[i] = &tunables[k]
			}
		}
		switch {
		case found[i] == nil && s.hasSetting(strings.ToLower(name)):
			return failed(name, "can't set immutable config")
		case found[i] == nil:
			return resp.AppendError(dst, "ERR Unknown option or number of arguments for CONFIG "+
				"SET - '"+name+"'")
		}
		for _, before := range found[:i] {
			if before == found[i] {
				return failed(name, "duplicate parameter")
			}
		}
	}
	values := make([]int64, len(found))
	for i, t := range found {
		n, fault := t.parse(pairs[2*i+1])
		if fault != "" {
			return failed(printable(pairs[2*i], 128), fault)
		}
		values[i] = n
	}
	for i, t := range found {
		t.set(s, values[i])
	}
	return resp.AppendOK(dst)
}

func (s *Server) hasSetting(name string) bool {
	for _, x := range s.settings() {
		if x.name == name {
			return true
		}
	}
	return false
}
