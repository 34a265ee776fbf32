package resp

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Conn is a plain blocking connection to one server, for questions beside the
// load: INFO, digests, reading keys back. One goroutine uses it.
type Conn struct {
	Address string
	conn    net.Conn
	in      []byte
	have    int
	out     []byte
}

// ServerError is an error Reply: its first word and the whole of it.
type ServerError struct{ Class, Text string }

func (e *ServerError) Error() string { return e.Text }

// Network is that of an address: "unix" of a path, else "tcp".
func Network(address string) string {
	if strings.Contains(address, "/") {
		return "unix"
	}
	return "tcp"
}

// CheckAddress says what is wrong with the text of an address.
func CheckAddress(address string) error {
	if Network(address) == "unix" {
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if n, portErr := strconv.ParseUint(port, 10, 16); err == nil && (portErr != nil || n == 0) {
		return fmt.Errorf("%q has no port from 1 to 65535", address)
	}
	if err != nil || strings.TrimSpace(host) != host {
		return fmt.Errorf("%q is not HOST:PORT, [IPv6]:PORT or the path of a socket", address)
	}
	return nil
}

// CheckAddresses is CheckAddress of a list, in which none stands twice.
func CheckAddresses(list []string) error {
	for i, a := range list {
		if err := CheckAddress(a); err != nil {
			return err
		}
		if slices.Contains(list[:i], a) {
			return fmt.Errorf("%q is named twice", a)
		}
	}
	return nil
}

// Dial connects to a server.
func Dial(address string, timeout time.Duration) (*Conn, error) {
	conn, err := net.DialTimeout(Network(address), address, timeout)
	if err != nil {
		return nil, err
	}
	return &Conn{Address: address, conn: conn, in: make([]byte, 16<<10)}, nil
}

// Close closes the connection.
func (c *Conn) Close() { _ = c.conn.Close() }

// Add appends a request to what the next Flush sends.
func (c *Conn) Add(args ...string) {
	c.out = fmt.Appendf(c.out, "*%d\r\n", len(args))
	for _, a := range args {
		c.out = fmt.Appendf(c.out, "$%d\r\n%s\r\n", len(a), a)
	}
}

// Flush sends what was added.
func (c *Conn) Flush() error {
	_, err := c.conn.Write(c.out)
	c.out = c.out[:0]
	return err
}

// Next waits for a reply, and returns it and its bytes. Error replies come as
// *ServerError.
func (c *Conn) Next() (Reply, []byte, error) {
	for {
		r, ok, err := Scan(c.in[:c.have])
		if err != nil {
			return r, nil, err
		}
		if ok {
			return c.take(r)
		}
		if c.have == len(c.in) {
			c.in = append(c.in, make([]byte, len(c.in))...)
		}
		got, err := c.conn.Read(c.in[c.have:])
		c.have += got
		if err != nil && got == 0 {
			return r, nil, err
		}
	}
}

// take copies the first answer out of the buffer.
func (c *Conn) take(r Reply) (Reply, []byte, error) {
	raw := append([]byte(nil), c.in[:r.Bytes]...)
	c.have = copy(c.in, c.in[r.Bytes:c.have])
	r, _, err := Scan(raw)
	if class, failed := r.Failed(); failed {
		return r, raw, &ServerError{string(class), string(r.Text)}
	}
	return r, raw, err
}

// Do asks one thing and waits for the reply for at most the timeout.
func (c *Conn) Do(timeout time.Duration, args ...string) (Reply, []byte, error) {
	if err := c.SetTimeout(timeout); err != nil {
		return Reply{}, nil, err
	}
	c.Add(args...)
	if err := c.Flush(); err != nil {
		return Reply{}, nil, err
	}
	return c.Next()
}

// Elements are the scalar elements of an array or map answer, as text.
func Elements(raw []byte) (list []string) {
	at := strings.IndexByte(string(raw), '\n') + 1
	for at > 0 && at < len(raw) {
		r, ok, err := Scan(raw[at:])
		if err != nil || !ok {
			return list
		}
		list = append(list, string(r.Text))
		at += r.Bytes
	}
	return list
}

// SetTimeout bounds what follows until it is set again.
func (c *Conn) SetTimeout(d time.Duration) error {
	return c.conn.SetDeadline(time.Now().Add(d))
}

// IsLocal says whether an address is on this machine.
func IsLocal(address string) bool {
	if Network(address) == "unix" {
		return true
	}
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
