package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/ringraft/ringraft/journal"
)

func newStatsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "stats DIR",
		Short:   "Say how much is in it: segments, batches, sizes, terms",
		Example: "  raftd journal stats raftd-data",
		Args:    oneDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := journal.Examine(journal.Look{Dir: args[0]})
			if err != nil {
				return err
			}
			if asJSON {
				err = json.NewEncoder(cmd.OutOrStdout()).Encode(statsOf(r))
			} else {
				err = printStats(cmd.OutOrStdout(), r)
			}
			return errors.Join(err, verdict(r))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// stats are the figures of a journal.
type stats struct {
	Live          int    `json:"live_segments"`
	Spare         int    `json:"spare_segments"`
	Aside         int    `json:"aside_segments"` // not part of the log, and never written over
	Disk          int64  `json:"disk_bytes"`     // of all segment files
	Written       int64  `json:"written_bytes"`  // of batches, with headers and padding
	Payload       int64  `json:"payload_bytes"`  // of entries as encoded
	Batches       int    `json:"batches"`
	Seals         int    `json:"seals"`
	Entries       uint64 `json:"entries"`  // written, also those overruled since
	Snapshot      uint64 `json:"snapshot"` // last entry that it holds; 0: there is none
	First         uint64 `json:"first"`
	Last          uint64 `json:"last"`
	Commit        uint64 `json:"commit"`
	Terms         int    `json:"terms"`
	Incarnation   uint64 `json:"incarnation"`
	Openings      int    `json:"incarnations_seen"` // those whose batches are still here
	Torn          int    `json:"torn"`
	Sizes         []int  `json:"batches_by_size"` // [i]: of at most 4096<<i bytes
	SegmentBytes  int64  `json:"segment_bytes"`
	BlockBytes    int    `json:"block_bytes"`
	DamagedPlaces int    `json:"damaged_places"`
}

func statsOf(r *journal.Report) *stats {
	rec := &r.Recovery
	s := &stats{Snapshot: rec.Snapshot.Index, Payload: r.Payload, Batches: r.Batches,
		Seals: r.Seals, First: rec.First, Last: rec.Last, Commit: rec.Commit,
		Terms: len(rec.Runs), Incarnation: rec.Incarnation, Openings: r.Openings, Torn: rec.Torn,
		Sizes: r.Sizes, Written: rec.Bytes, SegmentBytes: r.SegmentBytes,
		BlockBytes: r.BlockBytes, DamagedPlaces: len(r.Harm())}
	for i := range r.Segments {
		g := &r.Segments[i]
		s.Disk += g.Bytes
		s.Entries += g.Entries
		switch {
		case g.Live:
			s.Live++
		case g.Aside:
			s.Aside++
		default:
			s.Spare++
		}
	}
	return s
}

func printStats(w io.Writer, r *journal.Report) error {
	p, s := &printer{w: w}, statsOf(r)
	printHead(p, r)
	p.line("  segments    %d live and %d spare, %s each, %s on disk", s.Live, s.Spare,
		size(s.SegmentBytes), size(s.Disk))
	if s.Aside > 0 {
		p.line("  kept aside  %d segment(s) that are not part of the log and never written over",
			s.Aside)
	}
	printLog(p, r)
	p.line("  entries     %d written, %s as encoded", s.Entries, size(s.Payload))
	p.line("  batches     %d of %s in all, %d of them seals, by %d incarnation(s)", s.Batches,
		size(s.Written), s.Seals, s.Openings)
	if s.Batches > 0 {
		p.line("  overhead    headers and padding are %.1f %% of what was written; a batch has "+
			"%.1f entries on average", 100*float64(s.Written-s.Payload)/float64(max(s.Written, 1)),
			float64(s.Entries)/float64(s.Batches))
	}
	for i, n := range s.Sizes {
		if n > 0 {
			p.line("  %-11s %d", fmt.Sprintf("≤ %d KiB", 4<<i), n)
		}
	}
	if s.DamagedPlaces > 0 {
		p.line("damaged: %d place(s); raftd journal verify says which", s.DamagedPlaces)
	}
	return p.err
}
