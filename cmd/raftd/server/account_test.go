package server

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/cmd/raftd/kv"
)

// fill stores values of one letter.
func fill(r *rig, key string, size int) string {
	value := strings.Repeat(key[:1], size)
	kv.Execute(r.lane.machine, kv.AppendSet(nil, 0, []byte(key), []byte(value)))
	return value
}

// answerAll completes what the lane has until nothing more comes.
func (r *rig) answerAll() {
	for n := len(r.lane.done); n < len(r.lane.sent); {
		for ; n < len(r.lane.sent); n++ {
			r.lane.complete(uint64(n + 1))
		}
		r.front.completions()
	}
	r.front.tick()
}

// drain takes what waits for a client, until nothing waits on either side.
func (r *rig) drain(w *wire) {
	w.frozen = false
	for turn := 0; turn < 100 && !w.closed; turn++ {
		w.thaw()
		w.conn.drained()
		r.answerAll()
	}
}

// idle fails when anything is still in the books.
func (r *rig) idle() {
	r.t.Helper()
	r.front.tick()
	m, s := r.lane.machine, r.front.server
	if m.Pins() != 0 || m.Retained() != 0 || s.backlog.Load() != 0 || len(r.front.behind) != 0 ||
		r.front.due != 0 {
		r.t.Fatalf("%d pins, %d bytes retained, %d in %d backlogs, %d due", m.Pins(), m.Retained(),
			s.backlog.Load(), len(r.front.behind), r.front.due)
	}
}

// row asks for a key n times at once.
func row(key string, n int) string {
	return array(append([]string{"MGET"}, strings.Fields(strings.Repeat(key+" ", n))...)...)
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// Each of these was copied four times on its way, and all of them waited in memory.
func TestLargeValuesAreSentFromWhereTheyLie(t *testing.T) {
	for name, null := range map[string]string{"2": "$-1\r\n", "3": "_\r\n", "forwarded": "_\r\n"} {
		r := newRig(t, nil)
		large := fill(r, "large", 1<<20)
		small := fill(r, "small", 100)
		c, w := r.connect()
		if name == "forwarded" {
			r.send(c, array("RAFT.PROXY", proxyVersion))
		} else {
			r.send(c, array("HELLO", name))
		}
		w.take()
		w.frozen = true
		var want strings.Builder
		for range 8 {
			r.send(c, array("GET", "large")+array("PING")+array("MGET", "large", "no", "small",
				"large")+array("GETRANGE", "large", "10", "-11")+array("SET", "large", "x", "NX",
				"GET")+"GET no\r\n")
			want.WriteString(bulk(large) + "+PONG\r\n*4\r\n" + bulk(large) + null + bulk(small) +
				bulk(large) + bulk(large[20:]) + bulk(large) + null)
		}
		for _, n := range rand.Perm(len(r.lane.sent)) {
			r.lane.complete(uint64(n + 1))
		}
		r.front.completions()
		if w.copied > 16<<10 {
			t.Errorf("%s: %d bytes were copied", name, w.copied)
		}
		if got := r.lane.machine.Retained(); got != 0 {
			t.Errorf("%s: %d bytes are retained", name, got)
		}
		r.send(c, array("DEL", "large"))
		r.answerAll()
		if got := r.lane.machine.Retained(); got < 1<<20 || got > 2<<20 {
			t.Errorf("%s: %d bytes are retained", name, got)
		}
		w.thaw()
		if w.take() != want.String()+":1\r\n" {
			t.Errorf("%s: other bytes than asked for", name)
		}
		r.idle()
	}
}

// What remembers a value until it is sent takes memory as well, though the value does not.
func TestWhatHoldsValuesIsCounted(t *testing.T) {
	r := newRig(t, nil)
	fill(r, "large", 4<<10)
	c, w := r.connect()
	w.frozen = true
	const count = 4000
	for range count / 100 {
		r.send(c, strings.Repeat(array("GET", "large"), 100))
		r.answerAll()
	}
	if held, in := r.front.server.backlog.Load(), len(w.waiting); in < count || held < count*200 {
		t.Errorf("%d bytes in the books for %d parts that wait", held, in)
	}
	r.drain(w)
	r.idle()
}

// A reply of many small values is built once, and sent from there.
func TestRepliesOfManySmallValues(t *testing.T) {
	for name, null := range map[string]string{"2": "$-1\r\n", "3": "_\r\n"} {
		r := newRig(t, nil)
		small, large := fill(r, "small", 1000), fill(r, "large", 5000)
		c, w := r.connect()
		r.send(c, array("HELLO", name))
		w.take()
		w.frozen = true
		names := append([]string{"MGET"}, strings.Split(strings.Repeat("small,", 1000)+
			"no,large,"+strings.Repeat("small,", 1000)+"small", ",")...)
		want := "*2003\r\n" + strings.Repeat(bulk(small), 1000) + null + bulk(large) +
			strings.Repeat(bulk(small), 1001)
		r.send(c, array("GET", "small")+array(names...))
		r.lane.complete(2)
		r.front.completions()
		r.lane.complete(1)
		r.front.completions()
		if w.copied > 4<<10 {
			t.Errorf("%d bytes were copied", w.copied)
		}
		w.thaw()
		if w.take() != bulk(small)+want {
			t.Error("other bytes than asked for")
		}
		r.idle()
	}
}

// Whatever becomes of connections, nothing stays pinned or counted.
func TestNothingIsKeptForConnectionsThatEnded(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	r := newRig(t, nil)
	for i := range 20 {
		fill(r, fmt.Sprint(i), 3000+i*1000)
	}
	type side struct {
		c *conn
		w *wire
	}
	var sides []side
	for range 3000 {
		if len(sides) < 10 {
			c, w := r.connect()
			w.frozen = rnd.IntN(2) == 0
			sides = append(sides, side{c, w})
		}
		at := rnd.IntN(len(sides))
		s := sides[at]
		key := fmt.Sprint(rnd.IntN(20))
		switch rnd.IntN(12) {
		case 0:
			if s.w.drop(); !s.c.closed {
				s.c.gone()
			}
			sides = append(sides[:at], sides[at+1:]...)
		case 1:
			s.w.thaw()
			s.w.got.Reset()
		case 2:
			r.front.tick()
		case 3:
			s.w.receive(array("SET", key, strings.Repeat("v", rnd.IntN(20000)), "GET"))
		case 4:
			s.w.receive(array("APPEND", key, strings.Repeat("v", rnd.IntN(5000))))
		case 5:
			s.w.receive(array("GETDEL", key))
		case 6:
			s.w.receive(array("ECHO", strings.Repeat("v", rnd.IntN(200000))))
		case 7:
			s.w.receive(row(key, 50))
		default:
			s.w.receive(array("GET", key) + array("GET", key))
		}
		if len(r.lane.sent)-len(r.lane.done) > 500 || rnd.IntN(4) == 0 {
			open := r.lane.sent[len(r.lane.done):]
			first := len(r.lane.done)
			for _, n := range rnd.Perm(len(open)) {
				r.lane.complete(uint64(first + n + 1))
			}
			r.front.completions()
		}
	}
	r.answerAll()
	for _, s := range sides {
		r.drain(s.w)
	}
	r.idle()
}

// One that reads nothing before it has written a million commands is not held up; one with
// more is, until it reads.
func TestConnectionWithAGreatBacklogWaits(t *testing.T) {
	r := newRig(t, nil)
	r.lane.auto = true
	c, w := r.connect()
	w.frozen = true
	const n, each = 1_000_000, 500
	set := strings.Repeat(array("SET", "k", "v"), each)
	for range n / each {
		r.send(c, set)
		r.front.completions()
		r.lane.sent, r.lane.done, r.lane.taken, r.lane.flushed = nil, nil, 0, 0
	}
	if w.copied != 5*n || w.paused {
		t.Fatalf("%d bytes wait, paused: %v", w.copied, w.paused)
	}
	large := strings.Repeat("e", 1<<20)
	for range 20 {
		w.receive(array("ECHO", large))
	}
	if !w.paused || r.front.server.backlog.Load() > backlogMax+2<<20+sendAt+int64(len(w.rest)) {
		t.Fatalf("paused: %v, %d bytes wait", w.paused, r.front.server.backlog.Load())
	}
	r.drain(w)
	if w.paused || len(w.rest) > 0 {
		t.Fatal("the connection still waits")
	}
	if want := strings.Repeat("+OK\r\n", n) + strings.Repeat(bulk(large), 20); w.take() != want {
		t.Fatal("other bytes than asked for")
	}
	// References are no copies, but have a bound, too.
	fill(r, "big", 1<<20)
	w.frozen = true
	r.lane.auto = false
	w.receive(strings.Repeat(array("GET", "big"), 500))
	r.answerAll()
	w.receive(array("GET", "big"))
	if !w.paused || w.copied > 64<<10 {
		t.Fatalf("paused: %v, %d bytes copied", w.paused, w.copied)
	}
	r.drain(w)
	if got := strings.Count(w.take(), "$1048576\r\n"); got != 501 {
		t.Fatalf("%d replies", got)
	}
	r.idle()
}

// When all backlogs together are too great, the greatest are closed; the others go on.
func TestThoseWithTheGreatestBacklogAreClosed(t *testing.T) {
	var log bytes.Buffer
	r := newRig(t, func(cfg *Config) {
		cfg.MaxValue, cfg.Logger = 16<<20, slog.New(slog.NewTextHandler(&log, nil))
	})
	good, goodWire := r.connect()
	patient, patientWire := r.connect()
	fill(r, "kept", 4<<20)
	patientWire.frozen = true
	r.send(patient, array("GET", "kept")) // holds much, but nothing that would be free
	r.answerAll()
	// Each version of the value is retained by somebody who does not read it.
	var rude []*wire
	for i := range 40 {
		fill(r, "big", 16<<20)
		c, w := r.connect()
		w.frozen = true
		r.send(c, array("GET", "big"))
		r.answerAll()
		rude = append(rude, w)
		if got := r.front.server.ClientBytes(); got > ClientsMax {
			t.Fatalf("%d MiB after %d clients", got>>20, i+1)
		}
	}
	closed := 0
	for _, w := range rude {
		if w.aborted {
			closed++
		}
	}
	if want := 40 - clientsFull>>24 - 1; closed < want || closed > want+2 || patientWire.closed {
		t.Errorf("%d of 40 were closed, want %d; who reads slowly: %v", closed, want,
			patientWire.closed)
	}
	if got := r.front.server.overloads.Load(); got != uint64(closed) {
		t.Errorf("%d were counted", got)
	}
	// One line a second at most; this may take some.
	if got := strings.Count(log.String(), "too much memory"); got == 0 || got > closed/2 {
		t.Errorf("%d lines in the log: %.500s", got, log.String())
	}
	r.send(good, array("GET", "kept"))
	r.answerAll()
	if got := goodWire.take(); len(got) != 4<<20+12 {
		t.Errorf("%d bytes", len(got))
	}
	// Replies that were copied for one client, as by a member that forwards.
	r.follow("127.0.0.1:9000")
	reply := bulk(strings.Repeat("f", 64<<20))
	closed = 0
	for range 10 {
		c, w := r.connect()
		w.frozen = true
		r.send(c, array("GET", "far"))
		if len(r.dialed) == 1 && r.dialed[0].sock == nil {
			r.dialed[0].opened(&wire{})
			feed(t, r.dialed[0], "+OK\r\n")
		}
		feed(t, r.dialed[0], reply)
		r.front.tick()
		rude = append(rude, w)
		if got := r.front.server.ClientBytes(); got > ClientsMax {
			t.Fatalf("%d MiB", got>>20)
		}
	}
	for _, w := range append(rude, patientWire) {
		if w.frozen = false; !w.closed {
			w.thaw()
		}
	}
	r.idle()
}

// What the lane may hold of replies is bounded; one that needs much waits for its turn, and has it.
func TestRepliesInTheLaneAreBounded(t *testing.T) {
	r := newRig(t, nil)
	fill(r, "s", 4000)
	greedy, greedyWire := r.connect()
	r.send(greedy, strings.Repeat(row("s", 2000), 20))
	if len(r.lane.sent) != 8 || !greedyWire.paused {
		t.Fatalf("%d requests in the lane", len(r.lane.sent))
	}
	huge, hugeWire := r.connect()
	r.send(huge, row("s", 20000))
	other, otherWire := r.connect()
	r.send(other, array("GET", "s")+array("INCR", "n"))
	if len(r.lane.sent) != 8 {
		t.Fatal("a request passed those that wait")
	}
	for turn := 0; r.front.due > 0 || turn == 0; turn++ {
		if turn == 40 {
			t.Fatal("it never ends")
		}
		for n := len(r.lane.done); n < len(r.lane.sent); n++ {
			r.lane.complete(uint64(n + 1))
		}
		if got := r.lane.machine.Retained(); got > kv.MaxReply {
			t.Fatalf("%d bytes of replies at once", got)
		}
		r.front.completions()
	}
	for name, got := range map[string]bool{
		"greedy": strings.Count(greedyWire.take(), "*2000\r\n") == 20,
		"huge":   strings.Count(hugeWire.take(), "$4000\r\n") == 20000,
		"other":  otherWire.take() == bulk(strings.Repeat("s", 4000))+":1\r\n",
	} {
		if !got {
			t.Errorf("%s: not answered", name)
		}
	}
	r.idle()
}

// One command works on a bounded number of keys, and APPEND has the limit of values in its entry.
func TestCommandsAreBounded(t *testing.T) {
	r := newRig(t, func(cfg *Config) { cfg.MaxValue = 10 })
	r.lane.auto = true
	c, w := r.connect()
	many := func(name string, n int) string {
		return array(append([]string{name}, strings.Fields(strings.Repeat("k ", n))...)...)
	}
	for _, x := range []struct{ cmd, want string }{
		{many("DEL", keysMax), ":0\r\n"},
		{many("MSET", 2*keysMax), "+OK\r\n"},
		{many("EXISTS", keysMax), ":100000\r\n"},
		{many("DEL", keysMax+1), "-ERR 100001 keys"},
		{many("UNLINK", keysMax+1), "-ERR 100001 keys"},
		{many("MGET", keysMax+1), "-ERR 100001 keys"},
		{many("EXISTS", keysMax+1), "-ERR 100001 keys"},
		{many("TOUCH", keysMax+1), "-ERR 100001 keys"},
		{many("MSET", 2*keysMax+2), "-ERR 100001 keys"},
		{many("MSETNX", 2*keysMax+2), "-ERR 100001 keys"},
		{array("APPEND", "a", "123456"), ":6\r\n"},
		{array("APPEND", "a", "12345"), "-ERR the value would have 11 bytes, which is over the " +
			"limit of 10 (--max-value)\r\n"},
		{array("APPEND", "a", "1234"), ":10\r\n"},
		{array("MSET", "a", "1", "b", "12345678901"), "-ERR value of 11 bytes is over the limit"},
	} {
		r.send(c, x.cmd)
		r.front.completions()
		if got := w.take(); !strings.HasPrefix(got, x.want) {
			t.Errorf("%.30q: got %.100q, want %q", x.cmd, got, x.want)
		}
	}
	r.idle()
}

// Commands that look at much leave the loop to others between two ticks.
func TestSlowCommandsShareTheLoop(t *testing.T) {
	r := newRig(t, nil)
	now := int64(0)
	r.front.now = func() int64 { now += int64(6e6); return now } // each takes 6 ms
	c, w := r.connect()
	other, otherWire := r.connect()
	r.send(c, strings.Repeat(array("COMMAND", "COUNT"), 7))
	r.send(other, array("PING"))
	if got := strings.Count(w.take(), "\r\n"); got != 2 || !w.paused {
		t.Fatalf("%d answers in one tick", got)
	}
	expect(t, "a quick command beside them", otherWire.take(), "+PONG\r\n")
	for range 3 {
		r.front.tick()
	}
	if got := strings.Count(w.take(), "\r\n"); got != 5 || w.paused {
		t.Fatalf("%d answers in three ticks", got)
	}
}

// Large replies that were asked for at once come a few at a time, so that a client that reads them
// slowly is never closed for them.
func TestForwardedCommandsHaveAWindow(t *testing.T) {
	r := newRig(t, nil)
	r.follow("127.0.0.1:9000")
	c, w := r.connect()
	far := &wire{}
	r.front.began = r.now
	r.front.pipelines(c)
	r.send(c, strings.Repeat(array("GET", "k"), 300))
	l := r.dialed[0]
	l.opened(far)
	feed(t, l, "+OK\r\n+OK\r\n")
	asked, most := 0, 0
	for answered := 0; answered < 100; answered++ {
		asked += strings.Count(far.take(), "GET")
		most = max(most, asked-answered)
		feed(t, l, "$1\r\nv\r\n")
	}
	if most < windowStart || most > 2*windowStart+100 {
		t.Fatalf("%d were on their way", most)
	}
	reply := bulk(strings.Repeat("v", 16<<20))
	for answered := 100; answered < 300; answered++ {
		asked += strings.Count(far.take(), "GET")
		if answered == 100 {
			reply := bulk(strings.Repeat("v", 1<<20))
			feed(t, l, reply)
			continue
		}
		if answered > 250 && asked-answered > 4 {
			t.Fatalf("%d large replies are on their way", asked-answered)
		}
		feed(t, l, reply)
		w.got.Reset()
	}
	if asked != 300 || w.paused {
		t.Fatalf("%d of 300 were asked for", asked)
	}
	r.idle()
}

// A client of a follower that reads nothing has a few long replies there, not as many as fit: each
// was sent from member to member, and is a copy.
func TestFewLongRepliesAreForwardedToOneWhoDoesNotRead(t *testing.T) {
	r := newRig(t, nil)
	r.follow("127.0.0.1:9000")
	c, w := r.connect()
	w.frozen = true
	r.send(c, strings.Repeat(array("GET", "k"), 40))
	far := r.opens(r.dialed[0])
	asked := 0
	for {
		n := strings.Count(far.take(), "GET")
		if n == 0 {
			break
		}
		asked += n
		for range n {
			feed(t, r.dialed[0], "$1048576\r\n"+strings.Repeat("v", 1<<20)+"\r\n")
		}
	}
	if most := windowStart + windowLarge; asked < 2 || asked > most {
		t.Errorf("%d commands were forwarded, want at most %d", asked, most)
	}
}
