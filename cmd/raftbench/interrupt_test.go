package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ringraft/ringraft/bench/resp/resptest"
	"github.com/ringraft/ringraft/internal/freeport"
)

// asRaftbench makes the test's program run as raftbench itself.
const asRaftbench = "RAFTBENCH_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asRaftbench) != "" {
		os.Exit(execute(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// started is a raftbench in a process of its own.
type started struct {
	*exec.Cmd
	t        *testing.T
	out, err bytes.Buffer
}

func begin(t *testing.T, stdout io.Writer, args ...string) *started {
	t.Helper()
	s := &started{Cmd: exec.Command(os.Args[0], args...), t: t}
	s.Env = append(os.Environ(), asRaftbench+"=1")
	s.Stdout, s.Stderr = &s.out, &s.err
	if stdout != nil {
		s.Stdout = stdout
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Process.Kill() })
	return s
}

// status waits for the end.
func (s *started) status() int {
	s.t.Helper()
	watchdog := time.AfterFunc(2*time.Minute, func() { _ = s.Process.Kill() })
	defer watchdog.Stop()
	_ = s.Wait()
	return s.ProcessState.ExitCode()
}

// answering is a server that answers everything.
func answering(t *testing.T) *resptest.Server { return resptest.New(t, resptest.Plain) }

// await waits until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func content(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// only says that nothing else lies in a directory.
func only(t *testing.T, dir string, names ...string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("in the directory: %q, want %q", got, names)
	}
}

func TestAnInterruptedRunKeepsWhatIsDone(t *testing.T) {
	for name, signal := range map[string]os.Signal{"SIGINT": os.Interrupt,
		"SIGTERM": syscall.SIGTERM} {
		var told atomic.Int64 // at the borders of each window, and once for the report
		s := resptest.New(t, func(args []string) string {
			if len(args) == 2 && args[0] == "INFO" && args[1] == "everything" {
				told.Add(1)
			}
			return resptest.Plain(args)
		})
		dir := t.TempDir()
		js, hlog := filepath.Join(dir, "r.json"), filepath.Join(dir, "r.hlog")
		for _, f := range []string{js, hlog} {
			if err := os.WriteFile(f, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		// Three cells: the second one is interrupted while it is measured.
		p := begin(t, nil, "run", "--addrs", s.Address, "-c", "2", "-d", "16,17,18", "--duration",
			"2s", "--warmup", "0", "--json", js, "--hlog", hlog)
		await(t, "the second window", func() bool { return told.Load() > 3 })
		asked := s.Asked.Load()
		await(t, "its load", func() bool { return s.Asked.Load() > asked+100 })
		if got := content(t, js) + content(t, hlog); got != "oldold" {
			t.Errorf("%s: files were touched during the run: %q", name, got)
		}
		if err := p.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if code := p.status(); code != 130 {
			t.Errorf("%s: status %d", name, code)
		}
		var cells []struct {
			Partial string   `json:"partial"`
			Goodput *float64 `json:"goodput_per_s"`
		}
		if err := json.Unmarshal([]byte(content(t, js)), &cells); err != nil || len(cells) != 3 {
			t.Fatalf("%s: %v, %d cells, %s", name, err, len(cells), p.err.String())
		}
		if cells[0].Partial != "" || *cells[0].Goodput <= 0 ||
			!strings.HasPrefix(cells[1].Partial, "interrupted after") || *cells[1].Goodput <= 0 ||
			cells[2].Partial == "" || cells[2].Goodput != nil {
			t.Errorf("%s: %s", name, content(t, js))
		}
		out, said := p.out.String(), p.err.String()
		if strings.Count(out, "goodput") != 2 || strings.Count(out, "PARTIAL") != 1 ||
			strings.Count(out, "NOT RUN") != 1 || said != "raftbench: interrupted\n" ||
			!strings.HasPrefix(content(t, hlog), "#[") {
			t.Errorf("%s: %s%s", name, out, p.err.String())
		}
		if st, err := os.Stat(js); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", st.Mode(), err)
		}
		only(t, dir, "r.hlog", "r.json")
	}
}

func TestAnInterruptionBeforeAnythingTakesNothingAway(t *testing.T) {
	dir, s := t.TempDir(), answering(t)
	js := filepath.Join(dir, "r.json")
	if err := os.WriteFile(js, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	p := begin(t, nil, "run", "--addrs", s.Address, "--warmup", "1h", "--json", js)
	await(t, "the warm-up", func() bool { return s.Asked.Load() > 100 })
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := p.status(); code != 130 || content(t, js) != "old" {
		t.Errorf("status %d, %q", code, content(t, js))
	}
	only(t, dir, "r.json")
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	s := answering(t)
	const clients = 8 // with one request each
	p := begin(t, nil, "run", "--addrs", s.Address, "--warmup", "0", "-c", strconv.Itoa(clients))
	await(t, "the load", func() bool { return s.Asked.Load() > 100 })
	s.Gate.Lock() // answers nothing: the end would take a while
	defer s.Gate.Unlock()
	await(t, "silence", func() bool { return s.Waiting.Load() == clients })
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.status()
	}()
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		select {
		case <-tick.C:
			_ = p.Process.Signal(os.Interrupt)
			continue
		case <-ended:
		}
		break
	}
	if status, ok := p.ProcessState.Sys().(syscall.WaitStatus); !ok ||
		status.Signal() != os.Interrupt {
		t.Errorf("%v", p.ProcessState)
	}
}

func TestAnInterruptedCheckSaysWhatItDid(t *testing.T) {
	s := answering(t)
	p := begin(t, nil, "check", "--addrs", s.Address, "--duration", "1h")
	await(t, "the load", func() bool { return s.Asked.Load() > 100 })
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	code, out := p.status(), p.out.String()
	if code != 130 || !strings.Contains(out, "not checked") || strings.Contains(out, " lost") ||
		strings.Contains(out, " 0 acknowledged") {
		t.Errorf("status %d\n%s", code, out)
	}
}

func TestAnInterruptedComparisonIsPartial(t *testing.T) {
	for verb, flags := range map[string][]string{
		"ring": {"--latencies", "0", "--shape", "one-to-one,diamond", "--batch", "1",
			"--duration", "1ms", "--reps", "1", "--slots", "64"},
		"journal": {"--modes", "buffered-nosync", "--sizes", "4KiB,8KiB", "--segment", "256KiB",
			"--preallocation", "recycled", "--duration", "2ms", "--reps", "1"},
	} {
		// How long a whole comparison takes here says when to interrupt one;
		// a later one is tried when that came too early or too late.
		dir := t.TempDir()
		js := filepath.Join(dir, "r.json")
		args := append([]string{verb, "--json", js, "--no-progress"}, flags...)
		if verb == "journal" {
			args = append(args, "--dir", t.TempDir())
		}
		whole := func() time.Duration {
			began := time.Now()
			if code := begin(t, nil, args...).status(); code != 0 {
				t.Fatalf("%s: status %d", verb, code)
			}
			return time.Since(began)
		}()
		found := false
		for try := 1; try < 100 && !found; try++ {
			if err := os.WriteFile(js, []byte("old"), 0o666); err != nil {
				t.Fatal(err)
			}
			p := begin(t, nil, args...)
			timer := time.AfterFunc(whole*time.Duration(try%20)/20,
				func() { _ = p.Process.Signal(os.Interrupt) })
			code, text := p.status(), content(t, js)
			timer.Stop()
			switch {
			case code == 0: // too late
			case code == -1: // before anybody listened
			case code == 130 && text == "old": // too early
			case code == 130 && strings.Contains(text, `"partial": "ended early: 1 of 2`) &&
				strings.Contains(p.out.String(), "PARTIAL     ended early"):
				found = true
			default:
				t.Fatalf("%s: status %d, %s%s%s", verb, code, text, p.out.String(), p.err.String())
			}
		}
		if !found {
			t.Errorf("%s: no interruption hit", verb)
		}
		only(t, dir, "r.json")
	}
}

// A mistake in a path is found before the run.
func TestOutputsAreOpenedBeforeARun(t *testing.T) {
	s, dir := answering(t), t.TempDir()
	for _, flag := range []string{"--json", "--hlog", "--cpuprofile", "--memprofile"} {
		for _, name := range []string{"/nonexistent/x", dir, "/proc/version"} {
			_, err := try("run", "--addrs", s.Address, "--duration", "10s", flag, name)
			if err == nil || !strings.HasPrefix(err.Error(), flag+": "+name+": ") {
				t.Errorf("%s %s: %v", flag, name, err)
			}
		}
	}
	file := filepath.Join(dir, "one")
	if _, err := try("run", "--addrs", s.Address, "--json", file, "--hlog", file); err == nil ||
		!strings.Contains(err.Error(), "named twice") {
		t.Error(err)
	}
	if s.Asked.Load() > 0 {
		t.Error("a load was begun")
	}
	only(t, dir)
}

// What cannot be written at the end takes neither the text nor another file away.
func TestAFullDiskIsSaidAtTheEnd(t *testing.T) {
	s, dir := answering(t), t.TempDir()
	hlog, link := filepath.Join(dir, "r.hlog"), filepath.Join(dir, "link")
	if err := os.Symlink(hlog, link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hlog, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	out, err := try("run", "--addrs", s.Address, "--duration", "100ms", "--warmup", "0",
		"--json", "/dev/full", "--hlog", link)
	if err == nil || err.Error() != "--json: /dev/full was not written: no space left on device" ||
		!strings.Contains(out, "goodput") || !strings.HasPrefix(content(t, hlog), "#[") {
		t.Errorf("%v\n%s", err, out)
	}
	if st, err := os.Lstat(link); err != nil || st.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v %v", st, err)
	}
}

func TestAReaderThatLeavesTakesNoFileAway(t *testing.T) {
	s, js := answering(t), filepath.Join(t.TempDir(), "r.json")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := begin(t, w, "run", "--addrs", s.Address, "-d", "16,17", "--duration", "100ms",
		"--warmup", "0", "--json", js)
	_, _ = r.Close(), w.Close()
	if code := p.status(); code != exitFailed || strings.Count(content(t, js), "goodput") != 2 ||
		!strings.Contains(p.err.String(), "standard output: ") {
		t.Errorf("status %d, %s", code, p.err.String())
	}
}

func TestStatusesOfTargets(t *testing.T) {
	s := answering(t)
	refuses := resptest.New(t, func(args []string) string {
		if args[0] == "SET" {
			return "-OOM no\r\n"
		}
		return resptest.Plain(args)
	})
	nobody, err := freeport.Addresses(1)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		status int
		verb   string
		flags  []string
	}{
		{0, "run", []string{"--addrs", s.Address}},
		{1, "run", []string{"--addrs", refuses.Address}},
		{1, "run", []string{"--addrs", nobody[0]}},
		{1, "check", []string{"--addrs", nobody[0]}},
		{2, "run", []string{"--addrs", "::1:5"}},
		{2, "run", []string{"--addrs", s.Address, "-c", "5000", "-P", "10000", "-d", "1"}},
		{2, "check", []string{"--addrs", s.Address + ","}},
		{2, "check", []string{"--addrs", s.Address, "--settle", "0"}},
		{2, "demo", []string{"--duration", "0"}},
	} {
		args := append([]string{c.verb}, c.flags...)
		if c.status < 2 {
			args = append(args, "--duration", "100ms")
		}
		if c.verb == "run" {
			args = append(args, "--warmup", "0")
		}
		if p := begin(t, nil, args...); p.status() != c.status || c.status > 0 &&
			strings.Count(p.err.String(), "\n") != 1 {
			t.Errorf("%q: %v, want %d: %s", args, p.ProcessState, c.status, p.err.String())
		}
	}
	out, err := try("--help")
	if err != nil || !strings.Contains(out, "130  interrupted") {
		t.Errorf("%v\n%s", err, out)
	}
}
