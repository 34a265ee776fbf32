package server

import (
	"errors"
	"io"
	"sync/atomic"

	"github.com/ringraft/ringraft/netio"
)

// Why client connections were closed, as they are counted.
const (
	closedByClient = iota // it hung up, its host vanished, or the network failed
	closedAsAsked         // QUIT, or a command that ends the connection
	closedProtocol        // what it sent is not the protocol
	closedUnread          // it does not read its replies
	closedBegun           // it began a command and did not go on
	closedOverload        // the replies of all clients took too much memory
	closedKilled          // CLIENT KILL
	closedShutdown
	closedReasons
)

var closedNames = [closedReasons]string{"client", "asked", "protocol", "unread", "unfinished",
	"overload", "killed", "shutdown"}

// closedCounts counts them. Any loop.
type closedCounts [closedReasons]atomic.Uint64

// closedFor is the reason why a connection ended with err.
func (c *conn) closedFor(err error) int {
	switch {
	case errors.Is(err, errKilled):
		return closedKilled
	case errors.Is(err, errOverload):
		return closedOverload
	case errors.Is(err, netio.ErrSlow):
		return closedUnread
	case errors.Is(err, netio.ErrStalled), errors.Is(err, netio.ErrInbound):
		return closedBegun
	case errors.Is(err, netio.ErrShutdown):
		return closedShutdown
	case c.faulty:
		return closedProtocol
	case c.closing && (err == nil || errors.Is(err, io.EOF)):
		return closedAsAsked
	}
	return closedByClient
}

// countClosed counts a connection that has ended.
func (s *Server) countClosed(c *conn, err error) { s.closed[c.closedFor(err)].Add(1) }

// Closed is how many client connections were closed, by reason: "client" for those that closed
// themselves or were lost.
func (s *Server) Closed() map[string]uint64 {
	all := map[string]uint64{}
	for i, name := range closedNames {
		all[name] = s.closed[i].Load()
	}
	return all
}

// MonitorLinesLost is how many lines monitors did not get because they read too slowly.
func (s *Server) MonitorLinesLost() uint64 { return s.monitorLost.Load() }
