package netio

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// listen opens a listener whose connections end when their peers' hosts fall silent: a host that
// lost its power or its cable sends no FIN, and its connections would stay open for ever.
//
//	nothing to send   probes after half of KeepAlive, then one each sixth, three in all
//	data unanswered   TCP_USER_TIMEOUT, or the kernel would send it again for a quarter of an hour
//	peer reads none   the same: Linux counts a window that stays closed, though the host answers
func (c *Config) listen(address string) (net.Listener, error) {
	sixth := c.KeepAlive / 6
	lc := net.ListenConfig{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: c.KeepAlive - 3*sixth,
			Interval: max(sixth, time.Second), Count: 3},
		Control: func(_, _ string, raw syscall.RawConn) error {
			return setUserTimeout(raw, c.KeepAlive) // the connections inherit it
		},
	}
	return lc.Listen(context.Background(), "tcp", address)
}

// setUserTimeout bounds the time for which data may stay without an answer from the peer's host.
func setUserTimeout(raw syscall.RawConn, d time.Duration) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT,
			int(d.Milliseconds()))
	})
	return errors.Join(err, failed)
}
