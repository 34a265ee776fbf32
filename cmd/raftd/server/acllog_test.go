package server

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// aclEntries are entries of ACL LOG as Redis 7.0.15 answers them, without their ages and clients.
func aclEntries(entries ...[5]string) string {
	var b strings.Builder
	b.WriteString("*" + number(len(entries)) + "\r\n")
	for _, e := range entries {
		b.WriteString("*14\r\n$5\r\ncount\r\n:" + e[0] + "\r\n")
		for i, name := range []string{"reason", "context", "object", "username"} {
			for _, s := range []string{name, e[i+1]} {
				b.WriteString("$" + number(len(s)) + "\r\n" + s + "\r\n")
			}
		}
		b.WriteString("$11\r\nage-seconds\r\n$ age\r\n$11\r\nclient-info\r\n$ client\r\n")
	}
	return b.String()
}

var (
	aclAges    = regexp.MustCompile(`age-seconds\r\n\$\d+\r\n[0-9.e-]+`)
	aclClients = regexp.MustCompile(`client-info\r\n\$\d+\r\nid=\d+ [^\r]*`)
)

// What is denied is kept for ACL LOG, in the form of Redis: a password, a command, a key. What is
// denied again counts in its entry. A client that has said no password is told so, and not kept.
func TestACLLog(t *testing.T) {
	r := newRig(t, nil)
	admin, w := r.connect()
	if got := r.ask(admin, "ACL", "SETUSER", "bob", "on", ">pw", "+get", "~a*"); got != "+OK\r\n" {
		t.Fatal(got)
	}
	log := func(args ...string) string {
		r.send(admin, array(append([]string{"ACL", "LOG"}, args...)...))
		got := aclAges.ReplaceAllString(w.take(), "age-seconds\r\n$$ age")
		return aclClients.ReplaceAllString(got, "client-info\r\n$$ client")
	}
	expect(t, "at first", log(), "*0\r\n")
	c, other := r.connect()
	for _, cmd := range []string{"AUTH bob bad", "AUTH bob bad", "auth bob bad",
		"HELLO 3 AUTH bob bad", "AUTH bob pw", "SET a 1", "CONFIG GET x", "GET b1", "SET a 1"} {
		r.send(c, array(strings.Fields(cmd)...))
	}
	other.take()
	all := [][5]string{{"2", "command", "toplevel", "set", "bob"},
		{"1", "key", "toplevel", "b1", "bob"}, {"1", "command", "toplevel", "config|get", "bob"},
		{"1", "auth", "toplevel", "HELLO", "bob"}, {"1", "auth", "toplevel", "auth", "bob"},
		{"2", "auth", "toplevel", "AUTH", "bob"}}
	expect(t, "all", log(), aclEntries(all...))
	expect(t, "two", log("2"), aclEntries(all[:2]...))
	expect(t, "none", log("-1"), "*0\r\n")
	expect(t, "no number", log("x"), "-ERR value is not an integer or out of range\r\n")
	expect(t, "too much", log("1", "2"),
		"-ERR unknown subcommand or wrong number of arguments for 'LOG'. Try ACL HELP.\r\n")
	r.ask(admin, "CONFIG", "SET", "acllog-max-len", "1")
	expect(t, "the newest", log(), aclEntries(all[0]))
	expect(t, "reset", log("reset"), "+OK\r\n")
	expect(t, "after it", log(), "*0\r\n")
}

// The log takes a bounded part of memory, whatever is denied.
func TestACLLogIsBounded(t *testing.T) {
	var l aclLog
	l.most.Store(3)
	now := time.Now()
	p := &client{}
	for i := range 20 {
		l.add(deniedForKey, number(i), "bob", p, now)
	}
	if len(l.entries) != 3 || l.entries[0].object != "19" {
		t.Errorf("%d entries", len(l.entries))
	}
	l.add(deniedForKey, "19", "bob", p, now.Add(2*aclLogSame))
	if e := l.entries[0]; e.count != 1 || l.entries[1].object != "19" {
		t.Errorf("after two minutes it counts as the same: %+v", e)
	}
	if s := shortText(make([]byte, 1<<20)); len(s) > 2*aclLogBytes {
		t.Errorf("%d bytes are kept of a key", len(s))
	}
}
