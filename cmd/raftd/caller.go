package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/ringraft/ringraft/netio/resp"
)

// caller asks a running member, over its address for clients. Its replies are valid until the
// next call. One goroutine at a time.
type caller struct {
	address string
	conn    net.Conn
	stop    func() bool
	ask     []byte
	buf     []byte
	parser  resp.ReplyParser
}

// callMax is the longest reply that is read.
const callMax = 4 << 20

// dialMax is how long a member may take to accept a connection.
const dialMax = 3 * time.Second

// dialMember connects to a member; ctx bounds all that is asked.
func dialMember(ctx context.Context, address string) (*caller, error) {
	dialer := net.Dialer{Timeout: dialMax}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err == nil {
		conn, err = over(ctx, conn, address)
	}
	if err != nil {
		return nil, fmt.Errorf("--addr %s: %w", address, err)
	}
	c := &caller{address: address, conn: conn}
	c.parser.MaxBulk = callMax
	c.stop = context.AfterFunc(ctx, func() {
		_ = conn.SetDeadline(time.Unix(1, 0)) // what waits ends, and says so
	})
	if err := c.logIn(ctx); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *caller) close() {
	c.stop()
	_ = c.conn.Close() // all was answered, or nothing is wanted any more
}

// refusal is an error that a member answered with.
type refusal struct{ address, text string }

func (r *refusal) Error() string {
	if r.wantsPassword() {
		return r.address + " wants a password: give --pass-file, and --user where it is not that " +
			"of the user named default, or the password in " + passwordVariable
	}
	return r.address + " says: " + r.text
}

// wantsPassword reports whether the member answers nobody who has not said a password.
func (r *refusal) wantsPassword() bool { return strings.HasPrefix(r.text, "NOAUTH") }

// call asks for a command. Errors are a *refusal, ctx's, or what the network said.
func (c *caller) call(ctx context.Context, args ...string) (resp.Reply, error) {
	c.ask = resp.AppendBulkStrings(c.ask[:0], args...)
	_, err := c.conn.Write(c.ask)
	var r resp.Reply
	if err == nil {
		r, err = c.read()
	}
	switch {
	case ctx.Err() != nil:
		return r, fmt.Errorf("asking %s for %s: %w", c.address, strings.Join(args, " "), ctx.Err())
	case err != nil:
		return r, fmt.Errorf("asking %s for %s: %w", c.address, strings.Join(args, " "), err)
	case r.Kind == resp.Error:
		return r, &refusal{c.address, string(r.Body)}
	}
	return r, nil
}

// read reads the one reply that comes.
func (c *caller) read() (r resp.Reply, err error) {
	c.buf = c.buf[:0]
	for {
		if n, err := c.parser.Parse(c.buf, &r); n > 0 || err != nil {
			return r, err
		}
		if len(c.buf) > callMax {
			return r, errors.New("the reply does not end")
		}
		c.buf = slices.Grow(c.buf, max(4096, c.parser.Need()))
		n, err := c.conn.Read(c.buf[len(c.buf):cap(c.buf)])
		if c.buf = c.buf[:len(c.buf)+n]; err != nil && n == 0 {
			return r, err
		}
	}
}

// lostError says that a command was sent and no reply came.
type lostError struct {
	address string
	err     error
}

func (e *lostError) Error() string {
	return fmt.Sprintf("%s did not answer: %v", e.address, e.err)
}

func (e *lostError) Unwrap() error { return e.err }

// askMember asks a member for one command, on a connection of its own. Errors are a *refusal;
// a *lostError, when the command was sent; or what became of the connection before.
func askMember(ctx context.Context, address string, words ...string) (resp.Reply, error) {
	c, err := dialMember(ctx, address)
	if err != nil {
		return resp.Reply{}, err
	}
	defer c.close()
	r, err := c.call(ctx, words...)
	var refused *refusal
	switch {
	case err == nil || errors.As(err, &refused):
		return r, err
	case ctx.Err() != nil:
		err = ctx.Err()
	}
	return r, &lostError{address, err}
}

// fields are the pairs of a map, of either protocol.
func fields(r resp.Reply) (map[string]string, error) {
	m := map[string]string{}
	for name, ok := r.Next(); ok; name, ok = r.Next() {
		value, both := r.Next()
		if !both {
			return nil, errors.New("a name without a value")
		}
		m[string(name.Body)] = string(value.Body)
	}
	return m, nil
}
