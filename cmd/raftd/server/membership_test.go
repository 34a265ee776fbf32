package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine"
)

// changer notes what the engine is asked for, and fails as the test says.
type changer struct {
	asked []string
	err   error
	list  engine.Membership
}

func (c *changer) note(what string, args ...any) error {
	c.asked = append(c.asked, fmt.Sprintf(what, args...))
	return c.err
}

func (c *changer) Membership() engine.Membership { return c.list }
func (c *changer) AddMember(_ context.Context, m engine.Member, kind engine.MemberKind) error {
	return c.note("add %v %v", m, kind)
}
func (c *changer) PromoteMember(_ context.Context, id uint64) error {
	return c.note("promote %d", id)
}
func (c *changer) DemoteMember(_ context.Context, id uint64) error {
	return c.note("demote %d", id)
}
func (c *changer) RemoveMember(_ context.Context, id uint64) error {
	return c.note("remove %d", id)
}
func (c *changer) ReplaceMember(_ context.Context, old uint64, with engine.Member) error {
	return c.note("replace %d %v", old, with)
}
func (c *changer) UpdateMember(_ context.Context, m engine.Member) error {
	return c.note("update %v", m)
}

// changes gives the rig's server an engine of three members to change. What is begun runs
// when the test says so.
func (r *rig) changes() (c *changer, run func()) {
	c = &changer{list: engine.Membership{Index: 9, Committed: true}}
	for id := uint64(1); id <= 3; id++ {
		c.list.Members = append(c.list.Members, engine.MemberInfo{Member: engine.Member{ID: id,
			Address: fmt.Sprint("h:", id), Priority: int(id) - 2}, Bound: id > 1})
	}
	var e memberEngine = c
	r.front.server.members.Store(&e)
	var begun func()
	r.front.start = func(f func()) { begun = f }
	r.front.do = func(f func()) error { f(); return nil }
	return c, func() { begun() }
}

func TestMembersAreChangedAsAsked(t *testing.T) {
	r := newRig(t, nil)
	e, run := r.changes()
	c, w := r.connect()
	for _, x := range [][2]string{
		{"ADD 4 h:4", "add {4 h:4 false 0} voter"},
		{"add 4 h:4 voter priority -7", "add {4 h:4 false -7} voter"},
		{"ADD 4 h:4 PRIORITY 7 LEARNER", "add {4 h:4 false 7} learner"},
		{"ADD 4 h:4 learner witness", "add {4 h:4 true 0} learner"},
		{"REPLACE 3 4 h:4 WITNESS", "replace 3 {4 h:4 true 1}"},
		{"REPLACE 3 WITNESS", "replace 3 {3 h:3 true 1}"},
		{"REMOVE 18446744073709551615", "remove 18446744073709551615"},
		{"PROMOTE 3", "promote 3"},
		{"demote 3", "demote 3"},
		{"REPLACE 3 4 h:4", "replace 3 {4 h:4 false 1}"},
		{"REPLACE 3 h:9", "replace 3 {3 h:9 false 1}"},
		{"REPLACE 3", "replace 3 {3 h:3 false 1}"},
		{"SET 1 ADDRESS h:9", "update {1 h:9 false -1}"},
		{"SET 1 PRIORITY 4", "update {1 h:1 false 4}"},
		{"SET 1 PRIORITY 0 address h:8", "update {1 h:8 false 0}"},
	} {
		e.asked = nil
		r.send(c, array(append([]string{"RAFT.MEMBER"}, strings.Fields(x[0])...)...))
		expect(t, "it waits", w.take(), "")
		run()
		expect(t, x[0], w.take(), "+OK\r\n")
		expect(t, x[0], strings.Join(e.asked, ", "), x[1])
	}
}

func TestMistakesInChangesAreExplained(t *testing.T) {
	r := newRig(t, nil)
	e, _ := r.changes()
	c, w := r.connect()
	const arity = "-ERR wrong number of arguments for 'raft.member"
	for _, x := range [][2]string{
		{"", arity + "' command"},
		{"GROW", "-ERR unknown subcommand 'GROW'. Try RAFT.MEMBER HELP."},
		{"LIST 1", arity + "|list' command"},
		{"ADD 4", arity + "|add' command"},
		{"ADD 0 h:4", "-ERR '0' is not a member id; see RAFT.MEMBER LIST"},
		{"ADD 4=h:4 x", "-ERR '4=h:4' is not a member id; see RAFT.MEMBER LIST"},
		{"ADD 4 h:4 JUDGE", "-ERR syntax error"},
		{"SET 3 WITNESS yes", "-ERR syntax error"},
		{"ADD 4 h:4 VOTER PRIORITY", "-ERR syntax error"},
		{"ADD 4 h:4 PRIORITY 3000000000",
			"-ERR '3000000000' is not a priority, a number of 32 bits"},
		{"ADD 4 h:4 ADDRESS h:5", "-ERR syntax error"},
		{"REMOVE", arity + "|remove' command"},
		{"REMOVE two", "-ERR 'two' is not a member id; see RAFT.MEMBER LIST"},
		{"REPLACE 3 4", "-ERR where is member 4? RAFT.MEMBER REPLACE 3 4 HOST:PORT"},
		{"REPLACE 3 x h:4", "-ERR 'x' is not a member id; see RAFT.MEMBER LIST"},
		{"REPLACE 3 4 h:4 LEARNER", "-ERR syntax error"},
		{"SET 3", arity + "|set' command"},
		{"SET 3 LEARNER yes", "-ERR syntax error"},
		{"SET 3 ADDRESS", arity + "|set' command"},
	} {
		r.send(c, array(append([]string{"RAFT.MEMBER"}, strings.Fields(x[0])...)...))
		expect(t, x[0], w.take(), x[1]+"\r\n")
	}
	if len(e.asked) > 0 {
		t.Error(e.asked)
	}
}

func TestWhyMembersWereNotChanged(t *testing.T) {
	r := newRig(t, nil)
	e, run := r.changes()
	c, w := r.connect()
	because := func(cause error, words string) error {
		return &engine.MemberError{ID: 4, Cause: fmt.Errorf("%w: %s", cause, words)}
	}
	const not = "the members were not changed as asked: member 4: "
	for _, x := range []struct {
		verb string
		err  error
		says string
	}{
		{"ADD 4 h:4", because(engine.ErrNotConnected, "member 4 at h:4"),
			"-ERR " + not + "it is not connected: member 4 at h:4; is member 4 up, started with " +
				"--join, and reached there by the leader? See RAFT.MEMBER LIST for the others"},
		{"REMOVE 4", because(engine.ErrNotConnected, "of the 3 voters 1 are"),
			"-ERR " + not + "it is not connected: of the 3 voters 1 are; see RAFT.MEMBER LIST"},
		{"ADD 4 h:4", because(engine.ErrMember, "member 4"),
			"-ERR " + not + "it is a member already: member 4; to change it: RAFT.MEMBER " +
				"PROMOTE, DEMOTE, SET or REPLACE"},
		{"ADD 4 h:4", because(engine.ErrBehind, "a"), "-ERR " + not + "it did not catch up with " +
			"the log: a; when it is well, RAFT.MEMBER PROMOTE 4, or REMOVE it"},
		{"ADD 4 h:4", because(engine.ErrTooMany, "it has 7 voters"), "-ERR " + not + "the " +
			"cluster would have too many members: it has 7 voters; remove one first, or add a " +
			"learner"},
		{"REMOVE 4", because(engine.ErrLastVoter, "4"),
			"-ERR " + not + "it is the only voter: 4; add another voter first"},
		{"PROMOTE 4", because(engine.ErrOtherDirectory, "a\r\nb"),
			"-ERR " + not + "it answers with another data directory: a ; b; is that address the " +
				"one of member 4? One that lost its directory needs RAFT.MEMBER REPLACE"},
		{"REMOVE 4", because(engine.ErrChanging, "b"), "-TRYAGAIN " + not +
			"another change of the members is under way: b"},
		{"REMOVE 4", because(engine.ErrUnknownOutcome, "c"), "-UNKNOWNRESULT the members may " +
			"have been changed or not; see RAFT.MEMBER LIST: " + not +
			"leadership was lost while the members were changed: c"},
		{"REMOVE 4", context.DeadlineExceeded, "-UNKNOWNRESULT the members may have been changed " +
			"or not; see RAFT.MEMBER LIST: context deadline exceeded"},
		{"REMOVE 4", engine.ErrClosed, "-UNKNOWNRESULT the members may have been changed or not; " +
			"see RAFT.MEMBER LIST: engine closed"},
		{"REMOVE 4", &engine.ConfigError{Option: "Member", Problem: "an id of 0"},
			"-ERR not changed: an id of 0"},
		{"REMOVE 4", &engine.Error{Reason: engine.ReasonNotLeader, Leader: 2},
			"-TRYAGAIN not changed: this member does not lead; the leader is member 2"},
		{"REMOVE 4", &engine.Error{Reason: engine.ReasonNotLeader},
			"-TRYAGAIN not changed: this member does not lead, and no leader is known"},
	} {
		e.err = x.err
		r.send(c, array(append([]string{"RAFT.MEMBER"}, strings.Fields(x.verb)...)...))
		run()
		expect(t, x.verb, w.take(), x.says+"\r\n")
	}
	r.send(c, array("RAFT.MEMBER", "SET", "9", "PRIORITY", "1"))
	run()
	expect(t, "nobody", w.take(), "-ERR the members were not changed as asked: member 9: there is "+
		"no member 9; see RAFT.MEMBER LIST\r\n")
}

func TestOneChangeAtATime(t *testing.T) {
	r := newRig(t, nil)
	e, run := r.changes()
	c, w := r.connect()
	r.send(c, array("RAFT.MEMBER", "REMOVE", "3")+array("PING"))
	other, wo := r.connect()
	r.send(other, array("RAFT.MEMBER", "REMOVE", "2")+array("PING"))
	expect(t, "the second", wo.take(),
		"-TRYAGAIN not changed: another RAFT.MEMBER is under way on this member\r\n+PONG\r\n")
	expect(t, "the first waits, and what is behind it", w.take(), "")
	c.gone()
	run()
	expect(t, "the change goes on without its client", strings.Join(e.asked, ", "), "remove 3")
	r.send(other, array("RAFT.MEMBER", "REMOVE", "2"))
	run()
	expect(t, "the next", wo.take(), "+OK\r\n")
}

func TestMembersAreListed(t *testing.T) {
	r := newRig(t, nil)
	e, _ := r.changes()
	e.list.Change = "adding a voter: member 3"
	e.list.Members = e.list.Members[1:2]
	e.list.Members[0].Match, e.list.Members[0].Connected = 7, true
	r.status.Members[1].Lag, r.status.Members[1].Advertised = 2, "c:2"
	c, w := r.connect()
	r.send(c, array("RAFT.MEMBER", "LIST"))
	text := func(words ...string) (s string) {
		for _, x := range words {
			if s += fmt.Sprintf("$%d\r\n%s\r\n", len(x), x); strings.HasPrefix(x, ":") {
				s = s[:strings.LastIndexByte(s, '$')] + x + "\r\n"
			}
		}
		return s
	}
	expect(t, "the list", w.take(), "*14\r\n"+text("index", ":9", "committed", "yes", "change",
		"adding a voter: member 3", "asked", ":1", "leader", ":1", "notice", "", "members")+
		"*1\r\n*24\r\n"+text("id", ":2", "address", "h:2", "client_address", "c:2",
		"kind", "voter", "witness", "no", "leader", "no", "connected", "yes", "bound", "yes",
		"match", ":7", "lag", ":2", "priority", ":0", "error", ""))
}

// leading is a member's port for clients that answers one errand.
func leading(t *testing.T, answer string) (address string, got func() string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan string, 1)
	go func() {
		defer l.Close()
		c, err := l.Accept()
		if err != nil {
			heard <- err.Error()
			return
		}
		defer c.Close()
		// whoever asked says what it got
		b := make([]byte, len(greeting)+len(array("RAFT.MEMBER", "REMOVE", "3")))
		n, _ := io.ReadFull(c, b[:len(greeting)])
		first, rest, _ := strings.Cut(answer, "|")
		_, _ = io.WriteString(c, first)
		more, _ := io.ReadFull(c, b[n:]) // nothing, from one that does not go on
		_, _ = io.WriteString(c, rest)
		heard <- string(b[:n+more])
	}()
	return l.Addr().String(), func() string { return <-heard }
}

// A follower asks the leader on a connection of its own; its other clients do not wait.
func TestAFollowerAsksTheLeader(t *testing.T) {
	command := array("RAFT.MEMBER", "REMOVE", "3")
	for _, x := range []struct{ answer, asked, says string }{
		{"+OK\r\n|+OK\r\n", command, "+OK\r\n"},
		{"+OK\r\n|-ERR no\r\n", command, "-ERR no\r\n"},
		{"+OK\r\n|", command,
			"-UNKNOWNRESULT see RAFT.MEMBER LIST; no answer came from the leader at "},
		{"+OK\r\n|?", command,
			"-UNKNOWNRESULT see RAFT.MEMBER LIST; no answer came from the leader at "},
		// one that refuses the greeting would carry out what follows, as any client's
		{"-NOPROTO\r\n|", "", "-TRYAGAIN not changed: RAFT.PROXY was refused by the leader at "},
		{"?|", "", "-TRYAGAIN not changed: RAFT.PROXY was not answered by the leader at "},
	} {
		r := newRig(t, nil)
		e, run := r.changes()
		address, heard := leading(t, x.answer)
		r.follow(address)
		c, w := r.connect()
		r.send(c, array("RAFT.MEMBER", "REMOVE", "3"))
		run()
		expect(t, "asked", heard(), string(greeting)+x.asked)
		if got := w.take(); !strings.HasPrefix(got, x.says) || strings.Count(got, "\n") != 1 {
			t.Errorf("%q: %q", x.answer, got)
		}
		if len(e.asked)+len(r.dialed) > 0 {
			t.Error(e.asked, r.dialed)
		}
	}
	r := newRig(t, nil)
	e, run := r.changes()
	address, heard := leading(t, "+OK\r\n|+OK\r\n")
	e.err = &engine.Error{Reason: engine.ReasonNotLeader, Leader: 2, LeaderAddress: address}
	c, w := r.connect()
	r.send(c, array("RAFT.MEMBER", "REMOVE", "1"))
	run()
	heard()
	expect(t, "a leader that has handed over asks the next one", w.take(), "+OK\r\n")
	r.send(c, array("RAFT.MEMBER", "REMOVE", "1"))
	run()
	if got := w.take(); !strings.HasPrefix(got, "-TRYAGAIN not changed: this member cannot reach "+
		"the leader at "+address) {
		t.Error(got)
	}
}

func TestWhoDoesNotForwardSaysWhoLeads(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Follower = Redirect })
	r.changes()
	r.follow("127.0.0.1:9000")
	c, w := r.connect()
	r.send(c, array("RAFT.MEMBER", "REMOVE", "1"))
	expect(t, "redirected", w.take(), "-MOVED 0 127.0.0.1:9000\r\n")

	r = newRig(t, nil)
	e, run := r.changes()
	e.err = &engine.Error{Reason: engine.ReasonNotLeader, Leader: 2,
		LeaderAddress: "127.0.0.1:9000"}
	r.follow("127.0.0.1:9000")
	c, w = r.connect()
	r.send(c, array("RAFT.PROXY", proxyVersion)+array("RAFT.MEMBER", "REMOVE", "1"))
	run()
	expect(t, "forwarded once", w.take(), "+OK\r\n-TRYAGAIN not changed: this member does not "+
		"lead; the leader is member 2 at 127.0.0.1:9000\r\n")
}

// A leader that hangs keeps the connection and answers nothing.
func TestAnErrandToADeposedLeaderEnds(t *testing.T) {
	r := newRig(t, nil)
	r.follow("127.0.0.1:9000")
	near, far := net.Pipe()
	defer far.Close()
	e := errandReplies{conn: timeless{near}}
	_, err := e.next(context.Background(), r.front.server, "127.0.0.1:9001")
	if err == nil || err.Error() != "it leads no more" {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err = e.next(ctx, r.front.server, "127.0.0.1:9000"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// timeless is a connection on which no read waits.
type timeless struct{ net.Conn }

func (c timeless) SetReadDeadline(time.Time) error {
	return c.Conn.SetReadDeadline(time.Now().Add(-time.Second))
}

// TestAddressesThatAreNone: one that is too long to be any is refused here, in a line that reaches
// also a client of another member, and an empty one is not the same as none.
func TestAddressesThatAreNone(t *testing.T) {
	r := newRig(t, nil)
	e, _ := r.changes()
	c, w := r.connect()
	long := strings.Repeat("a", 70000) + ":1"
	for _, x := range [][]string{{"ADD", "4", long}, {"REPLACE", "3", "4", long},
		{"REPLACE", "3", long}, {"SET", "3", "ADDRESS", long}, {"SET", "3", "ADDRESS", ""},
		{"ADD", "4", ""}, {"REPLACE", "3", ""}} {
		r.send(c, array(append([]string{"RAFT.MEMBER"}, x...)...))
		got := w.take()
		if !strings.Contains(got, "is not an address of a member, HOST:PORT") || len(got) > 256 ||
			len(e.asked) > 0 {
			t.Errorf("%.40v: %.300q, %d asked", x, got, len(e.asked))
		}
	}
}
