package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringraft/ringraft/netio/resp"
	"github.com/spf13/pflag"
)

// errUnknownChange makes the exit status 3.
var errUnknownChange = errors.New("whether the members were changed is not known; see " +
	"raftd member list")

// memberOptions are the flags of raftd member.
type memberOptions struct {
	addresses string
	asJSON    bool
	timeout   time.Duration

	access
	learner  bool
	witness  bool
	address  string
	priority int32
}

func newMemberCommand() *cobra.Command {
	o := &memberOptions{addresses: defaults().client, timeout: time.Hour}
	cmd := &cobra.Command{
		Use:   "member",
		Short: "List and change the members of a running cluster",
		Long: `These verbs ask a running member, by its port for clients, and then the leader.
Members are changed one at a time. A change is done when it is committed; a member that is
added is sent the keys first, which may take minutes. It goes on when this command is
interrupted.

Exit status: 0 done, 1 refused, or nobody answers, 2 for a mistake on the command line,
3 when it is not known whether the members were changed.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("%q is not a verb of raftd member; see raftd member --help", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := cmd.PersistentFlags()
	f.StringVar(&o.addresses, "addr", o.addresses,
		"addresses for clients, as HOST:PORT,…, of members to ask; the first that answers counts")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	f.DurationVar(&o.timeout, "timeout", o.timeout, "how long to wait for the change")
	o.access.bind(f)
	for _, v := range o.verbs() {
		cmd.AddCommand(v)
	}
	return cmd
}

// memberVerb is one verb: what it is called with, and what RAFT.MEMBER is told.
type memberVerb struct {
	use, short, example string
	least, most         int // arguments
	words               func(f *pflag.FlagSet, args []string) ([]string, error)
	flags               func(f *pflag.FlagSet)
}

func (o *memberOptions) verbs() (list []*cobra.Command) {
	for _, v := range []memberVerb{
		{use: "list", short: "Say who belongs to the cluster", words: noWords},
		{use: "add ID=HOST:PORT", short: "Add a member that was started with --join",
			example: "add 4=127.0.0.1:7680", least: 1, most: 1, words: o.addWords,
			flags: func(f *pflag.FlagSet) {
				f.BoolVar(&o.learner, "learner", false, "it is sent the log, and does not vote")
				f.BoolVar(&o.witness, "witness", false, witnessHelp)
				f.Int32Var(&o.priority, "priority", 0, "whoever has more leads rather")
			}},
		{use: "remove ID", short: "Remove a member, running or not", example: "remove 4",
			least: 1, most: 1, words: idWords("REMOVE")},
		{use: "promote ID", short: "Make a voter of a learner", example: "promote 4",
			least: 1, most: 1, words: idWords("PROMOTE")},
		{use: "demote ID", short: "Make a learner of a voter", example: "demote 4",
			least: 1, most: 1, words: idWords("DEMOTE")},
		{use: "replace ID [NEW-ID=HOST:PORT]",
			short:   "Replace a member by another one; without one, by its own new data directory",
			example: "replace 3 4=127.0.0.1:7680", least: 1, most: 2,
			words: o.replaceWords,
			flags: func(f *pflag.FlagSet) {
				f.BoolVar(&o.witness, "witness", false, witnessHelp)
			}},
		{use: "set ID", short: "Change a member's address or priority",
			example: "set 3 --address 127.0.0.1:7780", least: 1, most: 1, words: o.setWords,
			flags: func(f *pflag.FlagSet) {
				f.StringVar(&o.address, "address", "", "where the other members reach it")
				f.Int32Var(&o.priority, "priority", 0, "whoever has more leads rather")
			}},
	} {
		list = append(list, o.command(v))
	}
	return list
}

const witnessHelp = "it was started with --witness: it votes, and has no keys"

func (o *memberOptions) command(v memberVerb) *cobra.Command {
	name, _, _ := strings.Cut(v.use, " ")
	cmd := &cobra.Command{Use: v.use, Short: v.short,
		Example: "  raftd member " + cmp.Or(v.example, name) + " --addr 127.0.0.1:7379",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < v.least || len(args) > v.most {
				return usagef("raftd member %s: %d arguments; see %s --help", v.use, len(args),
					cmd.CommandPath())
			}
			return nil
		},
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		words, err := v.words(cmd.Flags(), args)
		if err != nil {
			return err
		}
		return o.run(words, cmd.OutOrStdout(), os.Stderr)
	}
	if v.flags != nil {
		v.flags(cmd.Flags())
	}
	return cmd
}

func noWords(*pflag.FlagSet, []string) ([]string, error) { return nil, nil }

func idWords(verb string) func(*pflag.FlagSet, []string) ([]string, error) {
	return func(_ *pflag.FlagSet, args []string) ([]string, error) {
		id, err := parseID(args[0])
		return []string{verb, id}, err
	}
}

func parseID(s string) (string, error) {
	if n, err := strconv.ParseUint(s, 10, 64); err != nil || n == 0 {
		return "", usagef("%q is not the id of a member", s)
	}
	return s, nil
}

// parseMemberAt reads ID=HOST:PORT.
func parseMemberAt(s string) (id, address string, err error) {
	members, err := parseMembers(s)
	if err != nil || len(members) != 1 || members[0].Witness {
		return "", "", usagef("%q is not ID=HOST:PORT", s)
	}
	return strconv.FormatUint(members[0].ID, 10), members[0].Address, nil
}

func (o *memberOptions) addWords(f *pflag.FlagSet, args []string) ([]string, error) {
	id, address, err := parseMemberAt(args[0])
	words := []string{"ADD", id, address}
	if o.learner {
		words = append(words, "LEARNER")
	}
	words = append(words, o.witnessWords()...)
	return append(words, o.priorityWords(f)...), err
}

func (o *memberOptions) witnessWords() []string {
	if !o.witness {
		return nil
	}
	return []string{"WITNESS"}
}

func (o *memberOptions) priorityWords(f *pflag.FlagSet) []string {
	if !f.Changed("priority") {
		return nil
	}
	return []string{"PRIORITY", fmt.Sprint(o.priority)}
}

func (o *memberOptions) replaceWords(_ *pflag.FlagSet, args []string) ([]string, error) {
	words, err := replaceWords(args)
	return append(words, o.witnessWords()...), err
}

func replaceWords(args []string) ([]string, error) {
	if len(args) == 1 && strings.Contains(args[0], "=") {
		id, address, err := parseMemberAt(args[0])
		return []string{"REPLACE", id, address}, err
	}
	old, err := parseID(args[0])
	if err != nil || len(args) == 1 {
		return []string{"REPLACE", old}, err
	}
	id, address, err := parseMemberAt(args[1])
	if id == old {
		return []string{"REPLACE", id, address}, err
	}
	return []string{"REPLACE", old, id, address}, err
}

func (o *memberOptions) setWords(f *pflag.FlagSet, args []string) ([]string, error) {
	id, err := parseID(args[0])
	words := []string{"SET", id}
	if o.address != "" {
		words = append(words, "ADDRESS", o.address)
	}
	words = append(words, o.priorityWords(f)...)
	if err == nil && len(words) == 2 {
		err = usagef("give --address, --priority or both; see raftd member set --help")
	}
	return words, err
}

// run carries a verb out: it asks for the change in words, if there is one, and prints the
// list of the members.
func (o *memberOptions) run(words []string, out io.Writer, progress *os.File) error {
	ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
	defer cancel()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	ctx, err := o.access.with(ctx)
	if err != nil {
		return err
	}
	a := &memberAsker{addresses: splitAddresses(o.addresses)}
	if isTerminal(progress) {
		a.progress = progress
	}
	if words != nil {
		if err := a.change(ctx, words); err != nil {
			return err
		}
	}
	look := a.list
	if words != nil {
		look = a.settled
	}
	list, err := look(ctx)
	switch {
	case err != nil && words != nil:
		return fmt.Errorf("done, and nobody says now who the members are: %w", err)
	case err != nil:
		return err
	case o.asJSON:
		return json.NewEncoder(out).Encode(list)
	}
	return list.print(out)
}

func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// memberRow is a member as RAFT.MEMBER LIST and --json have it.
type memberRow struct {
	ID        uint64 `json:"id"`
	Address   string `json:"address"`
	Clients   string `json:"client_address"`
	Kind      string `json:"kind"`
	Witness   bool   `json:"witness"`
	Leader    bool   `json:"leader"`
	Connected bool   `json:"connected"`
	Bound     bool   `json:"bound"`
	Match     uint64 `json:"match"`
	Lag       uint64 `json:"lag"`
	Priority  int64  `json:"priority"`
	Error     string `json:"error,omitempty"`
}

// memberTable is what RAFT.MEMBER LIST answers.
type memberTable struct {
	Index     uint64      `json:"index"`
	Committed bool        `json:"committed"`
	Change    string      `json:"change"`
	Asked     uint64      `json:"asked"`
	Leader    uint64      `json:"leader"`
	Notice    string      `json:"notice,omitempty"`
	Members   []memberRow `json:"members"`
}

// decodeMembers reads the reply of RAFT.MEMBER LIST. What it does not know it leaves out, and
// what is missing is zero.
func decodeMembers(reply resp.Reply) (t memberTable) {
	t.Members = []memberRow{}
	eachPair(reply, func(name string, v resp.Reply) {
		text := string(v.Body)
		switch name {
		case "index":
			t.Index = count(text)
		case "committed":
			t.Committed = text == "yes"
		case "change":
			t.Change = text
		case "asked":
			t.Asked = count(text)
		case "leader":
			t.Leader = count(text)
		case "notice":
			t.Notice = text
		case "members":
			for m, ok := v.Next(); ok; m, ok = v.Next() {
				t.Members = append(t.Members, decodeMember(m))
			}
		}
	})
	return t
}

func decodeMember(reply resp.Reply) (m memberRow) {
	eachPair(reply, func(name string, v resp.Reply) {
		text := string(v.Body)
		switch name {
		case "id":
			m.ID = count(text)
		case "address":
			m.Address = text
		case "client_address":
			m.Clients = text
		case "kind":
			m.Kind = text
		case "witness":
			m.Witness = text == "yes"
		case "leader":
			m.Leader = text == "yes"
		case "connected":
			m.Connected = text == "yes" || text == "1"
		case "bound":
			m.Bound = text == "yes"
		case "match":
			m.Match = count(text)
		case "lag":
			m.Lag = count(text)
		case "priority":
			m.Priority, _ = strconv.ParseInt(text, 10, 64) // 0 when it is none
		case "error":
			m.Error = text
		}
	})
	return m
}

// eachPair walks over a map, of either protocol.
func eachPair(r resp.Reply, f func(name string, value resp.Reply)) {
	for name, ok := r.Next(); ok; name, ok = r.Next() {
		if value, both := r.Next(); both {
			f(string(name.Body), value)
		}
	}
}

// count is a number that is not negative; 0 when it is none.
func count(text string) uint64 {
	n, _ := strconv.ParseUint(text, 10, 64)
	return n
}

// leaderAt is where clients reach the leader; "" when that is not known.
func (t *memberTable) leaderAt() string {
	for _, m := range t.Members {
		if m.Leader {
			return m.Clients
		}
	}
	return ""
}

func (t *memberTable) print(w io.Writer) error {
	p := &printer{w: tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)}
	p.line("ID\tKIND\tADDRESS\tCLIENTS\tLEADER\tCONNECTED\tBOUND\tMATCH\tLAG\tPRIORITY")
	yes := map[bool]string{true: "yes", false: "no"}
	for _, m := range t.Members {
		match, lag := "-", "-" // the leader's
		if t.Asked == t.Leader {
			match, lag = fmt.Sprint(m.Match), fmt.Sprint(m.Lag)
		}
		kind := m.Kind
		if m.Witness {
			kind += " witness"
		}
		p.line("%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d", m.ID, kind, m.Address,
			cmp.Or(m.Clients, "-"), yes[m.Leader], yes[m.Connected], yes[m.Bound], match, lag,
			m.Priority)
	}
	if p.err == nil {
		p.err = p.w.(*tabwriter.Writer).Flush()
	}
	p.w = w
	for _, m := range t.Members {
		if m.Error != "" {
			p.line("member %d: %s", m.ID, m.Error)
		}
	}
	switch {
	case t.Change != "":
		p.line("under way: %s", t.Change)
	case !t.Committed:
		p.line("not committed yet")
	}
	if t.Leader == 0 {
		p.line("no leader is known")
	}
	return p.err
}
