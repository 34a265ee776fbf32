package engine

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringraft/ringraft/journal/device"
)

// hangingDisk is a directory in memory whose writes hang while it is held.
// slow makes each write take longer than the journal would do inline.
type hangingDisk struct {
	device.FS
	slow bool
	mu   sync.Mutex
	held chan struct{} // closed by release; nil: writes pass
	hung atomic.Int64  // writes that hang now
	poll atomic.Bool   // the newest of them hangs the polling goroutine
}

func (d *hangingDisk) hold() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = make(chan struct{})
}

func (d *hangingDisk) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held != nil {
		close(d.held)
		d.held = nil
	}
}

func (d *hangingDisk) pass() {
	d.mu.Lock()
	held := d.held
	d.mu.Unlock()
	if held != nil {
		d.poll.Store(calledInline())
		d.hung.Add(1)
		<-held
		d.hung.Add(-1)
	}
	if d.slow {
		<-time.After(1200 * time.Microsecond)
	}
}

// calledInline reports that no writer goroutine is between the journal and the
// disk.
func calledInline() bool {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(0, pcs)])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, ".Inline") {
			return true
		}
		if !more {
			return false
		}
	}
}

type hangingFile struct {
	device.File
	disk *hangingDisk
}

func (f hangingFile) WriteAt(b []byte, off int64) error {
	f.disk.pass()
	return f.File.WriteAt(b, off)
}

func (d *hangingDisk) Open(name string, f device.Flags) (device.File, error) {
	file, err := d.FS.Open(name, f)
	return hangingFile{file, d}, err
}

func (d *hangingDisk) Create(name string, f device.Flags) (device.File, error) {
	file, err := d.FS.Create(name, f)
	return hangingFile{file, d}, err
}

// diary keeps what the engines log, by member.
type diary struct {
	mu    sync.Mutex
	lines map[uint64][]string
}

func (d *diary) logger(id uint64) *slog.Logger { return slog.New(page{d, id}) }

func (d *diary) has(id uint64, text string) bool { return d.count(id, text) > 0 }

// count is the number of a member's lines that hold a text.
func (d *diary) count(id uint64, text string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.lines[id] {
		if strings.Contains(l, text) {
			n++
		}
	}
	return n
}

type page struct {
	d  *diary
	id uint64
}

func (p page) Enabled(context.Context, slog.Level) bool { return true }
func (p page) WithAttrs([]slog.Attr) slog.Handler       { return p }
func (p page) WithGroup(string) slog.Handler            { return p }
func (p page) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	p.d.lines[p.id] = append(p.d.lines[p.id], line)
	return nil
}

// newHanging is a cluster of three whose disks can hang.
func newHanging(t *testing.T, slow bool, tune func(*Builder)) (
	c *cluster, disks map[uint64]*hangingDisk, log *diary,
) {
	t.Helper()
	disks, log = map[uint64]*hangingDisk{}, &diary{lines: map[uint64][]string{}}
	for id := range uint64(3) {
		disks[id+1] = &hangingDisk{FS: device.NewMemory(), slow: slow}
	}
	c = newCluster(t, 3, func(b *Builder) {
		b.files = disks[b.id]
		b.Logger(log.logger(b.id))
		if tune != nil {
			tune(b)
		}
	})
	t.Cleanup(func() { // before the cluster closes
		for _, d := range disks {
			d.release()
		}
	})
	return c, disks, log
}

// tally counts what became of proposals that nobody may lie about.
type tally struct{ applied, not, unknown atomic.Uint64 }

func (y *tally) note(err error) {
	switch {
	case err == nil:
		y.applied.Add(1)
	case errors.Is(err, ErrUnknown):
		y.unknown.Add(1)
	default:
		y.not.Add(1)
	}
}

// check holds the sum of ones against what was answered.
func (y *tally) check(t *testing.T, sum uint64) {
	t.Helper()
	if a, u := y.applied.Load(), y.unknown.Load(); sum < a || sum > a+u {
		t.Errorf("sum %d: %d applied, %d unknown, %d certainly not", sum, a, u, y.not.Load())
	}
	t.Logf("%d applied, %d unknown, %d certainly not; sum %d", y.applied.Load(), y.unknown.Load(),
		y.not.Load(), sum)
}

// load proposes ones through one engine until stop is closed.
func (y *tally) load(wg *sync.WaitGroup, e *Engine, callers int, stop chan struct{}) {
	for range callers {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				_, err := e.Propose(context.Background(), number(1))
				if y.note(err); errors.Is(err, ErrNotLeader) || errors.Is(err, ErrClosed) {
					return
				}
			}
		})
	}
}

// another waits for a leader other than the one that hangs.
func (c *cluster) another(than int) int {
	c.t.Helper()
	lead := -1
	until(c.t, "another leader", func() bool {
		for i, e := range c.engines {
			if e != nil && i != than && e.Status().Role == Leader {
				lead = i
				return true
			}
		}
		return false
	})
	return lead
}

func (c *cluster) equal(sum uint64) {
	c.t.Helper()
	until(c.t, "all members equal", func() bool {
		for i, sm := range c.sms {
			if s, _ := sm.state(); s != sum && c.engines[i] != nil {
				return false
			}
		}
		return true
	})
}

// The leader's disk hangs under load: another member leads soon, writes go on
// there, no answer is false, and the return of the disk disturbs no
// one. Serial: the target can never have what the own disk lacks, so the
// leader steps down.
func TestLeaderWithAHungDisk(t *testing.T) {
	for _, x := range []struct {
		name string
		tune func(*Builder)
		says string
	}{
		{"fused", func(b *Builder) {}, "handing leadership to member"},
		{"threaded", func(b *Builder) { b.Threads(Threaded) }, "handing leadership to member"},
		{"few slots", func(b *Builder) { b.Slots(32) }, "handing leadership to member"},
		{"serial", func(b *Builder) { b.Pipeline(Serial) }, "nobody took over, stepping down"},
	} {
		t.Run(x.name, func(t *testing.T) {
			c, disks, log := newHanging(t, true, x.tune)
			c.add(0)
			old := c.leader()
			e, id := c.engines[old], uint64(old+1)
			var y tally
			var wg sync.WaitGroup
			stop := make(chan struct{})
			y.load(&wg, e, 32, stop)
			until(t, "load", func() bool { return y.applied.Load() > 100 })
			start := time.Now()
			disks[id].hold()
			c.another(old)
			led := time.Since(start)
			c.engines[old] = nil // add asks for the leader: not this one
			c.add(1)
			y.applied.Add(1)
			t.Logf("another member leads after %v, a write is acknowledged after %v", led,
				time.Since(start))
			if time.Since(start) > 3*time.Second {
				t.Error("writes took more than 3 s to resume")
			}
			wg.Wait() // answered by a leader deposed, with its disk still hanging
			close(stop)
			c.engines[old] = e
			if s := e.Status(); s.Role == Leader || s.WriteAge < 200*time.Millisecond ||
				s.Counters.StallTransfers != 1 {
				t.Errorf("%v, age %v, %d transfers", s.Role, s.WriteAge, s.Counters.StallTransfers)
			}
			if !log.has(id, "the disk has not finished a write for") || !log.has(id, x.says) {
				t.Errorf("the log does not say %q: %q", x.says, log.lines[id])
			}
			term := c.engines[c.leader()].Status().Term
			disks[id].release()
			until(t, "the log to report the disk's return",
				func() bool { return log.has(id, "the disk writes again") })
			sum := c.add(1)
			y.applied.Add(1)
			c.equal(sum)
			y.check(t, sum)
			if now := c.engines[c.leader()].Status().Term; now != term {
				t.Errorf("the return of the disk brought term %d after %d", now, term)
			}
		})
	}
}

// A write done inline hangs the polling goroutine: nothing is sent, and the
// others elect. When it comes back it finds itself deposed and has answered
// nothing that is not so.
func TestLeaderHungInline(t *testing.T) {
	c, disks, _ := newHanging(t, false, nil)
	c.add(0)
	old := c.leader()
	e, id := c.engines[old], uint64(old+1)
	var y tally
	var wg sync.WaitGroup
	var start time.Time
	hang := func() (inline bool) {
		for range 20 { // quick ones, so that the next is done inline
			_, err := e.Propose(context.Background(), number(1))
			y.note(err)
		}
		disks[id].hold()
		start = time.Now()
		for range 4 {
			wg.Go(func() {
				_, err := e.Propose(context.Background(), number(1))
				y.note(err)
			})
		}
		until(t, "the write to hang", func() bool { return disks[id].hung.Load() > 0 })
		return disks[id].poll.Load()
	}
	for !hang() { // the machine is busy: the write before took long, this one went to the writer
		disks[id].release()
		wg.Wait()
	}
	c.another(old)
	led := time.Since(start)
	c.engines[old] = nil
	c.add(1)
	y.applied.Add(1)
	t.Logf("another member leads after %v, a write is acknowledged after %v", led,
		time.Since(start))
	if time.Since(start) > 3*time.Second {
		t.Error("writes took more than 3 s to resume")
	}
	c.engines[old] = e
	if e.Status().Role != Leader {
		t.Error("its polling goroutine runs, though the write that hangs is done inline")
	}
	disks[id].release()
	until(t, "the old leader to step down", func() bool { return e.Status().Role != Leader })
	wg.Wait()
	sum := c.add(1)
	y.applied.Add(1)
	c.equal(sum)
	y.check(t, sum)
}

// A member whose disk hangs cannot make a vote durable: it does not campaign,
// whether the leader is stopped or leadership is handed to it.
func TestMemberWithAHungDiskDoesNotCampaign(t *testing.T) {
	c, disks, log := newHanging(t, true, nil)
	c.add(0)
	lead := c.leader()
	f, g := (lead+1)%3, (lead+2)%3
	id := uint64(f + 1)
	c.equal(0)
	disks[id].hold()
	sum := c.add(1)
	until(t, "the member to notice", func() bool { return log.has(id, "no campaigns meanwhile") })
	var failed *TransferError
	err := c.engines[lead].Transfer(context.Background(), id)
	if !errors.Is(err, ErrTransfer) || !errors.Is(err, ErrNotTaken) || !errors.As(err, &failed) ||
		failed.To != id {
		t.Fatalf("handing leadership to it: %v", err)
	}
	if sum++; c.add(1) != sum { // and the old leader leads on
		t.Fatalf("sum after %d", sum)
	}
	c.stop(lead)
	// The third member asks several times in vain: it needs the hung one's vote. No term is raised.
	term := c.engines[g].Status().Term
	asked := log.count(uint64(g+1), "role=pre-candidate")
	until(t, "campaigns",
		func() bool { return log.count(uint64(g+1), "role=pre-candidate") > asked+3 })
	if now := c.engines[g].Status().Term; now != term {
		t.Errorf("vain campaigns brought term %d after %d", now, term)
	}
	if log.has(id, "role=pre-candidate") && !campaignedBefore(log, id) ||
		c.engines[f].Status().Role != Follower {
		t.Fatalf("it campaigned: %q", log.lines[id])
	}
	disks[id].release()
	if sum++; c.add(1) != sum {
		t.Fatalf("sum after %d", sum)
	}
}

// campaignedBefore: its only campaigns are older than the hang.
func campaignedBefore(log *diary, id uint64) bool {
	log.mu.Lock()
	defer log.mu.Unlock()
	hung := false
	for _, l := range log.lines[id] {
		hung = hung || strings.Contains(l, "no campaigns meanwhile")
		if hung && strings.Contains(l, "candidate") {
			return false
		}
	}
	return true
}

// After GiveUp the engine closes itself, in time, and says which directory.
func TestGivesUpOnAHungDisk(t *testing.T) {
	for _, x := range []struct {
		name    string
		slow    bool // the writer hangs; else the polling goroutine itself
		threads Threads
	}{{"writer", true, Fused}, {"inline", false, Fused}, {"writer, threaded", true, Threaded},
		{"inline, threaded", false, Threaded}} {
		t.Run(x.name, func(t *testing.T) {
			c, disks, _ := newHanging(t, x.slow, func(b *Builder) {
				b.GiveUp(700 * time.Millisecond).Threads(x.threads)
			})
			c.add(0)
			old := c.leader()
			e := c.engines[old]
			c.engines[old] = nil
			var wg sync.WaitGroup
			var y tally
			disks[uint64(old+1)].hold()
			start := time.Now()
			y.load(&wg, e, 1, make(chan struct{}))
			select {
			case <-e.Done():
			case <-time.After(6 * time.Second):
				t.Fatal("it did not give up")
			}
			took := time.Since(start)
			var hang *HangError
			if !errors.As(e.Err(), &hang) || hang.Dir != e.b.dir ||
				hang.Age < 700*time.Millisecond || !strings.Contains(e.Err().Error(), e.b.dir) ||
				strings.Contains(e.Err().Error(), "\n") {
				t.Fatalf("%v", e.Err())
			}
			if err := e.Close(); !errors.As(err, &hang) || took > 4*time.Second {
				t.Fatalf("closed after %v: %v", took, err)
			}
			wg.Wait()
			t.Logf("closed after %v: %v", took.Round(time.Millisecond), e.Err())
			y.check(t, c.add(0))
		})
	}
}

func TestTransferAnswers(t *testing.T) {
	c, _, _ := newHanging(t, true, func(b *Builder) { b.Slots(64) })
	c.add(0)
	lead := c.leader()
	e := c.engines[lead]
	ctx := context.Background()
	until(t, "all connected", func() bool {
		for _, m := range e.Status().Members {
			if !m.Connected {
				return false
			}
		}
		return true
	})
	for _, x := range []struct {
		to    uint64
		cause error
	}{{9, ErrNotMember}, {uint64(lead + 1), ErrLeadsAlready}} {
		if err := e.Transfer(ctx, x.to); !errors.Is(err, ErrTransfer) || !errors.Is(err, x.cause) ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("to %d: %v", x.to, err)
		}
	}
	var who *Error
	if err := c.engines[(lead+1)%3].Transfer(ctx, 0); !errors.Is(err, ErrNotLeader) ||
		!errors.As(err, &who) || who.Leader != uint64(lead+1) {
		t.Errorf("from a follower: %v", err)
	}
	dead := (lead + 1) % 3
	c.stop(dead)
	until(t, "the link to be down", func() bool { return !e.connectedStatus(uint64(dead + 1)) })
	if err := e.Transfer(ctx, uint64(dead+1)); !errors.Is(err, ErrNotConnected) {
		t.Errorf("to a dead member: %v", err)
	}
	if err := e.Transfer(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if s := e.Status(); s.Role == Leader || s.Leader != uint64((lead+2)%3+1) {
		t.Fatalf("after the transfer: %v, leader %d", s.Role, s.Leader)
	}
	if got := c.add(3); got != 3 {
		t.Fatalf("sum %d", got)
	}
}

func (e *Engine) connectedStatus(id uint64) bool {
	for _, m := range e.Status().Members {
		if m.ID == id {
			return m.Connected
		}
	}
	return false
}

// Calls that are given up while they wait, at any moment, do not answer or
// hinder the next one.
func TestTransferGivenUpByItsCaller(t *testing.T) {
	c, _, _ := newHanging(t, true, nil)
	c.add(0)
	over := func(err error) bool {
		return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrTransfer) ||
			errors.Is(err, ErrNotLeader)
	}
	for i := range 40 {
		ctx, cancel := context.WithTimeout(context.Background(),
			time.Duration(i%12)*100*time.Microsecond)
		err := c.engines[c.leader()].Transfer(ctx, 0)
		cancel()
		if err != nil && !over(err) {
			t.Fatal(err)
		}
		until(t, "a transfer after one that was given up", func() bool {
			e := c.engines[c.leader()]
			won := e.Status().Counters.Elections
			err := e.Transfer(context.Background(), 0)
			if err != nil && !over(err) {
				t.Fatal(err)
			}
			if s := e.Status(); err == nil && s.Role == Leader && s.Counters.Elections == won {
				t.Fatal("it says that leadership was handed over, and leads")
			}
			return err == nil
		})
	}
	c.add(1)
}

// Everybody asks at once for every member: some succeed, the others get the reason.
func TestTransfersAtOnce(t *testing.T) {
	c, _, _ := newHanging(t, true, nil)
	c.add(0)
	var y tally
	var wg, load sync.WaitGroup
	stop := make(chan struct{})
	for _, e := range c.engines {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_, err := e.Propose(context.Background(), number(1))
					y.note(err)
				}
			}
		})
	}
	var done atomic.Int64
	wanted := int64(30)
	if testing.Short() {
		wanted = 10
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for i := range 9 {
		wg.Go(func() {
			for done.Load() < wanted {
				err := c.engines[i%3].Transfer(ctx, uint64(i/3+1))
				if err == nil {
					done.Add(1)
				} else if !errors.Is(err, ErrTransfer) && !errors.Is(err, ErrNotLeader) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	load.Wait()
	sum := c.add(0)
	c.equal(sum)
	y.check(t, sum)
	t.Logf("%d transfers came about", done.Load())
}

// A closing engine answers who waits for a transfer.
func TestTransferWhileClosing(t *testing.T) {
	c, disks, _ := newHanging(t, true, nil)
	c.add(0)
	lead := c.leader()
	e := c.engines[lead]
	to := uint64((lead+1)%3 + 1)
	disks[to].hold() // so that it waits
	c.add(1)
	answer := make(chan error, 1)
	go func() { answer <- e.Transfer(context.Background(), to) }()
	c.stop(lead)
	if err := <-answer; err == nil || !errors.Is(err, ErrClosed) && !errors.Is(err, ErrTransfer) {
		t.Fatalf("%v", err)
	}
	if err := e.Transfer(context.Background(), 0); !errors.Is(err, ErrClosed) {
		t.Fatalf("%v", err)
	}
}
