package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// notifier tells the service manager how far this process is, as sd_notify(3) of systemd does:
// lines of NAME=VALUE in one datagram to the socket that NOTIFY_SOCKET names. A nil one tells
// nothing.
type notifier struct {
	conn  *net.UnixConn
	every time.Duration // between two signs of life; 0: nobody waits for them
}

// newNotifier connects to who started this process, if that is somebody who listens.
func newNotifier() (*notifier, error) {
	address := os.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return nil, nil
	}
	// A leading @ stands for an abstract socket, for net as for systemd.
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	return &notifier{conn: conn, every: watchdogTime() / 2}, nil
}

// watchdogTime is how long this process may give no sign of life; 0: for ever.
func watchdogTime() time.Duration {
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	µs, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || µs <= 0 || µs > int64(24*time.Hour/time.Microsecond) {
		return 0
	}
	return time.Duration(µs) * time.Microsecond
}

// tell sends lines in one datagram.
func (n *notifier) tell(lines ...string) error {
	if n == nil {
		return nil
	}
	_, err := n.conn.Write([]byte(strings.Join(lines, "\n")))
	return err
}

// watch gives signs of life until done is closed, each when alive has said so in time.
func (n *notifier) watch(done <-chan struct{}, alive func(context.Context) bool) error {
	if n == nil || n.every == 0 {
		return nil
	}
	tick := time.NewTicker(n.every)
	defer tick.Stop()
	for {
		turn, cancel := context.WithTimeout(context.Background(), n.every)
		well := alive(turn)
		cancel()
		if well {
			if err := n.tell("WATCHDOG=1"); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-done:
			return nil
		}
	}
}

// notifyStarted tells the service manager that clients are served, and from now on that the network
// loops are.
func (d *daemon) notifyStarted() {
	var err error
	if d.notifier, err = newNotifier(); err != nil {
		d.log.Warn("the service manager is not told of the start", "err", err)
		return
	}
	d.notify("READY=1", fmt.Sprintf("STATUS=member %d at %s", d.plan.id, d.plan.client))
	go func() {
		if err := d.notifier.watch(d.engine.Done(), d.server.Alive); err != nil {
			d.log.Warn("the service manager hears nothing more", "err", err)
		}
	}()
}

func (d *daemon) notify(lines ...string) {
	if err := d.notifier.tell(lines...); err != nil {
		d.log.Warn("the service manager was not told", "what", lines[0], "err", err)
	}
}
