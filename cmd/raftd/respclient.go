package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/ringraft/ringraft/netio/resp"
)

// refusal is an error reply of a member, without the leading minus sign.
type refusal string

func (r refusal) Error() string { return strings.TrimPrefix(string(r), "ERR ") }

// lostError says that a command was sent and no reply came.
type lostError struct {
	address string
	err     error
}

func (e *lostError) Error() string {
	return fmt.Sprintf("%s did not answer: %v", e.address, e.err)
}

func (e *lostError) Unwrap() error { return e.err }

// dialMax is how long a member may take to accept a connection.
const dialMax = 3 * time.Second

// askMember sends a member one command and returns its reply: a string, an int64, nil, or a
// list of those. An error reply is a refusal; a *lostError says that the command was sent.
func askMember(ctx context.Context, address string, words ...string) (reply any, err error) {
	dialer := net.Dialer{Timeout: dialMax}
	c, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err = c.Write(resp.AppendBulkStrings(nil, words...)); err == nil {
		reply, err = readReply(bufio.NewReaderSize(io.LimitReader(c, replyMax), replyLineMax), 0)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, &lostError{address, err}
	}
	if r, refused := reply.(refusal); refused {
		return nil, r
	}
	return reply, nil
}

// Limits of what a member may answer.
const (
	replyMax      = 1 << 20
	replyLineMax  = 64 << 10 // or a string
	replyCountMax = 4096
	replyDepthMax = 4
)

// readReply reads a reply of RESP2, with a line as long as r's buffer at most. A refusal in
// it is a value.
func readReply(r *bufio.Reader, depth int) (any, error) {
	read, err := r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	line := strings.TrimSuffix(string(read), "\r\n")
	if line == "" || depth > replyDepthMax {
		return nil, resp.ErrReplyLine
	}
	text := line[1:]
	switch resp.Kind(line[0]) {
	case resp.Simple:
		return text, nil
	case resp.Error:
		return refusal(text), nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, resp.ErrReplyLength
	}
	switch kind := resp.Kind(line[0]); {
	case kind == resp.Integer:
		return n, nil
	case n == -1:
		return nil, nil
	case n < 0:
		return nil, resp.ErrReplyLength
	case kind == resp.Bulk && n <= replyLineMax:
		b := make([]byte, n+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		return string(b[:n]), nil
	case kind == resp.Array && n <= replyCountMax:
		var list []any
		for range n {
			v, err := readReply(r, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	}
	return nil, resp.ErrReplyType
}

// pairs is a map as RESP2 has it.
func pairs(reply any) map[string]any {
	list, _ := reply.([]any)
	m := make(map[string]any)
	for i := 0; i+1 < len(list); i += 2 {
		if name, ok := list[i].(string); ok {
			m[name] = list[i+1]
		}
	}
	return m
}
