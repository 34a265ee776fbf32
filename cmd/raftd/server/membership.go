package server

import (
	"context"
	"fmt"
	"strconv"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/netio/resp"
)

// memberEngine is what RAFT.MEMBER asks of the engine.
type memberEngine interface {
	Membership() engine.Membership
	AddMember(ctx context.Context, m engine.Member, kind engine.MemberKind) error
	PromoteMember(ctx context.Context, id uint64) error
	DemoteMember(ctx context.Context, id uint64) error
	RemoveMember(ctx context.Context, id uint64) error
	ReplaceMember(ctx context.Context, old uint64, with engine.Member) error
	UpdateMember(ctx context.Context, m engine.Member) error
}

// memberList is the subcommand that any member answers at once, like HELP.
const memberList = "LIST"

func memberCommands() []*command {
	return []*command{
		{name: "raft.member", arity: -2, class: errand,
			flags: []string{"admin", "noscript", "loading", "stale"},
			subs: []subcommand{
				{"raft.member|list", 2, 0}, {"raft.member|add", -4, 0},
				{"raft.member|remove", 3, 0}, {"raft.member|promote", 3, 0},
				{"raft.member|demote", 3, 0}, {"raft.member|replace", -3, 0},
				{"raft.member|set", -5, 0}, {"raft.member|help", 2, 0},
			},
			run: runMember, group: "raft", since: "0.1.0",
			summary: "LIST of the members; ADD, REMOVE, PROMOTE, DEMOTE, REPLACE one, or SET its " +
				"address and priority; OK when that is committed"},
	}
}

var memberHelp = []string{
	"RAFT.MEMBER <subcommand> [<arg> ...]. Subcommands are:",
	"LIST",
	"    Who belongs to the cluster, as this member knows it; match and lag are the leader's.",
	"ADD <id> <address> [VOTER|LEARNER] [WITNESS] [PRIORITY <n>]",
	"    Add a member that was started with --join at this address for members; WITNESS if",
	"    also with --witness.",
	"REMOVE <id>",
	"    Remove a member, running or not.",
	"PROMOTE <id>",
	"    Make a voter of a learner.",
	"DEMOTE <id>",
	"    Make a learner of a voter.",
	"REPLACE <old-id> <new-id> <address> [WITNESS]",
	"    Put another member, started with --join, in the place of one.",
	"REPLACE <id> [<address>] [WITNESS]",
	"    Take the member's new data directory in the place of the one that is lost.",
	"SET <id> [ADDRESS <address>] [PRIORITY <n>]",
	"    Change where a member is reached, and how much it is wished to lead.",
	"HELP",
	"    Print this help.",
}

// isLocal reports whether this member answers the command at once. Of RAFT.MEMBER that is
// what changes nothing, and what is no subcommand of it, or has a wrong number of
// arguments: it is refused here.
func (d *command) isLocal(args [][]byte) bool {
	if d.class != errand {
		return d.class == local || d.name == "acl" && !savesUsers(args)
	}
	s := d.sub(args[1])
	return s == nil || !arityFits(s.arity, len(args)) || is(args[1], memberList) ||
		is(args[1], "HELP")
}

// runMember answers RAFT.MEMBER LIST and HELP.
func runMember(f *front, c *conn, args [][]byte, dst []byte) []byte {
	if is(args[1], memberList) {
		st := f.server.status()
		m := (*f.server.members.Load()).Membership()
		return appendMembership(dst, &st, &m)
	}
	return appendHelp(dst, memberHelp)
}

// appendHelp answers HELP of a command with subcommands.
func appendHelp(dst []byte, lines []string) []byte {
	dst = resp.AppendArray(dst, len(lines))
	for _, line := range lines {
		dst = resp.AppendSimple(dst, line)
	}
	return dst
}

// appendMembership appends the map that RAFT.MEMBER LIST answers.
func appendMembership(dst []byte, st *engine.Status, m *engine.Membership) []byte {
	fields := []field{
		{"index", number(m.Index)},
		{"committed", yesNo(m.Committed)},
		{"change", m.Change},
		{"asked", number(st.ID)},
		{"leader", number(st.Leader)},
		{"notice", st.Notice()},
	}
	dst = appendFields(resp.AppendMap(dst, len(fields)+1), fields)
	dst = resp.AppendArray(resp.AppendBulkString(dst, "members"), len(m.Members))
	for i := range m.Members {
		dst = appendMemberInfo(dst, st, &m.Members[i])
	}
	return dst
}

func appendMemberInfo(dst []byte, st *engine.Status, m *engine.MemberInfo) []byte {
	var more engine.MemberStatus
	for i := range st.Members {
		if st.Members[i].ID == m.ID {
			more = st.Members[i]
		}
	}
	fields := []field{
		{"id", strconv.FormatUint(m.ID, 10)},
		{"address", m.Address},
		{"client_address", more.Advertised},
		{"kind", m.Kind.String()},
		{"witness", yesNo(m.Witness)},
		{"leader", yesNo(m.ID == st.Leader)},
		{"connected", yesNo(m.Connected)},
		{"bound", yesNo(m.Bound)},
		{"match", number(m.Match)},
		{"lag", number(more.Lag)},
		{"priority", number(m.Priority)},
		{"error", more.Error},
	}
	return appendFields(resp.AppendMap(dst, len(fields)), fields)
}

// memberChange is a change of the members as a client asks for it. It refers to nothing of
// the command.
type memberChange struct {
	verb     string // in lower case
	id       uint64 // of the member as it is to be; of Remove and the like the one it is about
	old      uint64 // replace: whom
	address  string // "": as it is
	learner  bool
	witness  bool
	priority int
	ranked   bool // priority was given
}

// parseChange reads the arguments of a subcommand that changes the members, whose number is
// right.
func parseChange(args [][]byte) (x memberChange, fault string) {
	for _, verb := range []string{"add", "remove", "promote", "demote", "replace", "set"} {
		if is(args[1], verb) {
			x.verb = verb
		}
	}
	if x.id, fault = parseMemberID(args[2]); fault != "" {
		return x, fault
	}
	rest := args[3:]
	switch x.verb {
	case "replace":
		return x.parseReplace(rest)
	case "add":
		if x.address, fault = parseAddress(rest[0]); fault != "" {
			return x, fault
		}
		rest = rest[1:]
	}
	return x, x.parseOptions(rest)
}

// addressMax is the longest address that there is: the name of a host and a port.
const addressMax = 255 + len(":65535")

// parseAddress takes what may be an address; the engine looks at it. Nothing longer is told to
// anybody again.
func parseAddress(arg []byte) (address, fault string) {
	if n := len(arg); n == 0 || n > addressMax {
		return "", "ERR '" + printable(arg, 64) + "' is not an address of a member, HOST:PORT"
	}
	return string(arg), ""
}

func parseMemberID(arg []byte) (id uint64, fault string) {
	id, err := strconv.ParseUint(string(arg), 10, 64)
	if err != nil || id == 0 {
		return 0, "ERR '" + printable(arg, 32) + "' is not a member id; see RAFT.MEMBER LIST"
	}
	return id, ""
}

// parseReplace reads what follows the first id: nothing, an address, or an id and an address.
func (x memberChange) parseReplace(rest [][]byte) (memberChange, string) {
	x.old = x.id
	var fault string
	if n := len(rest); n > 0 && is(rest[n-1], "WITNESS") {
		x.witness, rest = true, rest[:n-1]
	}
	switch len(rest) {
	case 0:
	case 1:
		x.address, fault = parseAddress(rest[0])
		if _, err := strconv.ParseUint(x.address, 10, 64); err == nil {
			return x, fmt.Sprintf("ERR where is member %s? RAFT.MEMBER REPLACE %d %s HOST:PORT",
				x.address, x.old, x.address)
		}
	case 2:
		if x.id, fault = parseMemberID(rest[0]); fault == "" {
			x.address, fault = parseAddress(rest[1])
		}
	default:
		fault = faultSyntax
	}
	return x, fault
}

// parseOptions reads what ADD and SET may have behind their arguments.
func (x *memberChange) parseOptions(rest [][]byte) (fault string) {
	for len(rest) > 0 {
		option := rest[0]
		switch {
		case x.verb == "add" && is(option, "VOTER"):
			x.learner = false
		case x.verb == "add" && is(option, "LEARNER"):
			x.learner = true
		case x.verb == "add" && is(option, "WITNESS"):
			x.witness = true
		case len(rest) == 1:
			return faultSyntax
		case x.verb == "set" && is(option, "ADDRESS"):
			if x.address, fault = parseAddress(rest[1]); fault != "" {
				return fault
			}
			rest = rest[1:]
		case is(option, "PRIORITY"):
			n, err := strconv.ParseInt(string(rest[1]), 10, 32)
			if err != nil {
				return "ERR '" + printable(rest[1], 32) + "' is not a priority, a number of 32 bits"
			}
			x.priority, x.ranked, rest = int(n), true, rest[1:]
		default:
			return faultSyntax
		}
		rest = rest[1:]
	}
	return ""
}

// noMember is the id of a member that there is not.
type noMember uint64

func (id noMember) Error() string { return fmt.Sprintf("there is no member %d", uint64(id)) }

// Is reports whether target is engine.ErrNotMember, which speaks of voters.
func (id noMember) Is(target error) bool { return target == engine.ErrNotMember }

// run asks the engine for the change, and waits for what becomes of it. What was not given
// is as it is now.
func (x *memberChange) run(ctx context.Context, e memberEngine) error {
	with := engine.Member{ID: x.id, Address: x.address, Witness: x.witness,
		Priority: x.priority}
	like := x.id
	if x.verb == "replace" {
		like = x.old
	}
	if x.verb == "replace" || x.verb == "set" {
		m := e.Membership()
		for _, known := range m.Members {
			switch {
			case known.ID != like:
				continue
			case with.Address == "":
				with.Address = known.Address
			}
			if !x.ranked {
				with.Priority = known.Priority
			}
			if x.verb == "set" {
				with.Witness = known.Witness
			}
		}
		if with.Address == "" {
			return &engine.MemberError{ID: like, Cause: noMember(like)}
		}
	}
	switch x.verb {
	case "add":
		kind := engine.Voter
		if x.learner {
			kind = engine.Learner
		}
		return e.AddMember(ctx, with, kind)
	case "remove":
		return e.RemoveMember(ctx, x.id)
	case "promote":
		return e.PromoteMember(ctx, x.id)
	case "demote":
		return e.DemoteMember(ctx, x.id)
	case "replace":
		return e.ReplaceMember(ctx, x.old, with)
	}
	return e.UpdateMember(ctx, with)
}
