package server

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/ringraft/ringraft/cmd/raftd/kv"
	"github.com/ringraft/ringraft/netio/resp"
)

// Commands about the connection itself.

// version is what raftd calls itself; redisVersion is for tools that look for features.
const (
	version      = "0.1.0"
	redisVersion = "7.0.15"
)

// Version is what raftd calls itself, as in INFO.
func Version() string { return version }

func connectionCommands() []*command {
	flags := []string{"noscript", "loading", "stale", "fast", "no_auth", "allow_busy"}
	return []*command{
		{name: "ping", arity: -1, flags: []string{"fast"},
			run: runPing, group: "connection", since: "1.0.0",
			summary: "Ping the server"},
		{name: "echo", arity: 2, flags: []string{"loading", "stale", "fast"},
			run: runEcho, group: "connection", since: "1.0.0",
			summary: "Echo the given string"},
		{name: "quit", arity: -1, transaction: true, flags: flags,
			run: runQuit, group: "connection", since: "1.0.0",
			summary: "Close the connection"},
		{name: "select", arity: 2, alone: true, flags: []string{"loading", "stale", "fast"},
			run: runSelect, group: "connection", since: "1.0.0",
			summary: "Change the selected database: there is only 0"},
		{name: "auth", arity: -2, alone: true, flags: flags,
			run: runAuth, group: "connection", since: "1.0.0",
			summary: "Authenticate to the server"},
		{name: "hello", arity: -1, alone: true, flags: flags,
			run: runHello, group: "connection", since: "6.0.0",
			summary: "Handshake: choose the protocol version"},
		{name: "reset", arity: 1, alone: true, transaction: true, flags: flags,
			run: runReset, group: "connection", since: "6.2.0",
			summary: "Reset the connection"},
		{name: "client", arity: -2,
			subs: []subcommand{
				{"client|id", 2, 0}, {"client|info", 2, 0}, {"client|list", -2, 0},
				{"client|getname", 2, 0}, {"client|setname", 3, 0}, {"client|setinfo", 4, 0},
				{"client|reply", 3, 0}, {"client|no-evict", 3, 0}, {"client|no-touch", 3, 0},
				{"client|kill", -3, 0}, {"client|pause", -3, 0}, {"client|unpause", 2, 0},
			},
			run: runClient, group: "connection", since: "2.4.0",
			summary: "ID, INFO, LIST, GETNAME, SETNAME, SETINFO, REPLY ON, NO-EVICT, NO-TOUCH; " +
				"KILL connections; PAUSE, UNPAUSE this member's clients"},
		{name: "raft.proxy", arity: -2, alone: true, flags: []string{"noscript", "admin"},
			run: runProxy, group: "raft", since: "0.1.0",
			summary: "Sent by another member, with a user and a password if those are asked for: " +
				"commands of this connection were forwarded once"},
	}
}

func runPing(f *front, c *conn, args [][]byte, dst []byte) []byte {
	switch len(args) {
	case 1:
		return resp.AppendSimple(dst, "PONG")
	case 2:
		return resp.AppendBulk(dst, args[1])
	}
	return resp.AppendError(dst, arityFault("ping"))
}

func runEcho(f *front, c *conn, args [][]byte, dst []byte) []byte {
	return resp.AppendBulk(dst, args[1])
}

func runQuit(f *front, c *conn, args [][]byte, dst []byte) []byte {
	c.end()
	return resp.AppendOK(dst)
}

func runSelect(f *front, c *conn, args [][]byte, dst []byte) []byte {
	n, ok := kv.ParseInt(args[1])
	if ok && n == 0 {
		return resp.AppendOK(dst)
	}
	c.end()
	if !ok {
		return resp.AppendError(dst, faultInteger)
	}
	return resp.AppendError(dst, "ERR DB index is out of range: there is only database 0, and "+
		"this connection ends so that nothing is done there by mistake")
}

func runHello(f *front, c *conn, args [][]byte, dst []byte) []byte {
	proto := c.proto
	if len(args) > 1 {
		n, ok := kv.ParseInt(args[1])
		switch {
		case !ok:
			return resp.AppendError(dst, "ERR Protocol version is not an integer or out of range")
		case n != 2 && n != 3:
			return resp.AppendError(dst, "NOPROTO unsupported protocol version")
		}
		proto = resp.Protocol(n)
	}
	var name []byte
	named := false
	for i := 2; i < len(args); i++ {
		switch {
		case is(args[i], "AUTH") && i+2 < len(args):
			if fault := c.logIn(args[0], string(args[i+1]), args[i+2]); fault != "" {
				return resp.AppendError(dst, fault)
			}
			i += 2
		case is(args[i], "SETNAME") && i+1 < len(args):
			if name, named = args[i+1], true; !nameFits(name) {
				return resp.AppendError(dst, faultName)
			}
			i++
		default:
			return resp.AppendError(dst,
				"ERR Syntax error in HELLO option '"+printable(args[i], 128)+"'")
		}
	}
	if c.restricted() {
		return resp.AppendError(dst, faultHelloFirst)
	}
	if named {
		c.client.setName(name)
	}
	c.speak(proto)
	dst = resp.AppendMap(dst, 7)
	dst = resp.AppendBulkString(dst, "server")
	dst = resp.AppendBulkString(dst, "redis") // tools look for this word
	dst = resp.AppendBulkString(dst, "version")
	dst = resp.AppendBulkString(dst, redisVersion)
	dst = resp.AppendBulkString(dst, "proto")
	dst = resp.AppendInt(dst, int64(proto))
	dst = resp.AppendBulkString(dst, "id")
	dst = resp.AppendInt(dst, int64(c.client.id))
	dst = resp.AppendBulkString(dst, "mode")
	dst = resp.AppendBulkString(dst, f.server.mode())
	dst = resp.AppendBulkString(dst, "role")
	dst = resp.AppendBulkString(dst, f.server.redisRole())
	dst = resp.AppendBulkString(dst, "modules")
	return resp.AppendArray(dst, 0)
}

func (c *conn) speak(proto resp.Protocol) {
	c.proto = proto
	c.client.proto.Store(int32(proto))
}

func runReset(f *front, c *conn, args [][]byte, dst []byte) []byte {
	c.speak(resp.RESP2)
	c.discards = false
	c.client.setName(nil)
	c.unmonitor()
	c.begin()
	return resp.AppendSimple(dst, "RESET")
}

// proxyVersion is how members forward commands: as their clients sent them, and replies come back
// in the internal form, so that the member whose client it is renders them in the client's
// protocol. In versions 2 and 3 replies came in the protocol of that number.
const proxyVersion = "4"

func runProxy(f *front, c *conn, args [][]byte, dst []byte) []byte {
	if string(args[1]) != proxyVersion { // nor is what follows meant for a client's connection
		c.end()
		return resp.AppendError(dst, "NOPROTO unsupported version of forwarding")
	}
	if fault := f.admitMember(c, args); fault != "" {
		c.end()
		return resp.AppendError(dst, fault)
	}
	c.proxied = true
	c.sock.Reserve() // a client whose large command does not come keeps no other member waiting
	c.client.proxied.Store(true)
	c.speak(resp.RESP3) // as CLIENT LIST says
	c.proto = resp.Internal
	return resp.AppendOK(dst)
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

func runClient(f *front, c *conn, args [][]byte, dst []byte) []byte {
	switch strings.ToLower(string(args[1])) {
	case "id":
		return resp.AppendInt(dst, int64(c.client.id))
	case "info":
		c.tellCommand()
		return resp.AppendVerbatim(dst, "txt", c.client.line(time.Now())+"\n")
	case "list":
		only, fault := clientFilter(args[2:])
		if fault != "" {
			return resp.AppendError(dst, fault)
		}
		c.tellCommand()
		return resp.AppendVerbatim(dst, "txt", f.server.clientList(only))
	case "getname":
		if name := c.client.name.Load(); name != nil {
			return resp.AppendBulkString(dst, *name)
		}
		return resp.AppendNull(dst)
	case "setname":
		if !nameFits(args[2]) {
			return resp.AppendError(dst, faultName)
		}
		c.client.setName(args[2])
		c.bulk = c.proxied && string(args[2]) == bulkName
		return resp.AppendOK(dst)
	case "setinfo":
		return runSetInfo(c, args, dst)
	case "reply":
		return runReply(c, args, dst)
	case "kill":
		return runKill(f, c, args, dst)
	case "pause":
		return runPause(f, args, dst)
	case "unpause":
		return runUnpause(f, dst)
	}
	// no-evict, no-touch: nothing is ever evicted here
	if !is(args[2], "ON") && !is(args[2], "OFF") {
		return resp.AppendError(dst, faultSyntax)
	}
	return resp.AppendOK(dst)
}

// runReply refuses to be silent. Redis then sends fewer replies than there are commands, so a
// client that went on would take one command's reply for another's.
func runReply(c *conn, args [][]byte, dst []byte) []byte {
	switch {
	case is(args[2], "ON"):
		return resp.AppendOK(dst)
	case is(args[2], "OFF"), is(args[2], "SKIP"):
		c.end()
		return resp.AppendError(dst, "ERR CLIENT REPLY takes only ON: this connection ends, since "+
			"replies that are not expected would be taken for others")
	}
	return resp.AppendError(dst, faultSyntax)
}

// clientFilter reads what follows CLIENT LIST: ids, or a type.
func clientFilter(args [][]byte) (wanted func(p *client) bool, fault string) {
	switch {
	case len(args) == 0:
		return func(*client) bool { return true }, ""
	case len(args) == 2 && is(args[0], "TYPE"):
		if wanted = clientsOfType(string(args[1])); wanted == nil {
			return nil, "ERR Unknown client type '" + printable(args[1], 128) + "'"
		}
		return wanted, ""
	case len(args) < 2 || !is(args[0], "ID"):
		return nil, faultSyntax
	}
	only := make(map[int64]bool)
	for _, a := range args[1:] {
		id, ok := kv.ParseInt(a)
		if !ok {
			return nil, "ERR Invalid client ID"
		}
		only[id] = true
	}
	return func(p *client) bool { return only[int64(p.id)] }, ""
}

// tellCommand lets others see the newest command of a connection.
func (c *conn) tellCommand() {
	if c.command != c.told {
		c.told = c.command
		c.client.command.Store(c.command)
	}
}

// tellActive lets others see that a connection asked for something, once a second.
func (c *conn) tellActive() {
	if second := c.front.second; second != c.activeAt {
		c.activeAt = second
		c.client.active.Store(second)
	}
}

func runSetInfo(c *conn, args [][]byte, dst []byte) []byte {
	value := string(args[3])
	switch {
	case !nameFits(args[3]):
		return resp.AppendError(dst, "ERR "+strings.ToLower(printable(args[2], 32))+
			" cannot contain spaces, newlines or special characters.")
	case is(args[2], "LIB-NAME"):
		c.client.library.Store(&value)
	case is(args[2], "LIB-VER"):
		c.client.libraryVersion.Store(&value)
	default:
		return resp.AppendError(dst, "ERR Unrecognized option '"+printable(args[2], 128)+"'")
	}
	return resp.AppendOK(dst)
}

// line describes a client as CLIENT LIST does.
func (p *client) line(now time.Time) string {
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	command := "NULL"
	if last := p.command.Load(); last != nil {
		command = *last
	}
	flags, events := "", "r"
	if p.proxied.Load() {
		flags += "S" // as a replica's connection is marked: another member forwards through it
	}
	if p.monitors.Load() {
		flags += "O"
	}
	if p.paused.Load() {
		flags, events = flags+"b", "" // nothing is read
	}
	input, output := p.input.Load(), p.output.Load()
	if output > 0 {
		events += "w"
	}
	var s strings.Builder
	fmt.Fprintf(&s, "id=%d addr=%s laddr=%s fd=0 name=%s age=%d idle=%d flags=%s db=0 "+
		"sub=0 psub=0 ssub=0 multi=-1",
		p.id, p.address, p.local, text(p.name.Load()), int(now.Sub(p.since).Seconds()),
		max(0, now.Unix()-p.active.Load()), cmp.Or(flags, "N"))
	fmt.Fprintf(&s, " qbuf=%d qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=%d "+
		"tot-mem=%d events=%s cmd=%s user=%s redir=-1 resp=%d",
		input, output, input+output, events, command, text(p.user.Load()), p.proto.Load())
	fmt.Fprintf(&s, " lib-name=%s lib-ver=%s", text(p.library.Load()),
		text(p.libraryVersion.Load()))
	return s.String()
}
