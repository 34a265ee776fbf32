package bench

import (
	"errors"
	"syscall"
	"time"
)

var errStopped = errors.New("stopped")

// lost closes a connection, counts what was outstanding on it as errors whose
// outcome is unknown, and has it dialled anew, on the next address.
func (k *client) lost(c *conn, class string) {
	now := clock()
	if n := c.outstanding(); n > 0 {
		k.rec.failure(now, class, n)
		k.owed -= n
	} else {
		k.rec.failure(now, class, 1)
	}
	_ = syscall.Close(c.fd)
	k.open--
	c.reset(-1)
	if now >= k.rec.window.end {
		return
	}
	go k.redial(c, c.address)
}

// redial runs in a goroutine of its own and touches nothing of the connection.
func (k *client) redial(c *conn, address int) {
	for clock() < k.rec.window.end {
		time.Sleep(redialPause)
		address = (address + 1) % len(k.cfg.Addrs)
		if fd, err := dial(k.cfg.Addrs[address]); err == nil {
			k.dialled <- dialled{c, fd, address}
			return
		}
	}
}

// takeDialled puts connections that were made anew to use.
func (k *client) takeDialled() {
	for {
		select {
		case d := <-k.dialled:
			d.c.address = d.address
			if err := k.enroll(d.c, d.fd); err != nil {
				_ = syscall.Close(d.fd)
				d.c.fd = -1
				continue
			}
			if now := clock(); k.schedule == nil && now < k.rec.window.end {
				k.refill(d.c, now)
			}
		default:
			return
		}
	}
}

// giveUpSchedule ends an open loop: what was due and never left is recorded.
func (k *client) giveUpSchedule(now int64) {
	if k.schedule != nil {
		k.schedule.abandon(k.rec, now)
	}
}

// abandon counts what was never answered, and records the age it had reached.
func (k *client) abandon(now int64) {
	for _, c := range k.conns {
		for c.outstanding() > 0 {
			asked := c.answered()
			k.owed--
			k.rec.latency(now, now-asked.since, 1)
			k.rec.failure(now, "unanswered", 1)
		}
	}
}
