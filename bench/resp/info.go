package resp

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringraft/ringraft/bench"
)

// askTimeout bounds a question to a server.
const askTimeout = 3 * time.Second

// Info is INFO as names and values.
type Info map[string]string

// Info asks for sections of INFO.
func (c *Conn) Info(timeout time.Duration, sections ...string) (Info, error) {
	r, _, err := c.Do(timeout, append([]string{"INFO"}, sections...)...)
	if err != nil {
		return nil, err
	}
	return ParseInfo(r), nil
}

// ParseInfo reads the answer to INFO.
func ParseInfo(r Reply) Info {
	m := make(Info)
	for line := range strings.Lines(string(r.Text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			m[name] = value
		}
	}
	return m
}

// Process is the processor time that a server has used, and which process it
// is: the same identity means the same process.
type Process struct {
	Used     time.Duration
	Identity string
}

// Process is what a server has used, as it says itself, or, when it runs on
// this machine, as the kernel says of its process; false where neither tells.
func (m Info) Process(local bool) (p Process, ok bool) {
	p.Identity = m["run_id"] + " " + m["process_id"]
	user, errU := strconv.ParseFloat(m["used_cpu_user"], 64)
	sys, errS := strconv.ParseFloat(m["used_cpu_sys"], 64)
	if used := user + sys; errU == nil && errS == nil && used >= 0 && used < 1e9 {
		p.Used = time.Duration(used * float64(time.Second))
		return p, true
	}
	pid, err := strconv.Atoi(m["process_id"])
	if err != nil || pid <= 0 || !local {
		return p, false
	}
	used, began, ok := bench.ProcessTime(pid)
	p.Used, p.Identity = used, p.Identity+" "+strconv.FormatInt(began, 10)
	return p, ok
}

// Stages are the stage times that raftd reports.
func (m Info) Stages() (list []bench.Stage) {
	const prefix = "latency_percentiles_usec_stage_"
	for _, name := range stageOrder(m, prefix) {
		s := bench.Stage{Name: strings.TrimPrefix(name, prefix)}
		for part := range strings.SplitSeq(m[name], ",") {
			key, text, _ := strings.Cut(part, "=")
			v, err := strconv.ParseFloat(text, 64)
			if err != nil || v < 0 {
				v = math.NaN()
			}
			switch key {
			case "count":
				s.Count, _ = strconv.ParseUint(text, 10, 64)
			case "p50":
				s.P50 = bench.Figure(v)
			case "p90":
				s.P90 = bench.Figure(v)
			case "p99":
				s.P99 = bench.Figure(v)
			case "p99.9":
				s.P999 = bench.Figure(v)
			case "max":
				s.Max = bench.Figure(v)
			}
		}
		list = append(list, s)
	}
	return list
}

// Durability says what an acknowledgement of this server means.
func (c *Conn) Durability(m Info) bench.Durability {
	if mode, ok := m["raft_journal"]; ok {
		if m["raft_journal_durable"] == "yes" {
			return bench.DurableJournal(mode)
		}
		return bench.Durability{Text: "NO: journal " + mode}
	}
	if m["aof_enabled"] != "1" {
		return bench.Durability{Text: "NO: the server keeps no append-only file, answers come " +
			"from memory"}
	}
	_, raw, err := c.Do(askTimeout, "CONFIG", "GET", "appendfsync")
	if list := Elements(raw); err == nil && len(list) == 2 {
		if list[1] == "always" {
			return bench.Durability{OK: true, Text: "on this one server: yes (append-only file, " +
				"appendfsync always); not replicated"}
		}
		return bench.Durability{Text: "NO: appendfsync " + list[1]}
	}
	return bench.Durability{Text: "unknown: the server does not tell"}
}

// stageOrder lists the stages of INFO in the order in which a command passes
// them, which the map has lost. Stages that another server names come last.
func stageOrder(m Info, prefix string) (names []string) {
	order := []string{"queue", "journal", "commit", "total"}
	rank := func(name string) int {
		if i := slices.Index(order, strings.TrimPrefix(name, prefix)); i >= 0 {
			return i
		}
		return len(order)
	}
	for name := range m {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
	return names
}
