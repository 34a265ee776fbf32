package server

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/cmd/raftd/auth"
	"github.com/ringraft/ringraft/netio/resp"
)

// Who a connection is, and what it may do. That is decided here and only here: by the member whose
// client it is. A command that another member forwards comes on a connection of that member, which
// has said who it is (admitMember), and is not looked at again.

// login is who a connection is.
type login struct {
	users *auth.Table // as of which user was looked up
	user  *auth.User  // whose rules hold
	known bool        // it has said a password, or needed none when it came
}

const (
	// loginTime is how long a connection may take to say its password.
	loginTime = 10 * time.Second
	// loginOutput is how many bytes of answers may wait for a client that has not: errors cost
	// it less than they cost this member.
	loginOutput = 1 << 10
)

// Redis's words.
const (
	faultNoAuth     = "NOAUTH Authentication required."
	faultHelloFirst = "NOAUTH HELLO must be called with the client already authenticated, " +
		"otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client " +
		"and select the RESP protocol version at the same time"
	faultNoPassword = "ERR AUTH <password> called without any password configured for the " +
		"default user. Are you sure your configuration is correct?"
	faultWrongPass = "WRONGPASS invalid username-password pair or user is disabled."
	faultNoKeyPerm = "NOPERM this user has no permissions to access one of the keys used as " +
		"arguments"
	faultTooMuch = "ERR the keys of this command are too many, or too long, to compare them with " +
		"the patterns of this user: send several commands"
)

// errUserGone ends a connection whose user was deleted.
var errUserGone = errors.New("its user was deleted")

// errNoLogin ends a connection that reads nothing and has not said who it is.
var errNoLogin = errors.New("it has not authenticated and does not read what it is told")

// denials count what was refused for want of a password or a permission.
type denials struct{ auth, command, key atomic.Uint64 }

// begin makes the connection that of a newcomer: the user named default, if that needs no password.
func (c *conn) begin() {
	c.users = c.front.server.users.Table()
	c.become(c.users.Default())
	if c.known = c.user.Open(); !c.known {
		c.sock.CloseAfter(c.patience())
	}
}

// patience is how long the connection may stay without saying who it is; 0: for ever, it is known.
func (c *conn) patience() time.Duration {
	if c.known {
		return 0
	}
	return loginTime
}

func (c *conn) become(u *auth.User) {
	c.user = u
	name := u.Name()
	c.client.user.Store(&name)
}

// restricted reports whether nothing but logging in is allowed.
func (c *conn) restricted() bool { return !c.known && !c.users.Default().Open() }

// logIn makes the connection that of a user, or says why not. command is what asked, as typed.
func (c *conn) logIn(command []byte, name string, password []byte) (fault string) {
	s := c.front.server
	t := s.users.Table()
	u := t.Login(name, password)
	if u == nil {
		s.denied.auth.Add(1)
		c.noteLogin(command, name)
		return faultWrongPass
	}
	c.users, c.known = t, true
	c.become(u)
	c.sock.CloseAfter(0)
	return ""
}

func runAuth(f *front, c *conn, args [][]byte, dst []byte) []byte {
	name, password := auth.Default, args[1]
	switch {
	case len(args) > 3:
		return resp.AppendError(dst, faultSyntax)
	case len(args) == 3:
		name, password = string(args[1]), args[2]
	case f.server.users.Table().Default().NoPass():
		return resp.AppendError(dst, faultNoPassword)
	}
	if fault := c.logIn(args[0], name, password); fault != "" {
		return resp.AppendError(dst, fault)
	}
	return resp.AppendOK(dst)
}

// mayAll reports whether the connection may do everything, as most may: permits has nothing to look
// at.
func (c *conn) mayAll() bool {
	return c.users == c.front.server.users.Table() && (c.proxied || c.known && c.user.Free())
}

// permits reports whether the connection may have the command carried out, and answers if not.
func (f *front) permits(c *conn, d *command, args [][]byte) bool {
	if t := f.server.users.Table(); t != c.users && !c.lookUp(t) {
		return false
	}
	if c.proxied || c.user.Free() && !c.restricted() {
		return true
	}
	q, ok := d.request(args)
	switch {
	case !ok: // it is refused for what it is
		return true
	case c.restricted() && !d.always && !isMember(d, args):
		f.server.denied.auth.Add(1)
		f.reject(c, d, faultNoAuth)
		return false
	case isMember(d, args): // runProxy looks who it is
		return true
	}
	verdict, at := c.user.Check(&q)
	if verdict == auth.Allowed {
		return true
	}
	c.noteDenied(verdict, d, args, at)
	f.reject(c, d, f.server.denies(verdict, d.fullName(args)))
	return false
}

// lookUp finds the user again when users have changed. False: it is no more, nor the connection.
func (c *conn) lookUp(t *auth.Table) bool {
	u := t.User(c.user.Name())
	if !c.user.Same(u) {
		c.closing, c.aborted = true, true
		c.sock.Abort(errUserGone)
		return false
	}
	c.users, c.user = t, u
	return true
}

// denies counts and words a refusal.
func (s *Server) denies(v auth.Verdict, name string) string {
	switch v {
	case auth.DeniedKey:
		s.denied.key.Add(1)
		return faultNoKeyPerm
	case auth.TooMuch:
		return faultTooMuch
	}
	s.denied.command.Add(1)
	return "NOPERM this user has no permissions to run the '" + name + "' command"
}

// boundLogin closes a connection that has not said who it is and does not read its answers.
func (c *conn) boundLogin() {
	if !c.restricted() || c.closed || c.closing {
		return
	}
	if len(c.out.bytes)+c.sock.Outbound() < loginOutput {
		return
	}
	c.send()
	if c.sock.Outbound() > loginOutput {
		c.closing, c.aborted = true, true
		c.sock.Abort(errNoLogin)
	}
}

// A member that forwards says who it is as a user, like a replica of Redis: as --forward-user with
// the password of --forward-pass-file. That user needs RAFT.PROXY and nothing else. Whoever has
// the password may do everything, as its commands are not looked at.
//
//	RAFT.PROXY 4                  the user named default needs no password, and may
//	RAFT.PROXY 4 user password    else

// Credential is what a member that forwards says; without a user nothing.
type Credential struct{ User, Password string }

// Forward says as whom this member forwards from the next connection to the leader on. Those that
// are there stay as they are.
func (s *Server) Forward(who Credential) { s.forward.Store(&who) }

// greeting is what a connection of this member begins with.
func (s *Server) greeting() []byte {
	if who := s.forward.Load(); who.User != "" {
		return resp.AppendBulkStrings(nil, "RAFT.PROXY", proxyVersion, who.User, who.Password)
	}
	return greeting
}

// isMember reports whether the command says that another member is there, and its password.
func isMember(d *command, args [][]byte) bool {
	return len(args) == 4 && d.name == "raft.proxy"
}

// admitMember lets another member in, or says why not.
func (f *front) admitMember(c *conn, args [][]byte) (fault string) {
	d := lookup(args[0])
	switch {
	case !isMember(d, args) && len(args) != 2:
		return faultSyntax
	case len(args) == 2: // permits has looked
		return ""
	}
	if fault := c.logIn(args[0], string(args[2]), args[3]); fault != "" {
		return fault
	}
	q, _ := d.request(args)
	if v, at := c.user.Check(&q); v != auth.Allowed {
		c.noteDenied(v, d, args, at)
		return f.server.denies(v, d.name)
	}
	return ""
}

// refusedGreeting is what the leader said to it, and what to do.
func refusedGreeting(reply []byte) string {
	text := strings.TrimSpace(printable(reply, 128))
	for _, code := range []string{"-NOAUTH", "-WRONGPASS", "-NOPERM"} {
		if strings.HasPrefix(text, code) {
			return text + " (start this member with --forward-user and --forward-pass-file)"
		}
	}
	return text
}

// greetings are how a connection of a member may begin.
var greetings = [][]byte{
	[]byte("*2\r\n$10\r\nRAFT.PROXY\r\n"), []byte("*4\r\n$10\r\nRAFT.PROXY\r\n"),
}

// beginsAsMember looks at the first bytes of a connection; missing is how many more are needed to
// tell, 0 when that is known.
func beginsAsMember(b []byte) (is bool, missing int) {
	for _, g := range greetings {
		if bytes.HasPrefix(b, g) {
			return true, 0
		}
		if bytes.HasPrefix(g, b) {
			missing = len(g) - len(b)
		}
	}
	return false, missing
}
