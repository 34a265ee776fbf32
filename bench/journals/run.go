package journals

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/journal"
)

// A round is one size and one preallocation with all modes, each with its raw
// counterpart. They run in short slices, one side at a time, in an order that
// rotates; none always comes after the same one, and whatever disturbs the
// machine disturbs all.

// side is a journal, or a loop of raw writes, that can be run for a while.
type side interface {
	// warm brings the files into the state that the preallocation is about.
	warm(ctx context.Context) error
	// run writes while more says so, and until all of it is written. Each write's
	// latency goes to h. It returns the writes that succeeded, also with an error.
	run(ctx context.Context, more func() bool, h *bench.Histogram) (writes uint64, err error)
	// chores says whether files are being made or removed now.
	chores() bool
	// tidy waits for that.
	tidy(ctx context.Context) error
	// flush empties the page cache of what a slice left there.
	flush() error
	// end verifies what was written, and lets go of everything.
	end() error
}

// Run compares. What fails is reported in its cell; a context that ends is an
// error, with a partial result of the rounds that were complete, nil if none
// was. Whatever happens, nothing is left behind. say is told what runs now.
func Run(ctx context.Context, c Config, say func(string)) (r *Result, err error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(c.Dir, "raftbench-journal-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r = &Result{Config: c, Environment: bench.Fingerprint(dir)}
	r.Config.Dir = filepath.Dir(dir)
	var rounds [][]*Cell
	for _, size := range c.Sizes {
		memory := false // without files there is nothing to preallocate: it runs once
		for _, how := range c.Preallocation {
			var cells []*Cell
			for _, mode := range c.Modes {
				cell := &Cell{Mode: mode, Preallocation: how, Size: size}
				if mode == journal.Memory.String() {
					if memory {
						continue
					}
					memory, cell.Preallocation = true, ""
				}
				cells = append(cells, cell)
			}
			if len(cells) > 0 {
				rounds = append(rounds, cells)
			}
		}
	}
	all, told := bench.MachineCPU()
	foreign, began := bench.ProcessCPU(), bench.Clock()
	var ended error
	for i, cells := range rounds {
		tell := func(text string) {
			left := "" // a guess, once there is something to guess from
			if i > 0 {
				left = fmt.Sprintf(", about %.0f s left",
					float64(bench.Clock()-began)/float64(i)*float64(len(rounds)-i)/1e9)
			}
			say(fmt.Sprintf("%d of %d: %s, %s%s", i+1, len(rounds),
				bench.SizeText(int64(cells[0].Size)), text, left))
		}
		forgets := bench.Volatile(r.Environment.Filesystem)
		place := filepath.Join(dir, fmt.Sprint(i))
		if ended = c.round(ctx, place, cells, forgets, tell); ended != nil {
			if i == 0 {
				return nil, ended
			}
			r.Partial = fmt.Sprintf("ended early: %d of %d rounds of size and preallocation", i,
				len(rounds))
			break
		}
		r.Cells = append(r.Cells, cells...)
	}
	seconds := float64(bench.Clock()-began) / 1e9
	now, toldAgain := bench.MachineCPU()
	foreign += now - all - bench.ProcessCPU()
	share := bench.None()
	if told && toldAgain {
		share = bench.Of(foreign.Seconds(), seconds*float64(max(r.Environment.Cores, 1)))
	}
	r.warn(share)
	return r, ended
}

// turn is one side of a cell in a round.
type turn struct {
	side side
	to   *Side
	cell *Cell
}

// fail ends a side: the cell says why.
func (t *turn) fail(err error) {
	t.to.Failed++
	if t.to.Error == "" {
		t.to.Error = err.Error()
	}
}

func (c *Config) round(ctx context.Context, dir string, cells []*Cell, forgets bool,
	say func(string)) error {
	defer func() { _ = os.RemoveAll(dir) }() // Run removes, and reports, what this leaves
	var turns []*turn
	defer func() {
		for _, t := range turns {
			if t.side != nil {
				_ = t.side.end() // after an interruption only
			}
		}
	}()
	for i, cell := range cells {
		mode, err := journal.ParseMode(cell.Mode)
		if err != nil {
			return err
		}
		how := journal.Recycled
		if cell.Preallocation != "" {
			if how, err = journal.ParsePreallocation(cell.Preallocation); err != nil {
				return err
			}
		}
		load := newLoad(cell.Size, c.Seed)
		cell.Durable, cell.Entries = mode.Durable() && !forgets, load.entries
		for k, to := range []*Side{&cell.Journal, &cell.Raw} {
			say(cell.name(k) + ", preparing")
			*to = Side{latency: bench.NewHistogram()}
			t := &turn{to: to, cell: cell}
			where := filepath.Join(dir, fmt.Sprint(i, ".", k))
			if k == 0 {
				t.side, err = newJournalSide(where, mode, how, c.Segment, load)
			} else {
				t.side, err = newRawSide(where, mode, how, c.Segment, cell.Size, c.Seed)
			}
			if err != nil {
				t.side = nil
				t.fail(err)
				continue
			}
			turns = append(turns, t)
			if err := t.side.warm(ctx); err != nil {
				t.fail(err)
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	}
	if err := c.slices(ctx, turns, say); err != nil {
		return err
	}
	for _, t := range turns {
		err := t.side.end()
		if t.side = nil; err != nil && t.to.Failed == 0 {
			t.fail(err)
		}
	}
	for _, cell := range cells {
		cell.finish()
	}
	return ctx.Err()
}

func (c *Config) slices(ctx context.Context, turns []*turn, say func(string)) error {
	for rep := range c.Reps {
		for k := range turns {
			i := (k + 3*rep) % len(turns)
			if rep%2 == 1 {
				i = len(turns) - 1 - i // the raw one of a pair goes first
			}
			t := turns[i]
			if t.to.Failed > 0 {
				continue
			}
			side := 0
			if t.to == &t.cell.Raw {
				side = 1
			}
			say(fmt.Sprintf("%s, slice %d of %d", t.cell.name(side), rep+1, c.Reps))
			if err := t.slice(ctx, c.Duration/time.Duration(c.Reps)); err != nil {
				t.fail(err)
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	}
	return nil
}

// slice runs a side for a while. It begins with the next file ready, and ends
// with the next file ready: the making of every file that was used up is paid
// for, beside the writes as it is in production. So it goes on while a file is
// being made; if that never ends, it waits for the last one. It writes once at
// least.
func (t *turn) slice(ctx context.Context, length time.Duration) error {
	began, cpu := bench.Clock(), bench.ProcessCPU()
	until, first := began+int64(length), true
	writes, err := t.side.run(ctx, func() bool {
		now := bench.Clock()
		if first { // also when all of the time went by elsewhere
			first = false
			return true
		}
		return now < until || now < until+int64(length) && t.side.chores()
	}, t.to.latency)
	if err == nil {
		err = t.side.tidy(ctx)
	}
	t.to.count(writes, t.cell.Size, time.Duration(bench.Clock()-began), bench.ProcessCPU()-cpu)
	if err == nil && !t.cell.Durable {
		err = t.side.flush()
	}
	return err
}

// name is a cell's name, for people.
func (c *Cell) name(side int) string {
	text := c.Mode
	if c.Preallocation != "" {
		text = c.Preallocation + ", " + text
	}
	if side == 1 {
		text += ", raw"
	}
	return text
}

// tooShort are the sizes at which the middle slice went through less than one
// segment, although segments were to be made beside the writes.
func (r *Result) tooShort() (sizes []string) {
	for _, size := range r.Config.Sizes {
		for _, c := range r.Cells {
			made := c.Preallocation != "" && c.Preallocation != journal.Recycled.String()
			if j := &c.Journal; c.Size == size && c.Durable && made && j.Writes > 0 &&
				j.Bytes/uint64(r.Config.Reps) < uint64(r.Config.Segment) {
				sizes = append(sizes, bench.SizeText(int64(size)))
				break
			}
		}
	}
	return sizes
}

// Thresholds of warnings.
const shortRun = time.Second

// warn lists whatever weakens the figures.
func (r *Result) warn(foreign bench.Figure) {
	add := func(format string, args ...any) {
		r.Environment.Warnings = append(r.Environment.Warnings, fmt.Sprintf(format, args...))
	}
	if bench.Volatile(r.Environment.Filesystem) {
		add("NOTHING HERE IS DURABLE: %s is %s, it lives in memory; choose --dir on a disk",
			r.Config.Dir, r.Environment.Filesystem)
	}
	if foreign > bench.ForeignShare {
		add("the machine was not quiet: other processes used %.0f %% of it", 100*foreign)
	}
	if r.Config.Duration < shortRun {
		add("%v for each cell: p99 of few writes and max are chance; --duration 5s repeats better",
			r.Config.Duration)
	}
	if sizes := r.tooShort(); len(sizes) > 0 {
		add("a slice used up no segment at %s: what making one costs is not in those figures; a "+
			"longer --duration or a smaller --segment has it", strings.Join(sizes, ", "))
	}
	if n := r.Failed(); n > 0 {
		add("%d cells failed; they are not compared", n)
	}
}
