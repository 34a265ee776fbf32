package bench

import (
	"fmt"
	"runtime"
	"syscall"
	"time"
)

// client is one event loop over several connections, on a thread of its own.
// It is a few hundred nanoseconds beside the system calls, so that one loop
// can saturate most servers.
//
// A turn takes what arrived on one connection, reads the clock once, records
// the whole batch with it, and writes as many new requests in one call. With
// a schedule, requests go to the connections in turn when they are due; one
// that finds every connection full waits, and the wait is in its latency.
type client struct {
	cfg      *Config
	rec      *Recorder
	schedule *schedule // nil: closed loop
	depth    int
	conns    []*conn
	epoll    int
	commands *commands
	mix      *mix

	turn    int // next connection for a request of the schedule
	open    int // connections in use
	owed    int // requests outstanding
	touched []*conn
	dialled chan dialled
	classes map[string]string // error classes seen, so that counting does not allocate

	cpu [2]time.Duration // of the thread, at the window's start and end
	err error
}

// dialled is a connection made anew by a goroutine that only dials.
type dialled struct {
	c       *conn
	fd      int
	address int
}

const (
	drainMax    = 5 * time.Second
	redialPause = 50 * time.Millisecond
	redialLook  = 5 * time.Millisecond
)

// newClient connects its share of the connections.
func newClient(cfg *Config, number int) (*client, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	k := &client{cfg: cfg, depth: cfg.Depth, epoll: epoll, mix: newMix(cfg, number),
		commands: newCommands(cfg.ValueBytes, cfg.Seed+uint64(number)), classes: make(map[string]string),
		dialled: make(chan dialled, cfg.Connections)}
	for i := number; i < cfg.Connections; i += cfg.ClientThreads {
		c := newConn(len(k.conns), cfg.Depth)
		fd, err := dial(cfg.Addrs[0])
		if err == nil {
			err = k.enroll(c, fd)
		}
		if err != nil {
			k.close()
			return nil, fmt.Errorf("connection %d of %d: %w", i+1, cfg.Connections, err)
		}
		k.conns = append(k.conns, c)
	}
	return k, nil
}

// begin gives the client its recorder and, with a rate, its schedule, which
// begins with the warm-up.
func (k *client) begin(rec *Recorder, number int) {
	k.rec = rec
	if k.cfg.Rate > 0 {
		start := rec.window.start - int64(k.cfg.Warmup)
		k.schedule = newSchedule(start, k.cfg.Rate, number, k.cfg.ClientThreads)
	}
}

func (k *client) enroll(c *conn, fd int) error {
	c.reset(fd)
	err := syscall.EpollCtl(k.epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{
		Events: syscall.EPOLLIN | syscall.EPOLLRDHUP, Fd: int32(c.number)})
	if err == nil {
		k.open++
	}
	return err
}

func (k *client) close() {
	for _, c := range k.conns {
		if c.fd >= 0 {
			_ = syscall.Close(c.fd)
			c.fd = -1
		}
	}
	_ = syscall.Close(k.epoll)
}

// run drives the connections until the window ends and what is owed has been
// answered, or drainMax has passed.
func (k *client) run(stop <-chan struct{}) {
	pinTimers()
	defer runtime.UnlockOSThread()
	defer k.close()
	var events [256]syscall.EpollEvent
	now := clock()
	if k.schedule == nil {
		for _, c := range k.conns {
			k.refill(c, now)
		}
	}
	for phase := 0; ; {
		now = clock()
		if phase == 0 && now >= k.rec.window.start {
			phase, k.cpu[0] = 1, threadCPU()
		}
		if now >= k.rec.window.end {
			if phase < 2 {
				phase, k.cpu[1] = 2, threadCPU()
				k.giveUpSchedule(now)
			}
			if k.owed == 0 || now >= k.rec.window.end+int64(drainMax) || stopped(stop) {
				break
			}
		} else if stopped(stop) {
			k.err = errStopped
			return
		}
		k.sendDue(now)
		n, err := epollWait(k.epoll, events[:], k.sleep(now))
		if err != nil {
			k.err = fmt.Errorf("epoll: %w", err)
			return
		}
		for i := range events[:n] {
			k.serve(k.conns[events[i].Fd], events[i].Events)
		}
		k.takeDialled()
	}
	k.abandon(clock())
}

func stopped(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

// sleep is how long the loop may wait for sockets.
func (k *client) sleep(now int64) time.Duration {
	if now >= k.rec.window.end {
		return redialPause
	}
	most := time.Duration(k.rec.window.end-now) + time.Microsecond
	if now < k.rec.window.start {
		most = time.Duration(k.rec.window.start-now) + time.Microsecond
	}
	if k.open < len(k.conns) {
		most = min(most, redialLook) // connections made anew come through a channel
	}
	if k.schedule == nil || k.owed >= k.open*k.depth {
		return most
	}
	return min(most, pause(now, k.schedule.next(), k.schedule.interval))
}

// serve takes what arrived on a connection.
func (k *client) serve(c *conn, events uint32) {
	if c.fd < 0 {
		return
	}
	if events&syscall.EPOLLOUT != 0 && c.blocked {
		if !k.write(c) {
			return
		}
	}
	if events&(syscall.EPOLLIN|syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) == 0 {
		return
	}
	for more := true; more; {
		var err error
		if more, err = c.receive(); err != nil {
			k.lost(c, "connection-lost")
			return
		}
		now := clock()
		if err = k.takeReplies(c, now); err != nil {
			k.lost(c, "protocol")
			return
		}
		if k.schedule == nil && now < k.rec.window.end {
			k.refill(c, now)
			if c.fd < 0 {
				return
			}
		}
	}
}

// takeReplies records every complete reply received by now. Replies whose
// requests left together have one latency and are recorded in one call.
func (k *client) takeReplies(c *conn, now int64) error {
	at, good, bytes, same, since := 0, 0, 0, 0, int64(0)
	var failure error
	for at < c.have {
		r, ok, err := scanReply(c.in[at:c.have])
		if err == nil && ok && c.outstanding() == 0 {
			err = errProtocol // an answer to nothing
		}
		if err != nil || !ok {
			failure = err
			break
		}
		at += r.bytes
		asked := c.answered()
		k.owed--
		if class, failed := r.failed(); failed {
			k.rec.failure(now, k.class(class), 1)
			continue
		}
		if !r.answers(asked.kind) {
			k.rec.failure(now, "unexpected-reply", 1)
			continue
		}
		good++
		if asked.kind == kindSet {
			bytes += k.cfg.ValueBytes
		} else {
			bytes += len(r.text)
		}
		if asked.since != since && same > 0 {
			k.rec.latency(now, now-since, same)
			same = 0
		}
		since = asked.since
		same++
	}
	if same > 0 {
		k.rec.latency(now, now-since, same)
	}
	k.rec.good(now, good, bytes)
	c.consume(at)
	return failure
}

// class is the one string kept for an error class.
func (k *client) class(b []byte) string {
	s, ok := k.classes[string(b)]
	if !ok {
		s = string(b)
		if len(k.classes) < 64 {
			k.classes[s] = s
		}
	}
	return s
}

// refill brings a connection back to its depth and writes, in a closed loop.
func (k *client) refill(c *conn, now int64) {
	for c.outstanding() < k.depth {
		k.add(c, now)
	}
	if !c.blocked {
		k.write(c)
	}
}

func (k *client) add(c *conn, since int64) {
	kind := k.mix.kind()
	c.out = k.commands.append(c.out, kind, k.mix.key())
	c.ask(since, kind)
	k.owed++
}

// sendDue gives requests that are due to the connections in turn.
func (k *client) sendDue(now int64) {
	if k.schedule == nil || now >= k.rec.window.end || k.open == 0 {
		return
	}
	s := k.schedule
	for due := s.due(now); s.sent < due; {
		c := k.nextFree()
		if c == nil {
			break
		}
		k.add(c, s.next())
		k.rec.scheduled(now, now-s.next())
		s.sent++
		if !c.dirty {
			c.dirty = true
			k.touched = append(k.touched, c)
		}
	}
	for _, c := range k.touched {
		c.dirty = false
		if c.fd >= 0 && !c.blocked {
			k.write(c)
		}
	}
	k.touched = k.touched[:0]
}

// nextFree is the next connection with room, in turn.
func (k *client) nextFree() *conn {
	if k.owed >= k.open*k.depth {
		return nil
	}
	for range k.conns {
		c := k.conns[k.turn]
		if k.turn++; k.turn == len(k.conns) {
			k.turn = 0
		}
		if c.fd >= 0 && c.outstanding() < k.depth {
			return c
		}
	}
	return nil
}

// write flushes and asks for EPOLLOUT while the socket is full.
func (k *client) write(c *conn) bool {
	was := c.blocked
	if err := c.flush(); err != nil {
		k.lost(c, "connection-lost")
		return false
	}
	if c.blocked != was {
		events := uint32(syscall.EPOLLIN | syscall.EPOLLRDHUP)
		if c.blocked {
			events |= syscall.EPOLLOUT
		}
		_ = syscall.EpollCtl(k.epoll, syscall.EPOLL_CTL_MOD, c.fd,
			&syscall.EpollEvent{Events: events, Fd: int32(c.number)})
	}
	return true
}
