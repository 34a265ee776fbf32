package server

import (
	"strings"
	"testing"

	"github.com/ringraft/ringraft/cmd/raftd/kv"
	"github.com/ringraft/ringraft/engine"
)

// laneEcho answers everything at the next Flush, with the same reply, and keeps nothing.
type laneEcho struct {
	next, taken, flushed uint64
	reply                []byte
}

var ok = []byte("+OK\r\n")

func (l *laneEcho) Write([]byte) (uint64, error)        { l.next++; return l.next, nil }
func (l *laneEcho) Read([]byte, uint64) (uint64, error) { l.next++; return l.next, nil }
func (l *laneEcho) ReadLocal([]byte) (uint64, error)    { l.next++; return l.next, nil }
func (l *laneEcho) Flush()                              { l.flushed = l.next }
func (l *laneEcho) Release()                            {}
func (l *laneEcho) Cells() int                          { return 1 << 15 }
func (l *laneEcho) Next() (engine.Completion, bool) {
	if l.taken == l.flushed {
		return engine.Completion{}, false
	}
	l.taken++
	return engine.Completion{Request: l.taken, Reply: l.reply}, true
}

type nowhere struct{ wire }

func (nowhere) Write(b []byte) error { return nil }

func newEcho() (*front, *conn) {
	st := engine.Status{Role: engine.Leader, Leader: 1}
	s := New(Config{MaxValue: 1 << 20, Machine: kv.New(),
		Status:     func() engine.Status { return st },
		Leadership: func() (bool, uint64, string) { return leadershipOf(&st) }})
	s.setSlowerThan(-1) // the clock is the machine's, which may be busy
	f := newFront(s, lane{script: &laneEcho{reply: ok}})
	return f, f.accept(&nowhere{}, "", "")
}

func BenchmarkSetPipelined64(b *testing.B) {
	f, c := newEcho()
	input := []byte(strings.Repeat(array("SET", "key:000000000001", strings.Repeat("v", 64)), 64))
	b.ReportAllocs()
	for n := 0; n < b.N; n += 64 {
		c.input(input)
		f.completions()
	}
}

// The way of 50 clients that pipeline 64 commands each: all are read before the first is answered.
func BenchmarkPipelined(b *testing.B) {
	const clients, depth = 50, 64
	for _, c := range []struct{ name, command, reply string }{
		{"get16", array("GET", "key:000000000001"), "$16\r\n0123456789abcdef\r\n"},
		{"set16", array("SET", "key:000000000001", "0123456789abcdef"), "+OK\r\n"},
		{"incr", array("INCR", "counter:000000000001"), ":123456\r\n"},
		{"set1024", array("SET", "key:000000000001", strings.Repeat("v", 1024)), "+OK\r\n"},
		{"get1024", array("GET", "key:000000000001"),
			"$1024\r\n" + strings.Repeat("v", 1024) + "\r\n"},
	} {
		b.Run(c.name, func(b *testing.B) {
			f, first := newEcho()
			f.lane.script.(*laneEcho).reply = []byte(c.reply)
			all := []*conn{first}
			for len(all) < clients {
				all = append(all, f.accept(&nowhere{}, "", ""))
			}
			input := []byte(strings.Repeat(c.command, depth))
			b.ReportAllocs()
			for n := 0; n < b.N; n += clients * depth {
				for _, c := range all {
					c.input(input)
				}
				f.completions()
			}
		})
	}
}

// A command that comes by itself, and one that is answered at once: what is done once a batch, and
// what is looked at for each command.
func BenchmarkAlone(b *testing.B) {
	for _, command := range []string{"SET k v", "PING"} {
		b.Run(strings.ToLower(command[:4]), func(b *testing.B) {
			f, c := newEcho()
			input := []byte(array(strings.Fields(command)...))
			for range b.N {
				c.input(input)
				f.completions()
			}
		})
	}
}

func BenchmarkPingPipelined64(b *testing.B) {
	f, c := newEcho()
	input := []byte(strings.Repeat(array("PING"), 64))
	for n := 0; n < b.N; n += 64 {
		c.input(input)
		f.finish()
	}
}

func TestNoAllocationPerCommand(t *testing.T) {
	f, c := newEcho()
	input := []byte(strings.Repeat(array("SET", "k", "v")+array("GET",
		"k")+array("PING")+array("INCR", "n"), 32))
	if n := testing.AllocsPerRun(200, func() { c.input(input); f.completions() }); n > 0.5 {
		t.Errorf("%v allocations per batch of 128 commands", n)
	}
}

// Commands that could go again are copied while they are pending, into buffers used before.
func TestNoAllocationPerLargeCommand(t *testing.T) {
	f, first := newEcho()
	all := []*conn{first}
	for len(all) < 20 {
		all = append(all, f.accept(&nowhere{}, "", ""))
	}
	input := []byte(strings.Repeat(array("SET", "k", strings.Repeat("v", 1024)), 64))
	n := testing.AllocsPerRun(200, func() {
		for _, c := range all {
			c.input(input)
		}
		f.completions()
	})
	if n > 0.5 {
		t.Errorf("%v allocations for 64 commands of each of %d clients", n, len(all))
	}
	if f.kept.lent > len(all)*keptIdle {
		t.Errorf("%d bytes kept while nothing is pending", f.kept.lent)
	}
}
