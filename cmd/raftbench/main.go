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
// A run that is interrupted reports what it measured until then, marked as
// partial; a second signal ends it at once. Exit statuses: see exitText.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// usageError is a mistake on the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// Exit statuses.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

const exitText = `Exit statuses:
  0    all was measured, or the check proved what it had to
  1    a run or a check failed, nothing succeeded, the target was gone at the
       end, or a result could not be written
  2    a mistake on the command line: nothing was run, no file was touched
  130  interrupted by SIGINT or SIGTERM: what was measured until then was
       printed and written, and is marked as partial (a second signal ends
       the program at once and leaves files as they were)`

func main() { os.Exit(execute(os.Args[1:])) }

// execute runs a command line and returns the exit status.
func execute(args []string) int {
	ctx, done := interruptible()
	defer done()
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		say(err)
		return exitUsage
	case interrupted(err):
		say(err)
		return exitInterrupted
	}
	say(err)
	return exitFailed
}

// say prints an error on one line.
func say(err error) {
	text := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
	text = strings.ReplaceAll(text, context.Canceled.Error(), "interrupted")
	fmt.Fprintf(os.Stderr, "raftbench: %s\n", text)
}

// interruptible is a context that the first signal ends. The second one ends
// the process, as if nobody listened. A reader of standard output that went
// away ends nothing: writing fails, and the files are still to be written.
func interruptible() (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals, pipe := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	signal.Notify(pipe, syscall.SIGPIPE)
	go func() {
		select {
		case <-signals:
			signal.Stop(signals)
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		signal.Stop(pipe)
		cancel()
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "raftbench",
		Short: "Load generator and lost-write checker for ringraft and RESP servers",
		Long: "Load generator and lost-write checker for ringraft and RESP servers.\n\n" +
			exitText,
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
	root.AddCommand(newRun(), newDemo(), newCheck(), newRing(), newJournal())
	for _, c := range root.Commands() {
		if err := completeValues(c); err != nil {
			panic(err) // registered twice
		}
	}
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
