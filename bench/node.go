package bench

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// node is a plain blocking connection to one server, for questions beside the
// load: INFO, digests, reading keys back. One goroutine uses it.
type node struct {
	address string
	conn    net.Conn
	in      []byte
	have    int
	out     []byte
}

// serverError is an error answer.
type serverError struct{ class, text string }

func (e *serverError) Error() string { return e.text }

func dialNode(address string, timeout time.Duration) (*node, error) {
	conn, err := net.DialTimeout("tcp", address, timeout)
	if err != nil {
		return nil, err
	}
	return &node{address: address, conn: conn, in: make([]byte, 16<<10)}, nil
}

func (n *node) close() { _ = n.conn.Close() }

// add appends a request to what the next flush sends.
func (n *node) add(args ...string) {
	n.out = fmt.Appendf(n.out, "*%d\r\n", len(args))
	for _, a := range args {
		n.out = fmt.Appendf(n.out, "$%d\r\n%s\r\n", len(a), a)
	}
}

func (n *node) flush() error {
	_, err := n.conn.Write(n.out)
	n.out = n.out[:0]
	return err
}

// next waits for an answer; its text and raw bytes are valid until the call
// after it. Errors of the server come as *serverError.
func (n *node) next() (reply, []byte, error) {
	for {
		r, ok, err := scanReply(n.in[:n.have])
		if err != nil {
			return r, nil, err
		}
		if ok {
			return n.take(r)
		}
		if n.have == len(n.in) {
			n.in = append(n.in, make([]byte, len(n.in))...)
		}
		got, err := n.conn.Read(n.in[n.have:])
		n.have += got
		if err != nil && got == 0 {
			return r, nil, err
		}
	}
}

// take copies the first answer out of the buffer.
func (n *node) take(r reply) (reply, []byte, error) {
	raw := append([]byte(nil), n.in[:r.bytes]...)
	n.have = copy(n.in, n.in[r.bytes:n.have])
	r, _, err := scanReply(raw)
	if class, failed := r.failed(); failed {
		return r, raw, &serverError{string(class), string(r.text)}
	}
	return r, raw, err
}

// do asks one thing and waits for the answer for at most the timeout.
func (n *node) do(timeout time.Duration, args ...string) (reply, []byte, error) {
	if err := n.conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return reply{}, nil, err
	}
	n.add(args...)
	if err := n.flush(); err != nil {
		return reply{}, nil, err
	}
	return n.next()
}

// elements are the scalar elements of an array or map answer, as text.
func elements(raw []byte) (list []string) {
	at := strings.IndexByte(string(raw), '\n') + 1
	for at > 0 && at < len(raw) {
		r, ok, err := scanReply(raw[at:])
		if err != nil || !ok {
			return list
		}
		list = append(list, string(r.text))
		at += r.bytes
	}
	return list
}

// info is INFO as names and values.
type info map[string]string

func (n *node) info(timeout time.Duration, sections ...string) (info, error) {
	r, _, err := n.do(timeout, append([]string{"INFO"}, sections...)...)
	if err != nil {
		return nil, err
	}
	m := make(info)
	for line := range strings.Lines(string(r.text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			m[name] = value
		}
	}
	return m, nil
}

// cpu is the processor time that a server has used: as it says itself, or,
// when it runs on this machine, as the kernel says of its process.
func (m info) cpu(local bool) (time.Duration, bool) {
	user, errU := strconv.ParseFloat(m["used_cpu_user"], 64)
	sys, errS := strconv.ParseFloat(m["used_cpu_sys"], 64)
	if errU == nil && errS == nil {
		return time.Duration((user + sys) * float64(time.Second)), true
	}
	pid, err := strconv.Atoi(m["process_id"])
	if err != nil || pid <= 0 || !local {
		return 0, false
	}
	return processTime(pid)
}

// ticksPerSecond is the kernel's USER_HZ, the same on every Linux of use.
const ticksPerSecond = 100

func processTime(pid int) (time.Duration, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	text := string(b)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return 0, false
	}
	user, errU := strconv.ParseInt(fields[11], 10, 64)
	sys, errS := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+sys) * time.Second / ticksPerSecond, errU == nil && errS == nil
}

// stages are the stage times that raftd tells.
func (m info) stages() (list []Stage) {
	const prefix = "latency_percentiles_usec_stage_"
	for _, name := range stageOrder(m, prefix) {
		s := Stage{Name: strings.TrimPrefix(name, prefix)}
		for part := range strings.SplitSeq(m[name], ",") {
			key, text, _ := strings.Cut(part, "=")
			v, _ := strconv.ParseFloat(text, 64)
			switch key {
			case "count":
				s.Count = uint64(v)
			case "p50":
				s.P50 = v
			case "p90":
				s.P90 = v
			case "p99":
				s.P99 = v
			case "p99.9":
				s.P999 = v
			case "max":
				s.Max = v
			}
		}
		list = append(list, s)
	}
	return list
}

// durability says what an acknowledgement of this server means.
func (n *node) durability(m info) Durability {
	if mode, ok := m["raft_journal"]; ok {
		if m["raft_journal_durable"] == "yes" {
			return Durability{true, "on a majority: yes (" + journalText(mode) + ")"}
		}
		return Durability{false, "NO: journal " + mode}
	}
	if m["aof_enabled"] != "1" {
		return Durability{false, "NO: the server keeps no append-only file, answers come from memory"}
	}
	_, raw, err := n.do(dialTimeout, "CONFIG", "GET", "appendfsync")
	if list := elements(raw); err == nil && len(list) == 2 {
		if list[1] == "always" {
			return Durability{true, "on this one server: yes (append-only file, appendfsync always); not replicated"}
		}
		return Durability{false, "NO: appendfsync " + list[1]}
	}
	return Durability{false, "unknown: the server does not tell"}
}

// journalText is a journal mode with the system's words for it.
func journalText(mode string) string {
	switch mode {
	case "direct":
		return "O_DIRECT|O_DSYNC"
	case "direct-fdatasync":
		return "O_DIRECT, fdatasync"
	case "buffered-fdatasync":
		return "buffered, fdatasync"
	case "buffered-dsync":
		return "buffered, O_DSYNC"
	}
	return "journal " + mode
}

// isLocal says whether an address is on this machine.
func isLocal(address string) bool {
	at, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return false
	}
	if at.IP == nil || at.IP.IsLoopback() || at.IP.IsUnspecified() {
		return true
	}
	own, _ := net.InterfaceAddrs()
	for _, a := range own {
		if n, ok := a.(*net.IPNet); ok && n.IP.Equal(at.IP) {
			return true
		}
	}
	return false
}
