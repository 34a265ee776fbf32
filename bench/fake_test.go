package bench

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// fakeServer speaks RESP: answer says what to reply, as raw bytes, "" closes
// the connection.
type fakeServer struct {
	address string
	answer  func(args []string) string
	asked   atomic.Int64 // SETs and GETs
	gate    sync.RWMutex // held for writing, the server stalls
}

func newFake(t *testing.T, answer func(args []string) string) *fakeServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeServer{address: l.Addr().String(), answer: answer}
	var mu sync.Mutex
	var open []net.Conn
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			go s.serve(c)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range open {
			_ = c.Close()
		}
	})
	return s
}

func (s *fakeServer) serve(c net.Conn) {
	defer c.Close()
	in, out := bufio.NewReader(c), bufio.NewWriter(c)
	for {
		args, err := readCommand(in)
		if err != nil {
			return
		}
		if args[0] == "SET" || args[0] == "GET" {
			s.asked.Add(1)
			s.gate.RLock()
			//lint:ignore SA2001 a closed gate is waited for, nothing is done behind it
			s.gate.RUnlock()
		}
		text := s.answer(args)
		if text == "" {
			return
		}
		if _, err = out.WriteString(text); err != nil {
			return
		}
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
	}
}

func readCommand(in *bufio.Reader) ([]string, error) {
	n, err := readNumber(in)
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		size, err := readNumber(in)
		if err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		if _, err = io.ReadFull(in, b); err != nil {
			return nil, err
		}
		args[i] = string(b[:size])
	}
	return args, nil
}

func readNumber(in *bufio.Reader) (int, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// plain answers as a server with nothing to tell.
func plain(args []string) string {
	switch args[0] {
	case "PING":
		return "+PONG\r\n"
	case "SET":
		return "+OK\r\n"
	case "GET":
		return "$-1\r\n"
	case "INFO":
		return bulk("# Server\r\naof_enabled:0\r\nused_cpu_user:1.5\r\nused_cpu_sys:0.5\r\n")
	}
	return "-ERR unknown command\r\n"
}
