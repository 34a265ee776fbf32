package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v2"
)

const (
	dashboard  = "../../docs/deploy/grafana-dashboard.json"
	alarms     = "../../docs/deploy/alerts.yml"
	alarmTests = "../../docs/deploy/alerts_test.yml"
	operations = "../../docs/operations.md"
)

// described are the names of the metrics that the collector registers, as they are scraped.
func described(t *testing.T) map[string]bool {
	t.Helper()
	descs := make(chan *prometheus.Desc)
	go func() {
		(&collector{}).Describe(descs)
		close(descs)
	}()
	names := map[string]bool{}
	for d := range descs {
		m := descText.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("not understood: %v", d)
		}
		names[m[1]] = true
		if d == descWrote || d == descApply || d == descStage {
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				names[m[1]+part] = true
			}
		}
	}
	return names
}

var metricName = regexp.MustCompile(`\braftd_[a-z_]+`)

// known holds the metrics of an expression against those that there are.
func known(t *testing.T, where, expr string, names map[string]bool) {
	t.Helper()
	found := metricName.FindAllString(expr, -1)
	for _, name := range found {
		if !names[name] {
			t.Errorf("%s: there is no metric %s", where, name)
		}
	}
	if len(found) == 0 && !strings.Contains(expr, "process_") && !strings.Contains(expr, "up{") {
		t.Errorf("%s: no metric in %q", where, expr)
	}
	for _, pair := range []string{"()", "{}", "[]"} {
		if strings.Count(expr, pair[:1]) != strings.Count(expr, pair[1:]) {
			t.Errorf("%s: unbalanced %s in %q", where, pair, expr)
		}
	}
}

// The dashboard asks for metrics that there are.
func TestDashboardHasMetricsThatThereAre(t *testing.T) {
	b, err := os.ReadFile(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(b, &board); err != nil {
		t.Fatal(err)
	}
	names, targets := described(t), 0
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			targets++
			known(t, p.Title, target.Expr, names)
		}
	}
	if len(board.Panels) < 10 || targets < 20 {
		t.Errorf("%d panels, %d expressions", len(board.Panels), targets)
	}
}

// alarmRules is a file of rules as Prometheus reads it.
type alarmRules struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert       string
			Expr        string
			For         string
			Labels      map[string]string
			Annotations map[string]string
		}
	}
}

// The rules of the alarms parse, ask for metrics that there are, and each has a row in the runbook,
// which has no other.
func TestAlarmsHaveARunbook(t *testing.T) {
	b, err := os.ReadFile(alarms)
	if err != nil {
		t.Fatal(err)
	}
	var file alarmRules
	if err := yaml.UnmarshalStrict(b, &file); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(operations)
	if err != nil {
		t.Fatal(err)
	}
	names, rows := described(t), strings.Count(string(page), "| `Raftd")
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			rows--
			known(t, r.Alert, r.Expr, names)
			if r.For != "" {
				if _, err := time.ParseDuration(r.For); err != nil {
					t.Errorf("%s: for: %v", r.Alert, err)
				}
			}
			if r.Labels["severity"] == "" || r.Annotations["summary"] == "" ||
				r.Annotations["runbook"] != "docs/operations.md#alarms" {
				t.Errorf("%s: not complete: %+v", r.Alert, r)
			}
			if !strings.Contains(string(page), "| `"+r.Alert+"` |") {
				t.Errorf("docs/operations.md does not say what to do about %s", r.Alert)
			}
		}
	}
	if promtool, err := exec.LookPath("promtool"); err == nil { // Debian: in prometheus
		says, err := exec.Command(promtool, "check", "rules", alarms).CombinedOutput()
		if err != nil {
			t.Errorf("promtool: %v: %s", err, says)
		}
		says, err = exec.Command(promtool, "test", "rules", alarmTests).CombinedOutput()
		if err != nil {
			t.Errorf("promtool: %v: %s", err, says)
		}
	}
	if rows != 0 || len(file.Groups) != 1 || len(file.Groups[0].Rules) < 10 {
		t.Errorf("%d rows of the runbook belong to no alarm; %d groups", rows, len(file.Groups))
	}
}

// alarmCases is a file of tests of rules as promtool reads it.
type alarmCases struct {
	Files    []string `yaml:"rule_files"`
	Interval string   `yaml:"evaluation_interval"`
	Tests    []struct {
		Interval string
		Series   []struct{ Series, Values string } `yaml:"input_series"`
		Alerts   []struct {
			At       string `yaml:"eval_time"`
			Name     string `yaml:"alertname"`
			Expected []struct {
				Labels      map[string]string `yaml:"exp_labels"`
				Annotations map[string]string `yaml:"exp_annotations"`
			} `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	}
}

// Each alarm has a case of promtool's, with a series that it must fire on and one that it must not.
func TestEachAlarmHasACase(t *testing.T) {
	var rules alarmRules
	var cases alarmCases
	for file, into := range map[string]any{alarms: &rules, alarmTests: &cases} {
		b, err := os.ReadFile(file)
		if err == nil {
			err = yaml.UnmarshalStrict(b, into)
		}
		if err != nil {
			t.Fatal(file, err)
		}
	}
	names, cased := described(t), map[string]bool{}
	for _, c := range cases.Tests {
		for _, s := range c.Series {
			known(t, "a case", s.Series, names)
		}
		for _, a := range c.Alerts {
			cased[a.Name] = len(a.Expected) > 0 && len(c.Series) > len(a.Expected)
		}
	}
	for _, r := range rules.Groups[0].Rules {
		if !cased[r.Alert] {
			t.Errorf("%s has no case of promtool's", r.Alert)
		}
	}
}

// A scrape of each member has every metric that is described.
func TestEachMetricIsScraped(t *testing.T) {
	members := cluster(t)
	lead, _ := leader(t, members)
	if err := client(t, lead, 2).Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	for _, d := range members {
		registry := prometheus.NewRegistry()
		registry.MustRegister(&collector{d})
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		names := described(t)
		for name := range names {
			if strings.HasPrefix(name, "raftd_discovery_") ||
				strings.HasPrefix(name, "raftd_heartbeats_") {
				delete(names, name) // of members with --discover
			}
		}
		for _, f := range families {
			for _, part := range []string{"", "_bucket", "_sum", "_count"} {
				delete(names, f.GetName()+part)
			}
			if f.GetName() == "raftd_journal_write_seconds" &&
				f.GetMetric()[0].GetHistogram().GetSampleCount() == 0 {
				t.Error("no write of the journal is counted")
			}
		}
		if d != lead {
			delete(names, "raftd_commands_total") // nobody asked it
		}
		if len(names) > 0 {
			t.Errorf("not scraped: %v", names)
		}
	}
	st := lead.engine.Status()
	if r := st.Ring; r.Claimed == 0 || r.Durable > r.Stored || r.Stored > r.Claimed ||
		r.Slots == 0 {
		t.Errorf("%+v", r)
	}
}
