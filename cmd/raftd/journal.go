package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringraft/ringraft/journal"
)

// newJournal is the family of tools that look at a journal and change nothing.
func newJournal() *cobra.Command {
	c := &cobra.Command{
		Use:   "journal",
		Short: "Look at a journal without changing it: verify, dump, stats",
		Long: `Tools that read a journal and never write a byte, best while its member is
stopped. DIR is what raftd was given as --data.

Exit status: 0 the journal is sound, 1 it is not or cannot be read, 2 a mistake
on the command line.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown argument %q; there are verify, dump and stats", args[0])
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error { return usagef("say what to do: verify, dump or stats DIR") },
	}
	c.AddCommand(newVerify(), newDump(), newStats())
	return c
}

// oneDir accepts exactly a directory.
func oneDir(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("%s wants one directory, the --data of a member", c.CommandPath())
	}
	return nil
}

// unsound is the outcome of looking at a journal that is not as it should be.
type unsound struct{ text string }

func (e *unsound) Error() string { return e.text }

func newVerify() *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use: "verify DIR", Short: "Say what is torn, rotten, stale or missing, and where", Args: oneDir,
		RunE: func(c *cobra.Command, args []string) error {
			x, err := journal.Examine(args[0], nil)
			if err != nil {
				return err
			}
			defer x.Close()
			if asJSON {
				err = writeJSON(c.OutOrStdout(), x)
			} else {
				err = writeVerdict(c.OutOrStdout(), x)
			}
			if err == nil && !x.Sound() {
				err = &unsound{fmt.Sprintf("the journal in %s is not sound", args[0])}
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the findings as JSON")
	return c
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// page writes lines and keeps the first error.
type page struct {
	w   io.Writer
	err error
}

func (p *page) line(label, format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, "%-10s %s\n", label, fmt.Sprintf(format, args...))
	}
}

func writeHead(p *page, x *journal.Examination) {
	p.line("journal", "%s: member %d of cluster %d, opened %d times", x.Dir, x.Identity.Replica, x.Identity.Cluster, x.Incarnation)
	vote := "no vote in it"
	if x.Hard.Vote != 0 {
		vote = fmt.Sprintf("its vote went to %d", x.Hard.Vote)
	}
	p.line("term", "%d, %s", x.Hard.Term, vote)
	if x.Last < x.First {
		p.line("log", "empty")
	} else {
		p.line("log", "entries %d to %d in %d segments, committed at least up to %d", x.First, x.Last, len(x.Segments), x.Commit)
	}
	if x.InUse {
		p.line("in use", "a process has it open: what is being written now may look torn")
	}
}

// writeVerdict says in words what was found.
func writeVerdict(w io.Writer, x *journal.Examination) error {
	p := &page{w: w}
	writeHead(p, x)
	if x.StateBad > 0 {
		p.line("state", "%d of its 4 copies are not whole; the next start mends them from the others", x.StateBad)
	}
	for _, f := range x.Findings {
		after := map[string]string{
			"torn":    "it was never acknowledged; the next start cuts it",
			"rotten":  "the newest write, perhaps acknowledged: the member may start, and votes only as a last resort until a leader has filled it in",
			"damaged": "acknowledged bytes are lost",
		}[f.What]
		p.line(f.What, "%s at %d: %s%s; %s", f.File, f.Offset, f.Cause, entries(f.First, f.Last), after)
	}
	for _, n := range x.Missing {
		p.line("missing", "%s: no file holds it", segmentsText(n))
	}
	for _, n := range x.Unfinished {
		p.line("unfinished", "%s: a segment whose preparation was cut short; the next start removes it", n)
	}
	for _, r := range x.Overruled {
		p.line("overruled", "what was lost in %s at %d is of no consequence: later batches overruled it", r.File, r.Offset)
	}
	for _, r := range x.Lost {
		p.line("missing", "%s (%s at %d: %s)", strings.TrimPrefix(entries(r.First, r.Last), ", "), r.File, r.Offset, r.Cause)
	}
	switch {
	case len(x.Lost) > 0:
		p.line("verdict", "DAMAGED: acknowledged entries are missing here; another member may hold them. Keep the directory as it is until one does")
	case x.Damaged:
		p.line("verdict", "DAMAGED: the member knows that acknowledged entries are missing and votes for nobody until a leader has filled them in")
	case x.Probation:
		p.line("verdict", "ON PROBATION: the member may lack acknowledged entries and votes only as a last resort until a leader has filled them in")
	case !x.Sound():
		p.line("verdict", "IN DOUBT: the newest write has rotted; it may have been acknowledged")
	default:
		p.line("verdict", "sound: nothing acknowledged is missing")
	}
	return p.err
}

func segmentsText(n journal.Numbers) string {
	if n.First == n.Last {
		return fmt.Sprintf("segment number %d", n.First)
	}
	return fmt.Sprintf("segments number %d to %d", n.First, n.Last)
}

// entries names a range of indices, with a comma before it; nothing for none.
func entries(first, last uint64) string {
	switch {
	case first == 0 || last < first:
		return ""
	case last == math.MaxUint64:
		return fmt.Sprintf(", entries from %d to the end", first)
	case first == last:
		return fmt.Sprintf(", entry %d", first)
	}
	return fmt.Sprintf(", entries %d to %d", first, last)
}
