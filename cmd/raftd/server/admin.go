package server

import (
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/ringraft/ringraft/engine"
)

// Commands about the server.

func serverCommands() []*command {
	stale := []string{"loading", "stale"}
	admin := []string{"admin", "noscript", "loading", "stale"}
	return []*command{
		{name: "command", arity: -1, flags: stale, run: runCommand, group: "server", since: "2.8.13",
			summary: "Details of all commands; COUNT, DOCS, INFO, LIST, GETKEYS"},
		{name: "config", arity: -2, flags: admin, run: runConfig, group: "server", since: "2.0.0",
			summary: "GET settings by pattern; RESETSTAT"},
		{name: "info", arity: -1, flags: stale, run: runInfo, group: "server", since: "1.0.0",
			summary: "Information about the server, by section"},
		{name: "time", arity: 1, flags: []string{"loading", "stale", "fast"}, run: runTime, group: "server",
			since: "2.6.0", summary: "Return the server time"},
		{name: "wait", arity: 3, alone: true, flags: []string{"blocking"}, run: runWait, group: "generic", since: "3.0.0",
			summary: "Number of other members; a reply means a majority has the write on disk already"},
		{name: "memory", arity: -2, flags: []string{"readonly"}, run: runMemory, group: "server", since: "4.0.0",
			summary: "USAGE estimates the memory of an average key; DOCTOR"},
		{name: "raft.status", arity: 1, flags: admin, run: runRaftStatus, group: "raft", since: "0.1.0",
			summary: "State of this member as a map"},
		{name: "raft.transfer", arity: -1, class: leads, flags: admin, group: "raft", since: "0.1.0",
			summary: "Hand leadership to a member, or to the most up-to-date one; OK when the leader leads no more"},
	}
}

func runTime(f *front, c *conn, args [][]byte, w *writer) {
	now := time.Now()
	w.bulks(strconv.FormatInt(now.Unix(), 10), strconv.Itoa(now.Nanosecond()/1000))
}

// runWait answers when nothing of this connection is owed any more. Every write answered by then is durable on a
// majority; the number is that of the other members, as tools compare it with the number of replicas.
func runWait(f *front, c *conn, args [][]byte, w *writer) {
	for _, a := range args[1:] {
		if n, err := strconv.ParseInt(string(a), 10, 64); err != nil {
			w.fault(faultInteger)
			return
		} else if n < 0 {
			w.fault("ERR timeout is negative")
			return
		}
	}
	st := f.server.status()
	w.integer(int64(max(0, len(st.Members)-1)))
}

func runMemory(f *front, c *conn, args [][]byte, w *writer) {
	machine := f.server.cfg.Machine
	switch {
	case is(args[1], "USAGE") && len(args) >= 3:
		if n := machine.Keys(); n > 0 {
			w.integer(machine.Memory() / n)
		} else {
			w.null()
		}
	case is(args[1], "DOCTOR"):
		w.text("Sam, I detected no issues: keys and values take " + strconv.FormatInt(machine.Memory(), 10) + " bytes.")
	default:
		w.fault("ERR unknown subcommand '" + printable(args[1], 128) + "'. Try MEMORY HELP.")
	}
}

func runRaftStatus(f *front, c *conn, args [][]byte, w *writer) {
	st := f.server.status()
	fields := raftFields(&st)
	w.pairs(len(fields) + 1)
	for _, p := range fields {
		w.bulk(p.name)
		if n, err := strconv.ParseInt(p.value, 10, 64); err == nil {
			w.integer(n)
		} else {
			w.bulk(p.value)
		}
	}
	w.bulk("members")
	w.array(len(st.Members))
	for _, m := range st.Members {
		writeMember(w, &m)
	}
}

func writeMember(w *writer, m *engine.MemberStatus) {
	w.pairs(6)
	w.bulk("id")
	w.integer(int64(m.ID))
	w.bulk("address")
	w.bulk(m.Address)
	w.bulk("client_address")
	w.bulk(m.Advertised)
	w.bulk("match")
	w.integer(int64(m.Match))
	w.bulk("mode")
	w.bulk(m.Mode)
	w.bulk("connected")
	if m.Connected {
		w.integer(1)
	} else {
		w.integer(0)
	}
}

// setting is one row of CONFIG GET.
type setting struct{ name, value string }

// settings are answers to the questions that tools ask; none of them can be set.
func (s *Server) settings() []setting {
	st := s.status()
	return []setting{
		{"appendfsync", "always"},
		{"appendonly", "yes"},
		{"bind", s.cfg.Client},
		{"cluster-enabled", "no"},
		{"databases", "1"},
		{"follower", s.cfg.Follower.String()},
		{"journal", st.Journal},
		{"maxclients", "10000"},
		{"maxmemory", "0"},
		{"maxmemory-policy", "noeviction"},
		{"pipeline", st.Pipeline},
		{"proto-max-bulk-len", strconv.Itoa(s.cfg.MaxValue)},
		{"save", ""},
		{"threads", st.Threads},
		{"timeout", "0"},
	}
}

func runConfig(f *front, c *conn, args [][]byte, w *writer) {
	switch {
	case is(args[1], "GET") && len(args) >= 3:
		var found []setting
		for _, s := range f.server.settings() {
			for _, pattern := range args[2:] {
				if match(strings.ToLower(printable(pattern, 256)), s.name) {
					found = append(found, s)
					break
				}
			}
		}
		w.pairs(len(found))
		for _, s := range found {
			w.bulk(s.name)
			w.bulk(s.value)
		}
	case is(args[1], "GET"):
		w.fault(arityFault("config|get"))
	case is(args[1], "RESETSTAT"):
		w.status("OK")
	case is(args[1], "SET"):
		w.fault("ERR settings are chosen when raftd starts; see raftd --help")
	default:
		w.fault("ERR unknown subcommand '" + printable(args[1], 128) + "'. Try CONFIG HELP.")
	}
}

func runCommand(f *front, c *conn, args [][]byte, w *writer) {
	if len(args) == 1 {
		w.array(len(commands))
		for _, d := range commands {
			d.write(w)
		}
		return
	}
	named := args[2:]
	switch {
	case is(args[1], "COUNT") && len(args) == 2:
		w.integer(int64(len(commands)))
	case is(args[1], "LIST"):
		writeNames(w, named)
	case is(args[1], "INFO"):
		if len(named) == 0 {
			runCommand(f, c, args[:1], w)
			return
		}
		w.array(len(named))
		for _, name := range named {
			if d := lookup(name); d != nil {
				d.write(w)
			} else {
				w.nullArray()
			}
		}
	case is(args[1], "DOCS"):
		writeDocs(w, named)
	case is(args[1], "GETKEYS") && len(args) > 2:
		writeKeys(w, named)
	default:
		w.fault("ERR unknown subcommand '" + printable(args[1], 128) + "'. Try COMMAND HELP.")
	}
}

// write describes a command as COMMAND does in Redis 7: ten fields.
func (d *command) write(w *writer) {
	w.array(10)
	w.bulk(d.name)
	w.integer(int64(d.arity))
	w.set(len(d.flags))
	for _, s := range d.flags {
		w.status(s)
	}
	w.integer(int64(d.firstKey))
	w.integer(int64(d.lastKey))
	w.integer(int64(d.keyStep))
	w.set(1)
	w.status("@" + d.group)
	w.array(0) // tips
	w.array(0) // key specifications
	w.array(0) // subcommands
}

func writeNames(w *writer, filter [][]byte) {
	var names []string
	for _, d := range commands {
		if len(filter) != 3 || !is(filter[0], "FILTERBY") || !is(filter[1], "PATTERN") ||
			match(strings.ToLower(string(filter[2])), d.name) {
			names = append(names, d.name)
		}
	}
	sort.Strings(names)
	w.bulks(names...)
}

func writeDocs(w *writer, named [][]byte) {
	list := commands
	if len(named) > 0 {
		list = nil
		for _, name := range named {
			if d := lookup(name); d != nil {
				list = append(list, d)
			}
		}
	}
	w.pairs(len(list))
	for _, d := range list {
		w.bulk(d.name)
		w.pairs(3)
		w.bulk("summary")
		w.bulk(d.summary)
		w.bulk("since")
		w.bulk(d.since)
		w.bulk("group")
		w.bulk(d.group)
	}
}

func writeKeys(w *writer, args [][]byte) {
	d := lookup(args[0])
	switch {
	case d == nil:
		w.fault("ERR Invalid command specified")
		return
	case !d.arityFits(len(args)):
		w.fault("ERR Invalid number of arguments specified for command")
		return
	case d.firstKey == 0:
		w.fault("ERR The command has no key arguments")
		return
	}
	last := d.lastKey
	if last < 0 {
		last += len(args)
	}
	var keys []string
	for i := d.firstKey; i <= last; i += d.keyStep {
		keys = append(keys, string(args[i]))
	}
	w.bulks(keys...)
}
