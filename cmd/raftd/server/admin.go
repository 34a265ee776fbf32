package server

import (
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/ringraft/ringraft/cmd/raftd/kv"
	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/netio/resp"
)

// Commands about the server.

func serverCommands() []*command {
	stale := []string{"loading", "stale"}
	admin := []string{"admin", "noscript", "loading", "stale"}
	return []*command{
		{name: "command", arity: -1, flags: stale,
			subs: []subcommand{
				{"command|count", 2, 0}, {"command|docs", -2, 0}, {"command|getkeys", -4, 0},
				{"command|info", -2, 0}, {"command|list", -2, 0},
			},
			run: runCommand, group: "server", since: "2.8.13",
			summary: "Details of all commands; COUNT, DOCS, INFO, LIST, GETKEYS"},
		{name: "config", arity: -2,
			subs: []subcommand{
				{"config|get", -3, 0}, {"config|set", -4, 0}, {"config|resetstat", 2, 0},
			},
			run: runConfig, group: "server", since: "2.0.0",
			summary: "GET settings by pattern; SET some of them until raftd ends; RESETSTAT"},
		{name: "info", arity: -1, flags: stale,
			run: runInfo, group: "server", since: "1.0.0",
			summary: "Information about the server, by section"},
		{name: "time", arity: 1, flags: []string{"loading", "stale", "fast"},
			run: runTime, group: "server", since: "2.6.0",
			summary: "Return the server time"},
		{name: "wait", arity: 3, alone: true, flags: []string{"noscript"},
			run: runWait, group: "generic", since: "3.0.0",
			summary: "Number of other members; a reply means a majority has the write on " +
				"disk already"},
		{name: "memory", arity: -2,
			subs: []subcommand{{"memory|doctor", 2, 0}, {"memory|usage", -3, 2}},
			run:  runMemory, group: "server", since: "4.0.0",
			summary: "USAGE estimates the memory of an average key; DOCTOR"},
		{name: "raft.status", arity: 1, flags: admin,
			run: runRaftStatus, group: "raft", since: "0.1.0",
			summary: "State of this member as a map"},
		{name: "raft.transfer", arity: -1, class: byLeader, flags: admin,
			group: "raft", since: "0.1.0",
			summary: "Hand leadership to a member, or to the most up-to-date one; OK " +
				"when the leader leads no more"},
	}
}

func runTime(f *front, c *conn, args [][]byte, dst []byte) []byte {
	now := time.Now()
	return resp.AppendBulkStrings(dst, strconv.FormatInt(now.Unix(), 10),
		strconv.Itoa(now.Nanosecond()/1000))
}

// runWait answers when no reply of this connection is pending. Every write answered by then is
// durable on a majority; the number is that of the other members, as tools compare it with the
// number of replicas.
func runWait(f *front, c *conn, args [][]byte, dst []byte) []byte {
	_, countFits := kv.ParseInt(args[1])
	timeout, timeoutFits := kv.ParseInt(args[2])
	switch {
	case !countFits:
		return resp.AppendError(dst, faultInteger)
	case !timeoutFits:
		return resp.AppendError(dst, "ERR timeout is not an integer or out of range")
	case timeout < 0:
		return resp.AppendError(dst, "ERR timeout is negative")
	}
	st := f.server.status()
	nodes, _ := countMembers(&st)
	return resp.AppendInt(dst, int64(max(0, nodes-1)))
}

func runMemory(f *front, c *conn, args [][]byte, dst []byte) []byte {
	machine := f.server.cfg.Machine
	if is(args[1], "DOCTOR") {
		return resp.AppendVerbatim(dst, "txt", "Sam, I detected no issues: keys and values take "+
			strconv.FormatInt(machine.Memory(), 10)+" bytes.")
	}
	for i := 3; i < len(args); i += 2 { // SAMPLES n, which changes nothing here
		if !is(args[i], "SAMPLES") || i+1 == len(args) {
			return resp.AppendError(dst, faultSyntax)
		}
		if n, ok := kv.ParseInt(args[i+1]); !ok {
			return resp.AppendError(dst, faultInteger)
		} else if n < 0 {
			return resp.AppendError(dst, faultSyntax)
		}
	}
	if n := machine.Keys(); n > 0 {
		return resp.AppendInt(dst, machine.Memory()/n)
	}
	return resp.AppendNull(dst)
}

// appendFields appends the pairs of a map; what looks like a number is one.
func appendFields(dst []byte, fields []field) []byte {
	for _, p := range fields {
		dst = resp.AppendBulkString(dst, p.name)
		if n, err := strconv.ParseInt(p.value, 10, 64); err == nil {
			dst = resp.AppendInt(dst, n)
		} else {
			dst = resp.AppendBulkString(dst, p.value)
		}
	}
	return dst
}

func runRaftStatus(f *front, c *conn, args [][]byte, dst []byte) []byte {
	st := f.server.status()
	fields := raftFields(&st)
	dst = appendFields(resp.AppendMap(dst, len(fields)+1), fields)
	dst = resp.AppendBulkString(dst, "members")
	dst = resp.AppendArray(dst, len(st.Members))
	for _, m := range st.Members {
		dst = appendMember(dst, &m)
	}
	return dst
}

func appendMember(dst []byte, m *engine.MemberStatus) []byte {
	dst = resp.AppendMap(dst, 9)
	dst = resp.AppendBulkString(dst, "id")
	dst = resp.AppendInt(dst, int64(m.ID))
	dst = resp.AppendBulkString(dst, "address")
	dst = resp.AppendBulkString(dst, m.Address)
	dst = resp.AppendBulkString(dst, "client_address")
	dst = resp.AppendBulkString(dst, m.Advertised)
	dst = resp.AppendBulkString(dst, "kind")
	dst = resp.AppendBulkString(dst, m.Kind.String())
	dst = resp.AppendBulkString(dst, "match")
	dst = resp.AppendInt(dst, int64(m.Match))
	dst = resp.AppendBulkString(dst, "lag")
	dst = resp.AppendInt(dst, int64(m.Lag))
	dst = resp.AppendBulkString(dst, "error")
	dst = resp.AppendBulkString(dst, m.Error)
	dst = resp.AppendBulkString(dst, "mode")
	dst = resp.AppendBulkString(dst, m.Mode)
	dst = resp.AppendBulkString(dst, "connected")
	if m.Connected {
		return resp.AppendInt(dst, 1)
	}
	return resp.AppendInt(dst, 0)
}

// setting is one row of CONFIG GET.
type setting struct{ name, value string }

// settings are answers to the questions that tools ask; none of them can be set.
func (s *Server) settings() []setting {
	st := s.status()
	fsync := "always" // tools that measure look here whether replies wait for the disk
	if !st.JournalDurable {
		fsync = "no"
	}
	return []setting{
		{"appendfsync", fsync},
		{"appendonly", "yes"},
		{"bind", s.cfg.Client},
		{"cluster-enabled", yesNo(s.clusters())},
		{"databases", "1"},
		{"follower", s.cfg.Follower.String()},
		{"journal", st.Journal},
		{"maxclients", strconv.Itoa(s.cfg.MaxClients)},
		{"maxmemory", "0"},
		{"maxmemory-policy", "noeviction"},
		{"pipeline", st.Pipeline},
		{"proto-max-bulk-len", strconv.Itoa(s.cfg.MaxValue)},
		{"save", ""},
		{"threads", st.Threads},
		{"timeout", "0"},
	}
}

// allSettings are those that CONFIG GET shows, by name.
func (s *Server) allSettings() []setting {
	all := append(s.settings(), s.tuned()...)
	slices.SortFunc(all, func(a, b setting) int { return strings.Compare(a.name, b.name) })
	return all
}

func runConfig(f *front, c *conn, args [][]byte, dst []byte) []byte {
	switch {
	case is(args[1], "GET"):
		var matched []setting
		for _, s := range f.server.allSettings() {
			for _, pattern := range args[2:] {
				if match(strings.ToLower(printable(pattern, 256)), s.name) {
					matched = append(matched, s)
					break
				}
			}
		}
		dst = resp.AppendMap(dst, len(matched))
		for _, s := range matched {
			dst = resp.AppendBulkString(dst, s.name)
			dst = resp.AppendBulkString(dst, s.value)
		}
		return dst
	case is(args[1], "RESETSTAT"):
		f.publishLatency()
		f.server.resetLatencies()
		return resp.AppendOK(dst)
	}
	return f.server.configSet(args[2:], dst)
}

func runCommand(f *front, c *conn, args [][]byte, dst []byte) []byte {
	if len(args) == 1 {
		dst = resp.AppendArray(dst, len(commands))
		for _, d := range commands {
			dst = d.describe(dst)
		}
		return dst
	}
	named := args[2:]
	switch {
	case is(args[1], "COUNT"):
		return resp.AppendInt(dst, int64(len(commands)))
	case is(args[1], "LIST"):
		return appendNames(dst, named)
	case is(args[1], "INFO"):
		if len(named) == 0 {
			return runCommand(f, c, args[:1], dst)
		}
		dst = resp.AppendArray(dst, len(named))
		for _, name := range named {
			if d := lookup(name); d != nil {
				dst = d.describe(dst)
			} else {
				dst = resp.AppendNull(dst)
			}
		}
		return dst
	case is(args[1], "DOCS"):
		return appendDocs(dst, named)
	}
	return appendKeys(dst, named)
}

// describe describes a command as COMMAND does in Redis 7: ten fields.
func (d *command) describe(dst []byte) []byte {
	dst = resp.AppendArray(dst, 10)
	dst = resp.AppendBulkString(dst, d.name)
	dst = resp.AppendInt(dst, int64(d.arity))
	dst = resp.AppendSet(dst, len(d.flags))
	for _, s := range d.flags {
		dst = resp.AppendSimple(dst, s)
	}
	dst = resp.AppendInt(dst, int64(d.firstKey))
	dst = resp.AppendInt(dst, int64(d.lastKey))
	dst = resp.AppendInt(dst, int64(d.keyStep))
	categories := d.categories()
	dst = resp.AppendSet(dst, len(categories))
	for _, s := range categories {
		dst = resp.AppendSimple(dst, "@"+s)
	}
	dst = resp.AppendSet(dst, 0)  // tips
	dst = resp.AppendSet(dst, 0)  // key specifications
	return resp.AppendSet(dst, 0) // subcommands
}

// categories are those of Redis's access lists, in its order.
func (d *command) categories() (list []string) {
	is := func(name string, fits bool) {
		if fits {
			list = append(list, name)
		}
	}
	flag := func(name string) bool { return slices.Contains(d.flags, name) }
	data := d.class == read || d.class == write || d.class == ownState
	is("keyspace", data && (d.group == "generic" || d.group == "server"))
	is("read", data && d.class != write)
	is("write", d.class == write)
	is("string", d.group == "string")
	admin := flag("admin") || d.name == "lastsave" // which lacks the flag
	is("admin", admin)
	is("fast", flag("fast"))
	is("slow", !flag("fast"))
	flushes := d.group == "server" && d.class == write
	is("dangerous", admin || flushes || d.name == "info")
	is("connection", (d.group == "connection" || d.group == "cluster") && d.subs == nil ||
		d.name == "command" || d.name == "wait")
	return list
}

// appendNames answers COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN glob]. There
// are no modules.
func appendNames(dst []byte, filter [][]byte) []byte {
	wanted := func(d *command, name string) bool { return true }
	switch {
	case len(filter) == 0:
	case len(filter) != 3 || !is(filter[0], "FILTERBY"):
		return resp.AppendError(dst, faultSyntax)
	case is(filter[1], "MODULE"):
		wanted = func(*command, string) bool { return false }
	case is(filter[1], "ACLCAT"):
		category := strings.ToLower(printable(filter[2], 64))
		wanted = func(d *command, name string) bool {
			return name == d.name && slices.Contains(d.categories(), category)
		}
	case is(filter[1], "PATTERN"):
		pattern := strings.ToLower(string(filter[2]))
		wanted = func(_ *command, name string) bool { return match(pattern, name) }
	default:
		return resp.AppendError(dst, faultSyntax)
	}
	var names []string
	for _, d := range commands {
		if wanted(d, d.name) {
			names = append(names, d.name)
		}
		for i := range d.subs {
			if name := d.subs[i].name; wanted(d, name) {
				names = append(names, name)
			}
		}
	}
	sort.Strings(names)
	return resp.AppendBulkStrings(dst, names...)
}

func appendDocs(dst []byte, named [][]byte) []byte {
	list := commands
	if len(named) > 0 {
		list = nil
		for _, name := range named {
			if d := lookup(name); d != nil {
				list = append(list, d)
			}
		}
	}
	dst = resp.AppendMap(dst, len(list))
	for _, d := range list {
		dst = resp.AppendBulkString(dst, d.name)
		dst = resp.AppendMap(dst, 3)
		dst = resp.AppendBulkString(dst, "summary")
		dst = resp.AppendBulkString(dst, d.summary)
		dst = resp.AppendBulkString(dst, "since")
		dst = resp.AppendBulkString(dst, d.since)
		dst = resp.AppendBulkString(dst, "group")
		dst = resp.AppendBulkString(dst, d.group)
	}
	return dst
}

func appendKeys(dst []byte, args [][]byte) []byte {
	d := lookup(args[0])
	if d == nil {
		return resp.AppendError(dst, faultNoSuchCommand)
	}
	arity, first, last, step := d.arity, d.firstKey, d.lastKey, d.keyStep
	if len(d.subs) > 0 && len(args) > 1 {
		s := d.sub(args[1])
		if s == nil {
			return resp.AppendError(dst, faultNoSuchCommand)
		}
		arity, first, last, step = s.arity, s.firstKey, s.firstKey, 1
	}
	switch {
	case first == 0:
		return resp.AppendError(dst, "ERR The command has no key arguments")
	case !arityFits(arity, len(args)):
		return resp.AppendError(dst, "ERR Invalid number of arguments specified for command")
	}
	if last < 0 {
		last += len(args)
	}
	var keys []string
	for i := first; i <= last; i += step {
		keys = append(keys, string(args[i]))
	}
	return resp.AppendBulkStrings(dst, keys...)
}

const faultNoSuchCommand = "ERR Invalid command specified"
