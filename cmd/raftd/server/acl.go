package server

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"github.com/ringraft/ringraft/cmd/raftd/auth"
	"github.com/ringraft/ringraft/cmd/raftd/kv"
	"github.com/ringraft/ringraft/netio/resp"
)

// ACL, and what rules may speak of.

func aclCommands() []*command {
	return []*command{
		{name: "acl", arity: -2, class: beside,
			subs: []subcommand{
				{"acl|cat", -2, 0}, {"acl|deluser", -3, 0}, {"acl|dryrun", -4, 0},
				{"acl|genpass", -2, 0}, {"acl|getuser", 3, 0}, {"acl|help", 2, 0},
				{"acl|list", 2, 0}, {"acl|load", 2, 0}, {"acl|log", -2, 0},
				{"acl|save", 2, 0}, {"acl|setuser", -3, 0}, {"acl|users", 2, 0},
				{"acl|whoami", 2, 0},
			},
			run: runACL, group: "server", since: "6.0.0",
			summary: "Users of this member and what they may do: CAT, DELUSER, DRYRUN, GENPASS, " +
				"GETUSER, LIST, LOAD, LOG, SAVE, SETUSER, USERS, WHOAMI"},
	}
}

// keyAccess says what commands do with their keys; the others look only whether they are there.
var keyAccess = map[string]auth.Access{
	"get": auth.Read, "mget": auth.Read, "getrange": auth.Read,
	"set": auth.Write, "setnx": auth.Write, "mset": auth.Write, "msetnx": auth.Write,
	"append": auth.Write, "del": auth.Write, "unlink": auth.Write,
	"getset": auth.Read | auth.Write, "getdel": auth.Read | auth.Write,
	"incr": auth.Read | auth.Write, "decr": auth.Read | auth.Write,
	"incrby": auth.Read | auth.Write, "decrby": auth.Read | auth.Write,
	"exists": 0, "touch": 0, "type": 0, "strlen": 0, "memory|usage": 0, "watch": 0,
}

// adminSubs are the subcommands in the category admin, and so in dangerous.
var adminSubs = strings.Fields(`acl|deluser acl|dryrun acl|getuser acl|list acl|load acl|log
	acl|save acl|setuser acl|users client|kill client|list client|no-evict client|pause
	client|unpause
	config|get config|resetstat config|rewrite config|set latency|doctor latency|histogram
	latency|history latency|latest latency|reset raft.member|add raft.member|demote
	raft.member|help raft.member|list raft.member|promote raft.member|remove raft.member|replace
	raft.member|set slowlog|get slowlog|len slowlog|reset`)

// statefulCategories are those of the commands that COMMAND does not list.
var statefulCategories = map[string][]string{
	"multi": {"fast", "transaction"}, "exec": {"slow", "transaction"},
	"discard": {"fast", "transaction"}, "watch": {"fast", "transaction"},
	"unwatch": {"fast", "transaction"},
}

// book is made in init of table.go, from the table.
var book *auth.Book

func newBook() *auth.Book {
	var list []auth.Command
	add := func(d *command, categories []string) {
		d.number, d.access = len(list), keyAccess[d.name]
		d.always = slices.Contains(d.flags, "no_auth")
		list = append(list, auth.Command{Name: d.name, Categories: categories})
		for i := range d.subs {
			list = append(list, auth.Command{Name: d.subs[i].name,
				Categories: subCategories(d, d.subs[i].name)})
		}
	}
	for _, d := range commands {
		add(d, d.categories())
	}
	for _, name := range []string{"multi", "exec", "discard", "watch", "unwatch"} {
		d := stateful[name]
		if add(d, statefulCategories[name]); name == "watch" {
			d.firstKey, d.lastKey, d.keyStep = 1, -1, 1
		}
	}
	return auth.NewBook(list)
}

func subCategories(d *command, name string) (list []string) {
	admin := slices.Contains(adminSubs, name)
	if name == "memory|usage" {
		list = append(list, "read")
	}
	if admin {
		list = append(list, "admin")
	}
	if list = append(list, "slow"); admin {
		list = append(list, "dangerous")
	}
	if d.group == "connection" || d.name == "command" {
		list = append(list, "connection")
	}
	return list
}

// NewUsers makes the users of a server: the one named default, who may do everything.
func NewUsers() *auth.Registry { return auth.NewRegistry(book) }

// request is the command as rules see it; ok is false when it has an unknown subcommand, or a wrong
// number of arguments for it.
func (d *command) request(args [][]byte) (q auth.Request, ok bool) {
	q = auth.Request{Command: d.number, Args: args, Always: d.always, First: d.firstKey,
		Last: d.lastKey, Step: d.keyStep, Access: d.access}
	if d.name == "set" {
		for _, option := range args[min(3, len(args)):] {
			if is(option, "GET") {
				q.Access |= auth.Read
			}
		}
	}
	if d.subs == nil || len(args) < 2 {
		return q, true
	}
	for i := range d.subs {
		s := &d.subs[i]
		if is(args[1], s.name[len(d.name)+1:]) {
			q.Command, q.Sub = d.number+1+i, true
			q.First, q.Last, q.Step = s.firstKey, s.firstKey, 1
			return q, arityFits(s.arity, len(args))
		}
	}
	return q, false
}

// fullName is the command's name, with that of its subcommand.
func (d *command) fullName(args [][]byte) string {
	if len(d.subs) > 0 && len(args) > 1 {
		if s := d.sub(args[1]); s != nil {
			return s.name
		}
	}
	return d.name
}

func runACL(f *front, c *conn, args [][]byte, dst []byte) []byte {
	users := f.server.users
	switch strings.ToLower(string(args[1])) {
	case "cat":
		return appendCategories(dst, args)
	case "deluser":
		n, err := users.Delete(texts(args[2:])...)
		if err != nil {
			return resp.AppendError(dst, "ERR "+err.Error())
		}
		return resp.AppendInt(dst, int64(n))
	case "dryrun":
		return dryRun(users.Table(), args, dst)
	case "genpass":
		return generate(args, dst)
	case "getuser":
		return appendUser(dst, users.Table().User(string(args[2])))
	case "list":
		list := users.Table().Users()
		dst = resp.AppendArray(dst, len(list))
		for _, u := range list {
			dst = resp.AppendBulkString(dst, u.Line())
		}
		return dst
	case "log":
		return f.server.aclLog.run(args, dst)
	case "setuser":
		return setUser(users, args, dst)
	case "users":
		list := users.Table().Users()
		dst = resp.AppendArray(dst, len(list))
		for _, u := range list {
			dst = resp.AppendBulkString(dst, u.Name())
		}
		return dst
	case "whoami":
		return resp.AppendBulkString(dst, c.user.Name())
	}
	dst = resp.AppendArray(dst, len(aclHelp))
	for _, line := range aclHelp {
		dst = resp.AppendSimple(dst, line)
	}
	return dst
}

func texts(args [][]byte) []string {
	list := make([]string, len(args))
	for i, a := range args {
		list[i] = string(a)
	}
	return list
}

func setUser(users *auth.Registry, args [][]byte, dst []byte) []byte {
	if err := users.Set(string(args[2]), texts(args[3:])...); err != nil {
		return resp.AppendError(dst, "ERR "+printable([]byte(err.Error()), 512))
	}
	return resp.AppendOK(dst)
}

func appendCategories(dst []byte, args [][]byte) []byte {
	if len(args) > 3 {
		return resp.AppendError(dst, "ERR unknown subcommand or wrong number of arguments for '"+
			printable(args[1], 128)+"'. Try ACL HELP.")
	}
	names := auth.Categories
	if len(args) == 3 {
		var ok bool
		if names, ok = book.In(string(args[2])); !ok {
			return resp.AppendError(dst, "ERR Unknown category '"+printable(args[2], 128)+"'")
		}
	}
	return resp.AppendBulkStrings(dst, names...)
}

// appendUser describes a user as ACL GETUSER does.
func appendUser(dst []byte, u *auth.User) []byte {
	if u == nil {
		return resp.AppendNull(dst)
	}
	flags, all := u.Flags(), u.Permissions()
	dst = resp.AppendMap(dst, 6)
	dst = resp.AppendSet(resp.AppendBulkString(dst, "flags"), len(flags))
	for _, s := range flags {
		dst = resp.AppendBulkString(dst, s)
	}
	dst = resp.AppendBulkStrings(resp.AppendBulkString(dst, "passwords"), u.Passwords()...)
	dst = appendPermissions(dst, all[0])
	dst = resp.AppendArray(resp.AppendBulkString(dst, "selectors"), len(all)-1)
	for _, p := range all[1:] {
		dst = appendPermissions(resp.AppendMap(dst, 3), p)
	}
	return dst
}

func appendPermissions(dst []byte, p auth.Permissions) []byte {
	return appendTexts(dst, "commands", p.Commands, "keys", p.Keys, "channels", p.Channels)
}

// dryRun says whether a user could have a command carried out.
func dryRun(t *auth.Table, args [][]byte, dst []byte) []byte {
	u, asked := t.User(string(args[2])), args[3:]
	if u == nil {
		return resp.AppendError(dst, "ERR User '"+printable(args[2], 128)+"' not found")
	}
	d := lookup(asked[0])
	if d == nil {
		d = lookupStateful(asked[0])
	}
	if d == nil || len(d.subs) > 0 && len(asked) > 1 && d.sub(asked[1]) == nil {
		return resp.AppendError(dst, "ERR Command '"+printable(asked[0], 128)+"' not found")
	}
	q, ok := d.request(asked)
	if !ok || !d.arityFits(len(asked)) {
		return resp.AppendError(dst, arityFault(d.fullName(asked)))
	}
	switch v, at := u.Check(&q); v {
	case auth.Allowed:
		return resp.AppendOK(dst)
	case auth.DeniedKey:
		return resp.AppendBulkString(dst, "This user has no permissions to access the '"+
			string(asked[at])+"' key")
	case auth.TooMuch:
		return resp.AppendBulkString(dst, faultTooMuch)
	}
	return resp.AppendBulkString(dst, "This user has no permissions to run the '"+
		d.fullName(asked)+"' command")
}

// generate makes a password of so many bits, 256 unless it is said.
func generate(args [][]byte, dst []byte) []byte {
	bits := int64(256)
	if len(args) > 3 {
		return resp.AppendError(dst, "ERR unknown subcommand or wrong number of arguments for '"+
			printable(args[1], 128)+"'. Try ACL HELP.")
	}
	if len(args) == 3 {
		var ok bool
		if bits, ok = kv.ParseInt(args[2]); !ok {
			return resp.AppendError(dst, faultInteger)
		}
		if bits < 1 || bits > 4096 {
			return resp.AppendError(dst, "ERR ACL GENPASS argument must be the number of bits for "+
				"the output password, a positive number up to 4096")
		}
	}
	b := make([]byte, (bits+7)/8)
	_, _ = rand.Read(b) // never fails
	return resp.AppendBulkString(dst, hex.EncodeToString(b)[:(bits+3)/4])
}

// savesUsers reports whether ACL asks for a file to be written or read, which may take long.
func savesUsers(args [][]byte) bool {
	return len(args) == 2 && (is(args[1], "SAVE") || is(args[1], "LOAD"))
}

// saveUsers has the file of users written or read beside the loop.
func (f *front) saveUsers(c *conn, d *command, args [][]byte) {
	s, place := f.server, c.queue.push(writeReply)
	do, failed := s.users.Load, "the file of users was not read: users are as before"
	if is(args[1], "SAVE") {
		do, failed = s.users.Save, "the file of users was not written"
	}
	f.start(func() {
		err := do()
		if err != nil && !errors.Is(err, auth.ErrNoFile) {
			s.cfg.Logger.Warn(failed, "err", err)
		}
		// The server is closing when it cannot be done in the loop, and the connection with it.
		_ = f.do(func() {
			f.reply = resp.AppendOK(f.reply[:0])
			if err != nil {
				f.counted(d).Failed++
				f.reply = resp.AppendError(f.reply[:0], "ERR "+oneLine(err.Error()))
			}
			c.answer(place, f.reply)
			f.finish()
		})
	})
}

var aclHelp = []string{
	"ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"CAT [<category>]",
	"    List all commands that belong to <category>, or all command categories",
	"    when no category is specified.",
	"DELUSER <username> [<username> ...]",
	"    Delete a list of users.",
	"DRYRUN <username> <command> [<arg> ...]",
	"    Returns whether the user can execute the given command without executing the command.",
	"GETUSER <username>",
	"    Get the user's details.",
	"GENPASS [<bits>]",
	"    Generate a secure 256-bit user password. The optional `bits` argument can",
	"    be used to specify a different size.",
	"LIST",
	"    Show users details in config file format.",
	"LOAD",
	"    Reload users from the file of --users-file.",
	"LOG [<count> | RESET]",
	"    Show the ACL log entries.",
	"SAVE",
	"    Save the users to the file of --users-file.",
	"SETUSER <username> <attribute> [<attribute> ...]",
	"    Create or modify a user with the specified attributes.",
	"USERS",
	"    List all the registered usernames.",
	"WHOAMI",
	"    Return the current connection username.",
	"HELP",
	"    Prints this help.",
}

// deniedFields are of INFO stats, with the names that Redis has given them since 7.2.
func (s *Server) deniedFields() []field {
	return []field{
		{"acl_access_denied_auth", number(s.denied.auth.Load())},
		{"acl_access_denied_cmd", number(s.denied.command.Load())},
		{"acl_access_denied_key", number(s.denied.key.Load())},
	}
}
