package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringraft/ringraft/engine"
)

// errBadSnapshot makes the exit status 3.
var errBadSnapshot = errors.New("a snapshot cannot be used")

func newSnapshotCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Take snapshots of a member, look at them, and restore one into a new cluster",
		Long: `take asks a running member. list and verify read the snapshots in a member's --data
directory and change nothing; the member may be stopped or running. restore makes a new
--data directory.

Exit status: 0 sound, 3 one cannot be used, 1 when the directory cannot be read,
2 for a mistake on the command line.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("%q is not a verb of raftd snapshot; use take, list, verify or "+
					"restore", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTakeCommand(), newRestoreCommand(),
		newSnapshotsCommand("list", "Say which snapshots there are, and which the journal names",
			false),
		newSnapshotsCommand("verify", "Read all of each file, and say which cannot be used", true))
	return cmd
}

func newSnapshotsCommand(verb, short string, verify bool) *cobra.Command {
	var asJSON bool
	data := defaults().data
	cmd := &cobra.Command{
		Use:     verb,
		Short:   short,
		Example: "  raftd snapshot " + verb + " --data raftd-data",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := snapshots(data, verify, args)
			if err != nil {
				return err
			}
			if asJSON {
				err = printSnapshotsJSON(cmd.OutOrStdout(), files)
			} else {
				err = printSnapshots(cmd.OutOrStdout(), data, files, verify)
			}
			for _, f := range files {
				if f.Error != nil {
					err = errors.Join(err, fmt.Errorf("%w: %w", errBadSnapshot, f.Error))
				}
			}
			return err
		},
	}
	if verify {
		cmd.Use, cmd.Args = verb+" [FILE]", cobra.MaximumNArgs(1)
		cmd.Example += "\n  raftd snapshot verify backup.snapshot"
	}
	cmd.Flags().StringVar(&data, "data", data, "data directory of the member")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

// snapshots are those of a directory, or the one file that was named.
func snapshots(data string, verify bool, args []string) ([]engine.SnapshotFile, error) {
	if len(args) == 0 {
		return engine.ListSnapshots(data, verify)
	}
	info, err := engine.VerifySnapshot(context.Background(), args[0])
	if err != nil && !errors.Is(err, engine.ErrBadSnapshot) {
		return nil, err
	}
	return []engine.SnapshotFile{{SnapshotInfo: info, File: args[0], Error: err}}, nil
}

// snapshotJSON is a snapshot as --json prints it.
type snapshotJSON struct {
	File   string    `json:"file"`
	Index  uint64    `json:"index"`
	Term   uint64    `json:"term"`
	Bytes  int64     `json:"bytes"`
	Digest string    `json:"digest"`
	Taken  time.Time `json:"taken"`
	Named  bool      `json:"named"` // by the journal
	Error  string    `json:"error,omitempty"`
}

func printSnapshotsJSON(w io.Writer, files []engine.SnapshotFile) error {
	list := make([]snapshotJSON, len(files))
	for i, f := range files {
		list[i] = snapshotJSON{File: f.File, Index: f.Index, Term: f.Term, Bytes: f.Bytes,
			Digest: fmt.Sprintf("%016x", f.Digest), Taken: f.Taken.UTC(), Named: f.Named}
		if f.Error != nil {
			list[i].Error = f.Error.Error()
		}
	}
	return json.NewEncoder(w).Encode(list)
}

func printSnapshots(w io.Writer, dir string, files []engine.SnapshotFile, verified bool) error {
	p := &printer{w: w}
	if len(files) == 0 {
		p.line("%s: there is no snapshot", dir)
	}
	for _, f := range files {
		p.line("%s", f.File)
		if f.Index > 0 {
			p.line("  entries     up to %d, the last of term %d", f.Index, f.Term)
		}
		if f.Error != nil {
			p.line("  unusable    %v", f.Error)
			continue
		}
		p.line("  file        %d bytes, digest %016x, taken %s", f.Bytes, f.Digest,
			f.Taken.UTC().Format(time.RFC3339))
		if verified {
			p.line("  sound       all of it was read")
		}
		if f.Named {
			p.line("  named       by the journal: the member starts from it")
		}
	}
	return p.err
}
