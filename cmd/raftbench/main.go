// Command raftbench measures ringraft, and any server that speaks RESP, and
// checks that no acknowledged write is ever lost.
//
//	raftbench run                     three replicas in this process
//	raftbench run --addrs HOST:PORT   a running raftd, Redis, …
//	raftbench demo                    three raftd, load, a kill, and the check
//	raftbench check --addrs A,B,C     the check alone, on a running cluster
//	raftbench ring                    the ring against channels and a locked queue
//	raftbench journal                 journal modes, sizes of a write, preallocations
//
// Exit codes: 0 done, 1 the run or the check failed, 2 a mistake on the
// command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// usageError is a mistake on the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(execute(os.Args[1:])) }

// execute runs a command line and returns the exit code.
func execute(args []string) int {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "raftbench: %v\n", err)
		return exitUsage
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "raftbench: interrupted")
	default:
		fmt.Fprintf(os.Stderr, "raftbench: %v\n", err)
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "raftbench",
		Short:         "Load generator and lost-write checker for ringraft and RESP servers",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return usagef("say what to do: run, demo, check, ring or journal " +
				"(see raftbench --help)")
		},
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%v (see %s --help)", err, c.CommandPath())
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newRun(), newDemo(), newCheck(), newRing(), newJournal())
	return root
}

func noArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unknown argument %q (see %s --help)", args[0], c.CommandPath())
	}
	return nil
}

// onTerminal says whether a file is a terminal that may be written over.
func onTerminal(f *os.File) bool {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0 && st.Mode()&os.ModeDevice != 0
}
