package server

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ringraft/ringraft/cmd/raftd/kv"
)

// Commands about the connection itself.

// version is what raftd calls itself; redisVersion is what tools that look for features are told.
const (
	version      = "0.1.0"
	redisVersion = "7.0.0"
)

func connectionCommands() []*command {
	flags := []string{"noscript", "loading", "stale", "fast"}
	return []*command{
		{name: "ping", arity: -1, flags: []string{"fast"}, run: runPing, group: "connection", since: "1.0.0",
			summary: "Ping the server"},
		{name: "echo", arity: 2, flags: []string{"fast"}, run: runEcho, group: "connection", since: "1.0.0",
			summary: "Echo the given string"},
		{name: "quit", arity: -1, flags: flags, run: runQuit, group: "connection", since: "1.0.0",
			summary: "Close the connection"},
		{name: "select", arity: 2, flags: []string{"loading", "stale", "fast"}, run: runSelect, group: "connection",
			since: "1.0.0", summary: "Change the selected database: there is only 0"},
		{name: "auth", arity: -2, flags: flags, run: runAuth, group: "connection", since: "1.0.0",
			summary: "Authenticate to the server"},
		{name: "hello", arity: -1, alone: true, flags: flags, run: runHello, group: "connection", since: "6.0.0",
			summary: "Handshake: choose the protocol version"},
		{name: "reset", arity: 1, alone: true, flags: flags, run: runReset, group: "connection", since: "6.2.0",
			summary: "Reset the connection"},
		{name: "client", arity: -2, flags: []string{"noscript", "loading", "stale"}, run: runClient, group: "connection",
			since: "2.4.0", summary: "ID, INFO, LIST, GETNAME, SETNAME, SETINFO, NO-EVICT, NO-TOUCH"},
		{name: "raft.proxy", arity: 2, alone: true, flags: []string{"noscript", "admin"}, run: runProxy, group: "raft",
			since: "0.1.0", summary: "Sent by another member: commands of this connection were forwarded once"},
	}
}

func runPing(f *front, c *conn, args [][]byte, w *writer) {
	switch len(args) {
	case 1:
		w.b = append(w.b, "+PONG\r\n"...)
	case 2:
		w.bulkBytes(args[1])
	default:
		w.fault(arityFault("ping"))
	}
}

func runEcho(f *front, c *conn, args [][]byte, w *writer) { w.bulkBytes(args[1]) }

func runQuit(f *front, c *conn, args [][]byte, w *writer) {
	w.status("OK")
	c.end()
}

func runSelect(f *front, c *conn, args [][]byte, w *writer) {
	n, ok := kv.ParseInt(args[1])
	switch {
	case !ok:
		w.fault(faultInteger)
	case n != 0:
		w.fault("ERR DB index is out of range")
	default:
		w.status("OK")
	}
}

// There is no password yet. Redis then refuses a password alone, and lets the user named default in with any.
const (
	faultNoPassword = "ERR AUTH <password> called without any password configured for the default user. " +
		"Are you sure your configuration is correct?"
	faultWrongUser = "WRONGPASS invalid username-password pair or user is disabled."
)

func runAuth(f *front, c *conn, args [][]byte, w *writer) {
	switch {
	case len(args) == 2:
		w.fault(faultNoPassword)
	case len(args) > 3:
		w.fault(faultSyntax)
	case string(args[1]) != "default":
		w.fault(faultWrongUser)
	default:
		w.status("OK")
	}
}

func runHello(f *front, c *conn, args [][]byte, w *writer) {
	resp := c.resp
	if len(args) > 1 {
		n, ok := kv.ParseInt(args[1])
		switch {
		case !ok:
			w.fault("ERR Protocol version is not an integer or out of range")
			return
		case n != 2 && n != 3:
			w.fault("NOPROTO unsupported protocol version")
			return
		}
		resp = int(n)
	}
	var name []byte
	named := false
	for i := 2; i < len(args); i++ {
		switch {
		case is(args[i], "AUTH") && i+2 < len(args):
			if string(args[i+1]) != "default" {
				w.fault(faultWrongUser)
				return
			}
			i += 2
		case is(args[i], "SETNAME") && i+1 < len(args):
			if name, named = args[i+1], true; !nameFits(name) {
				w.fault(faultName)
				return
			}
			i++
		default:
			w.fault("ERR Syntax error in HELLO option '" + printable(args[i], 128) + "'")
			return
		}
	}
	if named {
		c.client.setName(name)
	}
	c.speak(resp)
	w.resp = resp
	w.pairs(7)
	w.bulk("server")
	w.bulk("redis") // tools look for this word
	w.bulk("version")
	w.bulk(redisVersion)
	w.bulk("proto")
	w.integer(int64(resp))
	w.bulk("id")
	w.integer(int64(c.client.id))
	w.bulk("mode")
	w.bulk("standalone")
	w.bulk("role")
	w.bulk(f.server.redisRole())
	w.bulk("modules")
	w.array(0)
}

func (c *conn) speak(resp int) {
	c.resp = resp
	c.client.resp.Store(int32(resp))
}

func runReset(f *front, c *conn, args [][]byte, w *writer) {
	c.speak(2)
	c.client.setName(nil)
	w.status("RESET")
}

func runProxy(f *front, c *conn, args [][]byte, w *writer) {
	n, ok := kv.ParseInt(args[1])
	if !ok || n != 2 && n != 3 {
		w.fault("NOPROTO unsupported protocol version")
		return
	}
	c.proxied = true
	c.client.proxied.Store(true)
	c.speak(int(n))
	w.status("OK")
}

const faultName = "ERR Client names cannot contain spaces, newlines or special characters."

func nameFits(name []byte) bool {
	for _, b := range name {
		if b < '!' || b > '~' {
			return false
		}
	}
	return true
}

func runClient(f *front, c *conn, args [][]byte, w *writer) {
	sub := strings.ToLower(printable(args[1], 32))
	want := map[string]int{"id": 2, "info": 2, "list": -2, "getname": 2, "setname": 3, "setinfo": 4,
		"no-evict": 3, "no-touch": 3}[sub]
	switch {
	case want == 0:
		w.fault("ERR unknown subcommand '" + printable(args[1], 128) + "'. Try CLIENT HELP.")
		return
	case want != len(args) && (want > 0 || len(args) < -want):
		w.fault(arityFault("client|" + sub))
		return
	}
	switch sub {
	case "id":
		w.integer(int64(c.client.id))
	case "info":
		w.text(c.client.line(time.Now()) + "\n")
	case "list":
		w.text(f.server.clientList(args[2:]))
	case "getname":
		if name := c.client.name.Load(); name != nil {
			w.bulk(*name)
		} else {
			w.null()
		}
	case "setname":
		if !nameFits(args[2]) {
			w.fault(faultName)
			return
		}
		c.client.setName(args[2])
		w.status("OK")
	case "setinfo":
		runSetInfo(c, args, w)
	default: // no-evict, no-touch: nothing is ever evicted here
		if !is(args[2], "ON") && !is(args[2], "OFF") {
			w.fault(faultSyntax)
			return
		}
		w.status("OK")
	}
}

func runSetInfo(c *conn, args [][]byte, w *writer) {
	value := string(args[3])
	switch {
	case !nameFits(args[3]):
		w.fault("ERR " + strings.ToLower(printable(args[2], 32)) + " cannot contain spaces, newlines or special characters.")
	case is(args[2], "LIB-NAME"):
		c.client.library.Store(&value)
		w.status("OK")
	case is(args[2], "LIB-VER"):
		c.client.libraryVersion.Store(&value)
		w.status("OK")
	default:
		w.fault("ERR Unrecognized option '" + printable(args[2], 128) + "'")
	}
}

// line describes a client as CLIENT LIST does.
func (p *client) line(now time.Time) string {
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	flags := "N"
	if p.proxied.Load() {
		flags = "S" // as a replica's connection is marked: another member forwards through it
	}
	var s strings.Builder
	fmt.Fprintf(&s, "id=%d addr=%s laddr=%s fd=0 name=%s age=%d idle=0 flags=%s db=0 sub=0 psub=0 ssub=0 multi=-1",
		p.id, p.address, p.local, text(p.name.Load()), int(now.Sub(p.since).Seconds()), flags)
	fmt.Fprintf(&s, " qbuf=0 qbuf-free=0 argv-mem=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=client user=default redir=-1 resp=%s",
		strconv.Itoa(int(p.resp.Load())))
	fmt.Fprintf(&s, " lib-name=%s lib-ver=%s", text(p.library.Load()), text(p.libraryVersion.Load()))
	return s.String()
}
