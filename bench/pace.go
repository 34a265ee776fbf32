package bench

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// schedule says when the requests of an open loop are meant to leave: request
// i at start + i×interval, whatever the server does. sent counts those that
// left; what is due and not sent is the backlog, whose age is latency.
type schedule struct {
	start    int64
	interval float64 // nanoseconds between requests
	sent     uint64
}

// newSchedule shares a rate evenly among several drivers, interleaved.
func newSchedule(start int64, rate float64, driver, drivers int) *schedule {
	each := 1e9 / rate
	return &schedule{start: start + int64(each*float64(driver)), interval: each * float64(drivers)}
}

// intended is the clock time at which request i is meant to leave.
func (s *schedule) intended(i uint64) int64 { return s.start + int64(float64(i)*s.interval) }

// due is how many requests are meant to have left by now.
func (s *schedule) due(now int64) uint64 {
	if now < s.start {
		return 0
	}
	n := uint64(float64(now-s.start) / s.interval)
	// Rounding may be off by one either way: intended is the authority.
	for n > 0 && s.intended(n-1) > now {
		n--
	}
	for s.intended(n) <= now {
		n++
	}
	return n
}

// next is the intended time of the first request that has not left.
func (s *schedule) next() int64 { return s.intended(s.sent) }

// abandon records, at the end of a run, the age of every request that was due
// within the window and never left: the least latency it can have had.
func (s *schedule) abandon(r *Recorder, now int64) {
	for ; s.next() < r.window.end; s.sent++ {
		r.late++
		r.latency(now, now-s.next(), 1)
	}
}

// spinMax is how long before an intended time the pacer stops sleeping and
// polls. pacerQuantum is the shortest sleep of a schedule too dense for that:
// what falls due meanwhile leaves together, and the wait is in its latency.
const (
	spinMax      = 20 * time.Microsecond
	pacerQuantum = 50 * time.Microsecond
)

// pause says how long to sleep at now for a request due at next, with so many
// nanoseconds between requests; 0 means to poll without sleeping.
func pause(now, next int64, interval float64) time.Duration {
	wait := time.Duration(next - now)
	if wait <= 0 {
		return 0
	}
	if interval < float64(2*spinMax) {
		return max(wait, pacerQuantum)
	}
	return max(wait-spinMax, 0)
}

const (
	sysEpollPwait2    = 441 // the same number on every architecture
	prSetTimerSlack   = 29
	rusageThread      = 1
	pollIn            = 1
	timerSlackNS      = 1000
	sleepMax          = 100 * time.Millisecond
	efdFlags          = syscall.O_CLOEXEC | syscall.O_NONBLOCK
	epollWaitFailsafe = time.Millisecond
)

// pinTimers binds the goroutine to its thread and lets that thread's sleeps
// end within a microsecond instead of the kernel's default of fifty.
func pinTimers() {
	runtime.LockOSThread()
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, timerSlackNS, 0)
}

// epollWait waits for events, for at most d, to the nanosecond where the
// kernel can (5.11), else to the millisecond.
func epollWait(fd int, events []syscall.EpollEvent, d time.Duration) (int, error) {
	if d <= 0 {
		return ignoreInterrupt(syscall.EpollWait(fd, events, 0))
	}
	ts := syscall.NsecToTimespec(int64(min(d, sleepMax)))
	n, _, e := syscall.Syscall6(sysEpollPwait2, uintptr(fd), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	if e == syscall.ENOSYS {
		ms := int(min(d, sleepMax) / epollWaitFailsafe)
		return ignoreInterrupt(syscall.EpollWait(fd, events, max(ms, 1)))
	}
	if e != 0 {
		return ignoreInterrupt(0, e)
	}
	return int(n), nil
}

func ignoreInterrupt(n int, err error) (int, error) {
	if err == syscall.EINTR {
		return 0, nil
	}
	return n, err
}

// doorbell wakes a goroutine that sleeps in epollWait with a precise timeout;
// a Go timer would be a millisecond coarse. ring may be called by any
// goroutine, and is a system call only when somebody sleeps.
type doorbell struct {
	epoll, event int
	rung, asleep atomic.Bool
}

func newDoorbell() (*doorbell, error) {
	event, _, e := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, efdFlags, 0)
	if e != 0 {
		return nil, e
	}
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		_ = syscall.Close(int(event))
		return nil, err
	}
	d := &doorbell{epoll: epoll, event: int(event)}
	err = syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, d.event,
		&syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(d.event)})
	if err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *doorbell) ring() {
	d.rung.Store(true)
	if d.asleep.Load() {
		one := [8]byte{1}
		_, _ = syscall.Write(d.event, one[:]) // full means: already rung
	}
}

// wait sleeps for at most t or until rung since the last wait.
func (d *doorbell) wait(t time.Duration) error {
	d.asleep.Store(true)
	if d.rung.Swap(false) {
		d.asleep.Store(false)
		return nil
	}
	var events [1]syscall.EpollEvent
	n, err := epollWait(d.epoll, events[:], t)
	d.asleep.Store(false)
	d.rung.Store(false) // the caller looks at everything after this
	if n > 0 {
		var sink [8]byte
		_, _ = syscall.Read(d.event, sink[:])
	}
	return err
}

func (d *doorbell) close() {
	_ = syscall.Close(d.epoll)
	_ = syscall.Close(d.event)
}

// threadCPU is the processor time of the calling thread.
func threadCPU() time.Duration { return usage(rusageThread) }

// processCPU is the processor time of this process.
func processCPU() time.Duration { return usage(syscall.RUSAGE_SELF) }

func usage(who int) time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(who, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// machineCPU is the processor time that all of this machine's processes have
// used, and the time stolen from the machine by its host.
func machineCPU() time.Duration {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	fields := strings.Fields(line)
	var ticks int64
	for i, text := range fields {
		if i == 0 || i == 4 || i == 5 || i > 8 { // name, idle, waiting for disks, guests
			continue
		}
		n, _ := strconv.ParseInt(text, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond
}
