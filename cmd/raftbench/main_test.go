package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// try runs a command line with its output caught.
func try(args ...string) (string, error) {
	root := newRoot()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	err := root.Execute()
	return out.String(), err
}

func TestMistakesAreOneLineAndExitTwo(t *testing.T) {
	for line, want := range map[string]string{
		"":                                  "say what to do",
		"walk":                              "walk",
		"run fast":                          "fast",
		"run --speed 9":                     "--speed",
		"run -d x":                          "-d:",
		"run -d 0":                          "-d:",
		"run --outstanding 1,,2":            "--outstanding:",
		"run --rate fast":                   "--rate:",
		"run --duration never":              "--duration:",
		"run --ratio 1":                     "--ratio:",
		"run --journal paper":               "--journal:",
		"run --pipeline diagonal":           "--pipeline:",
		"run --driver loop --rate 10":       "--driver:",
		"run --addrs a:1 --journal memory":  "--journal",
		"run --addrs a:1 --outstanding 5":   "--outstanding",
		"run --addrs nowhere":               "--addrs:",
		"run --keys 5":                      "--keys",
		"run --client-threads 2":            "--client-threads",
		"demo --writers 0":                  "--writers",
		"demo --duration x":                 "--duration",
		"demo --journal paper":              "--journal",
		"check":                             "--addrs",
		"ring --shape star":                 "--shape",
		"ring --batch 0":                    "--batch",
		"ring --batch 1000":                 "--batch",
		"ring --slots 100":                  "--slots",
		"ring --wait never":                 "--wait",
		"ring --duration 1h":                "--duration",
		"ring --reps 0":                     "--reps",
		"ring --json /nonexistent/x.json":   "--json",
		"check --addrs a:1 --settle x":      "--settle",
		"journal --modes paper":             "--modes:",
		"journal --modes direct,direct":     "--modes:",
		"journal --sizes 5000":              "--sizes:",
		"journal --sizes 4KiB,":             "--sizes:",
		"journal --sizes 1GiB":              "--sizes:",
		"journal --preallocation all":       "--preallocation:",
		"journal --segment 1MiB":            "--segment:",
		"journal --segment 512GiB":          "--segment:",
		"journal --duration 1ms":            "--duration:",
		"journal --duration soon":           "--duration:",
		"journal --reps 0":                  "--reps:",
		"journal --dir /nonexistent":        "--dir:",
		"journal --dir /dev/null":           "--dir:",
		"journal --json /nonexistent/x":     "--json:",
		"journal --svg /nonexistent/x":      "--svg:",
		"journal --html /nonexistent/x":     "--html:",
		"ring --latencies -1":               "--latencies:",
		"journal --svg -":                   "--svg:",
		"journal now":                       "now",
		"run --hlog /nonexistent/x.hlog":    "--hlog",
		"run --cpuprofile /nonexistent/x.p": "--cpuprofile",
	} {
		_, err := try(strings.Fields(line)...)
		var usage *usageError
		if !errors.As(err, &usage) && line != "walk" {
			t.Errorf("%q: %v is not a usage error", line, err)
			continue
		}
		if err == nil || strings.Contains(err.Error(), "\n") ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want one line with %q", line, err, want)
		}
	}
	if code := execute([]string{"run", "-d", "x"}); code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	missing := filepath.Join(t.TempDir(), "raftd")
	if code := execute([]string{"demo", "--raftd", missing}); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
}

func TestDryRunPrintsEveryCell(t *testing.T) {
	out, err := try("run", "--dry-run", "--outstanding", "1,16k", "-d", "16,1KiB")
	if err != nil || strings.Count(out, "\n") != 4 ||
		!strings.Contains(out, "16,000 outstanding · 1 KiB") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = try("run", "--dry-run", "-c", "50", "-P", "4")
	if err != nil || !strings.Contains(out, "200 outstanding") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = try("run", "--dry-run", "--addrs", "127.0.0.1:1", "-c", "7", "-P", "3", "--rate",
		"10k")
	const want = "open loop, 10,000/s, at most 7 connections × 3 outstanding"
	if err != nil || !strings.Contains(out, want) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestRingComparesAndWritesJSON(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ring.json")
	out, err := try("ring", "--shape", "diamond", "--batch", "1,16", "--slots", "64",
		"--duration", "1ms", "--reps", "1", "--json", file, "--latencies", "0")
	if err != nil || strings.Count(out, "mutex+cond queue") != 2 ||
		strings.Count(out, "channel of slices") != 1 {
		t.Errorf("%v\n%s", err, out)
	}
	if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), `"ns_per_hop"`) {
		t.Errorf("%v %s", err, b)
	}
}

func TestJournalWritesItsFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	args := []string{"journal", "--dir", dir, "--modes", "buffered-dsync,memory",
		"--preallocation", "none", "--sizes", "4KiB", "--segment", "256KiB",
		"--duration", "4ms", "--reps", "2"}
	out, err := try(append(args, "--json", file("j.json"), "--svg", file("j.svg"), "--html",
		file("j.html"), "--cpuprofile", file("cpu"))...)
	if err != nil || strings.Count(out, "memory") != 1 || !strings.Contains(out, "device") {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, want := range map[string]string{"j.json": "{\n", "j.svg": "<svg ",
		"j.html": "<!doctype html>", "cpu": ""} {
		b, err := os.ReadFile(file(name))
		if err != nil || len(b) == 0 || !strings.HasPrefix(string(b), want) {
			t.Errorf("%s: %v, %d bytes", name, err, len(b))
		}
	}
	out, err = try(append(args, "--json", "-")...)
	if err != nil || !strings.HasPrefix(out, "{\n") || !strings.Contains(out, `"of_raw"`) {
		t.Errorf("%v\n%s", err, out)
	}
	if left, err := filepath.Glob(file("raftbench-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	out, err = try(append(args, "--json", file("j.json"), "--svg", file("j.json"))...)
	if err == nil {
		t.Errorf("two results in one file\n%s", out)
	}
	// A run that is interrupted takes no earlier result away.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	root := newRoot()
	root.SetArgs(append(args, "--json", file("j.json"), "--svg", file("new.svg")))
	if err := root.ExecuteContext(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if b, err := os.ReadFile(file("j.json")); err != nil ||
		!strings.Contains(string(b), `"of_raw"`) {
		t.Errorf("%v, %d bytes", err, len(b))
	}
	if _, err := os.Stat(file("new.svg")); err == nil {
		t.Error("an empty file is left")
	}
	// A mistake found late leaves no empty file.
	_, err = try(append(args, "--json", file("late.json"), "--svg", "/nonexistent/x")...)
	if err == nil {
		t.Error("taken")
	}
	if _, err := os.Stat(file("late.json")); err == nil {
		t.Error("an empty file is left")
	}
}

func TestRunWritesItsFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	out, err := try("run", "--journal", "memory", "--dir", dir, "--outstanding", "8",
		"--duration", "100ms", "--warmup", "20ms",
		"--json", file("r.json"), "--hlog", file("r.hlog"),
		"--cpuprofile", file("cpu"), "--memprofile", file("mem"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(out, "goodput") != 1 || !strings.Contains(out, "NO: memory") {
		t.Errorf("%s", out)
	}
	for name, want := range map[string]string{"r.json": "{\n", "r.hlog": "#[", "cpu": "",
		"mem": ""} {
		b, err := os.ReadFile(file(name))
		if err != nil || len(b) == 0 || !strings.HasPrefix(string(b), want) {
			t.Errorf("%s: %v, %d bytes", name, err, len(b))
		}
	}
	left, err := filepath.Glob(file("raftbench-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
