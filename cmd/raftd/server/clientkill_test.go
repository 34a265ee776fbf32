package server

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// CLIENT KILL ends those that all of its options name, and the one who asks when it has its
// answer.
func TestClientKill(t *testing.T) {
	for _, x := range []struct {
		options string
		killed  string // of me, normal, member, elsewhere
		says    string
	}{
		{"10.0.0.1:999", "me normal member", "+OK\r\n"},
		{"10.9.9.9:1", "elsewhere", "+OK\r\n"},
		{"ID 2", "normal", ":1\r\n"},
		{"ID 1", "", ":0\r\n"},
		{"ID 1 SKIPME no", "me", ":1\r\n"},
		{"TYPE normal", "normal elsewhere", ":2\r\n"},
		{"TYPE replica", "member", ":1\r\n"},
		{"TYPE pubsub", "", ":0\r\n"},
		{"USER default SKIPME yes", "normal member elsewhere", ":3\r\n"},
		{"ADDR 10.9.9.9:1 TYPE slave", "", ":0\r\n"},
		{"ADDR 10.9.9.9:1 TYPE normal", "elsewhere", ":1\r\n"},
		{"LADDR 10.0.0.2:7379", "normal member", ":2\r\n"},
		{"SKIPME no LADDR 10.9.9.8:1", "elsewhere", ":1\r\n"},
	} {
		r := newRig(t, nil)
		me, w := r.connect()
		_, normal := r.connect()
		member, forwards := r.connect()
		r.send(member, array("RAFT.PROXY", proxyVersion))
		elsewhere := &wire{}
		elsewhere.conn = r.front.accept(elsewhere, "10.9.9.9:1", "10.9.9.8:1")
		r.send(me, array(append([]string{"CLIENT", "KILL"}, strings.Fields(x.options)...)...))
		expect(t, x.options, w.take(), x.says)
		killed := ""
		for i, far := range []*wire{w, normal, forwards, elsewhere} {
			if far.closed {
				killed += strings.Fields("me normal member elsewhere")[i] + " "
			}
		}
		expect(t, x.options+" killed", strings.TrimSpace(killed), x.killed)
	}
}

// CLIENT KILL finds clients by the user that they are now, and lists them so.
func TestClientKillByUser(t *testing.T) {
	r := withPassword(t)
	me, w := r.connect()
	r.send(me, array("AUTH", "secret"))
	reader, far := r.connect()
	r.send(reader, array("AUTH", "reader", "r"))
	w.take()
	r.send(me, array("CLIENT", "LIST"))
	if got := w.take(); !strings.Contains(got, " user=reader ") {
		t.Errorf("list: %q", got)
	}
	r.send(me, array("CLIENT", "KILL", "USER", "nobody")+array("CLIENT", "KILL", "USER", "member")+
		array("CLIENT", "KILL", "USER", "reader"))
	expect(t, "kill", w.take(), "-ERR No such user 'nobody'\r\n:0\r\n:1\r\n")
	if !far.closed || w.closed {
		t.Errorf("closed: reader %v, me %v", far.closed, w.closed)
	}
}

// While writes are paused reads go on, and what waits waits in its client's hands.
func TestClientPauseOfWrites(t *testing.T) {
	r := newRig(t, nil)
	r.lane.auto = true
	a, w := r.connect()
	b, far := r.connect()
	r.send(a, array("CLIENT", "PAUSE", "100", "WRITE"))
	r.send(b, array("GET", "k")+array("SET", "k", "v")+array("GET", "k"))
	r.front.completions()
	expect(t, "what is in front", far.take(), "$-1\r\n")
	if !far.paused || len(far.rest) == 0 {
		t.Fatal("what waits was read")
	}
	w.take()
	r.send(a, array("CLIENT", "LIST"))
	if got := w.take(); !strings.Contains(got, "id=2 ") || !strings.Contains(got, " flags=b ") {
		t.Errorf("list: %q", got)
	}
	r.later(99 * time.Millisecond)
	expect(t, "too early", far.take(), "")
	r.later(time.Millisecond)
	r.front.completions()
	expect(t, "after the pause", far.take(), "+OK\r\n$1\r\nv\r\n")
	r.send(a, array("CLIENT", "LIST"))
	if got := w.take(); strings.Contains(got, " flags=b ") {
		t.Errorf("list: %q", got)
	}
}

// A pause of all stops every command but the one that ends it, and no command of another member.
func TestClientPauseOfAll(t *testing.T) {
	r := newRig(t, nil)
	r.lane.auto = true
	a, w := r.connect()
	b, far := r.connect()
	member, forwards := r.connect()
	r.send(member, array("RAFT.PROXY", proxyVersion))
	forwards.take()
	r.send(a, array("CLIENT", "PAUSE", "1000")+array("CLIENT", "UNPAUSE")+array("PING"))
	expect(t, "ended at once", w.take(), "+OK\r\n+OK\r\n+PONG\r\n")
	r.send(a, array("CLIENT", "PAUSE", "1000")+array("CLIENT", "PAUSE", "10", "WRITE"))
	r.later(20 * time.Millisecond)
	r.send(b, array("PING"))
	r.send(member, array("SET", "k", "v"))
	r.front.completions()
	expect(t, "a client", far.take(), "")
	expect(t, "a member", forwards.take(), "+OK\r\n")
	expect(t, "the second pause", w.take(), "+OK\r\n") // it waits, too
	c, last := r.connect()
	r.send(c, array("CLIENT", "UNPAUSE"))
	expect(t, "whoever ends it", last.take(), "+OK\r\n")
	expect(t, "a client", far.take(), "+PONG\r\n")
}

// The longer time and the higher level of two pauses count.
func TestPausesAreAdded(t *testing.T) {
	var p pause
	p.begin(pauseAll, 0, 10)
	p.begin(pauseWrite, 5, 20)
	if p.at(19) != pauseAll || p.at(20) != noPause {
		t.Errorf("%d, %d", p.at(19), p.at(20))
	}
	p.begin(pauseWrite, 20, 30)
	if p.at(25) != pauseWrite {
		t.Error(p.at(25))
	}
	p.end()
	if p.at(25) != noPause {
		t.Error(p.at(25))
	}
}

// The fields of CLIENT LIST are those of Redis 7.0.15, and two of 7.2 for what SETINFO says.
func TestClientListHasTheFieldsOfRedis(t *testing.T) {
	r := newRig(t, nil)
	c, w := r.connect()
	r.now = int64(time.Hour)
	r.send(c, array("PING"))
	c.client.active.Add(-5)
	r.send(c, array("CLIENT", "INFO"))
	got := w.take()
	names := ""
	for _, m := range regexp.MustCompile(`(\S+)=\S*`).FindAllStringSubmatch(got, -1) {
		names += m[1] + " "
	}
	expect(t, "fields", names, "id addr laddr fd name age idle flags db sub psub ssub multi qbuf "+
		"qbuf-free argv-mem multi-mem rbs rbp obl oll omem tot-mem events cmd user redir resp "+
		"lib-name lib-ver ")
	if !regexp.MustCompile(` idle=[5-9] flags=N `).MatchString(got) {
		t.Errorf("got %q", got)
	}
}
