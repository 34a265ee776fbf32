// Package resptest is a RESP server for tests, whose replies the test chooses.
package resptest

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

// Server is a server that runs until its test ends.
type Server struct {
	Address string
	Asked   atomic.Int64 // SETs and GETs received
	Waiting atomic.Int64 // of them, those that wait at the gate
	Gate    sync.RWMutex // while a test holds it for writing, the server answers nothing

	answer func(args []string) string

	listener net.Listener
	mu       sync.Mutex
	open     []net.Conn
	stopped  bool
}

// New starts a server. answer says what to reply to a request, as raw bytes;
// "" closes the connection. Every connection has a goroutine that calls it.
func New(t *testing.T, answer func(args []string) string) *Server {
	t.Helper()
	return At(t, "127.0.0.1:0", answer)
}

// At is New at an address, or at the path of a socket.
func At(t *testing.T, address string, answer func(args []string) string) *Server {
	t.Helper()
	network := "tcp"
	if strings.Contains(address, "/") {
		network = "unix"
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Address: l.Addr().String(), answer: answer, listener: l}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			if s.open = append(s.open, c); s.stopped {
				_ = c.Close()
			}
			s.mu.Unlock()
			go s.serve(c)
		}
	}()
	t.Cleanup(s.Stop)
	return s
}

// Stop ends the server and its connections, as if its process had died.
func (s *Server) Stop() {
	_ = s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for _, c := range s.open {
		_ = c.Close()
	}
}

func (s *Server) serve(c net.Conn) {
	defer c.Close()
	in, out := bufio.NewReader(c), bufio.NewWriter(c)
	for {
		args, err := readCommand(in)
		if err != nil {
			return
		}
		if args[0] == "SET" || args[0] == "GET" {
			s.Asked.Add(1)
			s.Waiting.Add(1)
			s.Gate.RLock()
			//lint:ignore SA2001 a closed gate is waited for, nothing is done behind it
			s.Gate.RUnlock()
			s.Waiting.Add(-1)
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
	n, err := readLength(in)
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		size, err := readLength(in)
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

func readLength(in *bufio.Reader) (int, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}

// Bulk is a string as a reply.
func Bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// Plain answers as a server with nothing to tell.
func Plain(args []string) string {
	switch args[0] {
	case "PING":
		return "+PONG\r\n"
	case "SET":
		return "+OK\r\n"
	case "GET":
		return "$-1\r\n"
	case "INFO":
		return Bulk("# Server\r\naof_enabled:0\r\nused_cpu_user:1.5\r\nused_cpu_sys:0.5\r\n")
	}
	return "-ERR unknown command\r\n"
}
