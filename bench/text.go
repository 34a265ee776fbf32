package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// WriteText writes a result as one screen of text.
func (r *Result) WriteText(w io.Writer) error {
	p := &printer{w: w}
	p.line("config", "%s", r.Config.String())
	p.line("goodput", "%s ops/s   %.1f MB/s of values   %s in %.1f s",
		grouped(int64(r.Goodput())), float64(r.Bytes)/r.Seconds/1e6, grouped(int64(r.Ops)), r.Seconds)
	p.line("errors", "%s", r.errorText())
	p.table("latency µs", r)
	p.line("cpu", "%s", r.cpuText())
	for i, s := range r.stages() {
		if i == 0 {
			p.line("stage µs", "%-12s%11s%11s%11s%11s%11s", "", "p50", "p90", "p99", "p99.9", "max")
		}
		p.line("", "%-12s%11.1f%11.1f%11.1f%11.1f%11.1f", s.Name, s.P50, s.P90, s.P99, s.P999, s.Max)
	}
	if len(r.Config.Addrs) > 0 && len(r.Stages) > 0 {
		p.line("", "(the server's stages: since it started, in batches)")
	}
	p.line("durable", "%s", r.Durability.Text)
	p.line("clock", "%s", clockText)
	p.line("machine", "%s", r.Environment.text())
	for _, text := range r.Environment.Warnings {
		p.line("warning", "%s", text)
	}
	return p.err
}

const clockText = "read once per batch, before sending and after receiving; every answer recorded"

type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(label, format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, strings.TrimRight(fmt.Sprintf("%-11s %s", label, fmt.Sprintf(format, args...)), " "))
	}
}

func (p *printer) table(label string, r *Result) {
	var names, values strings.Builder
	for i, v := range quantiles(r.Latency) {
		fmt.Fprintf(&names, "%11s", percentiles[i].name)
		fmt.Fprintf(&values, "%11.1f", v)
	}
	note := ""
	if r.Config.Rate > 0 {
		note = "   from the intended time"
	}
	p.line(label, "%s", names.String())
	p.line("", "%s%s", values.String(), note)
}

// errorText lists the classes, most frequent first.
func (r *Result) errorText() string {
	if len(r.Errors) == 0 {
		return "none"
	}
	classes := make([]string, 0, len(r.Errors))
	for class := range r.Errors {
		classes = append(classes, class)
	}
	slices.SortFunc(classes, func(a, b string) int {
		if r.Errors[a] != r.Errors[b] {
			return int(int64(r.Errors[b]) - int64(r.Errors[a]))
		}
		return strings.Compare(a, b)
	})
	for i, class := range classes {
		classes[i] = fmt.Sprintf("%s %s", class, grouped(int64(r.Errors[class])))
	}
	return strings.Join(classes, " · ")
}

func (r *Result) cpuText() string {
	text := fmt.Sprintf("%.2f CPU-s per million", r.PerMillion())
	each := func(s float64) float64 { return s / max(float64(r.Ops), 1) * 1e6 }
	switch {
	case len(r.Config.Addrs) == 0:
		return text + ", the whole process: client and three replicas"
	case r.CPUServers == 0:
		return text + ", the client only: the servers do not tell theirs"
	}
	return text + fmt.Sprintf(": client %.2f, %d server(s) %.2f",
		each(r.CPU.Seconds()), r.CPUServers, each(r.ServersCPU.Seconds()))
}

func (e *Environment) text() string {
	disk := e.Disk.Error
	if disk == "" {
		disk = fmt.Sprintf("4 KiB O_DIRECT|O_DSYNC write %.0f µs p50, %.0f p99", e.Disk.P50, e.Disk.P99)
	}
	parts := []string{fmt.Sprintf("%s × %d", e.CPU, e.Cores), e.Kernel, fmt.Sprintf("%s GOMAXPROCS %d", e.Go, e.MaxProcs)}
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
	_, err := fmt.Fprintf(w, "%11s %9s %14s %9s %10s %10s %10s %10s %11s\n", "outstanding", "bytes", "ops/s", "errors",
		"p50 µs", "p99 µs", "p99.9 µs", "max µs", "CPU-s/M")
	for _, r := range results {
		if err != nil {
			return err
		}
		n := r.Config.Outstanding
		if len(r.Config.Addrs) > 0 {
			n = r.Config.Connections * r.Config.Depth
		}
		q := quantiles(r.Latency)
		_, err = fmt.Fprintf(w, "%11s %9s %14s %9s %10.1f %10.1f %10.1f %10.1f %11.2f\n", grouped(int64(n)),
			grouped(int64(r.Config.ValueBytes)), grouped(int64(r.Goodput())), grouped(int64(r.failures())),
			q[0], q[2], q[3], q[5], r.PerMillion())
	}
	return err
}
