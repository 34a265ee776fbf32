package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringraft/ringraft/netio/resp"
)

// errDegraded makes the exit status 1, errNobody 2.
var (
	errDegraded = errors.New("degraded")
	errNobody   = errors.New("nobody answers")
)

func newStatusCommand() *cobra.Command {
	var asJSON bool
	var who access
	addresses, timeout := defaults().client, 10*time.Second
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how a running cluster is, on one screen",
		Long: `Asks the members at --addr, and then the others that these know of, each for its own
state. A member that does not answer is shown so. What is wrong is said below the table,
with what to do about it.

Exit status: 0 healthy, 1 degraded, 2 when nobody answers, and for a mistake on the
command line.`,
		Example: "  raftd status --addr 127.0.0.1:7379\n  raftd status --json",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
			defer stop()
			ctx, err := who.with(ctx)
			if err != nil {
				return err
			}
			s, err := askCluster(ctx, splitAddresses(addresses))
			if err != nil {
				return err
			}
			if asJSON {
				err = json.NewEncoder(cmd.OutOrStdout()).Encode(s)
			} else {
				err = s.print(cmd.OutOrStdout())
			}
			return errors.Join(err, s.verdict())
		},
	}
	cmd.Flags().StringVar(&addresses, "addr", addresses,
		"addresses for clients, as HOST:PORT,…, of members to ask; the others are found from there")
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "do not wait longer for answers")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	who.bind(cmd.Flags())
	return cmd
}

func splitAddresses(list string) (all []string) {
	for part := range strings.SplitSeq(list, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

// memberState is what one member says of itself, and its leader of it.
type memberState struct {
	ID      uint64 `json:"id"`
	Kind    string `json:"kind"`
	Witness bool   `json:"witness"`
	Address string `json:"address"`        // for members
	Clients string `json:"client_address"` // "" it is not known
	Answers bool   `json:"answers"`
	Failure string `json:"failure,omitempty"` // why it does not answer

	Role         string `json:"role,omitempty"`
	Leader       uint64 `json:"leader"` // that it follows, maybe a witness; 0: none
	Term         uint64 `json:"term"`
	Last         uint64 `json:"last"`
	Durable      uint64 `json:"durable"`
	Commit       uint64 `json:"commit"`
	LeaderCommit uint64 `json:"leader_commit"`
	Applied      uint64 `json:"applied"`
	Notice       string `json:"notice,omitempty"`         // why it takes no part
	Beyond       string `json:"witness_notice,omitempty"` // whom this witness cannot help

	Snapshot      uint64 `json:"snapshot"` // newest entry in it; 0: there is none
	SnapshotAge   uint64 `json:"snapshot_age_seconds"`
	SnapshotError string `json:"snapshot_error,omitempty"`
	LogFirst      uint64 `json:"log_first"`
	LogBytes      uint64 `json:"log_bytes"` // of the log behind the snapshot

	Journal        string `json:"journal,omitempty"`
	JournalDurable bool   `json:"journal_durable"`
	WriteAgeMillis uint64 `json:"journal_write_age_ms"`
	Shortage       string `json:"journal_shortage,omitempty"`

	Lag   uint64 `json:"lag"`             // entries that it lacks, as its leader sees it
	Error string `json:"error,omitempty"` // what is wrong with it, as its leader sees it
}

// answer is what one member told of itself and of the others.
type answer struct {
	memberState
	cluster string
	others  []memberRow
}

// askOne asks a member for its state.
func askOne(ctx context.Context, address string) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, listMax)
	defer cancel()
	reply, err := askMember(ctx, address, "RAFT.STATUS")
	if err != nil {
		return nil, err
	}
	a := decodeAnswer(reply)
	if a.ID == 0 || len(a.others) == 0 {
		return nil, fmt.Errorf("%s is no raftd that tells its state: upgrade it", address)
	}
	if a.Clients == "" {
		a.Clients = address
	}
	return a, nil
}

// decodeAnswer reads the reply of RAFT.STATUS. What it does not know it leaves out, and what
// is missing is zero.
func decodeAnswer(reply resp.Reply) *answer {
	a := &answer{memberState: memberState{Answers: true}}
	texts := map[string]*string{"raft_cluster_id": &a.cluster, "raft_role": &a.Role,
		"raft_identity_notice": &a.Notice, "raft_snapshot_error": &a.SnapshotError,
		"raft_journal": &a.Journal, "raft_journal_shortage": &a.Shortage,
		"raft_witness_notice": &a.Beyond}
	byWitness := uint64(0)
	numbers := map[string]*uint64{"raft_node_id": &a.ID, "raft_leader_id": &a.Leader,
		"raft_current_term": &a.Term, "raft_log_last_index": &a.Last,
		"raft_durable_index": &a.Durable, "raft_commit_index": &a.Commit,
		"raft_leader_commit_index": &a.LeaderCommit, "raft_last_applied_index": &a.Applied,
		"raft_snapshot_index": &a.Snapshot, "raft_snapshot_age_seconds": &a.SnapshotAge,
		"raft_log_first_index": &a.LogFirst, "raft_log_bytes_since_snapshot": &a.LogBytes,
		"raft_write_age_ms": &a.WriteAgeMillis, "raft_led_by_witness": &byWitness}
	eachPair(reply, func(name string, v resp.Reply) {
		text := string(v.Body)
		switch {
		case texts[name] != nil:
			*texts[name] = text
		case numbers[name] != nil:
			*numbers[name] = count(text)
		case name == "raft_journal_durable":
			a.JournalDurable = text == "yes"
		case name == "raft_is_witness":
			a.Witness = text == "yes"
		case name == "members":
			for m, ok := v.Next(); ok; m, ok = v.Next() {
				a.others = append(a.others, decodeMember(m))
			}
		}
	})
	a.Leader = cmp.Or(a.Leader, byWitness)
	if len(a.others) > 0 { // the first is this one
		own := a.others[0]
		a.Kind, a.Address, a.Clients = own.Kind, own.Address, own.Clients
	}
	return a
}

// clusterState is what the members of a cluster said, as --json prints it.
type clusterState struct {
	Cluster  string         `json:"cluster"`
	Leader   uint64         `json:"leader"` // 0: none is known
	Term     uint64         `json:"term"`
	Healthy  bool           `json:"healthy"`
	Problems []string       `json:"problems"`
	Members  []*memberState `json:"members"` // by id
}

// inquiry is what was learned so far.
type inquiry struct {
	asked   map[string]bool
	answers map[uint64]*answer
	failed  map[string]error // by address
	first   error
	other   []string // problems with who answered
}

// askCluster asks the members at these addresses, and then those that they know of.
func askCluster(ctx context.Context, addresses []string) (*clusterState, error) {
	q := &inquiry{asked: map[string]bool{}, answers: map[uint64]*answer{},
		failed: map[string]error{}}
	for len(addresses) > 0 {
		addresses = q.round(ctx, addresses)
	}
	var refused *refusal
	if len(q.answers) == 0 && errors.As(q.first, &refused) && refused.wantsPassword() {
		return nil, &usageError{refused}
	}
	if len(q.answers) == 0 {
		return nil, fmt.Errorf("%w: %w; is a member running there? --addr takes addresses for "+
			"clients", errNobody, q.first)
	}
	return q.state(), nil
}

// round asks each address that was not asked before, all at once, and returns the addresses
// that the answers name.
func (q *inquiry) round(ctx context.Context, addresses []string) (more []string) {
	type outcome struct {
		address string
		answer  *answer
		err     error
	}
	outcomes := make(chan outcome)
	n := 0
	for _, address := range addresses {
		if address == "" || q.asked[address] {
			continue
		}
		q.asked[address] = true
		n++
		go func() {
			a, err := askOne(ctx, address)
			outcomes <- outcome{address, a, err}
		}()
	}
	for range n {
		o := <-outcomes
		if o.err != nil {
			q.failed[o.address], q.first = o.err, cmp.Or(q.first, o.err)
			continue
		}
		if q.take(o.address, o.answer) {
			for _, m := range o.answer.others {
				more = append(more, m.Clients)
			}
		}
	}
	return more
}

// take notes an answer. False: it is of another cluster than those before.
func (q *inquiry) take(address string, a *answer) bool {
	for _, b := range q.answers {
		if b.cluster != a.cluster {
			q.other = append(q.other, fmt.Sprintf("%s belongs to cluster %s, others to %s: ask "+
				"one cluster at a time", address, a.cluster, b.cluster))
			return false
		}
	}
	q.answers[a.ID] = a
	return true
}

// leader is the answer of whoever leads the newest term; nil: nobody says so.
func (q *inquiry) leader() (lead *answer) {
	for _, a := range q.answers {
		if a.Role == "leader" && (lead == nil || a.Term > lead.Term) {
			lead = a
		}
	}
	return lead
}

// state puts the answers together: the members are those that the leader knows, or, while
// nobody leads, those that anybody knows.
func (q *inquiry) state() *clusterState {
	s := &clusterState{Problems: []string{}}
	lead := q.leader()
	rows := map[uint64]*memberState{}
	for _, a := range q.answers {
		s.Cluster, s.Term = a.cluster, max(s.Term, a.Term)
		rows[a.ID] = &a.memberState
	}
	for _, id := range slices.Sorted(maps.Keys(q.answers)) {
		if a := q.answers[id]; lead == nil || a == lead {
			q.addSilent(rows, a)
		}
	}
	if lead != nil {
		s.Leader = lead.ID
		for _, m := range lead.others {
			if row := rows[m.ID]; m.ID != lead.ID {
				row.Kind, row.Lag, row.Error = m.Kind, m.Lag, m.Error
			}
		}
	}
	for _, row := range rows {
		s.Members = append(s.Members, row)
	}
	slices.SortFunc(s.Members, func(a, b *memberState) int { return cmp.Compare(a.ID, b.ID) })
	slices.Sort(q.other)
	s.Problems = append(s.Problems, q.other...)
	s.judge()
	return s
}

// addSilent adds the members that one names and that did not answer.
func (q *inquiry) addSilent(rows map[uint64]*memberState, a *answer) {
	for _, m := range a.others {
		if known := rows[m.ID]; known != nil && (known.Answers || known.Clients != "") {
			continue
		}
		row := &memberState{ID: m.ID, Kind: m.Kind, Witness: m.Witness, Address: m.Address,
			Clients: m.Clients}
		switch err := q.failed[m.Clients]; {
		case m.Clients == "":
			row.Failure = "its address for clients is not known"
		case err != nil:
			row.Failure = strings.TrimPrefix(err.Error(), "--addr "+m.Clients+": ")
		default:
			row.Failure = "another member answers at " + m.Clients
		}
		rows[m.ID] = row
	}
}

// verdict is nil for a healthy cluster.
func (s *clusterState) verdict() error {
	if s.Healthy {
		return nil
	}
	more := ""
	if n := len(s.Problems) - 1; n > 0 {
		more = fmt.Sprintf("; and %d more", n)
	}
	return fmt.Errorf("%w: %s%s", errDegraded, s.Problems[0], more)
}
