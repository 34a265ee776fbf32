package main

import (
	"bytes"
	"context"
	"encoding/gob"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/internal/freeport"
)

// With this variable the test's binary is the program.
const asProgram = "STORE_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// trio is three processes.
type trio struct {
	t       *testing.T
	dir     string
	members string
	http    []string
	process []*exec.Cmd
}

func (c *trio) start(i int) {
	c.t.Helper()
	cmd := exec.Command(os.Args[0], "-id", fmt.Sprint(i+1), "-http", c.http[i], "-members",
		c.members, "-dir", filepath.Join(c.dir, fmt.Sprint(i+1)))
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stderr = c.t.Output()
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.process[i] = cmd
}

// end sends a signal to a process and waits for its end.
func (c *trio) end(i int, s os.Signal) error {
	cmd := c.process[i]
	if cmd == nil {
		return nil
	}
	c.process[i] = nil
	if err := cmd.Process.Signal(s); err != nil {
		return err
	}
	return cmd.Wait()
}

// ask asks until it is answered as it should be: another answer is not wrong while nobody leads.
func (c *trio) ask(i int, method, path, body string, is func(status int, text string) bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for last := ""; ; {
		status, text := c.once(ctx, i, method, path, body)
		if is(status, text) {
			return
		}
		last = fmt.Sprint(status, " ", text)
		select {
		case <-ctx.Done():
			c.t.Fatalf("%s %s: %s", method, path, last)
		case <-tick.C:
		}
	}
}

func (c *trio) once(ctx context.Context, i int, method, path, body string) (int, string) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+c.http[i]+path,
		strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(text)
}

// Three processes: whichever is asked, the leader answers. It is killed, the others go on, and it
// comes back with all that it lacks.
func TestThreeProcesses(t *testing.T) {
	addresses, err := freeport.Addresses(6)
	if err != nil {
		t.Fatal(err)
	}
	var members []string
	for i, a := range addresses[:3] {
		members = append(members, fmt.Sprintf("%d=%s", i+1, a))
	}
	c := &trio{t: t, dir: t.TempDir(), members: strings.Join(members, ","), http: addresses[3:],
		process: make([]*exec.Cmd, 3)}
	t.Cleanup(func() {
		for i := range c.process {
			_ = c.end(i, os.Kill)
		}
	})
	for i := range 3 {
		c.start(i)
	}
	stored := func(status int, text string) bool { return status == 200 && text == "stored\n" }
	c.ask(0, "PUT", "/a", "1", stored)
	leader := -1
	for i := range 3 {
		c.ask(i, "GET", "/a", "", func(_ int, text string) bool { return text == "1\n" })
		c.ask(i, "GET", "/none", "", func(status int, _ string) bool { return status == 404 })
		c.ask(i, "GET", "/", "", func(status int, text string) bool {
			if strings.HasSuffix(text, "true\n") {
				leader = i
			}
			return status == 200
		})
	}
	if leader < 0 {
		t.Fatal("nobody leads")
	}
	if err := c.end(leader, os.Kill); err == nil {
		t.Error("it was not killed")
	}
	other := (leader + 1) % 3
	c.ask(other, "PUT", "/a", "2", stored)
	c.start(leader)
	c.ask(leader, "GET", "/", "", func(status int, _ string) bool { return status == 200 })
	c.ask(leader, "GET", "/a", "", func(_ int, text string) bool { return text == "2\n" })
	for i := range 3 {
		if err := c.end(i, syscall.SIGTERM); err != nil {
			t.Errorf("process %d: %v", i+1, err)
		}
	}
}

// The same commands make the same state, also through a snapshot and whatever their bytes are.
func TestStore(t *testing.T) {
	s := &store{make(map[string]string)}
	for i, cmd := range [][]byte{put("a", []byte("1")), put("", nil), {}, {200}, {3, 'a'},
		bytes.Repeat([]byte{255}, 20), put("a", []byte("2"))} {
		s.Apply([]engine.Entry{{Index: uint64(i + 1), Data: cmd}}, new(engine.Replies))
	}
	v, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	s.Apply([]engine.Entry{{Index: 9, Data: put("a", []byte("3"))}}, new(engine.Replies))
	var b bytes.Buffer
	if _, err := v.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	var written map[string]string
	if err := gob.NewDecoder(bytes.NewReader(b.Bytes())).Decode(&written); err != nil {
		t.Fatal(err)
	}
	if len(written) != 2 || written["a"] != "2" {
		t.Errorf("%q", written)
	}
	install, err := s.Restore(&b)
	if err != nil {
		t.Fatal(err)
	}
	if string(s.Read([]byte("a"), nil)) != "\x013" {
		t.Error("Restore has changed the state before install")
	}
	install()
	if string(s.Read([]byte("a"), nil)) != "\x012" || string(s.Read([]byte("b"), nil)) != "\x00" {
		t.Errorf("%q", s.values)
	}
	if _, err := s.Restore(strings.NewReader("nothing")); err == nil {
		t.Error("what is no snapshot was read")
	}
}
