package netio

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// gnet reads whatever arrives and cannot be told to stop. What it waits for is decided by an epoll
// set, and this package may change what that says of a socket: nothing while a connection is
// paused. Then the kernel's buffer fills and TCP slows the peer down. Errors are reported all the
// same, so a connection that is reset, or whose peer's host fell silent, ends; a FIN waits until
// the connection is resumed. gnet itself never changes the events of a socket whose output it does
// not buffer.
//
// gnet does not tell its descriptor of the set. It is the one that /proc says holds the doorbell.

// readEvents is what gnet asks for, level-triggered.
const readEvents = unix.EPOLLIN | unix.EPOLLPRI

// findPoller finds the epoll set that gnet has put fd into.
func findPoller(fd int) (epfd int, err error) {
	all, err := filepath.Glob("/proc/self/fdinfo/*")
	if err != nil {
		return -1, err
	}
	for _, name := range all {
		info, err := os.ReadFile(name)
		if err != nil || !watches(string(info), fd) {
			continue // closed meanwhile, or something else
		}
		epfd, err = strconv.Atoi(filepath.Base(name))
		if err == nil {
			return epfd, setEvents(epfd, fd, readEvents)
		}
	}
	return -1, fmt.Errorf("none of %d descriptors in /proc/self/fdinfo is an epoll set with %d",
		len(all), fd)
}

// watches reports whether what /proc says of a descriptor is an epoll set with fd in it as gnet
// enters it: its data are the descriptor.
func watches(info string, fd int) bool {
	for line := range strings.Lines(info) {
		var target int
		var events, data uint64
		_, err := fmt.Sscanf(line, "tfd: %d events: %x data: %x", &target, &events, &data)
		if err == nil && target == fd && data == uint64(fd) && events&unix.EPOLLIN != 0 {
			return true
		}
	}
	return false
}

func setEvents(epfd, fd int, events uint32) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(epfd, unix.EPOLL_CTL_MOD, fd,
		&unix.EpollEvent{Events: events, Fd: int32(fd)}))
}

// setReading has gnet read from the connection's socket or not.
func (c *Conn) setReading(on bool) {
	on = on && !c.eof
	if c.reading == on || c.loop.poller < 0 || c.gc == nil {
		return
	}
	events := uint32(0)
	if on {
		events = readEvents
	}
	if err := setEvents(c.loop.poller, c.fd, events); err != nil {
		c.loop.server.cfg.Logger.Warn("pausing or resuming a connection", "peer", c.remote,
			"error", err)
		return
	}
	c.reading = on
}
