// Command raftd is a replicated, durable, linearizable key-value server that speaks the Redis
// protocol.
//
// Without flags it is a cluster of one member on the loopback address with its data in
// ./raftd-data. Exit status: 0 after a clean stop, 1 when it could not start or lost its journal,
// 2 for a mistake on the command line.
//
// raftd journal verify, dump and stats look at a journal and change nothing; 3 says that they found
// damage. So do raftd snapshot list and verify, of snapshots. raftd snapshot take asks a running
// member for one, and restore makes a new cluster of one. raftd member lists and changes the
// members of a running cluster; 3 says that it is not known whether they were changed. raftd status
// says how a cluster is: 0 healthy, 1 degraded, 2 nobody answers. raftd transfer hands leadership
// over. raftd secret new makes the secret that members share. raftd config checks and shows the
// settings, which come from flags, the environment and a file.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringraft/ringraft/engine"
)

func main() {
	os.Exit(execute(os.Args[1:]))
}

// execute runs the command line and returns the exit status.
func execute(args []string) int {
	cmd := newCommand()
	cmd.SetArgs(args)
	err := cmd.Execute()
	if err != nil {
		for line := range strings.SplitSeq(explain(err), "\n") {
			fmt.Fprintln(os.Stderr, "raftd: "+line)
		}
	}
	return exitStatus(err)
}

// exitStatus says by a number how a command ended.
func exitStatus(err error) int {
	if err == nil {
		return 0
	}
	var usage *usageError
	var config *engine.ConfigError
	if errors.As(err, &usage) || errors.As(err, &config) || errors.Is(err, errNobody) {
		return 2
	}
	if errors.Is(err, errDamaged) || errors.Is(err, errBadSnapshot) ||
		errors.Is(err, engine.ErrBadSnapshot) || errors.Is(err, errUnknownChange) ||
		errors.Is(err, errUnknownTransfer) {
		return 3
	}
	return 1
}

func newCommand() *cobra.Command {
	o := defaults()
	cmd := &cobra.Command{
		Use:   "raftd",
		Short: "Replicated, durable, linearizable key-value server speaking the Redis protocol",
		Long: `raftd is one member of a replicated key-value store. Any Redis client can talk to it:

  raftd                                  a cluster of one, data in ./raftd-data
  redis-cli -p 7379 set greeting hello

A cluster of three, each member with its own --id and --data and the same --members:

  raftd --id 1 --data d1 --client 127.0.0.1:7379 --peer 127.0.0.1:7380 --http 127.0.0.1:7381 \
        --members 1=127.0.0.1:7380,2=127.0.0.1:7480,3=127.0.0.1:7580

A fourth member joins it, and is added:

  raftd --id 4 --data d4 --client 127.0.0.1:7679 --peer 127.0.0.1:7680 --http 127.0.0.1:7681 \
        --join 127.0.0.1:7380
  raftd member add 4=127.0.0.1:7680 --addr 127.0.0.1:7379

Every flag below is also a variable of the environment, --snapshot-after is
RAFTD_SNAPSHOT_AFTER, and a key of the file that --config names. Flags go before the
environment, and the environment before the file; raftd config show says what counts.`,
		Example: "  raftd --id 1 --data d1 --members " +
			"1=127.0.0.1:7380,2=127.0.0.1:7480,3=127.0.0.1:7580",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{fmt.Errorf("unexpected argument %q; see raftd --help", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.load(os.Environ()); err != nil {
				return err
			}
			return o.placed(run(o, cmd.OutOrStdout()))
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return &usageError{fmt.Errorf("%w; see raftd --help", err)}
	})
	o.bindAll(cmd)
	cmd.AddCommand(newJournalCommand(), newSnapshotCommand(), newMemberCommand(),
		newStatusCommand(), newProbeCommand(), newTransferCommand(), newSecretCommand(),
		newConfigCommand())
	return cmd
}
