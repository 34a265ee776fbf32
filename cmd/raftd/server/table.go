package server

import (
	"slices"
	"strings"

	"github.com/ringraft/ringraft/cmd/raftd/auth"
	"github.com/ringraft/ringraft/cmd/raftd/kv"
)

// class says what becomes of a command.
type class uint8

const (
	local    class = iota // answered by this server at once
	write                 // goes through the log
	read                  // linearizable query
	ownState              // query against this replica's own state
	byLeader              // carried out by the leader, beside its loop
	beside                // carried out by this server, beside its loop
	errand                // as byLeader, and asked for on a connection of its own
)

// command is one row of the table: what the server does with the command and what COMMAND tells
// about it.
type command struct {
	name  string // lower case
	arity int    // number of arguments with the name; negative: at least that many
	class class
	alone bool // waits until no reply is pending: what is carried out must not go again behind it
	// transaction: it is carried out also while a connection discards what follows a refused MULTI.
	transaction bool
	flags       []string // as COMMAND reports them

	firstKey, lastKey, keyStep int // places of keys among the arguments, as COMMAND reports them

	// encode appends the machine's form of a data command, or says why it cannot (an error reply
	// without the leading minus sign and the line end).
	encode func(dst []byte, args [][]byte, limit int) (cmd []byte, fault string)
	// run carries out a local command and appends its reply, in the internal form of package resp.
	run func(f *front, c *conn, args [][]byte, dst []byte) []byte

	subs []subcommand // of a command that is nothing without one

	group, since, summary string

	access auth.Access // what it does with its keys
	number int         // in the book of rules; its subcommands have those behind it
	always bool        // carried out for everybody, also without a password

	listed bool // in the table, as opposed to stateful
	slow   bool // local, and not fast
	partly bool // of another class, and some of its subcommands are local
	place  int  // in the table, for counters
}

// subcommand is a command inside another one, such as CLIENT LIST.
type subcommand struct {
	name     string // with the outer name: client|list
	arity    int    // as of a command, the outer name counts
	firstKey int    // place of its only key; 0: it has none
}

// sub finds a subcommand by its name in any case; nil when there is none.
func (d *command) sub(name []byte) *subcommand {
	for i := range d.subs {
		if s := &d.subs[i]; is(name, s.name[len(d.name)+1:]) {
			return s
		}
	}
	return nil
}

// onceSubs change something at once, and are answered otherwise, or change what commands before
// them mean, when they are carried out a second time. So they wait until no reply is pending: what
// is pending may go again, and what came behind it with it.
var onceSubs = strings.Fields(`acl|deluser acl|setuser client|kill client|pause client|unpause
	config|resetstat config|set latency|reset slowlog|reset`)

// once reports whether a command with subcommands must not be carried out a second time.
func (d *command) once(args [][]byte) bool {
	return len(args) > 1 && slices.Contains(onceSubs, d.fullName(args))
}

// commands is the table, in the order of COMMAND's output, and byName its index. They are filled in
// init because some commands report on the table that they are in.
var (
	commands []*command
	byName   *index
)

func init() {
	commands = joined(stringCommands(), keyspaceCommands(), connectionCommands(), serverCommands(),
		clusterCommands(), snapshotCommands(), memberCommands(), aclCommands(), watchCommands())
	byName = newIndex()
	book = newBook()
}

func joined(lists ...[]*command) (all []*command) {
	for _, list := range lists {
		for _, d := range list {
			d.place, d.listed = len(all), true
			d.partly = d.class == errand || d.name == "acl"
			d.slow = (d.class == local || d.subs != nil) && !slices.Contains(d.flags, "fast")
			all = append(all, d)
		}
	}
	return all
}

// Names of at most eight bytes, which are nearly all that matter, are looked up by one
// multiplication in a small table of packed names; longer ones in a map.
const shortBits = 9

type shortName struct {
	packed uint64
	d      *command
}

type index struct {
	short [1 << shortBits]shortName
	long  map[string]*command
}

func newIndex() *index {
	x := &index{long: make(map[string]*command)}
	for _, d := range commands {
		x.long[d.name] = d
		if len(d.name) > 8 {
			continue
		}
		p := pack([]byte(d.name))
		at := place(p)
		for x.short[at].d != nil {
			at = (at + 1) % len(x.short)
		}
		x.short[at] = shortName{p, d}
	}
	return x
}

// pack folds letters to lower case and packs at most eight bytes into a number.
func pack(name []byte) (p uint64) {
	for _, c := range name {
		if c-'A' < 26 {
			c |= 0x20
		}
		p = p<<8 | uint64(c)
	}
	return p
}

func place(p uint64) int { return int(p * 0x9e3779b97f4a7c15 >> (64 - shortBits)) }

// lookup finds a command by its name in any case; nil when there is none.
func lookup(name []byte) *command {
	if len(name) > 8 {
		return lookupLong(name)
	}
	p := pack(name)
	for at := place(p); ; at = (at + 1) % (1 << shortBits) {
		s := &byName.short[at]
		if s.packed == p && s.d != nil {
			return s.d
		}
		if s.d == nil {
			return nil
		}
	}
}

func lookupLong(name []byte) *command {
	var low [32]byte
	if len(name) > len(low) {
		return nil
	}
	for i, c := range name {
		if c-'A' < 26 {
			c |= 0x20
		}
		low[i] = c
	}
	return byName.long[string(low[:len(name)])]
}

// arityFits reports whether n arguments, the name among them, are a right number.
func (d *command) arityFits(n int) bool { return arityFits(d.arity, n) }

func arityFits(arity, n int) bool { return n == arity || arity < 0 && n >= -arity }

func arityFault(name string) string {
	return "ERR wrong number of arguments for '" + name + "' command"
}

func unknownSubcommand(name string, args [][]byte) string {
	return "ERR unknown subcommand '" + printable(args[1], 128) + "'. Try " + name + " HELP."
}

func unknownFault(args [][]byte) string {
	var s strings.Builder
	s.WriteString("ERR unknown command '")
	s.WriteString(printable(args[0], 128))
	s.WriteString("', with args beginning with: ")
	for _, a := range args[1:] {
		if s.Len() > 256 {
			break
		}
		s.WriteString("'" + printable(a, 128) + "' ")
	}
	return s.String()
}

// printable is at most limit bytes of b as they may stand in an error line.
func printable(b []byte, limit int) string {
	b = b[:min(len(b), limit)]
	return strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' {
			return ' '
		}
		return r
	}, string(b))
}

const (
	faultSyntax  = "ERR syntax error"
	faultInteger = "ERR value is not an integer or out of range"
)

// keyOp encodes a command of one key and nothing else, rowOp one whose arguments are keys or none.
func keyOp(op kv.Op) func([]byte, [][]byte, int) ([]byte, string) {
	return func(dst []byte, args [][]byte, limit int) ([]byte, string) {
		return kv.AppendKey(dst, op, args[1]), ""
	}
}

func rowOp(op kv.Op) func([]byte, [][]byte, int) ([]byte, string) {
	return func(dst []byte, args [][]byte, limit int) ([]byte, string) {
		if len(args)-1 > keysMax {
			return nil, tooManyKeys(len(args) - 1)
		}
		return kv.Append(dst, op, args[1:]...), ""
	}
}

func stringCommands() []*command {
	readonly, fast := []string{"readonly"}, []string{"readonly", "fast"}
	denyoom, quick := []string{"write", "denyoom"}, []string{"write", "denyoom", "fast"}
	return []*command{
		{name: "get", arity: 2, class: read, flags: fast,
			firstKey: 1, lastKey: 1, keyStep: 1, encode: keyOp(kv.OpGet),
			group: "string", since: "1.0.0",
			summary: "Get the value of a key"},
		{name: "set", arity: -3, class: write, flags: denyoom,
			firstKey: 1, lastKey: 1, keyStep: 1, encode: encodeSet,
			group: "string", since: "1.0.0",
			summary: "Set the string value of a key (NX, XX, GET, KEEPTTL)"},
		{name: "setnx", arity: 3, class: write, flags: quick,
			firstKey: 1, lastKey: 1, keyStep: 1, encode: encodeSetNX,
			group: "string", since: "1.0.0",
			summary: "Set the value of a key, only if the key does not exist"},
		{name: "getset", arity: 3, class: write, flags: quick,
			firstKey: 1, lastKey: 1, keyStep: 1, encode: encodeGetSet,
			group: "string", since: "1.0.0",
			summary: "Set the string value of a key and return its old value"},
		{name: "getdel", arity: 2, class: write, flags: []string{"write", "fast"},
			firstKey: 1, lastKey: 1, keyStep: 1, encode: keyOp(kv.OpGetDel),
			group: "string", since: "6.2.0",
			summary: "Get the value of a key and delete the key"},
		{name: "mget", arity: -2, class: read, flags: fast,
			firstKey: 1, lastKey: -1, keyStep: 1, encode: rowOp(kv.OpMGet),
			group: "string", since: "1.0.0",
			summary: "Get the values of all the given keys"},
		{name: "mset", arity: -3, class: write, flags: denyoom,
			firstKey: 1, lastKey: -1, keyStep: 2, encode: encodePairs("mset", kv.OpMSet),
			group: "string", since: "1.0.1",
			summary: "Set multiple keys to multiple values"},
		{name: "msetnx", arity: -3, class: write, flags: denyoom,
			firstKey: 1, lastKey: -1, keyStep: 2, encode: encodePairs("msetnx", kv.OpMSetNX),
			group: "string", since: "1.0.1",
			summary: "Set multiple keys to multiple values, only if none of the keys exist"},
		{name: "append", arity: 3, class: write, flags: quick,
			firstKey: 1, lastKey: 1, keyStep: 1, encode: encodeAppend,
			group: "string", since: "2.0.0",
			summary: "Append a value to a key"},
		{name: "strlen", arity: 2, class: read, flags: fast,
			firstKey: 1, lastKey: 1, keyStep: 1, encode: keyOp(kv.OpStrlen),
			group: "string", since: "2.2.0",
			summary: "Get the length of the value stored in a key"},
		{name: "getrange", arity: 4, class: read, flags: readonly,
			firstKey: 1, lastKey: 1, keyStep: 1, encode: encodeGetRange,
			group: "string", since: "2.4.0",
			summary: "Get a part of the string stored at a key"},
		{name: "incr", arity: 2, class: write, flags: quick,
			firstKey: 1, lastKey: 1, keyStep: 1, encode: encodeStep(1),
			group: "string", since: "1.0.0",
			summary: "Increment the integer value of a key by one"},
		{name: "decr", arity: 2, class: write, flags: quick,
			firstKey: 1, lastKey: 1, keyStep: 1, encode: encodeStep(-1),
			group: "string", since: "1.0.0",
			summary: "Decrement the integer value of a key by one"},
		{name: "incrby", arity: 3, class: write, flags: quick,
			firstKey: 1, lastKey: 1, keyStep: 1, encode: encodeIncrBy,
			group: "string", since: "1.0.0",
			summary: "Increment the integer value of a key by the given amount"},
		{name: "decrby", arity: 3, class: write, flags: quick,
			firstKey: 1, lastKey: 1, keyStep: 1, encode: encodeDecrBy,
			group: "string", since: "1.0.0",
			summary: "Decrement the integer value of a key by the given number"},
	}
}

func keyspaceCommands() []*command {
	fast, remove := []string{"readonly", "fast"}, []string{"write"}
	return []*command{
		{name: "del", arity: -2, class: write, flags: remove,
			firstKey: 1, lastKey: -1, keyStep: 1, encode: rowOp(kv.OpDel),
			group: "generic", since: "1.0.0",
			summary: "Delete keys"},
		{name: "unlink", arity: -2, class: write, flags: []string{"write", "fast"},
			firstKey: 1, lastKey: -1, keyStep: 1, encode: rowOp(kv.OpDel),
			group: "generic", since: "4.0.0",
			summary: "Delete keys (the same as DEL here)"},
		{name: "exists", arity: -2, class: read, flags: fast,
			firstKey: 1, lastKey: -1, keyStep: 1, encode: rowOp(kv.OpExists),
			group: "generic", since: "1.0.0",
			summary: "Determine how many of the keys exist"},
		{name: "touch", arity: -2, class: read, flags: fast,
			firstKey: 1, lastKey: -1, keyStep: 1, encode: rowOp(kv.OpExists),
			group: "generic", since: "3.2.1",
			summary: "Count existing keys (there is no access time to alter)"},
		{name: "type", arity: 2, class: read, flags: fast,
			firstKey: 1, lastKey: 1, keyStep: 1, encode: keyOp(kv.OpType),
			group: "generic", since: "1.0.0",
			summary: "Determine the type stored at a key"},
		{name: "dbsize", arity: 1, class: read, flags: fast,
			encode: rowOp(kv.OpDBSize), group: "server", since: "1.0.0",
			summary: "Return the number of keys"},
		{name: "flushall", arity: -1, class: write, flags: remove,
			encode: encodeFlush, group: "server", since: "1.0.0",
			summary: "Remove all keys"},
		{name: "flushdb", arity: -1, class: write, flags: remove,
			encode: encodeFlush, group: "server", since: "1.0.0",
			summary: "Remove all keys (there is one database)"},
		{name: "raft.digest", arity: 1, class: ownState, flags: []string{"readonly", "admin"},
			encode: rowOp(kv.OpDigest), group: "raft", since: "0.1.0",
			summary: "Digest of this member's own state, with its applied index"},
	}
}
