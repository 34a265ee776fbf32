package server

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/cmd/raftd/auth"
)

// words are the arguments of a command of aclTalk.
func words(cmd string) (list []string) {
	for _, w := range strings.Fields(cmd) {
		list = append(list, strings.ReplaceAll(w, "·", " "))
	}
	return list
}

func talkFits(got, want string) bool {
	if start, cut := strings.CutSuffix(want, "…"); cut {
		return strings.HasPrefix(got, start)
	}
	return got == want
}

func TestUsersAnswerLikeRedis(t *testing.T) {
	r := newRig(t, nil)
	r.lane.auto = true
	conns := map[string]*conn{}
	for i, x := range aclTalk {
		if conns[x.who] == nil {
			conns[x.who], _ = r.connect()
		}
		w := conns[x.who].sock.(*wire)
		r.send(conns[x.who], array(words(x.cmd)...))
		r.front.completions()
		if got := w.take(); !talkFits(got, x.reply) || (x.reply == "") != w.closed {
			t.Errorf("%d: %s: %s:\n got %q\nwant %q", i, x.who, x.cmd, got, x.reply)
		}
	}
}

// askStockUsers asks a stock server whether aclTalk is the truth, and whether categories are.
func askStockUsers(t *testing.T, address string) {
	dials := map[string]func(string) (string, error){}
	for i, x := range aclTalk {
		if dials[x.who] == nil {
			dials[x.who] = dialStockWords(t, address)
		}
		if got, _ := dials[x.who](x.cmd); !talkFits(got, x.reply) {
			t.Errorf("%d: %s: %s:\nstock %q\ntable %q", i, x.who, x.cmd, got, x.reply)
		}
	}
	ask := dialStockWords(t, address)
	list := func(cmd string) []string {
		got, err := ask(cmd)
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(strings.Split(got, "\r\n"), func(s string) bool {
			return s == "" || s[0] == '*' || s[0] == '$'
		})
	}
	theirs := list("COMMAND LIST")
	if got := list("ACL CAT"); !slices.Equal(got, auth.Categories) {
		t.Errorf("categories: stock %q", got)
	}
	for _, category := range auth.Categories {
		names := list("ACL CAT " + category)
		ours, _ := book.In(category)
		for i := range book.Len() {
			name := book.Name(i)
			if slices.Contains(theirs, name) &&
				slices.Contains(ours, name) != slices.Contains(names, name) {
				t.Errorf("%s in category %s: stock %v", name, category,
					slices.Contains(names, name))
			}
		}
	}
}

func TestAccessToKeysIsSaidOfEachCommand(t *testing.T) {
	check := func(name string, keys bool) {
		if _, ok := keyAccess[name]; ok != keys {
			t.Errorf("%s: has keys %v, in keyAccess %v", name, keys, ok)
		}
	}
	for _, d := range commands {
		check(d.name, d.firstKey > 0)
		for _, s := range d.subs {
			check(s.name, s.firstKey > 0)
		}
	}
}

// withPassword makes a rig whose clients need one.
func withPassword(t *testing.T) *rig {
	r := newRig(t, nil)
	r.lane.auto = true
	for _, rules := range [][]string{{auth.Default, "resetpass", ">secret"},
		{"member", "on", ">proxy", "+raft.proxy"}, {"reader", "on", ">r", "~r*", "+get"}} {
		if err := r.front.server.users.Set(rules[0], rules[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func TestLittleIsTakenBeforeThePassword(t *testing.T) {
	long := strings.Repeat("x", 16<<10)
	for _, x := range []struct{ input, reply string }{
		{"*11\r\n", "-ERR Protocol error: unauthenticated multibulk length\r\n"},
		{"*2\r\n$4\r\nPING\r\n$16385\r\n",
			"-ERR Protocol error: unauthenticated bulk length\r\n"},
		{array("PING", long), "-NOAUTH Authentication required.\r\n"},
		{"PING" + strings.Repeat(" x", 10) + "\r\n",
			"-ERR Protocol error: unauthenticated multibulk length\r\n"},
	} {
		r := withPassword(t)
		c, w := r.connect()
		if w.limit != 10*time.Second {
			t.Fatalf("without a password it may stay for %v", w.limit)
		}
		r.send(c, x.input)
		expect(t, x.input[:min(len(x.input), 40)], w.take(), x.reply)
		if ends := strings.HasPrefix(x.reply, "-ERR"); w.closed != ends {
			t.Errorf("%.40q: closed %v", x.input, w.closed)
		}
	}
	r := withPassword(t)
	c, w := r.connect()
	r.send(c, array("AUTH", "secret")+
		array("MGET", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j"))
	r.front.completions()
	if got := w.take(); !strings.HasPrefix(got, "+OK\r\n*10") || w.limit != 0 {
		t.Errorf("after the password: %q, may stay for %v", got, w.limit)
	}
}

func TestWhoReadsNothingBeforeThePasswordIsClosed(t *testing.T) {
	r := withPassword(t)
	c, w := r.connect()
	r.send(c, strings.Repeat(array("PING"), 10_000))
	if w.closed {
		t.Fatal("closed although it reads")
	}
	w.frozen = true
	r.send(c, strings.Repeat(array("PING"), 10))
	if w.closed {
		t.Fatal("closed for a few answers")
	}
	w.receive(strings.Repeat(array("PING"), 10_000))
	if !w.aborted || w.copied > 2*loginOutput {
		t.Fatalf("aborted %v, %d bytes wait", w.aborted, w.copied)
	}
}

func TestMembersSayWhoTheyAre(t *testing.T) {
	for _, x := range []struct {
		args  []string
		reply string
	}{
		{[]string{"4"}, "-NOAUTH Authentication required.\r\n"},
		{[]string{"4", "member"}, "-NOAUTH Authentication required.\r\n"},
		{[]string{"4", "member", "wrong"}, "-" + faultWrongPass + "\r\n"},
		{[]string{"4", "reader", "r"},
			"-NOPERM this user has no permissions to run the 'raft.proxy' command\r\n"},
		{[]string{"3", "member", "proxy"}, "-NOPROTO unsupported version of forwarding\r\n"},
		{[]string{"4", "member", "proxy"}, "+OK\r\n"},
		{[]string{"4", "default", "secret"}, "+OK\r\n"},
	} {
		r := withPassword(t)
		c, w := r.connect()
		r.send(c, array(append([]string{"RAFT.PROXY"}, x.args...)...))
		expect(t, "RAFT.PROXY", w.take(), x.reply)
		r.send(c, array("SET", "k", "v"))
		r.front.completions()
		if got := w.take(); (got == "+OK\r\n") != (x.reply == "+OK\r\n") {
			t.Errorf("%v: then SET: %q", x.args, got)
		}
	}
}

// Whoever may not use a client's place says first that it is a member; both forms count.
func TestMembersAreKnownByTheirFirstBytes(t *testing.T) {
	for _, whole := range []string{array("RAFT.PROXY", "4"), array("RAFT.PROXY", "4", "u", "p")} {
		for n := range len(greetings[0]) {
			if is, missing := beginsAsMember([]byte(whole[:n])); is || missing < 1 {
				t.Fatalf("%q: %v, %d missing", whole[:n], is, missing)
			}
		}
		if is, _ := beginsAsMember([]byte(whole)); !is {
			t.Fatalf("%q is no member", whole)
		}
	}
	if is, missing := beginsAsMember([]byte(array("RAFT.PROXX", "4"))); is || missing > 0 {
		t.Fatal("a client is a member")
	}
}

func TestAMemberForwardsWithItsPassword(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Forward = Credential{"member", "proxy"} })
	r.follow("127.0.0.1:7382")
	c, _ := r.connect()
	r.send(c, array("SET", "k", "v"))
	far := &wire{}
	r.dialed[0].opened(far)
	expect(t, "greeting", far.take(), array("RAFT.PROXY", "4", "member", "proxy"))
}

// What a client may not do is refused where it is, also while another member leads.
func TestPermissionsAreCheckedWhereTheClientIs(t *testing.T) {
	r := withPassword(t)
	r.follow("127.0.0.1:7382")
	c, w := r.connect()
	r.send(c, array("AUTH", "reader", "r")+array("SET", "r1", "v")+array("GET", "k"))
	expect(t, "refused here", w.take(),
		"+OK\r\n-NOPERM this user has no permissions to run the 'set' command\r\n-"+
			faultNoKeyPerm+"\r\n")
	if len(r.dialed) != 0 {
		t.Fatal("the leader was dialed for it")
	}
	if got := &r.front.server.denied; got.command.Load() != 1 || got.key.Load() != 1 {
		t.Error("not counted")
	}
}

// AUTH waits until what came before has its answers: what goes again goes as the user that sent it.
func TestAuthWaitsForAnswers(t *testing.T) {
	r := withPassword(t)
	r.lane.auto = false
	c, w := r.connect()
	r.send(c, array("AUTH", "secret"))
	w.take()
	w.receive(array("SET", "k", "v") + array("AUTH", "reader", "r") + array("ACL", "WHOAMI"))
	expect(t, "while SET is pending", w.take(), "")
	r.lane.complete(1)
	r.front.completions()
	expect(t, "then", w.take(),
		"+OK\r\n+OK\r\n-NOPERM this user has no permissions to run the 'acl|whoami' command\r\n")
}

func TestTooManyKeysForPatterns(t *testing.T) {
	r := withPassword(t)
	rules := []string{"on", ">p", "+mget"}
	for i := range 200 {
		rules = append(rules, "~no"+strings.Repeat("x", i)+"*")
	}
	if err := r.front.server.users.Set("many", append(rules, "~k*")...); err != nil {
		t.Fatal(err)
	}
	c, w := r.connect()
	key := "k" + strings.Repeat("y", 1000)
	r.send(c, array("AUTH", "many", "p"))
	w.take()
	args := []string{"MGET"}
	for range 1000 {
		args = append(args, key)
	}
	r.send(c, array(args...))
	expect(t, "a thousand keys of a thousand bytes", w.take(), "-"+faultTooMuch+"\r\n")
}

func TestUsersAreSavedAndLoaded(t *testing.T) {
	r := newRig(t, nil)
	r.lane.auto = true
	c, w := r.connect()
	ask := func(cmd, want string) {
		t.Helper()
		r.send(c, array(words(cmd)...))
		expect(t, cmd, w.take(), want)
	}
	ask("ACL SAVE", "-ERR "+auth.ErrNoFile.Error()+"\r\n")
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, []byte("user bob on >pw +get ~*\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.front.server.users.Open(file); err != nil {
		t.Fatal(err)
	}
	ask("ACL USERS", "*2\r\n$3\r\nbob\r\n$7\r\ndefault\r\n")
	ask("ACL SETUSER eve on nopass", "+OK\r\n")
	ask("ACL SAVE", "+OK\r\n")
	ask("ACL DELUSER eve", ":1\r\n")
	ask("ACL LOAD", "+OK\r\n")
	ask("ACL USERS", "*3\r\n$3\r\nbob\r\n$7\r\ndefault\r\n$3\r\neve\r\n")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "file", string(b), "user bob on "+
		"#30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4 ~* resetchannels "+
		"-@all +get\nuser default on nopass ~* &* +@all\n"+
		"user eve on nopass resetchannels -@all\n")
	if err := os.WriteFile(file, []byte("user bob maybe\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ask("ACL LOAD", "-ERR "+file+":1: Error in ACL SETUSER modifier 'maybe': Syntax error\r\n")
	ask("ACL USERS", "*3\r\n$3\r\nbob\r\n$7\r\ndefault\r\n$3\r\neve\r\n")
}

func TestGeneratedPasswords(t *testing.T) {
	r := newRig(t, nil)
	c, w := r.connect()
	for cmd, digits := range map[string]int{"ACL GENPASS": 64, "ACL GENPASS 5": 2,
		"ACL GENPASS 4096": 1024} {
		r.send(c, array(words(cmd)...))
		one := w.take()
		r.send(c, array(words(cmd)...))
		_, text, _ := strings.Cut(one, "\r\n")
		if len(text) != digits+2 || digits > 2 && one == w.take() {
			t.Errorf("%s: %q", cmd, one)
		}
		w.take()
	}
}
