package server

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/internal/pages"
)

const page = "../../../docs/raftd.md"

// TestPageListsTheCommands holds docs/raftd.md against the table of commands.
func TestPageListsTheCommands(t *testing.T) {
	classes := map[class]string{local: "local", write: "write", read: "read", ownState: "own state",
		byLeader: "leader", beside: "own state", errand: "leader"}
	var s strings.Builder
	s.WriteString("| command | class | arguments | what it does |\n|---|---|---|---|\n")
	for _, d := range commands {
		n := fmt.Sprint(d.arity - 1)
		if d.arity < 0 {
			n = fmt.Sprint(-d.arity-1, " or more")
		}
		if classes[d.class] == "" {
			t.Fatalf("%s: class %d has no name on the page", d.name, d.class)
		}
		fmt.Fprintf(&s, "| `%s` | %s | %s | %s |\n", strings.ToUpper(d.name), classes[d.class], n,
			d.summary)
	}
	pages.Hold(t, page, "commands", s.String())
}

// TestPageListsTheFieldsOfInfo asks a leader and a follower for all of INFO.
func TestPageListsTheFieldsOfInfo(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Warnings = []string{"unsafe"} })
	r.status.Stages = []engine.StageStatus{{Name: "S"}}
	c, w := r.connect()
	r.lane.auto = true
	r.send(c, array("SET", "k", "v"))
	r.front.completions()
	w.take()
	fields := map[string][]string{}
	var titles []string
	ask := func() {
		r.send(c, array("INFO", "everything"))
		title := ""
		for line := range strings.SplitSeq(w.take(), "\r\n") {
			if head, ok := strings.CutPrefix(line, "# "); ok {
				if title = head; fields[title] == nil {
					titles = append(titles, title)
				}
				continue
			}
			if name, _, ok := strings.Cut(line, ":"); ok && title != "" &&
				!slices.Contains(fields[title], placeholder(name)) {
				fields[title] = append(fields[title], placeholder(name))
			}
		}
	}
	ask()
	r.follow("127.0.0.1:7382")
	ask()
	if len(titles) != len(sections) {
		t.Fatalf("INFO has sections %q, of %d", titles, len(sections))
	}
	var s strings.Builder
	s.WriteString("```\n")
	for _, title := range titles {
		fmt.Fprintf(&s, "# %s\n%s\n", title, pages.Words(fields[title]))
	}
	s.WriteString("```\n")
	pages.Hold(t, page, "info", s.String())
}

var numbered = regexp.MustCompile(`^(slave|raft_node|warning_|raft_warning_)\d+$`)

// placeholder writes N for a number and a name in a name.
func placeholder(name string) string {
	if m := numbered.FindStringSubmatch(name); m != nil {
		return m[1] + "N"
	}
	if strings.HasPrefix(name, "cmdstat_") {
		return "cmdstat_NAME"
	}
	if strings.HasPrefix(name, "latency_percentiles_usec_stage_") {
		return "latency_percentiles_usec_stage_NAME"
	}
	return name
}
