package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringraft/ringraft/netio/resp"
)

// fakeMember answers RAFT.MEMBER as the test says, and notes what it was asked.
type fakeMember struct {
	address string
	list    string // reply to LIST
	change  func() string

	mu    sync.Mutex
	asked []string
}

func newFakeMember(t *testing.T) *fakeMember {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &fakeMember{address: l.Addr().String(), change: func() string { return "+OK\r\n" }}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			m.serve(c)
		}
	}()
	return m
}

// serve answers one command; "" is no answer.
func (m *fakeMember) serve(c net.Conn) {
	defer c.Close()
	asked, err := (&caller{conn: c}).read() // a command looks like a reply
	if err != nil {
		return // whoever asked says so
	}
	var list []string
	for w, ok := asked.Next(); ok; w, ok = asked.Next() {
		list = append(list, string(w.Body))
	}
	words := fmt.Sprint(list)
	m.mu.Lock()
	m.asked = append(m.asked, words)
	answer := m.list
	if words != "[RAFT.MEMBER LIST]" {
		answer = m.change()
	}
	m.mu.Unlock()
	_, _ = c.Write([]byte(answer)) // whoever asked says what it got
}

// listed is a reply to LIST: who is asked, who leads, and where clients reach the members,
// from the first on.
func listed(asked, leader int, clients ...string) string {
	b := resp.AppendArray(nil, 8)
	for name, n := range map[string]int{"asked": asked, "leader": leader} {
		b = resp.AppendInt(resp.AppendBulkString(b, name), int64(n))
	}
	b = resp.AppendBulkStrings(b, "committed", "yes")
	b = bytes.Replace(b, []byte("*2\r\n"), nil, 1)
	b = resp.AppendArray(resp.AppendBulkString(b, "members"), len(clients))
	for i, c := range clients {
		leads := "no"
		if i+1 == leader {
			leads = "yes"
		}
		b = resp.AppendBulkStrings(b, "id", fmt.Sprint(i+1), "client_address", c, "leader", leads,
			"kind", "voter")
	}
	return string(b)
}

func quick(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// raftd member goes from any member to the leader, and after it when leadership moves.
func TestTheLeaderIsFound(t *testing.T) {
	one, two := newFakeMember(t), newFakeMember(t)
	one.list = listed(1, 2, one.address, two.address)
	two.list = listed(2, 2, one.address, two.address)
	a := &memberAsker{addresses: []string{freeAddress(t), one.address},
		progress: &strings.Builder{}}
	if err := a.change(quick(t), []string{"REMOVE", "3"}); err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprint(one.asked, two.asked); s != "[[RAFT.MEMBER LIST]] [[RAFT.MEMBER LIST] "+
		"[RAFT.MEMBER REMOVE 3]]" {
		t.Error(s)
	}
	for _, says := range []string{
		"-TRYAGAIN not changed: this member does not lead; the leader is member 1 at " +
			one.address,
		"-MOVED 0 " + one.address,
	} {
		one.asked = nil
		two.change = func() string { return says + "\r\n" }
		if err := a.change(quick(t), []string{"REMOVE", "3"}); err != nil {
			t.Fatal(err)
		}
		if s := fmt.Sprint(one.asked); !strings.HasSuffix(s, "[RAFT.MEMBER REMOVE 3]]") {
			t.Error(says, s)
		}
	}
	tries := 0
	two.change = func() string {
		if tries++; tries == 1 {
			return "-TRYAGAIN not changed: this member does not lead, and no leader is known\r\n"
		}
		return "+OK\r\n"
	}
	if err := a.change(quick(t), []string{"REMOVE", "3"}); err != nil || tries != 2 {
		t.Error(err, tries)
	}
}

// One that was removed knows of no leader, and of others that do.
func TestARemovedMemberSaysWhomToAsk(t *testing.T) {
	one, two := newFakeMember(t), newFakeMember(t)
	one.list = listed(1, 0, one.address, two.address)
	two.list = listed(2, 2, one.address, two.address)
	a := &memberAsker{addresses: []string{one.address}}
	if list, err := a.list(quick(t)); err != nil || list.Asked != 2 {
		t.Error(list, err)
	}
	two.list = "-ERR\r\n"
	if list, err := a.list(quick(t)); err != nil || list.Asked != 1 {
		t.Error(list, err)
	}
	one.list = listed(1, 0)
	if _, err := a.list(quick(t)); err == nil ||
		!strings.Contains(err.Error(), "knows of no members") {
		t.Error(err)
	}
}

// Refused is status 1, and what may have come about is status 3.
func TestWhatMayHaveComeAboutIsNotKnown(t *testing.T) {
	one := newFakeMember(t)
	one.list = listed(1, 1, one.address)
	for says, unknown := range map[string]bool{
		"-ERR no\r\n": false,
		"-TRYAGAIN another change is under way\r\n": false,
		"-UNKNOWNRESULT who knows\r\n":              true,
		"":                                          true,
		"+OK":                                       true,
		"?\r\n":                                     true,
	} {
		one.change = func() string { return says }
		err := (&memberAsker{addresses: []string{one.address}}).change(quick(t),
			[]string{"REMOVE", "3"})
		if err == nil || errors.Is(err, errUnknownChange) != unknown ||
			strings.HasPrefix(err.Error(), "ERR") {
			t.Errorf("%q: %v", says, err)
		}
	}
	for status, args := range map[int][]string{
		1: {"member", "remove", "3", "--addr", freeAddress(t)},
		2: {"member", "remove", "--addr", one.address},
		3: {"member", "remove", "3", "--addr", one.address},
	} {
		one.change = func() string { return "-UNKNOWNRESULT\r\n" }
		if got := execute(args); got != status {
			t.Errorf("%v: status %d, not %d", args, got, status)
		}
	}
}

func TestMembersArePrinted(t *testing.T) {
	table := memberTable{Asked: 1, Leader: 1, Committed: true, Change: "adding a voter: member 12",
		Members: []memberRow{
			{ID: 1, Address: "a:1", Clients: "c:1", Kind: "voter", Leader: true, Connected: true,
				Bound: true, Match: 7, Priority: -1},
			{ID: 12, Address: "a:12", Kind: "learner", Match: 5, Lag: 2, Error: "not fed"}}}
	var b strings.Builder
	if err := table.print(&b); err != nil {
		t.Fatal(err)
	}
	const want = `ID  KIND     ADDRESS  CLIENTS  LEADER  CONNECTED  BOUND  MATCH  LAG  PRIORITY
1   voter    a:1      c:1      yes     yes        yes    7      0    -1
12  learner  a:12     -        no      no         no     5      2    0
member 12: not fed
under way: adding a voter: member 12
`
	if b.String() != want {
		t.Error(b.String())
	}
	table = memberTable{Asked: 2, Members: table.Members[:1]}
	b.Reset()
	if err := table.print(&b); err != nil || !strings.Contains(b.String(), " -      -    -1\n"+
		"not committed yet\nno leader is known\n") {
		t.Error(err, b.String())
	}
}

// FuzzMembers gives the reader of lists whatever a member might send.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{"+OK\r\n", ":7\r\n", "$2\r\nab\r\n", "$-1\r\n",
		"*2\r\n$7\r\nmembers\r\n*1\r\n:1\r\n", listed(1, 2, "a", "b")} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p resp.ReplyParser
		var r resp.Reply
		if n, err := p.Parse(b, &r); err == nil && n > 0 {
			decodeMembers(r)
		}
	})
}
