package resp

import (
	"cmp"
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
	m := make(Info)
	for line := range strings.Lines(string(r.Text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			m[name] = value
		}
	}
	return m, nil
}

// CPU is the processor time that a server has used: as it says itself, or,
// when it runs on this machine, as the kernel says of its process.
func (m Info) CPU(local bool) (time.Duration, bool) {
	user, errU := strconv.ParseFloat(m["used_cpu_user"], 64)
	sys, errS := strconv.ParseFloat(m["used_cpu_sys"], 64)
	if errU == nil && errS == nil {
		return time.Duration((user + sys) * float64(time.Second)), true
	}
	pid, err := strconv.Atoi(m["process_id"])
	if err != nil || pid <= 0 || !local {
		return 0, false
	}
	return bench.ProcessTime(pid)
}

// Stages are the stage times that raftd reports.
func (m Info) Stages() (list []bench.Stage) {
	const prefix = "latency_percentiles_usec_stage_"
	for _, name := range stageOrder(m, prefix) {
		s := bench.Stage{Name: strings.TrimPrefix(name, prefix)}
		for part := range strings.SplitSeq(m[name], ",") {
			key, text, _ := strings.Cut(part, "=")
			v, _ := strconv.ParseFloat(text, 64)
			switch key {
			case "count":
				s.Count = uint64(v)
			case "p50":
				s.P50 = v
			case "p90":
				s.P90 = v
			case "p99":
				s.P99 = v
			case "p99.9":
				s.P999 = v
			case "max":
				s.Max = v
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
