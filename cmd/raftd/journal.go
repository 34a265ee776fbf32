package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringraft/ringraft/journal"
)

// errDamaged makes the exit status 3.
var errDamaged = errors.New("the journal is damaged")

func newJournalCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "journal",
		Short: "Look at a member's journal without changing it",
		Long: `These tools read a journal and change nothing: no byte, no lock, no access time where
the system allows it. DIR is a member's --data directory, or the directory "journal"
in it. The member may be stopped, damaged, or running. While it runs, the end of the
log moves, so what looks damaged is read again before it is reported.

Exit status: 0 sound, 3 damaged, 1 when DIR cannot be read or holds no journal,
2 for a mistake on the command line.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("%q is not a verb of raftd journal; use verify, dump or stats",
					args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newVerifyCommand(), newDumpCommand(), newStatsCommand())
	return cmd
}

// oneDir takes the one argument that each of the tools has.
func oneDir(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("%s takes one directory, got %d arguments; see %s --help", cmd.CommandPath(),
			len(args), cmd.CommandPath())
	}
	return nil
}

func newVerifyCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "verify DIR",
		Short:   "Check every batch, and say what is torn, rotten, stale or missing",
		Example: "  raftd journal verify raftd-data",
		Args:    oneDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := journal.Examine(journal.Look{Dir: args[0]})
			if err != nil {
				return err
			}
			if asJSON {
				err = json.NewEncoder(cmd.OutOrStdout()).Encode(r)
			} else {
				err = printReport(cmd.OutOrStdout(), r)
			}
			return errors.Join(err, verdict(r))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the whole report as one JSON object")
	return cmd
}

// verdict is nil for a sound journal.
func verdict(r *journal.Report) error {
	harm := r.Harm()
	if len(harm) == 0 {
		return nil
	}
	return fmt.Errorf("%s: %w: %d place(s), the first at %s offset %d: %s", r.Dir, errDamaged,
		len(harm), harm[0].File, harm[0].Offset, harm[0].Text)
}

// printer keeps the first error of printing.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func printReport(w io.Writer, r *journal.Report) error {
	p := &printer{w: w}
	printHead(p, r)
	for i := range r.Segments {
		switch s := &r.Segments[i]; {
		case s.Live:
			p.line("  %-11s segment %d: %s, ends at offset %d of %d", s.File, s.Ordinal, holding(s),
				s.End, s.Bytes)
		case s.Aside:
			p.line("  %-11s kept aside, %d bytes: it holds batches of segment %d and is never "+
				"written over", s.File, s.Bytes, s.Ordinal)
		default:
			p.line("  %-11s spare of %d bytes; what it holds counts for nothing", s.File, s.Bytes)
		}
	}
	printLog(p, r)
	for i := range r.Findings {
		printFinding(p, &r.Findings[i])
	}
	printEnd(p, r)
	return p.err
}

func printHead(p *printer, r *journal.Report) {
	p.line("%s: journal of member %d of cluster %016x", r.Dir, r.Identity.Replica,
		r.Identity.Cluster)
	if r.Holder != 0 {
		p.line("  in use      process %d has it open: its end moves while it is read", r.Holder)
	}
	p.line("  state       %d of 4 copies agree", r.Copies)
	if id := r.Recovery.Directory; id != [2]uint64{} {
		p.line("  directory   id %016x%016x", id[0], id[1])
	}
}

func holding(s *journal.Segment) string {
	if s.Entries == 0 {
		return fmt.Sprintf("%d batches, no entries", s.Batches)
	}
	return fmt.Sprintf("%d batches, entries %d to %d", s.Batches, s.First, s.Last)
}

// printLog says what Open would find.
func printLog(p *printer, r *journal.Report) {
	rec := &r.Recovery
	if m := rec.Snapshot; m.Index > 0 {
		p.line("  snapshot    of the entries up to %d, the last of term %d, digest %016x", m.Index,
			m.Term, m.Digest)
	}
	switch {
	case r.Batches == 0:
		p.line("  log         nothing was ever written")
		return
	case rec.Last < rec.First:
		p.line("  log         no entries, begins at %d", rec.First)
	default:
		p.line("  log         entries %d to %d in %d term(s), committed up to %d at least",
			rec.First, rec.Last, len(rec.Runs), rec.Commit)
	}
	if n := len(rec.Configs); n > 0 {
		p.line("  members     %d configuration(s) in the log, the last is entry %d", n,
			rec.Configs[n-1].Index)
	}
	vote := "no vote"
	if rec.Hard.Vote != 0 {
		vote = fmt.Sprintf("vote for %d", rec.Hard.Vote)
	}
	p.line("  hard state  term %d, %s, incarnation %d", rec.Hard.Term, vote, rec.Incarnation)
	if !r.Sealed {
		p.line("  end         the last batch is not sealed: the member runs, or was killed")
	}
	if rec.Probation {
		p.line("  probation   the last batch had rotted: it may have been acknowledged; its " +
			"vote decides no election until a leader has filled it in")
	}
	if rec.Damaged {
		p.line("  damaged     entries are missing, now or since an earlier opening: its vote " +
			"decides no election until a leader has filled them in")
	}
}

func printFinding(p *printer, f *journal.Finding) {
	word := "note"
	if f.Harm {
		word = "DAMAGE"
	}
	where := fmt.Sprintf("%s offset %d", f.File, f.Offset)
	if f.Bytes > 0 {
		where += fmt.Sprintf(" (%d bytes)", f.Bytes)
	}
	if e := f.Entries(); e != "" {
		where += ", entries " + e
	}
	p.line("  %-11s %s: %s: %s", word, where, f.Kind, f.Text)
}

func printEnd(p *printer, r *journal.Report) {
	harm := r.Harm()
	if len(harm) == 0 {
		p.line("sound: %d batches read, every checksum right", r.Batches)
		return
	}
	var touched []string
	for i := range harm {
		if e := harm[i].Entries(); e != "" {
			touched = append(touched, e)
		}
	}
	if len(touched) == 0 {
		touched = append(touched, "none known")
	}
	p.line("damaged: %d place(s); entries touched: %s", len(harm), strings.Join(touched, ", "))
}
