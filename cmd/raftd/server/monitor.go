package server

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ringraft/ringraft/netio/resp"
)

// monitor is a connection that is shown every command that this member takes (MONITOR). Loops
// append lines, and its own loop sends them.
type monitor struct {
	conn *conn // for its loop

	mu      sync.Mutex
	lines   []byte // that wait to be sent
	lost    uint64 // lines that found no room since the last one that did
	awaited bool   // its loop is going to look
	sent    []byte // used again for lines
}

// monitorMax bounds the lines of one monitor that wait, in bytes: as much more may wait in its
// socket. What finds no room is lost, and the monitor is told how much that was.
const monitorMax = 1 << 20

const faultMonitor = "ERR Replica can't interact with the keyspace" // in the words of Redis

// runMonitor makes the connection a monitor. A second MONITOR changes nothing.
func runMonitor(f *front, c *conn, args [][]byte, dst []byte) []byte {
	if c.monitor == nil {
		c.monitor = &monitor{conn: c}
		c.client.monitors.Store(true)
		f.server.changeMonitors(func(list []*monitor) []*monitor {
			return append(list, c.monitor)
		})
		f.ownMonitors = append(f.ownMonitors, c.monitor)
	}
	return resp.AppendOK(dst)
}

// unmonitor ends it.
func (c *conn) unmonitor() {
	m := c.monitor
	if m == nil {
		return
	}
	c.monitor = nil
	c.client.monitors.Store(false)
	c.front.server.changeMonitors(func(list []*monitor) []*monitor {
		return slices.DeleteFunc(list, func(x *monitor) bool { return x == m })
	})
	f := c.front
	f.ownMonitors = slices.DeleteFunc(f.ownMonitors, func(x *monitor) bool { return x == m })
}

// changeMonitors replaces the list that loops look at; nil: there is none.
func (s *Server) changeMonitors(change func([]*monitor) []*monitor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*monitor
	if is := s.monitors.Load(); is != nil {
		list = slices.Clone(*is)
	}
	if list = change(list); len(list) == 0 {
		s.monitors.Store(nil)
		return
	}
	s.monitors.Store(&list)
}

// shown reports whether monitors are shown a command: neither what administrates, nor what has a
// password in it, nor what is no command. As in Redis.
func shown(args [][]byte) bool {
	d := lookup(args[0])
	if d == nil {
		if d = lookupStateful(args[0]); d == nil {
			return false
		}
	}
	return d.arityFits(len(args)) && secretFrom(args) >= len(args) && d.name != "auth" &&
		!slices.Contains(d.flags, "admin") && !slices.Contains(adminSubs, d.fullName(args))
}

// show gives a command that was taken to the monitors, unless its client may not have it carried
// out.
func (f *front) show(c *conn, args [][]byte) {
	if f.denied || !shown(args) {
		return
	}
	size := 64 + len(c.client.address)
	for _, a := range args {
		size += len(a) + 3
	}
	f.line = f.line[:0]
	if size <= monitorMax {
		f.line = appendMonitored(f.line, time.Now(), c.client.address, args)
	}
	for _, m := range *f.monitors {
		m.add(f.line)
	}
	if cap(f.line) > 64<<10 {
		f.line = nil
	}
}

// appendMonitored appends a line in the form of Redis.
func appendMonitored(dst []byte, at time.Time, address string, args [][]byte) []byte {
	dst = strconv.AppendInt(append(dst, '+'), at.Unix(), 10)
	micros := strconv.Itoa(at.Nanosecond() / 1000)
	dst = append(append(dst, '.'), "000000"[len(micros):]...)
	dst = append(append(dst, micros...), " [0 "...)
	dst = append(append(dst, address...), ']')
	for _, a := range args {
		dst = appendQuoted(append(dst, ' '), a)
	}
	return append(dst, "\r\n"...)
}

// appendQuoted appends bytes as Redis shows them.
func appendQuoted(dst, b []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, x := range b {
		switch i := strings.IndexByte("\n\r\t\a\b", x); {
		case x == '\\' || x == '"':
			dst = append(dst, '\\', x)
		case i >= 0:
			dst = append(dst, '\\', "nrtab"[i])
		case x >= ' ' && x <= '~':
			dst = append(dst, x)
		default:
			dst = append(dst, '\\', 'x', hex[x>>4], hex[x&15])
		}
	}
	return append(dst, '"')
}

// add gives the monitor a line; an empty one is one that was too long. Any loop.
func (m *monitor) add(line []byte) {
	m.mu.Lock()
	fits := len(line) > 0 && len(m.lines)+len(line) <= monitorMax
	tell := fits && !m.awaited
	if fits {
		m.lines, m.awaited = append(m.lines, line...), true
	} else {
		m.lost++
	}
	m.mu.Unlock()
	if !fits {
		m.conn.front.server.monitorLost.Add(1)
	}
	if tell {
		// The server is closing when it cannot be done in the loop, and the connection with it.
		_ = m.conn.front.do(m.send)
	}
}

// send sends what waits, unless the socket holds so much that it is left for a later tick. A
// monitor whose user was deleted ends here: it asks for nothing more itself.
func (m *monitor) send() {
	c := m.conn
	if c.monitor != m || c.closing || c.sock.Outbound() > monitorMax {
		return
	}
	if t := c.front.server.users.Table(); t != c.users && !c.lookUp(t) {
		return
	}
	m.mu.Lock()
	lines, lost := m.lines, m.lost
	m.lines, m.sent, m.lost, m.awaited = m.sent[:0], nil, 0, false
	m.mu.Unlock()
	c.output()
	c.out.bytes = append(c.out.bytes, lines...)
	if lost > 0 {
		text := strconv.FormatUint(lost, 10) + " lines lost: this monitor reads too slowly"
		c.out.bytes = appendMonitored(c.out.bytes, time.Now(), "raftd",
			[][]byte{[]byte("monitor"), []byte(text)})
	}
	if m.sent = lines; cap(lines) > 64<<10 {
		m.sent = nil
	}
	c.sendMuch()
	c.front.finish()
}

// sendMonitors looks after the monitors of this loop, once a tick.
func (f *front) sendMonitors() {
	for _, m := range slices.Clone(f.ownMonitors) {
		m.mu.Lock()
		waits := len(m.lines) > 0 || m.lost > 0
		m.mu.Unlock()
		if waits {
			m.send()
		}
	}
}
