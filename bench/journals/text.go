package journals

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/journal"
)

// WriteText writes the comparison as a table, a block for each size.
func (r *Result) WriteText(w io.Writer) error {
	p := bench.NewPrinter(w)
	p.Line("journal", "segments of %s · %d slices of %v each, journal and raw in turn, in an "+
		"order that rotates", bench.SizeText(r.Config.Segment), r.Config.Reps,
		r.Config.Duration/time.Duration(r.Config.Reps))
	p.Line("a write", "one group of that many bytes on the disk, one under way at a time: "+
		"header, checksums, entries of %d random", entryBytes)
	p.Line("", "bytes in mutations of up to %d; the next group is filled meanwhile. Latency: "+
		"from its turn to its end, every write", mutationEntries)
	p.Line("raw", "the same bytes by pwrite alone, files opened and prepared alike, the next "+
		"one made beside the writes as by the journal")
	p.Line("figures", "writes/s, MB/s of bytes on the disk: the middle slice; latencies: all "+
		"slices; of raw: slice by slice, the middle one")
	if r.Partial != "" {
		p.Line("PARTIAL", "%s", r.Partial)
	}
	p.Line("machine", "%s", r.Environment.Text())
	p.Line("device", "%s %s", r.Environment.Filesystem, r.Environment.Device)
	for _, size := range r.Config.Sizes {
		r.block(p, size)
	}
	for i, v := range r.winners() {
		label := ""
		if i == 0 {
			p.Line("", "")
			label = "fastest"
		}
		text := fmt.Sprintf("%-8s %s", v.size, v.fastest)
		if v.standing != "" {
			text += "; " + v.standing
		}
		p.Line(label, "%s", text)
	}
	for _, text := range r.Environment.Warnings {
		p.Line("warning", "%s", text)
	}
	return p.Err()
}

func (r *Result) block(p *bench.Printer, size int) {
	p.Line("", "")
	p.Line(bench.SizeText(int64(size)), "%-19s%8s%11s%9s%9s%9s%10s%8s%11s%9s%22s", "", "durable",
		"writes/s", "MB/s", "p50 µs", "p99 µs", "max µs", "CPU µs", "raw w/s", "raw p50",
		"of raw (min–max)")
	how := "-"
	for _, c := range r.Cells {
		if c.Size != size {
			continue
		}
		label := ""
		if c.Preallocation != how {
			if how = c.Preallocation; c.Mode != journal.Memory.String() {
				label = how
			}
		}
		durable := "yes"
		if !c.Durable {
			durable = "NO"
		}
		if text := c.failure(); text != "" {
			p.Line(label, "%-19s%8s   failed: %s", c.Mode, durable, text)
			continue
		}
		j := &c.Journal
		p.Line(label, "%-19s%8s%11s%9.1f%9.1f%9.1f%10.0f%8.1f%11s%9.1f%22s", c.Mode, durable,
			j.Rate.Median.Grouped(), j.MBs, j.P50, j.P99, j.Max, j.CPU,
			c.Raw.Rate.Median.Grouped(), c.Raw.P50, c.ratioText())
	}
}

// ratioText is the share of the raw rate.
func (c *Cell) ratioText() string {
	return fmt.Sprintf("%.0f %% (%.0f–%.0f)", 100*c.Ratio.Median, 100*c.Ratio.Min, 100*c.Ratio.Max)
}

// failure says on one line why a cell has no figures, "" if it has.
func (c *Cell) failure() string {
	text := c.Journal.Error
	switch {
	case text != "":
	case c.Raw.Error != "":
		text = "raw: " + c.Raw.Error
	case !c.Journal.MBs.Known():
		text = "nothing was written"
	}
	return strings.Join(strings.Fields(text), " ")
}

// near is how far a cell may lie behind the fastest and still be as fast: more
// often than not two runs differ by as much.
const near = 0.03

// winner is the fastest durable cell of a size, and where the default stands.
type winner struct{ size, fastest, standing string }

func (r *Result) winners() (list []winner) {
	isDefault := func(c *Cell) bool {
		return c.Mode == journal.Direct.String() && c.Preallocation == journal.Recycled.String()
	}
	for _, size := range r.Config.Sizes {
		best := r.fastest(size, func(c *Cell) bool { return c.Durable })
		if best == nil {
			continue
		}
		v := winner{size: bench.SizeText(int64(size)), fastest: fmt.Sprintf("%s: %s writes/s, "+
			"%.0f MB/s", best.name(0), best.Journal.Rate.Median.Grouped(),
			best.Journal.MBs)}
		if d := r.fastest(size, isDefault); d == best {
			v.standing = "it is the default"
		} else if d != nil {
			behind := 1 - d.Journal.Rate.Median/best.Journal.Rate.Median
			v.standing = fmt.Sprintf("the default, %s, is %.1f %% behind", d.name(0), 100*behind)
			if behind <= near {
				v.standing += ": as fast"
			}
		}
		list = append(list, v)
	}
	return list
}

// WriteJSON writes the comparison for other tools.
func (r *Result) WriteJSON(w io.Writer) error {
	return bench.WriteIndented(w, r)
}
