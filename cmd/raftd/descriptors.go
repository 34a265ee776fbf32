package main

import (
	"fmt"
	"net"
	"sync"
	"syscall"

	"github.com/ringraft/ringraft/cmd/raftd/server"
)

// Descriptors are shared by clients, members, the journal's segments and HTTP. Only clients come in
// any number, so they get what the limit of the process leaves them.
const (
	// reservedMin is what the others need: 128 for the port of members, 64 for members' commands on
	// the port of clients, httpMax, and segments.
	reservedMin = 128 + server.MemberPlaces + httpMax + 64
	// Of a higher limit an eighth is reserved: the journal opens a segment for each 64 MiB.
	reservedPart = 8
	httpMax      = 32 // connections for HTTP
)

// descriptorLimit is how many descriptors this process may have. The Go runtime has raised the soft
// limit to the hard one before main.
func descriptorLimit() (uint64, error) {
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return limit.Cur, err
}

// clientPlaces is how many clients may be connected when so many are asked for.
func clientPlaces(asked int, limit uint64) (int, error) {
	reserved := max(reservedMin, limit/reservedPart)
	if limit <= reserved {
		return 0, fmt.Errorf("the limit of open files is %d, and %d are needed beside clients; "+
			"raise it (ulimit -n, or LimitNOFILE of systemd)", limit, reserved)
	}
	return int(min(uint64(asked), limit-reserved)), nil
}

// limitedListener has a bounded number of connections open. One more waits to be accepted, which
// takes no descriptor.
type limitedListener struct {
	net.Listener
	places chan struct{}
}

func limitListener(l net.Listener, places int) net.Listener {
	return &limitedListener{l, make(chan struct{}, places)}
}

// Accept implements net.Listener. After Close it may wait until a connection is closed.
func (l *limitedListener) Accept() (net.Conn, error) {
	l.places <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &placedConn{Conn: c, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

type placedConn struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *placedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
