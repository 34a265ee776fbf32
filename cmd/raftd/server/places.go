package server

import (
	"time"

	"github.com/ringraft/ringraft/netio"
	"github.com/ringraft/ringraft/netio/resp"
)

// MaxClientsReached is sent to a client for which there is no place, as Redis does.
const MaxClientsReached = "-ERR max number of clients reached\r\n"

// MemberPlaces is how many connections are accepted beyond the clients' places. They must begin
// with RAFT.PROXY: members forward commands on the port for clients, and clients must not keep them
// out.
const MemberPlaces = 64

// greetingTime is how long such a connection may take to say so.
const greetingTime = 2 * time.Second

var greeting = resp.AppendBulkStrings(nil, "RAFT.PROXY", proxyVersion)

// admits decides on a connection beyond the clients' places by what it says first. It reports false
// while that is not decided, or was decided against it.
func (h *clientHandler) admits(c *netio.Conn, b []byte) bool {
	if h.admitted {
		return true
	}
	member, missing := beginsAsMember(b)
	switch {
	case member:
		h.admitted = true
		c.CloseAfter(h.conn.patience())
		return true
	case missing > 0:
		c.Expect(missing)
	default:
		c.Refuse()
	}
	return false
}
