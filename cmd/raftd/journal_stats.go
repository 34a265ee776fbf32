package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ringraft/ringraft/journal"
)

// journalStats is what stats prints.
type journalStats struct {
	Dir          string                  `json:"dir"`
	First        uint64                  `json:"first"`
	Last         uint64                  `json:"last"`
	Terms        int                     `json:"terms"`
	Batches      int                     `json:"batches"`
	Empty        int                     `json:"batches_without_entries"`
	Written      uint64                  `json:"entries_written"`
	Payload      int64                   `json:"entry_bytes"`
	Bytes        int64                   `json:"batch_bytes"`
	SegmentBytes int64                   `json:"segment_bytes"`
	FileBytes    int64                   `json:"file_bytes"`
	Entries      [3]uint64               `json:"entries_per_batch_p50_p90_max"`
	Sizes        [3]uint64               `json:"batch_bytes_p50_p90_max"`
	Spares       int                     `json:"spare_segments"`
	Segments     []journal.SegmentReport `json:"segments"`
}

func newStats() *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use: "stats DIR", Short: "Count batches, entries and bytes", Args: oneDir,
		RunE: func(c *cobra.Command, args []string) error {
			var counts, sizes []uint64
			s := journalStats{Dir: args[0]}
			x, err := journal.Examine(args[0], func(b *journal.BatchReport) {
				s.Batches++
				s.Written += uint64(b.Count)
				s.Payload += int64(b.Payload)
				s.Bytes += int64(b.Size)
				if b.Count == 0 {
					s.Empty++
					return
				}
				counts, sizes = append(counts, uint64(b.Count)), append(sizes, uint64(b.Size))
			})
			if err != nil {
				return err
			}
			defer x.Close()
			s.First, s.Last, s.Terms, s.Spares, s.Segments = x.First, x.Last, len(x.Runs), len(x.Spares), x.Segments
			s.SegmentBytes, s.FileBytes = x.SegmentBytes, x.SegmentBytes*int64(len(x.Segments)+len(x.Spares))
			s.Entries, s.Sizes = middle(counts), middle(sizes)
			if asJSON {
				return writeJSON(c.OutOrStdout(), &s)
			}
			return s.write(c.OutOrStdout(), x)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the numbers as JSON")
	return c
}

// middle is p50, p90 and the largest.
func middle(v []uint64) (out [3]uint64) {
	if len(v) == 0 {
		return out
	}
	slices.Sort(v)
	return [3]uint64{v[len(v)/2], v[len(v)*9/10], v[len(v)-1]}
}

func (s *journalStats) write(w io.Writer, x *journal.Examination) error {
	p := &page{w: w}
	writeHead(p, x)
	p.line("terms", "%d with entries", s.Terms)
	p.line("batches", "%d whole, %d of them without entries; the others hold %d entries p50, %d p90, %d at most", s.Batches, s.Empty,
		s.Entries[0], s.Entries[1], s.Entries[2])
	p.line("", "and are %d bytes p50, %d p90, %d at most", s.Sizes[0], s.Sizes[1], s.Sizes[2])
	p.line("entries", "%d written, %d of them count now", s.Written, max(s.Last+1, s.First)-s.First)
	if s.Bytes > 0 {
		p.line("bytes", "%d of entries in %d of batches: %.1f %% are headers and padding", s.Payload, s.Bytes,
			100*float64(s.Bytes-s.Payload)/float64(s.Bytes))
	}
	p.line("files", "%d segments and %d spares of %d bytes, %d in all", len(s.Segments), s.Spares, s.SegmentBytes, s.FileBytes)
	for _, g := range s.Segments {
		p.line("", "%s  number %d: %d batches, %d entries, %.1f %% full", g.File, g.Ordinal, g.Batches, g.Entries,
			100*float64(g.End)/float64(s.SegmentBytes))
	}
	if p.err != nil {
		return fmt.Errorf("stats: %w", p.err)
	}
	return nil
}
