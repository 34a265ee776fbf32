package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// WriteText writes a result as one screen of text.
func (r *Result) WriteText(w io.Writer) error {
	p := NewPrinter(w)
	p.Line("config", "%s", r.Plan.Text(&r.System))
	if r.Seconds == 0 {
		p.Line("NOT RUN", "%s", r.Partial)
		return p.err
	}
	if r.Partial != "" {
		p.Line("PARTIAL", "%s", r.Partial)
	}
	p.Line("goodput", "%s ops/s   %.1f MB/s of values   %s in %.1f s", r.Goodput().Grouped(),
		Of(float64(r.Bytes)/1e6, r.Seconds), Grouped(int64(r.Ops)), r.Seconds)
	p.Line("errors", "%s", ErrorText(r.Errors))
	if text := r.silenceText(); text != "" {
		p.Line("silence", "%s", text)
	}
	p.table("latency µs", r)
	p.Line("cpu", "%s", r.cpuText())
	for i, s := range r.stages() {
		if i == 0 {
			p.Line("stage µs", "%-12s%11s%11s%11s%11s%11s", "", "p50", "p90", "p99", "p99.9", "max")
		}
		p.Line("", "%-12s%11.1f%11.1f%11.1f%11.1f%11.1f", s.Name, s.P50, s.P90, s.P99, s.P999,
			s.Max)
	}
	if r.System.Inside == "" && len(r.Stages) > 0 {
		p.Line("", "(the server's stages: since it started, in batches)")
	}
	p.Line("durable", "%s", r.System.Durability.Text)
	if r.System.Consistency != "" {
		p.Line("reads", "%s", r.System.Consistency)
	}
	p.Line("clock", "%s", clockText)
	p.Line("machine", "%s", r.Environment.Text())
	for _, text := range r.Environment.Warnings {
		p.Line("warning", "%s", text)
	}
	return p.err
}

const clockText = "read once per batch, before sending and after receiving; every answer recorded"

// Printer writes the lines of a report: a label, then text. Its first error
// stays, and ends the writing.
type Printer struct {
	w   io.Writer
	err error
}

// NewPrinter returns a printer that writes to w.
func NewPrinter(w io.Writer) *Printer { return &Printer{w: w} }

// Err is the first error of w.
func (p *Printer) Err() error { return p.err }

// Line writes one line.
func (p *Printer) Line(label, format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, strings.TrimRight(fmt.Sprintf("%-11s %s", label,
			fmt.Sprintf(format, args...)), " "))
	}
}

func (p *Printer) table(label string, r *Result) {
	var names, values strings.Builder
	for i, v := range r.quantiles() {
		fmt.Fprintf(&names, "%11s", percentiles[i].name)
		fmt.Fprintf(&values, "%11.1f", v)
	}
	note := ""
	if r.Plan.Rate > 0 {
		note = "   from the intended time"
	}
	p.Line(label, "%s", names.String())
	p.Line("", "%s%s", values.String(), note)
}

// ErrorText lists the classes of errors, most frequent first.
func ErrorText(errors map[string]uint64) string {
	if len(errors) == 0 {
		return "none"
	}
	classes := make([]string, 0, len(errors))
	for class := range errors {
		classes = append(classes, class)
	}
	slices.SortFunc(classes, func(a, b string) int {
		if errors[a] != errors[b] {
			return int(int64(errors[b]) - int64(errors[a]))
		}
		return strings.Compare(a, b)
	})
	for i, class := range classes {
		classes[i] = fmt.Sprintf("%s %s", class, Grouped(int64(errors[class])))
	}
	return strings.Join(classes, " · ")
}

func (r *Result) cpuText() string {
	text := fmt.Sprintf("%.2f CPU-s per million", r.PerMillion())
	switch {
	case r.CPUMissing != "":
		return fmt.Sprintf("– CPU-s per million: %s; client alone %.2f", r.CPUMissing,
			r.each(r.CPU))
	case r.System.Inside != "":
		return text + ", the whole process: client and " + r.System.Inside
	case r.CPUServers == 0:
		return text + ", the client only: the servers do not tell theirs"
	}
	return text + fmt.Sprintf(": client %.2f, %d server(s) %.2f",
		r.each(r.CPU), r.CPUServers, r.each(r.ServersCPU))
}

// Text is machine, kernel, file system and disk on one line.
func (e *Environment) Text() string {
	disk := e.Disk.Error
	if disk == "" {
		disk = fmt.Sprintf("4 KiB O_DIRECT|O_DSYNC write %.0f µs p50, %.0f p99", e.Disk.P50,
			e.Disk.P99)
	}
	parts := []string{fmt.Sprintf("%s × %d", e.CPU, e.Cores), e.Kernel,
		fmt.Sprintf("%s GOMAXPROCS %d", e.Go, e.MaxProcs)}
	if e.Filesystem != "" {
		parts = append(parts, e.Filesystem, disk)
	}
	if e.Revision != "" {
		parts = append(parts, e.Revision)
	}
	return strings.Join(parts, " · ")
}

// WriteTable writes several results as one table, a row for each.
func WriteTable(w io.Writer, results []*Result) error {
	_, err := fmt.Fprintf(w, "%11s %9s %14s %9s %10s %10s %10s %10s %11s\n", "outstanding", "bytes",
		"ops/s", "errors", "p50 µs", "p99 µs", "p99.9 µs", "max µs", "CPU-s/M")
	for _, r := range results {
		if err != nil {
			return err
		}
		q := r.quantiles()
		note := r.Fault()
		if note != "" {
			note = "  " + note
		}
		_, err = fmt.Fprintf(w, "%11s %9s %14s %9s %10.1f %10.1f %10.1f %10.1f %11.2f%s\n",
			Grouped(int64(r.Plan.Outstanding)), Grouped(int64(r.Plan.ValueBytes)),
			r.Goodput().Grouped(), Grouped(int64(r.Failures())), q[0], q[2], q[3], q[5],
			r.PerMillion(), note)
	}
	return err
}
