package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/journal"
)

// restored is what raftd snapshot restore prints.
type restored struct {
	File       string `json:"file"`
	Index      uint64 `json:"index"`
	Term       uint64 `json:"term"`
	Digest     string `json:"digest"`
	OldCluster string `json:"old_cluster"`
	Cluster    string `json:"cluster"`
	Data       string `json:"data"`
	ID         uint64 `json:"id"`
	Peer       string `json:"peer"`
	Next       string `json:"next"` // the command that starts the member
}

func newRestoreCommand() *cobra.Command {
	var asJSON bool
	var mode string
	o := engine.RestoreOptions{ID: 1}
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make the data directory of a new cluster from a snapshot",
		Long: `Makes a new data directory whose cluster begins with the keys of a snapshot. The
cluster has a new id and one member, --id at --peer; others join it later. Members of the
cluster that the snapshot was taken in are refused there.

FILE is a copy that raftd snapshot take made, or a file in the directory "snapshots" of
a stopped member. It is verified before anything is made, and so is what is written.
After an error nothing is left. After a power cut the directory is empty, or says that
it has to be removed, or is complete.

Exit status: 0 restored, 3 FILE cannot be used, 1 for another failure, 2 for a mistake
on the command line.`,
		Example: "  raftd snapshot restore backup.snapshot --data new-data --id 1 " +
			"--peer 127.0.0.1:7380",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%s takes one file, got %d arguments; see %s --help",
					cmd.CommandPath(), len(args), cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			switch o.Journal, err = journal.ParseMode(mode); {
			case err != nil:
				return usagef("--journal: %v", err)
			case o.Dir == "":
				return usagef("--data: say which directory is to be made")
			case o.Address == "":
				return usagef("--peer: say where other members will reach this one")
			}
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			r, err := engine.RestoreSnapshot(ctx, args[0], o)
			if err != nil {
				return err
			}
			done := restored{File: args[0], Index: r.From.Index, Term: r.From.Term,
				Digest:     fmt.Sprintf("%016x", r.From.Digest),
				OldCluster: fmt.Sprintf("%016x", r.FromCluster),
				Cluster:    fmt.Sprintf("%016x", r.Cluster), Data: o.Dir, ID: o.ID, Peer: o.Address,
				Next: fmt.Sprintf("raftd --id %d --data %s --peer %s", o.ID, o.Dir, o.Address)}
			if o.Journal != journal.Direct {
				done.Next += " --journal " + mode
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(&done)
			}
			return done.print(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&o.Dir, "data", "", "data directory to make; it may be there, and empty")
	cmd.Flags().Uint64Var(&o.ID, "id", o.ID, "id of the new cluster's member")
	cmd.Flags().StringVar(&o.Address, "peer", "",
		"where other members will reach it; the same as its --peer, unless that names no machine")
	cmd.Flags().StringVar(&mode, "journal", "direct", "how the directory is written, as --journal "+
		"of raftd; not memory")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	complete(cmd, "journal", oneOf(journal.Modes()...))
	return cmd
}

func (r *restored) print(w io.Writer) error {
	p := &printer{w: w}
	p.line("restored    %s: entries up to %d, the last of term %d, of cluster %s", r.File, r.Index,
		r.Term, r.OldCluster)
	p.line("directory   %s: member %d of the new cluster %s", r.Data, r.ID, r.Cluster)
	p.line("start it    %s", r.Next)
	return p.err
}
