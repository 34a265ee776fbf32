package server

import (
	"container/list"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/cmd/raftd/kv"
	"github.com/ringraft/ringraft/netio/resp"
)

// slowLog keeps the newest commands that took long, for SLOWLOG. Each member has its own. Any
// goroutine.
type slowLog struct {
	slower atomic.Int64 // µs from which on a command is slow; -1: none is
	most   atomic.Int64 // entries

	mu      sync.Mutex
	next    int64     // id
	entries list.List // of slowEntry, newest first
}

type slowEntry struct {
	id, at, micros int64 // at: seconds since 1970
	args           []string
	address, name  string
}

const (
	// What Redis keeps of a command: so many arguments, so many bytes of each.
	slowArgs  = 32
	slowBytes = 128

	// slowRoom is how many slow commands one loop notes between two ticks. Under overload all are
	// slow, and those noted would not be the ones that matter; the others are counted.
	slowRoom = 32
)

func (l *slowLog) init() {
	l.slower.Store(10_000)
	l.most.Store(128)
}

// add notes a command; args are the log's from now on.
func (l *slowLog) add(took time.Duration, args []string, p *client) {
	most := l.most.Load()
	if most == 0 {
		return
	}
	e := slowEntry{at: time.Now().Unix(), micros: took.Microseconds(), args: args,
		address: p.address}
	if name := p.name.Load(); name != nil {
		e.name = *name
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e.id = l.next
	l.next++
	l.entries.PushFront(e)
	l.trim(most)
}

func (l *slowLog) trim(most int64) {
	for int64(l.entries.Len()) > most {
		l.entries.Remove(l.entries.Back())
	}
}

func (l *slowLog) setMost(n int64) {
	l.most.Store(n)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trim(n)
}

func (l *slowLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries.Init()
}

func (l *slowLog) len() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(l.entries.Len())
}

// append appends the newest entries as SLOWLOG GET answers them.
func (l *slowLog) append(dst []byte, count int64) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := int(min(count, int64(l.entries.Len())))
	dst = resp.AppendArray(dst, n)
	for at := l.entries.Front(); n > 0; at, n = at.Next(), n-1 {
		e := at.Value.(slowEntry)
		dst = resp.AppendArray(dst, 6)
		dst = resp.AppendInt(dst, e.id)
		dst = resp.AppendInt(dst, e.at)
		dst = resp.AppendInt(dst, e.micros)
		dst = resp.AppendBulkStrings(dst, e.args...)
		dst = resp.AppendBulkString(dst, e.address)
		dst = resp.AppendBulkString(dst, e.name)
	}
	return dst
}

// shortened is what is kept of a command's arguments: in the words of Redis. Secrets are not.
func shortened(args [][]byte) []string {
	n := len(args)
	if n > slowArgs {
		n = slowArgs
	}
	list := make([]string, 0, n)
	secret := secretFrom(args)
	for i, a := range args[:n] {
		switch {
		case i == slowArgs-1 && len(args) > slowArgs:
			list = append(list, fmt.Sprintf("... (%d more arguments)", len(args)-slowArgs+1))
		case i >= secret:
			list = append(list, "(redacted)")
		case len(a) > slowBytes:
			list = append(list, fmt.Sprintf("%s... (%d more bytes)", a[:slowBytes],
				len(a)-slowBytes))
		default:
			list = append(list, string(a))
		}
	}
	return list
}

// secretFrom is the place of the first argument that may be a password, or what comes behind
// one: nobody is shown it.
func secretFrom(args [][]byte) int {
	switch {
	case is(args[0], "AUTH"):
		return 1
	case is(args[0], "RAFT.PROXY"):
		return 2
	case is(args[0], "ACL") && len(args) > 2 && (is(args[1], "SETUSER") || is(args[1], "DRYRUN")):
		return 2 // as in Redis, the user is not shown either
	case is(args[0], "HELLO"):
		for i := range args {
			if i > 0 && is(args[i], "AUTH") {
				return i + 1
			}
		}
	}
	return math.MaxInt
}

// watch is what a loop knows of when a command took too long.
type watch struct {
	least int64 // ns; from here on somebody wants to know
	room  int   // for the slow log, until the next tick
	run   latencyRun
}

// latencyRun is what is known of commands that took as long as each other: equal ones of a batch.
type latencyRun struct {
	command    *command
	began, now int64   // monotonic ns
	bucket     *uint64 // of the loop's histogram of the command
	long       bool    // somebody wants to know
}

// fastLocal is how long a command takes at most that is answered at once and looks at little. It
// is measured alone when even that is to be noted.
const fastLocal = int64(time.Millisecond)

// measure notes how long a command took. args is nil for one that was answered later.
func (f *front) measure(c *conn, d *command, place uint64, began, now int64, args [][]byte) {
	r := &f.watch.run
	if r.began != began || r.now != now || r.command != d {
		took := now - began
		*r = latencyRun{d, began, now, &f.counted(d).latency[latencyBucket(took)],
			took >= f.watch.least}
	}
	*r.bucket++
	if r.long {
		f.tookLong(c, d, place, now-began, args)
	}
}

// tookLong notes a command for LATENCY and SLOWLOG. Its bytes are those that are kept so that it
// can go again.
func (f *front) tookLong(c *conn, d *command, place uint64, took int64, args [][]byte) {
	s := f.server
	s.latency.note(eventCommand, time.Duration(took))
	slower := s.slowLog.slower.Load()
	switch {
	case slower < 0 || took/1000 < slower:
		return
	case f.watch.room == 0:
		f.tally.slowSkipped++
		return
	}
	f.watch.room--
	var list []string
	switch size := int(c.kept.at(place).size); {
	case args != nil:
		list = shortened(args)
	case c.proxied:
		list = []string{d.name, "(forwarded: see the slow log of the member that it came from)"}
	case size == 0:
		list = []string{d.name, "(arguments not kept)"}
	default:
		var p resp.Parser
		var again resp.Command
		p.MaxBulk = keptMax
		if n, err := p.Parse(c.kept.from(place)[:size], &again); n != size || err != nil {
			return // it was parsed before, so this does not happen
		}
		list = shortened(again.Args)
	}
	s.slowLog.add(time.Duration(took), list, c.client)
}

// tune changes what commands are looked at for, and works out from which time on a loop has to
// look. Of two at once the one that is second decides, else the first one's time could stay.
func (s *Server) tune(change func()) {
	s.tuning.Lock()
	defer s.tuning.Unlock()
	change()
	least := int64(math.MaxInt64)
	if us := s.slowLog.slower.Load(); us >= 0 && us < math.MaxInt64/1000 {
		least = us * 1000
	}
	if ms := s.latency.threshold.Load(); ms > 0 && ms < math.MaxInt64/int64(time.Millisecond) {
		least = min(least, ms*int64(time.Millisecond))
	}
	s.least.Store(least)
}

// watchCommands are for operators who look at what a member does.
func watchCommands() []*command {
	return []*command{
		{name: "slowlog", arity: -2,
			subs: []subcommand{{"slowlog|get", -2, 0}, {"slowlog|len", 2, 0},
				{"slowlog|reset", 2, 0}, {"slowlog|help", 2, 0}},
			run: runSlowlog, group: "server", since: "2.2.12",
			summary: "GET commands of this member that took long, from the queue to the reply; " +
				"LEN, RESET"},
		{name: "latency", arity: -2,
			subs: []subcommand{{"latency|latest", 2, 0}, {"latency|history", 3, 0},
				{"latency|reset", -2, 0}, {"latency|doctor", 2, 0},
				{"latency|histogram", -2, 0}, {"latency|help", 2, 0}},
			run: runLatency, group: "server", since: "2.8.13",
			summary: "LATEST, HISTORY, RESET, DOCTOR of what took long; HISTOGRAM of each command"},
		{name: "monitor", arity: 1, alone: true,
			flags: []string{"admin", "noscript", "loading", "stale"},
			run:   runMonitor, group: "server", since: "1.0.0",
			summary: "Be shown every command that this member takes, until RESET or QUIT"},
	}
}

var slowlogHelp = []string{
	"SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"GET [<count>]",
	"    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
	"    Entries are made of:",
	"    id, timestamp, time in microseconds, arguments array, client IP and port,",
	"    client name",
	"LEN",
	"    Return the length of the slowlog.",
	"RESET",
	"    Reset the slowlog.",
	"HELP",
	"    Prints this help.",
}

func runSlowlog(f *front, c *conn, args [][]byte, dst []byte) []byte {
	l := &f.server.slowLog
	switch {
	case is(args[1], "LEN"):
		return resp.AppendInt(dst, l.len())
	case is(args[1], "RESET"):
		l.reset()
		return resp.AppendOK(dst)
	case is(args[1], "HELP"):
		return appendHelp(dst, slowlogHelp)
	case len(args) > 3:
		return resp.AppendError(dst, "ERR unknown subcommand or wrong number of arguments for '"+
			printable(args[1], 128)+"'. Try SLOWLOG HELP.")
	}
	count := int64(10)
	if len(args) == 3 {
		n, ok := kv.ParseInt(args[2])
		if !ok || n < -1 {
			return resp.AppendError(dst, "ERR count should be greater than or equal to -1")
		}
		if count = n; n == -1 {
			count = math.MaxInt64
		}
	}
	return l.append(dst, count)
}
