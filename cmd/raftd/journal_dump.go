package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/record"
)

// dumped is one entry as dump prints it.
type dumped struct {
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
	Kind  string `json:"kind"`
	Bytes int    `json:"bytes"`
	Data  []byte `json:"data,omitempty"` // base64 in JSON
}

func newDump() *cobra.Command {
	var from, to uint64
	asJSON := false
	c := &cobra.Command{
		Use: "dump DIR", Short: "Print the entries of the log, one a line", Args: oneDir,
		Example: "  raftd journal dump d1 --from 100 --to 120\n  raftd journal dump d1 --json | jq .data",
		RunE: func(c *cobra.Command, args []string) error {
			if to != 0 && to < from {
				return usagef("--to %d lies before --from %d", to, from)
			}
			x, err := journal.Examine(args[0], nil)
			if err != nil {
				return err
			}
			defer x.Close()
			w := bufio.NewWriterSize(c.OutOrStdout(), 64<<10)
			return errors.Join(dump(w, x, from, to, asJSON), w.Flush())
		},
	}
	c.Flags().Uint64Var(&from, "from", 0, "first entry; 0: the log's first")
	c.Flags().Uint64Var(&to, "to", 0, "last entry; 0: the log's last")
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line, data in base64")
	return c
}

// dumpRead is how much is read at once.
const dumpRead = 256 << 10

func dump(w io.Writer, x *journal.Examination, from, to uint64, asJSON bool) error {
	from = max(from, x.First)
	if to == 0 || to > x.Last {
		to = x.Last
	}
	r := x.NewReader()
	missing := uint64(0)
	for at := from; at <= to; {
		run, err := r.Read(at, dumpRead)
		if errors.Is(err, journal.ErrCompacted) { // between what was lost and what goes on
			missing++
			at++
			continue
		}
		if err != nil {
			return fmt.Errorf("entry %d: %w", at, err)
		}
		for b := run.Records; len(b) > 0 && at <= to; at++ {
			var e record.Entry
			n, err := record.Parse(b, &e)
			if err != nil {
				return fmt.Errorf("entry %d: %w", at, err)
			}
			b = b[n:]
			if err := writeEntry(w, &dumped{Index: at, Term: run.Term, Kind: kindName(e.Kind), Bytes: len(e.Data), Data: e.Data}, asJSON); err != nil {
				return err
			}
		}
	}
	if missing > 0 {
		return &unsound{fmt.Sprintf("%d entries of %d to %d are missing; raftd journal verify says where", missing, from, to)}
	}
	return nil
}

func kindName(k record.Kind) string {
	switch k {
	case record.Command:
		return "command"
	case record.NoOp:
		return "no-op"
	case record.Config:
		return "config"
	case record.Clock:
		return "clock"
	}
	return fmt.Sprintf("kind %d", k)
}

// shown is how much of an entry's data a line shows.
const shown = 96

func writeEntry(w io.Writer, e *dumped, asJSON bool) error {
	if asJSON {
		return writeJSON(w, e)
	}
	data, more := e.Data, ""
	if len(data) > shown {
		data, more = data[:shown], " …"
	}
	text := ""
	if len(data) > 0 {
		text = strconv.Quote(string(data)) + more
	}
	_, err := fmt.Fprintf(w, "%10d  term %-6d %-8s %6d B  %s\n", e.Index, e.Term, e.Kind, e.Bytes, text)
	return err
}
