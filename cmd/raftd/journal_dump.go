package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/journal/record"
)

// dumper prints batches and the entries in them.
type dumper struct {
	printer
	from, to uint64
	values   int // bytes of an entry's data that are printed
	json     *json.Encoder
	raw      bool
}

func newDumpCommand() *cobra.Command {
	d := &dumper{}
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "dump DIR",
		Short: "Print batches and entries in the order of writing",
		Long: `Prints every batch of the log in the order of writing, and below it its entries. An
entry that a later batch overruled is marked so. With --json each line is an object: a
batch, or an entry with its data in base64.

With --raw the entries that no later batch overruled come as they are encoded, a
ringraft.record.v1.EntryRun of journal/record/entry.proto for each batch. One behind
the other they are one message, whose entries are those of all.`,
		Example: "  raftd journal dump raftd-data --from 100 --to 120\n" +
			"  raftd journal dump raftd-data --raw | protoc -I journal/record " +
			"--decode=ringraft.record.v1.EntryRun entry.proto",
		Args: oneDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			if d.from > d.to {
				return usagef("--from %d is behind --to %d", d.from, d.to)
			}
			if d.raw && asJSON {
				return usagef("--raw and --json: choose one")
			}
			out := bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10)
			d.w = out
			if asJSON {
				d.json = json.NewEncoder(out)
			}
			r, err := journal.Examine(journal.Look{Dir: args[0], Visit: d.batch})
			if err = errors.Join(err, out.Flush()); err != nil {
				return err
			}
			return verdict(r)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.Uint64Var(&d.from, "from", 0, "first entry")
	f.Uint64Var(&d.to, "to", math.MaxUint64, "last entry")
	f.IntVar(&d.values, "bytes", 64, "how much of an entry's data is printed")
	f.BoolVar(&asJSON, "json", false, "one JSON object per line, data in base64 and whole")
	f.BoolVar(&d.raw, "raw", false, "encoded entries alone, for protoc --decode")
	return cmd
}

// batchLine and entryLine are the objects of --json.
type batchLine struct {
	Batch    uint64 `json:"batch"`
	File     string `json:"file"`
	Offset   int64  `json:"offset"`
	Bytes    int    `json:"bytes"`
	Segment  uint64 `json:"segment"`
	Promise  uint64 `json:"promise"`
	Term     uint64 `json:"term"`
	Vote     uint64 `json:"vote"`
	Commit   uint64 `json:"commit"`
	First    uint64 `json:"first"`
	Count    uint32 `json:"count"`
	Opens    bool   `json:"opens,omitempty"`
	Seals    bool   `json:"seals,omitempty"`
	Restores bool   `json:"restores,omitempty"`
	Doubt    bool   `json:"doubt,omitempty"`
	Metadata []byte `json:"metadata,omitempty"`
	Bad      string `json:"bad,omitempty"`
}

type entryLine struct {
	Index     uint64 `json:"index"`
	Term      uint64 `json:"term"`
	Kind      string `json:"kind"`
	Session   uint64 `json:"session,omitempty"`
	Request   uint64 `json:"request,omitempty"`
	Clock     uint64 `json:"clock,omitempty"`
	Overruled bool   `json:"overruled,omitempty"`
	Data      []byte `json:"data"`
}

func (d *dumper) batch(f *journal.BatchInfo) error {
	all := d.from == 0 && d.to == math.MaxUint64
	last := f.First + uint64(f.Count) - 1
	if !all && (f.Count == 0 || last < d.from || f.First > d.to) {
		return nil
	}
	if d.raw {
		return d.run(f)
	}
	if d.json != nil {
		d.err = errors.Join(d.err, d.json.Encode(batchLine{f.Number, f.File, f.Offset, f.Size,
			f.Ordinal, f.Promise, f.Hard.Term, f.Hard.Vote, f.Commit, f.First, f.Count, f.Opens,
			f.Seals, f.Restores, f.Doubt, f.Metadata, f.Bad}))
	} else {
		d.line("%s %d: batch %d.%d, %s", f.File, f.Offset, f.Number>>40, f.Number&(1<<40-1),
			strings.Join(says(f), ", "))
	}
	return d.entries(f)
}

// run writes the entries of a batch that are wanted and still count.
func (d *dumper) run(f *journal.BatchInfo) error {
	first := max(f.First, d.from)
	last := min(f.First+uint64(f.Live), d.to+1)
	if d.to == math.MaxUint64 {
		last = f.First + uint64(f.Live)
	}
	b, from := f.Records, 0
	for i, at := f.First, 0; i < last; i++ {
		n, err := record.Skip(b[at:])
		if err != nil {
			return fmt.Errorf("%s offset %d, entry %d: %w", f.File, f.Offset, i, err)
		}
		if at += n; i < first {
			from = at
		} else if i+1 == last {
			_, err := d.w.Write(append(record.AppendRunHeader(nil, f.Term, first), b[from:at]...))
			return err
		}
	}
	return nil
}

// says is what a batch tells of itself.
func says(f *journal.BatchInfo) (list []string) {
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	switch {
	case f.Opens:
		add("opens segment %d", f.Ordinal)
	case f.Seals:
		add("seal")
	case f.Restores:
		add("no entries, the log begins anew behind a snapshot up to %d of term %d", f.First-1,
			f.Term)
	case f.Count == 0:
		add("no entries, the log ends at %d", f.First-1)
	default:
		add("entries %d to %d of term %d", f.First, f.First+uint64(f.Count)-1, f.Term)
	}
	add("%d bytes", f.Size)
	add("term %d vote %d", f.Hard.Term, f.Hard.Vote)
	add("commit %d", f.Commit)
	if len(f.Metadata) > 0 {
		add("metadata of %d bytes", len(f.Metadata))
	}
	if f.Doubt {
		add("written on probation or while entries were missing")
	}
	if f.Bad != "" {
		add("BAD: %s", f.Bad)
	}
	return list
}

func (d *dumper) entries(f *journal.BatchInfo) error {
	b := f.Records
	for i := uint64(0); len(b) > 0; i++ {
		var e record.Entry
		n, err := record.Parse(b, &e)
		kind := kinds[e.Kind]
		if unknown := new(record.KindError); errors.As(err, &unknown) {
			// of a later release: all that can be said is its bytes
			kind, e = fmt.Sprint("kind ", unknown.Kind), record.Entry{Data: b[:n]}
		} else if err != nil {
			return fmt.Errorf("%s offset %d, entry %d: %w", f.File, f.Offset, f.First+i, err)
		}
		b = b[n:]
		if at := f.First + i; at >= d.from && at <= d.to {
			d.entry(at, f.Term, i >= uint64(f.Live), kind, &e)
		}
	}
	return d.err
}

var kinds = [...]string{"command", "no-op", "config"}

func (d *dumper) entry(index, term uint64, overruled bool, kind string, e *record.Entry) {
	if d.json != nil {
		d.err = errors.Join(d.err, d.json.Encode(entryLine{index, term, kind, e.Session, e.Request,
			e.Clock, overruled, e.Data}))
		return
	}
	var more string
	if overruled {
		more += " overruled"
	}
	if e.Session != 0 {
		more += fmt.Sprintf(" session %d request %d", e.Session, e.Request)
	}
	if e.Clock != 0 {
		more += fmt.Sprintf(" clock %d", e.Clock)
	}
	data := e.Data[:min(len(e.Data), max(d.values, 0))]
	dots := ""
	if len(data) < len(e.Data) {
		dots = "…"
	}
	d.line("  %d/%d %s%s, %d bytes %q%s", index, term, kind, more, len(e.Data), data, dots)
}
