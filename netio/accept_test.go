package netio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// ask sends a byte and returns what comes back.
func ask(t testing.TB, nc net.Conn) (string, error) {
	t.Helper()
	if _, err := io.WriteString(nc, "x"); err != nil {
		return "", err
	}
	b := make([]byte, 20)
	n, err := nc.Read(b)
	return string(b[:n]), err
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) count(of string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), of)
}

// Each listener has places of its own. Who finds none is told so, counted, and logged once in a
// while.
func TestPlaces(t *testing.T) {
	log := &lines{}
	s := start(t, Config{Logger: slog.New(slog.NewTextHandler(log, nil)), Listeners: []Listener{
		{Addr: "127.0.0.1:0", Accept: echo, Max: 2, Refusal: []byte("full\n")},
		{Addr: "127.0.0.1:0", Accept: echo, Max: 1},
	}}, nil)
	first := dial(t, s)
	for _, nc := range []net.Conn{first, dial(t, s)} {
		if got, err := ask(t, nc); got != "x" {
			t.Fatal(got, err)
		}
	}
	for i := range 5 {
		if got, err := io.ReadAll(dial(t, s)); string(got) != "full\n" {
			t.Fatal(string(got), err)
		}
		if n := s.Refused(0); n != uint64(i+1) {
			t.Fatalf("%d were refused", n)
		}
	}
	if n := log.count("places=2"); n != 1 {
		t.Errorf("%d lines", n)
	}
	other, err := net.Dial("tcp", s.Addr(1).String())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close() //nolint:errcheck // the end of the test
	if got, err := ask(t, other); got != "x" {
		t.Fatal(got, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(waitMax); ; {
		if got, _ := ask(t, dial(t, s)); got == "x" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the place is not given back")
		}
	}
}

// The number of places can change: who is connected stays, and who comes finds the new number.
func TestPlacesChange(t *testing.T) {
	s := start(t, Config{Listeners: []Listener{{Addr: "127.0.0.1:0", Accept: echo, Max: 1,
		Refusal: []byte("full\n")}}}, nil)
	has := func(want string) net.Conn {
		t.Helper()
		nc := dial(t, s)
		if got, err := ask(t, nc); got != want {
			t.Fatal(got, err)
		}
		return nc
	}
	first := has("x")
	has("full\n")
	s.SetMax(0, 2)
	second := has("x")
	s.SetMax(0, 1)
	has("full\n")
	for _, nc := range []net.Conn{first, second} {
		if got, err := ask(t, nc); got != "x" {
			t.Fatal(got, err)
		}
	}
}

// A connection with a spare place is asked who it is. It may keep the place, is refused in words,
// or is closed when it says nothing.
func TestSparePlaces(t *testing.T) {
	accept := func(c *Conn) Handler {
		if c.Beyond() {
			c.CloseAfter(10 * time.Millisecond)
		}
		return testHandler{data: func(c *Conn, b []byte) (int, error) {
			if c.Beyond() && b[0] != 'm' {
				c.Refuse()
				return len(b), nil
			}
			c.CloseAfter(0)
			return len(b), c.Write(b)
		}}
	}
	s := start(t, Config{OutboundPatience: 100 * time.Millisecond, Listeners: []Listener{
		{Addr: "127.0.0.1:0", Accept: accept, Max: 1, Spare: 2, Refusal: []byte("full\n")},
	}}, nil)
	if got, err := ask(t, dial(t, s)); got != "x" {
		t.Fatal(got, err)
	}
	if got, err := ask(t, dial(t, s)); got != "full\n" {
		t.Fatal(got, err)
	}
	silent := dial(t, s)
	if got, err := io.ReadAll(silent); err != nil || string(got) != "full\n" {
		t.Fatal(string(got), err)
	}
	member := dial(t, s)
	if _, err := io.WriteString(member, "m"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(member, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if n := s.Refused(0); n != 2 {
		t.Fatalf("%d were refused", n)
	}
	<-time.After(50 * time.Millisecond) // longer than a silent one may stay
	if _, err := io.WriteString(member, "m"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(member, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// When descriptors run out, accepting waits without spinning, and goes on when there are some.
func TestOutOfDescriptors(t *testing.T) {
	if os.Getenv("NETIO_DESCRIPTORS") == "" { // in a process of its own: the limit is the process's
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=TestOutOfDescriptors", "-test.v")
		cmd.Env = append(os.Environ(), "NETIO_DESCRIPTORS=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	log := &lines{}
	s := start(t, Config{Logger: slog.New(slog.NewTextHandler(log, nil))}, echo)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	first := dial(t, s)
	if got, err := ask(t, first); got != "x" { // it has its descriptors
		t.Fatal(got, err)
	}
	second, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	must(err)
	var filled []int
	var limit syscall.Rlimit
	must(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	limit.Cur = 60
	must(syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	for {
		fd, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0)
		if errors.Is(err, syscall.EMFILE) {
			break
		}
		must(err)
		filled = append(filled, fd)
	}
	address := s.Addr(0).(*net.TCPAddr)
	must(syscall.Connect(second, &syscall.SockaddrInet4{Port: address.Port,
		Addr: [4]byte{127, 0, 0, 1}}))
	_, err = syscall.Write(second, []byte("x"))
	must(err)
	for deadline := time.Now().Add(waitMax); log.count("too many open files") == 0; {
		if time.Now().After(deadline) {
			t.Fatal("nothing was logged")
		}
	}
	from := processorTime(t)
	<-time.After(300 * time.Millisecond) // a span to be measured, not a state to wait for
	if spent := processorTime(t) - from; spent > 100*time.Millisecond {
		t.Errorf("%v of processor time in 300 ms", spent)
	}
	if got, err := ask(t, first); got != "x" {
		t.Fatal(got, err)
	}
	for _, fd := range filled {
		must(syscall.Close(fd))
	}
	_, err = syscall.Read(second, make([]byte, 1))
	must(err)
	if n := log.count("too many open files"); n > 1 {
		t.Errorf("%d lines", n)
	}
}

// BenchmarkIdle measures the memory of idle connections.
func BenchmarkIdle(b *testing.B) {
	const conns = 5000
	s := start(b, Config{}, echo)
	resident := func() int {
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			b.Fatal(err)
		}
		for line := range strings.Lines(string(status)) {
			var kb int
			if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kb); err == nil {
				return kb << 10
			}
		}
		b.Fatal("no VmRSS")
		return 0
	}
	for b.Loop() {
		from := resident()
		var open []net.Conn
		for range conns {
			open = append(open, dial(b, s))
		}
		b.ReportMetric(float64(resident()-from)/conns, "B/conn") // both ends
		for _, nc := range open {
			_ = nc.Close()
		}
	}
}
