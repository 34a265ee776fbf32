package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/ringraft/ringraft/netio/resp"
)

const (
	// errandDial is how long the leader may take to accept a connection.
	errandDial = 3 * time.Second

	// errandTurn is how often one that waits looks who leads, and errandTurns how often it may
	// be another than the one that was asked: that one hangs, else it would have answered.
	errandTurn  = time.Second
	errandTurns = 10
)

// runErrand has the leader carry out a command that takes long, on a connection for it
// alone, and returns its reply. It may be called by any goroutine.
func (s *Server) runErrand(ctx context.Context, address string, command []byte) []byte {
	fault := func(prefix string, err error) []byte {
		return resp.AppendError(nil, fmt.Sprintf("%s the leader at %s: %s", prefix, address,
			oneLine(err.Error())))
	}
	dial, cancel := context.WithTimeout(ctx, errandDial)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(dial, "tcp", address)
	if err != nil {
		return fault("TRYAGAIN not changed: this member cannot reach", err)
	}
	defer c.Close()
	if over := s.cfg.ForwardTLS; over != nil {
		secured := tls.Client(c, over.Config(address))
		if err := secured.HandshakeContext(dial); err != nil {
			return fault("TRYAGAIN not changed: this member cannot reach", err)
		}
		c = secured
	}
	// The command goes when the greeting was taken: one that refuses it carries out what follows,
	// as any client's.
	e := errandReplies{conn: c}
	greeted, err := e.ask(ctx, s, address, s.greeting())
	switch {
	case err != nil:
		return fault("TRYAGAIN not changed: RAFT.PROXY was not answered by", err)
	case string(greeted) != "+OK\r\n":
		return fault("TRYAGAIN not changed: RAFT.PROXY was refused by",
			errors.New(printable(greeted, 128)))
	}
	reply, err := e.ask(ctx, s, address, command)
	if err != nil {
		return fault("UNKNOWNRESULT see RAFT.MEMBER LIST; no answer came from", err)
	}
	return reply
}

// errandReplies reads the replies of one connection.
type errandReplies struct {
	conn   net.Conn
	parser resp.ReplyParser
	b      []byte // read, and not returned yet
}

// ask sends a command, and returns its reply.
func (e *errandReplies) ask(ctx context.Context, s *Server, address string,
	command []byte) ([]byte, error) {
	if _, err := e.conn.Write(command); err != nil {
		return nil, err
	}
	return e.next(ctx, s, address)
}

// next returns the next reply, a copy.
func (e *errandReplies) next(ctx context.Context, s *Server, address string) ([]byte, error) {
	e.parser.MaxBulk = 1 << 20
	var block [4096]byte
	for elsewhere := 0; elsewhere < errandTurns; {
		var r resp.Reply
		size, err := e.parser.Parse(e.b, &r)
		if err != nil {
			return nil, err
		}
		if size > 0 {
			reply := append([]byte(nil), e.b[:size]...)
			e.b = e.b[size:]
			return reply, nil
		}
		if err := e.conn.SetReadDeadline(time.Now().Add(errandTurn)); err != nil {
			return nil, err
		}
		n, err := e.conn.Read(block[:])
		e.b = append(e.b, block[:n]...)
		switch {
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
			return nil, err
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case s.leadership().address == address:
			elsewhere = 0
		default:
			elsewhere++
		}
	}
	return nil, errors.New("it leads no more")
}
