package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/ringraft/ringraft/journal"
)

// inFile writes a file of settings and returns its path.
func inFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "raftd.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tried runs a command line in this process and returns what it prints and its error in words.
func tried(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	cmd := newCommand()
	var b bytes.Buffer
	cmd.SetOut(&b)
	cmd.SetArgs(args)
	if err = cmd.Execute(); err != nil {
		err = errors.New(explain(err))
	}
	return b.String(), err
}

func TestConfigCheckTellsAllMistakes(t *testing.T) {
	path := inFile(t, "journal = \"fast\"\nsnapshot-aftr = 1\nmaxclients = 0\n"+
		"election-timeout = \"60ms\"\nid = \"one\"\n[members]\n2 = \"127.0.0.1:7380\"\n")
	t.Setenv("RAFTD_PIPELINE", "round")
	t.Setenv("RAFTD_GIVE_UP", "soon")
	_, err := tried(t, "config", "check", "--config", path, "--client", "10.1.2.3:7379")
	if err == nil {
		t.Fatal("no mistake was found")
	}
	want := []string{
		`RAFTD_GIVE_UP: "soon" is not a duration such as 250ms, 10s or 2m`,
		`F:2: there is no setting "snapshot-aftr"; did you mean snapshot-after?`,
		`F:5: id: "one" is not a whole number that is not negative`,
		`F:1: journal: `,
		`RAFTD_PIPELINE: "round" is neither parallel nor serial`,
		`F:3: maxclients: 0; must be at least 1`,
		`--client 10.1.2.3:7379 can be reached from other machines`,
		`F:4: election-timeout: 60ms; must be at least three heartbeats of 50ms`,
	}
	lines := strings.Split(strings.ReplaceAll(err.Error(), path, "F"), "\n")
	if len(lines) != len(want) {
		t.Errorf("%d lines, want %d", len(lines), len(want))
	}
	for _, w := range want {
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, w) }) {
			t.Errorf("nothing says %s", w)
		}
	}
	if t.Failed() {
		t.Log(strings.Join(lines, "\n"))
	}
}

func TestConfigCheckFindsNothing(t *testing.T) {
	path := inFile(t, "id = 2\npeer = \"127.0.0.1:7480\"\nsnapshot-after = \"1gb\"\n"+
		"[members]\n1 = \"127.0.0.1:7380\"\n2 = \"127.0.0.1:7480\"\n")
	for _, args := range [][]string{{"--config", path}, {}, {"--max-value", "1MiB"}} {
		if out, err := tried(t, append([]string{"config", "check"}, args...)...); err != nil ||
			out != "" {
			t.Errorf("%v: %q, %v", args, out, err)
		}
	}
	_, err := tried(t, "config", "check", "--secret-file", "/not/there")
	if err == nil || !strings.Contains(err.Error(), "secret-file: /not/there: no such file") {
		t.Errorf("a file of secrets that is not there: %v", err)
	}
	if status := execute([]string{"config", "check", "--id", "0"}); status != 2 {
		t.Errorf("status %d", status)
	}
}

// TestAStartNamesTheSource: what is wrong is told with the place where it stands, also when the
// engine finds it. Nothing is started.
func TestAStartNamesTheSource(t *testing.T) {
	t.Setenv("RAFTD_DATA", filepath.Join(t.TempDir(), "data"))
	for text, want := range map[string]string{
		"maxclients = 0":       "F:1: maxclients: 0; must be at least 1",
		"\nheartbeat = '1ms'":  "F:2: heartbeat: 1ms; must be 2ms to 1m0s",
		"http = 5":             `F:1: http: "5" is not HOST:PORT`,
		"peer = '127.0.0.1:x'": `F:1: peer: "127.0.0.1:x" is not HOST:PORT`,
		"join = ['h:1']":       "F:1: join needs --peer, which no other member may have",
		"id = 'a'\nwait = 1":   `F:1: id: "a" is not a whole number that is not negative`,
	} {
		path := inFile(t, text)
		_, err := tried(t, "--config", path)
		if err == nil || !strings.HasPrefix(strings.ReplaceAll(err.Error(), path, "F"), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := os.Stat(os.Getenv("RAFTD_DATA")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was started: %v", err)
	}
}

func TestConfigShow(t *testing.T) {
	path := inFile(t, "\nsnapshot-after = 65536\n")
	t.Setenv("RAFTD_LOG_LEVEL", "warn")
	args := []string{"config", "show", "--config", path, "--max-value", "2mb"}
	out, err := tried(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`(?m)^snapshot-after +64KiB +\S+raftd.toml:2$`,
		`(?m)^log-level +warn +RAFTD_LOG_LEVEL$`, `(?m)^max-value +2MiB +--max-value$`,
		`(?m)^heartbeat +50ms +default$`, `(?m)^members +- +default$`} {
		if !regexp.MustCompile(line).MatchString(out) {
			t.Errorf("no line %s in\n%s", line, out)
		}
	}
	out, err = tried(t, append(args, "--json")...)
	var list []shown
	if err == nil {
		err = json.Unmarshal([]byte(out), &list)
	}
	if err != nil {
		t.Fatal(err)
	}
	want := shown{"log-level", "warn", "environment", "RAFTD_LOG_LEVEL", "info", "RAFTD_LOG_LEVEL"}
	if !slices.Contains(list, want) {
		t.Errorf("%+v", list)
	}
	if _, err = tried(t, "config", "show", "--id", "x"); err == nil {
		t.Error("what cannot be read is shown")
	}
}

// What config show --defaults prints is a file that config check accepts, as it is and with every
// line counting.
func TestTheFileOfDefaultsIsAccepted(t *testing.T) {
	out, err := tried(t, "config", "show", "--defaults")
	if err != nil {
		t.Fatal(err)
	}
	active := regexp.MustCompile(`(?m)^#([a-z][a-z-]* = )`).ReplaceAllString(out, "$1")
	if strings.Count(active, "\n#") == strings.Count(out, "\n#") {
		t.Fatal("nothing is a comment")
	}
	for _, text := range []string{out, active} {
		if _, err := tried(t, "config", "check", "--config", inFile(t, text)); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
	newCommand().Flags().VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(out, "\n#"+f.Name+" = ") && f.Name != "config" && f.Name != "help" {
			t.Errorf("--%s is not in the file", f.Name)
		}
	})
}

// What is secret has a file of its own: nothing that config show or CONFIG GET prints is one.
func TestNoSettingIsAPassword(t *testing.T) {
	secret := regexp.MustCompile(`(password|passwd|passphrase|pin)$`)
	newCommand().Flags().VisitAll(func(f *pflag.Flag) {
		if secret.MatchString(f.Name) {
			t.Errorf("--%s: give the name of a file instead", f.Name)
		}
	})
}

// TestAProcessTakesEverySource starts one with a file, the environment and flags, and asks it.
func TestAProcessTakesEverySource(t *testing.T) {
	p := prepareProcesses(t)[0]
	t.Setenv("RAFTD_LOG_LEVEL", "error")
	t.Setenv("RAFTD_CONFIG", inFile(t, fmt.Sprintf("log-level = \"debug\"\n"+
		"snapshot-after = \"1mb\"\n[members]\n1 = %q\n", flagOfProcess(p, "--peer"))))
	at := slices.Index(p.args, "--members")
	p.args = slices.Delete(p.args, at, at+2)
	p.start(t)
	cl := connect(p)
	defer cl.Close()
	await(t, "a leader", func() bool { return cl.Set(t.Context(), "k", "v", 0).Err() == nil })
	for name, want := range map[string]string{"log-level": "error", "snapshot-after": "1MiB",
		"members": "1=" + flagOfProcess(p, "--peer"), "id": "1", "heartbeat": "50ms",
		"config": os.Getenv("RAFTD_CONFIG")} {
		if got, err := cl.ConfigGet(t.Context(), name).Result(); err != nil || got[name] != want {
			t.Errorf("%s: %v, %v; want %s", name, got, err, want)
		}
	}
}

// TestCompletionScripts: shells can read them, and are given the values that are known.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		out, err := tried(t, "completion", shell)
		if err != nil || len(out) < 1000 {
			t.Fatalf("%s: %d bytes, %v", shell, len(out), err)
		}
		if _, err := exec.LookPath(shell); err != nil {
			t.Logf("no %s here", shell)
			continue
		}
		cmd := exec.Command(shell, "-n")
		cmd.Stdin = strings.NewReader(out)
		if says, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", shell, err, says)
		}
	}
	for args, want := range map[string]string{
		"--journal ":                  strings.Join(journal.Modes(), "\n") + "\n:4\n",
		"--threads ":                  "fused\nthreaded\n:4\n",
		"config check --log-level ":   "debug\ninfo\nwarn\nerror\n:4\n",
		"--maxclients ":               ":4\n",
		"--data ":                     ":16\n",
		"--config ":                   ":0\n",
		"snapshot restore --journal ": strings.Join(journal.Modes(), "\n") + "\n:4\n",
	} {
		words := strings.Split(args, " ")
		out, err := tried(t, append([]string{"__complete"}, words...)...)
		if err != nil || out != want {
			t.Errorf("%s: %q, %v; want %q", args, out, err, want)
		}
	}
}
