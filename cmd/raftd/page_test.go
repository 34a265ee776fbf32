package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ringraft/ringraft/internal/pages"
)

const page = "../../docs/raftd.md"

// TestPageListsTheFlags holds docs/raftd.md against the flags as --help shows
// them.
func TestPageListsTheFlags(t *testing.T) {
	var s strings.Builder
	s.WriteString("| flag | default | what it says |\n|---|---|---|\n")
	newCommand().Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" {
			return
		}
		value := f.DefValue
		if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(&s, "| `--%s` | %s | %s |\n", f.Name, value,
			strings.ReplaceAll(f.Usage, "|", "\\|"))
	})
	pages.Hold(t, page, "flags", s.String())
}

// TestEmbeddingHasEachFlag: docs/embedding.md says of each flag which method of engine.Builder it
// is, or why none.
func TestEmbeddingHasEachFlag(t *testing.T) {
	b, err := os.ReadFile("../../docs/embedding.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(b), "\n## raftd's flags and the chain\n")
	if !ok {
		t.Fatal("it has no table of flags")
	}
	newCommand().Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && !strings.Contains(table, "`--"+f.Name+"`") {
			t.Errorf("--%s: say which method it is, or why it is raftd's alone", f.Name)
		}
	})
	for _, m := range regexp.MustCompile("`--([a-z-]+)`").FindAllStringSubmatch(table, -1) {
		if newCommand().Flags().Lookup(m[1]) == nil {
			t.Errorf("there is no flag --%s", m[1])
		}
	}
}

// TestPageListsTheSettings holds docs/configuration.md against the settings.
func TestPageListsTheSettings(t *testing.T) {
	o := defaults()
	o.bindAll(&cobra.Command{})
	var s strings.Builder
	s.WriteString("| flag, and key of the file | environment | default |\n|---|---|---|\n")
	for _, x := range o.settings.All() {
		value := x.Default()
		if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(&s, "| `%s` | `%s` | %s |\n", x.Name, x.Environment, value)
	}
	pages.Hold(t, "../../docs/configuration.md", "settings", s.String())
}

var descText = regexp.MustCompile(`fqName: "([^"]*)", help: "([^"]*)".*variableLabels: \{([^}]*)\}`)

// TestPageListsTheMetrics holds docs/raftd.md against what the collector
// describes, and so registers.
func TestPageListsTheMetrics(t *testing.T) {
	descs := make(chan *prometheus.Desc)
	go func() {
		(&collector{}).Describe(descs)
		close(descs)
	}()
	var s strings.Builder
	s.WriteString("| metric | labels | what it counts |\n|---|---|---|\n")
	for d := range descs {
		m := descText.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("not understood: %v", d)
		}
		fmt.Fprintf(&s, "| `%s` | %s | %s |\n", m[1], m[3], m[2])
	}
	pages.Hold(t, page, "metrics", s.String())
}
