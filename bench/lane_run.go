package bench

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// runEngine starts three replicas, drives the leader, and reports.
func runEngine(ctx context.Context, cfg Config, opt Options) (r *Result, err error) {
	c, err := startCluster(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	return c.drive(ctx, cfg, opt)
}

// drive measures one cell on running replicas.
func (c *cluster) drive(ctx context.Context, cfg Config, opt Options) (r *Result, err error) {
	environment := fingerprint(c.dir)
	if _, err = c.waitLeader(ctx); err != nil {
		return nil, err
	}
	s, err := newSupervisor(c, &cfg, &opt)
	if err != nil {
		return nil, err
	}
	col := newCollector(s.recorders)
	if opt.Log != nil {
		began := time.Now().Add(time.Duration(s.window.start - clock()))
		if err = col.logTo(opt.Log, began, opt.LogTag); err != nil {
			return nil, err
		}
	}
	s.start()
	var cpu, all [2]time.Duration
	err = watch(ctx, s.window, col, &opt,
		func() { cpu[0], all[0] = processCPU(), machineCPU(); s.resetStages() },
		func() { cpu[1], all[1] = processCPU(), machineCPU() })
	status := c.engines[s.active()].Status()
	s.stop(err == nil)
	if err != nil {
		return nil, err
	}
	if r, err = summarize(cfg, s.recorders, col); err != nil {
		return nil, err
	}
	r.CPU, r.Environment, r.Stages, r.Durability = cpu[1]-cpu[0], environment, stagesOf(status), durabilityOf(status)
	r.Foreign = all[1] - all[0] - r.CPU
	r.warn(true)
	if s.changes.Load() > 1 {
		r.Environment.Warnings = append(r.Environment.Warnings, "the leader changed during the run")
	}
	return r, nil
}

// supervisor keeps one driver per replica and makes the leader's drive.
type supervisor struct {
	cluster   *cluster
	cfg       *Config
	window    window
	drivers   []*laneDriver
	recorders []*Recorder
	bells     []*doorbell // of open loops
	wakes     []chan struct{}

	current atomic.Int32
	changes atomic.Int32 // of the replica driven
	quit    chan struct{}
	running sync.WaitGroup
}

// superviseEvery is how soon a change of leadership, or a driver left with
// nothing outstanding by a full lane, is noticed.
const superviseEvery = 10 * time.Millisecond

func newSupervisor(c *cluster, cfg *Config, opt *Options) (*supervisor, error) {
	s := &supervisor{cluster: c, cfg: cfg, quit: make(chan struct{})}
	s.current.Store(-1)
	for range c.engines {
		s.recorders = append(s.recorders, newRecorder(window{}, intervalOf(opt)))
	}
	for i, e := range c.engines {
		notify, err := s.waking()
		if err != nil {
			return nil, err
		}
		d, err := newLaneDriver(e, cfg, s.recorders[i], notify)
		if err != nil {
			return nil, err
		}
		s.drivers = append(s.drivers, d)
	}
	s.window = newWindow(cfg)
	for i, d := range s.drivers {
		s.recorders[i].window = s.window
		if cfg.Rate > 0 {
			d.schedule = newSchedule(s.window.start-int64(cfg.Warmup), cfg.Rate, 0, 1)
		}
	}
	return s, nil
}

// waking makes the wake-up of the next driver: none for the loop's, a channel
// for a goroutine, and a doorbell for one that also keeps time.
func (s *supervisor) waking() (func(), error) {
	switch {
	case s.cfg.Rate > 0:
		b, err := newDoorbell()
		s.bells = append(s.bells, b)
		return b.ring, err
	case s.cfg.Driver == DriverGoroutine:
		ch := make(chan struct{}, 1)
		s.wakes = append(s.wakes, ch)
		return func() {
			select {
			case ch <- struct{}{}:
			default:
			}
		}, nil
	}
	return nil, nil
}

func (s *supervisor) start() {
	for i, d := range s.drivers {
		switch {
		case s.bells != nil:
			s.running.Go(func() { s.keepTime(i, d) })
		case s.wakes != nil:
			s.running.Go(func() { s.onWake(d, s.wakes[i]) })
		}
	}
	s.running.Go(s.supervise)
}

// onWake is the goroutine of a closed loop.
func (s *supervisor) onWake(d *laneDriver, wake chan struct{}) {
	for {
		select {
		case <-wake:
			d.turn()
		case <-s.quit:
			return
		}
	}
}

// keepTime is the goroutine of an open loop. Only the leader's driver keeps
// the schedule.
func (s *supervisor) keepTime(i int, d *laneDriver) {
	pinTimers()
	defer runtime.UnlockOSThread()
	for !stopped(s.quit) {
		wait := sleepMax
		if now := clock(); !d.away.Load() && now < s.window.end && d.roomFor() {
			wait = pause(now, d.schedule.next(), d.schedule.interval)
		}
		if err := s.bells[i].wait(wait); err != nil {
			return
		}
		d.turn()
	}
}

// supervise kicks the leader's driver off, again whenever that changes.
func (s *supervisor) supervise() {
	tick := time.NewTicker(superviseEvery)
	defer tick.Stop()
	for {
		s.look()
		select {
		case <-tick.C:
		case <-s.quit:
			return
		}
	}
}

func (s *supervisor) look() {
	i := int(s.current.Load())
	if i >= 0 && !s.drivers[i].away.Load() {
		if s.drivers[i].idle() && clock() < s.window.end {
			s.drivers[i].kick()
		}
		return
	}
	next := s.cluster.leader()
	if next < 0 || clock() >= s.window.end {
		return
	}
	if next != i {
		s.changes.Add(1)
		s.drivers[next].inherit(s, i)
	}
	s.current.Store(int32(next))
	s.drivers[next].kick()
}

func (s *supervisor) active() int { return max(int(s.current.Load()), 0) }

func (s *supervisor) resetStages() {
	for _, e := range s.cluster.engines {
		e.ResetStages()
	}
}

// stop awaits what is outstanding, when wanted, and ends the goroutines.
func (s *supervisor) stop(drain bool) {
	for limit := clock() + int64(drainMax); drain && clock() < limit && !s.idle(); {
		time.Sleep(time.Millisecond)
	}
	close(s.quit)
	for _, b := range s.bells {
		b.ring()
	}
	s.running.Wait()
	for _, b := range s.bells {
		b.close()
	}
	for i, d := range s.drivers {
		if i != s.active() {
			d.schedule = nil // only the last leader's backlog is the run's
		}
		d.abandon()
	}
}

func (s *supervisor) idle() bool {
	for _, d := range s.drivers {
		if !d.idle() {
			return false
		}
	}
	return true
}

// inherit takes the schedule over from the driver of a former leader.
func (d *laneDriver) inherit(s *supervisor, former int) {
	if d.schedule == nil || former < 0 {
		return
	}
	f := s.drivers[former]
	f.mu.Lock()
	sent := f.schedule.sent
	f.mu.Unlock()
	d.mu.Lock()
	d.schedule.sent = sent
	d.mu.Unlock()
}

// roomFor says whether one more request may be outstanding. Only the driver's
// own goroutine calls it.
func (d *laneDriver) roomFor() bool { return d.live < d.cfg.Outstanding }
