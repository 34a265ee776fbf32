package main

import (
	"fmt"
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
