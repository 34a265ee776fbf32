package journals

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/journal"
)

// The picture: a panel for each size of a write, in it a group of bars for
// each mode, a bar for each preallocation. A bar is the journal's MB/s, the
// tick beside it the raw ceiling. The scale of a panel is that of what is
// durable; what is not, and is faster, runs out of it and says how far.

// Geometry, in pixels.
const (
	svgWidth  = 1320
	svgMargin = 24
	svgHead   = 118
	svgRow    = 14
	svgGap    = 7 // between modes
	svgLabel  = 118
	svgBars   = 268
	svgText   = 222
	svgPanel  = svgLabel + svgBars + svgText
	svgTop    = 40 // of a panel, above its bars
	svgBottom = 30 // below
)

var svgColors = map[string]string{
	journal.Recycled.String():   "#1b7f5a",
	journal.ZeroFilled.String(): "#3f7fbf",
	journal.Fallocated.String(): "#d98a1f",
	journal.Unreserved.String(): "#9a5fb0",
	"":                          "#777777",
}

type svg struct{ bytes.Buffer }

func (s *svg) add(format string, args ...any) { fmt.Fprintf(&s.Buffer, format+"\n", args...) }

func (s *svg) text(x, y float64, class, format string, args ...any) {
	s.add(`<text x="%.0f" y="%.1f" class="%s">%s</text>`, x, y, class,
		html.EscapeString(fmt.Sprintf(format, args...)))
}

// panelHeight is the room that a size's bars need.
func panelHeight(cells []*Cell, modes []string) int {
	n, groups := 0, 0
	for _, m := range modes {
		k := len(slices.DeleteFunc(slices.Clone(cells), func(c *Cell) bool { return c.Mode != m }))
		if n += k; k > 0 {
			groups++
		}
	}
	return svgTop + n*svgRow + groups*svgGap + svgBottom
}

// svgStyle is the style sheet of a picture.
const svgStyle = `<style>text{font-size:10.5px;fill:#222} .title{font-size:19px;font-weight:600}` +
	` .sub{font-size:11.5px;fill:#555} .strong{font-size:11.5px;font-weight:600}` +
	` .panel{font-size:14px;font-weight:600} .mode{text-anchor:end}` +
	` .no{fill:#a33;text-anchor:end} .num{text-anchor:end;fill:#333}` +
	` .best{text-anchor:end;font-weight:700;fill:#000}` +
	` .head{text-anchor:end;fill:#777;font-size:9.5px}` +
	` .axis{text-anchor:middle;fill:#777;font-size:9.5px}` +
	` .warn{font-size:12px;fill:#a33;font-weight:600}</style>`

// WriteSVG draws the comparison. The picture needs nothing beside itself.
func (r *Result) WriteSVG(w io.Writer) error {
	body := &svg{}
	height := [2]int{svgHead, svgHead} // of the two columns so far
	for i, size := range r.Config.Sizes {
		cells := slices.DeleteFunc(slices.Clone(r.Cells),
			func(c *Cell) bool { return c.Size != size })
		column := i % 2
		x := svgMargin + column*(svgWidth-2*svgMargin-svgPanel)
		r.panel(body, size, cells, float64(x), float64(height[column]))
		height[column] += panelHeight(cells, r.Config.Modes)
	}
	column := len(r.Config.Sizes) % 2 // the one with room
	r.notes(body, float64(svgMargin+column*(svgWidth-2*svgMargin-svgPanel)),
		float64(height[column]))
	height[column] += svgTop + svgRow*(2+len(r.winners())*2+2*len(r.warnings()))
	out, tall := &svg{}, max(height[0], height[1])+12
	out.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d"`+
		` font-family="system-ui, 'DejaVu Sans', sans-serif">`, svgWidth, tall, svgWidth, tall)
	out.add(svgStyle)
	out.add(`<rect width="100%%" height="100%%" fill="#fff"/>`)
	r.head(out)
	out.Write(body.Bytes())
	out.add(`</svg>`)
	_, err := w.Write(out.Bytes())
	return err
}

func (r *Result) head(s *svg) {
	e := &r.Environment
	s.text(svgMargin, 30, "title", "Journal writes against the raw ceiling")
	s.text(svgMargin, 49, "sub", "%s", e.Text())
	s.text(svgMargin, 64, "sub", "%s %s · segments of %s · %d slices of %v for each bar, "+
		"journal and raw in turn", e.Filesystem, e.Device, bench.SizeText(r.Config.Segment),
		r.Config.Reps, r.Config.Duration/time.Duration(r.Config.Reps))
	x := float64(svgMargin)
	for _, how := range r.Config.Preallocation {
		s.add(`<rect x="%.0f" y="80" width="22" height="9" fill="%s"/>`, x, svgColors[how])
		s.text(x+28, 88.5, "sub", "%s", how)
		x += 60 + 7*float64(len(how))
	}
	s.add(`<rect x="%.0f" y="80" width="22" height="9" fill="#999" opacity="0.35"/>`, x)
	s.text(x+28, 88.5, "sub", "pale, name in red: not durable")
	s.add(`<line x1="%.0f" x2="%.0f" y1="77" y2="92" stroke="#000" stroke-width="2"/>`,
		x+217, x+217)
	s.text(x+224, 88.5, "sub", "raw ceiling")
	s.add(`<line x1="%.0f" x2="%.0f" y1="84.5" y2="84.5" stroke="#000" stroke-opacity="0.45"/>`,
		x+304, x+332)
	s.text(x+338, 88.5, "sub", "slowest to fastest slice")
	s.text(x+492, 88.5, "sub", "bold: the fastest durable, and what is within %.0f %% of it",
		100*near)
	nothing := func(t string) bool { return strings.HasPrefix(t, "NOTHING") }
	if w := slices.IndexFunc(e.Warnings, nothing); w >= 0 {
		s.text(svgMargin, 108, "warn", "%s", e.Warnings[w])
	}
}

// notes say what follows from the bars, and what weakens them.
func (r *Result) notes(s *svg, x, y float64) {
	s.text(x, y+14, "panel", "The fastest durable")
	y += svgTop
	for _, v := range r.winners() {
		s.text(x, y, "strong", "%s", v.size)
		s.text(x+62, y, "strong", "%s", v.fastest)
		s.text(x+62, y+svgRow, "sub", "%s", v.standing)
		y += 2 * svgRow
	}
	for _, text := range r.warnings() {
		s.text(x, y+svgRow, "warn", "%s", text)
		y += 1.3 * svgRow
	}
}

// svgWarning is how many letters of a warning fit beside each other.
const svgWarning = 80

// warnings are those of the run, in lines.
func (r *Result) warnings() (lines []string) {
	all := r.Environment.Warnings
	if r.Partial != "" {
		all = append([]string{"PARTIAL: " + r.Partial}, all...)
	}
	for _, text := range all {
		line := ""
		for _, word := range strings.Fields(text) {
			if line != "" && len(line)+1+len(word) > svgWarning {
				lines, line = append(lines, line), ""
			}
			line = strings.TrimSpace(line + " " + word)
		}
		lines = append(lines, line)
	}
	return lines
}

// scale is what a panel's bars are drawn to, in MB/s.
func scale(cells []*Cell) float64 {
	var durable, any float64
	for _, c := range cells {
		v := 0.0
		for _, side := range []*Side{&c.Journal, &c.Raw} {
			if side.MBs.Known() {
				v = max(v, float64(side.MBs))
			}
		}
		if any = max(any, v); c.Durable {
			durable = max(durable, v)
		}
	}
	if durable == 0 {
		durable = any
	}
	return max(durable, 1e-9) * 1.06
}

func (r *Result) panel(s *svg, size int, cells []*Cell, x, y float64) {
	top := scale(cells)
	best := r.fastest(size, func(c *Cell) bool { return c.Durable })
	s.text(x, y+14, "panel", "%s a write", bench.SizeText(int64(size)))
	right := x + svgLabel + svgBars
	for i, h := range []string{"writes/s", "of raw", "p50 µs", "p99 µs"} {
		s.text(right+float64(svgColumns[i]), y+30, "head", "%s", h)
	}
	at := y + svgTop
	bottom := y + float64(panelHeight(cells, r.Config.Modes)-svgBottom)
	step := niceStep(top / 5)
	for v := 0.0; v <= top; v += step {
		px := x + svgLabel + v/top*svgBars
		s.add(`<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#e4e4e4"/>`,
			px, px, at-3, bottom)
		unit := ""
		if v+step > top {
			unit = " MB/s"
		}
		s.text(px, bottom+11, "axis", "%s%s", fmt.Sprint(v), unit)
	}
	for _, mode := range r.Config.Modes {
		first := true
		for _, c := range cells {
			if c.Mode != mode {
				continue
			}
			if first {
				class := "mode"
				if !c.Durable {
					class = "no"
				}
				s.text(x+svgLabel-8, at+svgRow-4, class, "%s", mode)
			}
			first = false
			r.bar(s, c, x+svgLabel, at, top, best)
			at += svgRow
		}
		if !first {
			at += svgGap
		}
	}
}

// svgColumns are where the columns of numbers end.
var svgColumns = [4]int{66, 112, 160, 214}

// bar draws one cell.
func (r *Result) bar(s *svg, c *Cell, x, y, top float64, best *Cell) {
	if text := c.failure(); text != "" {
		s.text(x+4, y+svgRow-4, "sub", "failed: %.60s", text)
		return
	}
	opacity := 1.0
	if !c.Durable {
		opacity = 0.35
	}
	mbs, raw := float64(c.Journal.MBs), float64(c.Raw.MBs) // a comparison with none is false
	length := min(mbs/top, 1) * svgBars
	title := fmt.Sprintf("%s: %.1f MB/s, raw %.1f MB/s", c.name(0), c.Journal.MBs, c.Raw.MBs)
	s.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="%d" fill="%s" opacity="%.2f">`+
		`<title>%s</title></rect>`, x, y+1, length, svgRow-3,
		svgColors[c.Preallocation], opacity, html.EscapeString(title))
	if mbs > top {
		s.add(`<path d="M%.1f %.1f l7 5.5 l-7 5.5 z" fill="#999"/>`, x+svgBars, y+1)
		s.text(x+svgBars-4, y+svgRow-4, "num", "%s MB/s", c.Journal.MBs.Grouped())
	}
	from := float64(c.Journal.mbs(c.Journal.Rate.Min))
	to := float64(c.Journal.mbs(c.Journal.Rate.Max))
	if mbs <= top {
		s.add(`<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#000" stroke-opacity="0.45"/>`,
			x+from/top*svgBars, x+min(to/top, 1)*svgBars, y+svgRow/2-0.5, y+svgRow/2-0.5)
	}
	if raw <= top && mbs <= top {
		px := x + raw/top*svgBars
		s.add(`<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#000" stroke-width="1.6"/>`,
			px, px, y-0.5, y+svgRow-1.5)
	}
	class := "num"
	if best != nil && c.Durable && c.Journal.Rate.Median >= (1-near)*best.Journal.Rate.Median {
		class = "best"
	}
	for i, text := range []string{c.Journal.Rate.Median.Grouped(),
		fmt.Sprintf("%.0f %%", 100*c.Ratio.Median), shortMicros(c.Journal.P50),
		shortMicros(c.Journal.P99)} {
		s.text(x+svgBars+float64(svgColumns[i]), y+svgRow-4, class, "%s", text)
	}
}

func shortMicros(us bench.Figure) string {
	if us >= 100 {
		return (us + 0.5).Grouped()
	}
	return fmt.Sprintf("%.1f", us)
}

// niceStep is the next of 1, 2, 5, 10, 20 …
func niceStep(v float64) float64 {
	step := 1e-3
	for i := 0; step < v; i++ {
		step *= []float64{2, 2.5, 2}[i%3]
	}
	return step
}

// WriteHTML writes a page with the picture and the table.
func (r *Result) WriteHTML(w io.Writer) error {
	var picture, table bytes.Buffer
	if err := r.WriteSVG(&picture); err != nil {
		return err
	}
	if err := r.WriteText(&table); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "<!doctype html>\n<meta charset=\"utf-8\">\n"+
		"<title>raftbench journal</title>\n%s<pre>%s</pre>\n",
		picture.Bytes(), html.EscapeString(table.String()))
	return err
}
