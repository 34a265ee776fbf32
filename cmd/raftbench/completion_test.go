package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/journal"
)

// completed runs a command line that prints and measures nothing.
func completed(t *testing.T, args ...string) string {
	t.Helper()
	root := newRoot()
	var b bytes.Buffer
	root.SetOut(&b)
	root.SetArgs(args)
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestCompletion: shells can read the scripts, and every known flag is one of some command.
func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script := completed(t, "completion", shell)
		if len(script) < 1000 {
			t.Errorf("%s: %d bytes", shell, len(script))
		}
		if _, err := exec.LookPath(shell); err != nil {
			t.Logf("no %s here", shell)
			continue
		}
		cmd := exec.Command(shell, "-n")
		cmd.Stdin = strings.NewReader(script)
		if says, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", shell, err, says)
		}
	}
	if got := completed(t, "__complete", "run", "--journal", ""); got !=
		strings.Join(journal.Modes(), "\n")+"\n:4\n" {
		t.Errorf("%q", got)
	}
	for flag := range known {
		found := false
		for _, c := range newRoot().Commands() {
			found = found || c.Flags().Lookup(flag) != nil
		}
		if !found {
			t.Errorf("no command has --%s", flag)
		}
	}
}
