package server

import (
	"strings"
	"testing"
	"time"
)

// Events are noted from the threshold on, the longest of each second, and LATENCY answers in the
// forms of Redis.
func TestLatencyEvents(t *testing.T) {
	r := newRig(t, nil)
	s := r.front.server
	write, apply := 300*time.Millisecond, 5*time.Millisecond
	slowest := func() (time.Duration, time.Duration) {
		w, a := write, apply
		write, apply = 0, 0
		return w, a
	}
	s.slowest.Store(&slowest)
	c, w := r.connect()
	r.send(c, array("CONFIG", "SET", "latency-monitor-threshold", "10")) // forgets what was before
	r.later(0)
	r.send(c, array("LATENCY", "LATEST"))
	expect(t, "nothing yet", w.take(), "+OK\r\n*0\r\n")
	write, apply = 40*time.Millisecond, 9*time.Millisecond
	r.later(0)
	r.send(c, array("SET", "k", "v"))
	r.answersAfter(12*time.Millisecond, 1)
	for _, e := range s.latency.events { // one second, whatever the clock says
		e.samples[0].at = 7
	}
	w.take()
	r.send(c, array("LATENCY", "LATEST"))
	expect(t, "latest", w.take(), "*2\r\n*4\r\n$7\r\ncommand\r\n:7\r\n:12\r\n:12\r\n"+
		"*4\r\n$13\r\njournal-write\r\n:7\r\n:40\r\n:40\r\n")
	s.latency.note(eventWrite, 20*time.Millisecond)
	s.latency.note(eventWrite, 30*time.Millisecond)
	e := s.latency.events[1]
	if n := len(e.samples); n < 2 || n > 3 || e.samples[n-1].ms != 30 || e.worst != 40 {
		t.Errorf("%+v", e)
	}
	e.samples = append(e.samples[:1], latencySample{8, 30})
	r.send(c, array("LATENCY", "HISTORY", "journal-write"))
	expect(t, "history", w.take(), "*2\r\n*2\r\n:7\r\n:40\r\n*2\r\n:8\r\n:30\r\n")
	r.send(c, array("LATENCY", "DOCTOR"))
	got := w.take()
	for _, want := range []string{"2. journal-write: 2 latency spikes (average 35ms, mean " +
		"deviation 5ms, period 1.00 sec). Worst all time event 40ms.", "look after the device"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	r.send(c, array("LATENCY", "RESET", "command", "fork")+array("LATENCY", "RESET"))
	expect(t, "reset", w.take(), ":1\r\n:1\r\n")
}

// An event keeps its newest samples.
func TestLatencySamplesAreBounded(t *testing.T) {
	var m latencyMonitor
	m.threshold.Store(1)
	m.note(eventApply, time.Second)
	e := m.events[0]
	for i := range 3 * latencySamples {
		e.samples[len(e.samples)-1].at = int64(i) // long ago
		m.note(eventApply, 2*time.Millisecond)
	}
	if len(e.samples) != latencySamples || e.samples[0].ms != 2 || e.worst != 1000 {
		t.Errorf("%d samples, the first %v, worst %d", len(e.samples), e.samples[0], e.worst)
	}
}

func TestLatencyHistogram(t *testing.T) {
	r := newRig(t, nil)
	c, w := r.connect()
	r.send(c, array("SET", "k", "v")+array("SET", "k", "v"))
	r.answersAfter(time.Microsecond, 1)
	r.answersAfter(30*time.Microsecond, 2)
	r.send(c, array("PING"))
	w.take()
	r.send(c, array("LATENCY", "HISTOGRAM", "set", "nosuch", "ping"))
	expect(t, "histogram", w.take(), "*4\r\n$3\r\nset\r\n*4\r\n$5\r\ncalls\r\n:2\r\n"+
		"$14\r\nhistogram_usec\r\n*4\r\n:1\r\n:1\r\n:33\r\n:2\r\n"+
		"$4\r\nping\r\n*4\r\n$5\r\ncalls\r\n:1\r\n$14\r\nhistogram_usec\r\n*2\r\n:1\r\n:1\r\n")
	r.send(c, array("CONFIG", "RESETSTAT")+array("LATENCY", "HISTOGRAM", "set"))
	expect(t, "after a reset", w.take(), "+OK\r\n*0\r\n")
}

// The bounds are those of the histogram of Redis.
func TestLatencyBuckets(t *testing.T) {
	for _, x := range []struct {
		ns   int64
		want int64
	}{{-1, 1}, {0, 1}, {1024, 1}, {1025, 2}, {4096, 4}, {20_000, 33}, {40_000, 66},
		{100_000, 132}} {
		if got := bucketMicros(latencyBucket(x.ns)); got != x.want {
			t.Errorf("%d ns: %d µs, want %d", x.ns, got, x.want)
		}
	}
	if got := latencyBucket(1 << 62); got != latencyBuckets-1 {
		t.Errorf("bucket %d", got)
	}
}

// What a loop counts is seen by others after the next tick, and at once by whoever asks it.
func TestCountsArePublishedByTick(t *testing.T) {
	r := newRig(t, nil)
	r.lane.auto = true
	c, w := r.connect()
	r.send(c, array("SET", "k", "v"))
	r.front.completions()
	s := r.front.server
	if n := s.Counts().Commands["set"].Calls; n != 0 {
		t.Errorf("%d calls before a tick", n)
	}
	r.later(0)
	if n := s.Counts().Commands["set"].Calls; n != 1 {
		t.Errorf("%d calls after a tick", n)
	}
	r.send(c, array("SET", "k", "v"))
	r.front.completions()
	w.take()
	if got := r.ask(c, "INFO", "commandstats"); !strings.Contains(got, "cmdstat_set:calls=2,") {
		t.Errorf("INFO: %s", got)
	}
	r.send(c, array("SET", "k", "v"))
	s.loops = []*front{r.front}
	r.front.do = func(f func()) error { f(); return nil }
	s.Publish(t.Context())
	if n := s.Counts().Commands["set"].Calls; n != 3 {
		t.Errorf("%d calls after Publish", n)
	}
}

// Commands that are no rows of the table have no histogram, least of all that of the first row.
func TestStatefulCommandsHaveNoHistogram(t *testing.T) {
	r := newRig(t, nil)
	c, _ := r.connect()
	r.ask(c, "CONFIG", "SET", "slowlog-log-slower-than", "0")
	r.ask(c, "MULTI")
	r.ask(c, "DISCARD")
	first := commands[0].name
	if got := r.ask(c, "LATENCY", "HISTOGRAM", first); got != "*0\r\n" {
		t.Errorf("the histogram of %s: %q", first, got)
	}
}
