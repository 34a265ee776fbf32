package secure

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/internal/certs"
	"github.com/ringraft/ringraft/netio"
)

// site is an authority and the files of a server.
type site struct {
	*certs.Authority
	files TLSFiles
}

func newSite(t testing.TB) *site {
	t.Helper()
	dir := t.TempDir()
	a, err := certs.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{a, TLSFiles{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"),
		CA: a.File}}
	s.issue(t, "first")
	return s
}

func (s *site) issue(t testing.TB, name string) {
	t.Helper()
	if err := s.Issue(name, s.files.Cert, s.files.Key); err != nil {
		t.Fatal(err)
	}
}

// trusting is a client's configuration.
func (s *site) trusting(t testing.TB) *tls.Config {
	t.Helper()
	pool, err := readPool(s.File)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
}

// tlsEcho sends back what comes; it takes nothing while much waits.
type tlsEcho struct{ ended chan error }

func (e *tlsEcho) Data(c *netio.Conn, b []byte) (int, error) {
	if c.Outbound() > 1<<20 {
		c.Pause()
		c.NotifyBelow(1 << 16)
		return 0, nil
	}
	n := min(len(b), 1<<18)
	if n < len(b) {
		c.Yield()
	}
	half := n / 2
	return n, c.WriteParts([]netio.Part{{Bytes: b[:half]}, {Bytes: bytes.Clone(b[half:n]),
		Held: held{}}})
}

type held struct{}

func (held) Release() {}

func (e *tlsEcho) EOF(c *netio.Conn) {
	_ = c.Write([]byte("that is all")) // nothing to do about it
	c.Close(nil)
}
func (e *tlsEcho) Drained(c *netio.Conn)           { c.Resume() }
func (e *tlsEcho) Closed(_ *netio.Conn, err error) { e.ended <- err }

// serve starts a server that echoes over TLS.
func serve(t testing.TB, how netio.Securer, change func(*netio.Listener)) (address string,
	e *tlsEcho) {
	t.Helper()
	e = &tlsEcho{make(chan error, 1024)}
	l := netio.Listener{Addr: "127.0.0.1:0", Secure: how,
		Accept: func(*netio.Conn) netio.Handler { return e }}
	if change != nil {
		change(&l)
	}
	s, err := netio.Start(netio.Config{Listeners: []netio.Listener{l}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s.Addr(0).String(), e
}

func dial(t testing.TB, address string, cfg *tls.Config) *tls.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", address, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c
}

func newServer(t testing.TB, s *site, clients bool) *TLSServer {
	t.Helper()
	srv, err := NewTLSServer(s.files, clients)
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

// Both versions, small and large, and the words that nothing follows in both directions.
func TestBytesComeBack(t *testing.T) {
	s := newSite(t)
	address, e := serve(t, newServer(t, s, false), nil)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := s.trusting(t)
		cfg.MinVersion, cfg.MaxVersion = version, version
		c := dial(t, address, cfg)
		sent := make([]byte, 6<<20)
		rng := rand.NewChaCha8([32]byte{1})
		_, _ = rng.Read(sent) // never fails
		go func() {
			for rest := sent; len(rest) > 0; {
				n := min(len(rest), 1+rand.N(100_000))
				if _, err := c.Write(rest[:n]); err != nil {
					t.Error(err)
					return
				}
				rest = rest[n:]
			}
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
		}()
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, append(sent, "that is all"...)) {
			t.Fatalf("version %x: %d bytes came back of %d: %v", version, len(got), len(sent), err)
		}
		if err := <-e.ended; err != nil {
			t.Fatal(err)
		}
	}
}

// The last message of the handshake and the first bytes may come together.
func TestWhatComesWithTheHandshake(t *testing.T) {
	s := newSite(t)
	address, _ := serve(t, newServer(t, s, false), nil)
	for range 20 {
		raw, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		late := &lateWriter{Conn: raw}
		c := tls.Client(late, s.trusting(t))
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if err := late.flush(); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

// lateWriter keeps what is written after the first time.
type lateWriter struct {
	net.Conn
	wrote bool
	kept  []byte
}

func (l *lateWriter) Write(b []byte) (int, error) {
	if !l.wrote {
		l.wrote = true
		return l.Conn.Write(b)
	}
	l.kept = append(l.kept, b...)
	return len(b), nil
}

func (l *lateWriter) flush() error {
	_, err := l.Conn.Write(l.kept)
	return err
}

func TestReloadKeepsConnections(t *testing.T) {
	s := newSite(t)
	srv := newServer(t, s, false)
	address, _ := serve(t, srv, nil)
	subject := func(c *tls.Conn) string {
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	talks := func(c *tls.Conn) {
		t.Helper()
		b := []byte("hello")
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
	}
	old := dial(t, address, s.trusting(t))
	talks(old)
	s.issue(t, "second")
	if err := srv.Reload(); err != nil {
		t.Fatal(err)
	}
	now := dial(t, address, s.trusting(t))
	talks(old)
	talks(now)
	if subject(old) != "first" || subject(now) != "second" {
		t.Fatalf("%s and %s", subject(old), subject(now))
	}
	for _, broken := range []string{"", "no certificate"} {
		if err := os.WriteFile(s.files.Cert, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := srv.Reload(); err == nil {
			t.Fatal("a broken certificate was taken")
		}
	}
	last := dial(t, address, s.trusting(t))
	talks(last)
	talks(old)
	if subject(last) != "second" {
		t.Fatal(subject(last))
	}
}

func TestClientsNeedACertificate(t *testing.T) {
	s, other := newSite(t), newSite(t)
	address, _ := serve(t, newServer(t, s, true), nil)
	try := func(files TLSFiles) error {
		cfg := s.trusting(t)
		if files.Cert != "" {
			pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
			if err != nil {
				t.Fatal(err)
			}
			cfg.Certificates = []tls.Certificate{pair}
		}
		c, err := tls.Dial("tcp", address, cfg)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write([]byte("hello")); err != nil {
			return err
		}
		_, err = io.ReadFull(c, make([]byte, 5))
		return err
	}
	if err := try(s.files); err != nil {
		t.Error(err)
	}
	for what, files := range map[string]TLSFiles{"none": {}, "another's": other.files} {
		if err := try(files); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
}

// Who connects and says nothing, or something else, is closed, and keeps nobody out.
func TestSilentConnectionsKeepNobodyOut(t *testing.T) {
	s := newSite(t)
	address, _ := serve(t, newServer(t, s, false),
		func(l *netio.Listener) { l.HandshakeTime = 100 * time.Millisecond })
	raw, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := io.ReadAll(raw); err != nil {
		t.Fatal("not closed in time:", err)
	}
	plain, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := plain.Write([]byte("*1\r\n$4\r\nPING\r\n")); err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(plain); bytes.Contains(b, []byte("PONG")) {
		t.Fatal("plain text was answered")
	}
	address, _ = serve(t, newServer(t, s, false), nil)
	var silent []net.Conn
	for range 300 { // more than may shake hands at a time
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	if _, err := io.ReadAll(silent[0]); err != nil && !errors.Is(err, io.EOF) &&
		!strings.Contains(err.Error(), "reset") {
		t.Fatal(err)
	}
	c := dial(t, address, s.trusting(t))
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
}

// Bytes that are no record end the connection, and the handler hears why.
func TestBrokenRecords(t *testing.T) {
	s := newSite(t)
	address, e := serve(t, newServer(t, s, false), nil)
	raw, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	c := tls.Client(raw, s.trusting(t))
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Write(
		[]byte("\x17\x03\x03\x00\x20not what a peer sends at all....")); err != nil {
		t.Fatal(err)
	}
	var broken *netio.SessionError
	if err := <-e.ended; !errors.As(err, &broken) {
		t.Fatal(err)
	}
}

// The bound of what waits holds for a peer that does not read, and what it took is right.
func TestABoundOfWhatWaits(t *testing.T) {
	s := newSite(t)
	seen := make(chan int, 1)
	h := &flood{seen: seen}
	address, _ := serve(t, newServer(t, s, false), func(l *netio.Listener) {
		l.Accept = func(*netio.Conn) netio.Handler { return h }
	})
	c := dial(t, address, s.trusting(t))
	if _, err := c.Write([]byte("go")); err != nil {
		t.Fatal(err)
	}
	if copied := <-seen; copied > 512<<10 {
		t.Fatalf("%d bytes of copies wait of %d that lie elsewhere", copied, floodBytes)
	}
	got, err := io.ReadAll(c)
	if err != nil || len(got) != floodBytes {
		t.Fatalf("%d bytes: %v", len(got), err)
	}
}

const floodBytes = 32 << 20

// flood writes much that is not copied, and closes.
type flood struct{ seen chan int }

func (f *flood) Data(c *netio.Conn, b []byte) (int, error) {
	var parts []netio.Part
	for range floodBytes >> 20 {
		parts = append(parts, netio.Part{Bytes: make([]byte, 1<<20), Held: held{}})
	}
	err := c.WriteParts(parts)
	f.seen <- c.OutboundCopied()
	c.Close(nil)
	return len(b), err
}
func (f *flood) Closed(*netio.Conn, error) {}

// A link shakes hands as a client, and trusts nobody else.
func TestLinks(t *testing.T) {
	s, other := newSite(t), newSite(t)
	address, _ := serve(t, newServer(t, s, false), nil)
	for what, files := range map[string]TLSFiles{"": {CA: s.File},
		"unknown authority": {CA: other.File}} {
		client, err := NewTLSClient(files)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		_, err = client.To(address).Secure(t.Context(), raw)
		if (err == nil) != (what == "") || err != nil && !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, files := range []TLSFiles{{CA: "/nonexistent"}, {CA: s.files.Key},
		{Cert: s.files.Cert, Key: s.File}} {
		if _, err := NewTLSClient(files); err == nil {
			t.Errorf("%+v: taken", files)
		}
	}
	if _, err := NewTLSServer(TLSFiles{Cert: s.files.Cert, Key: s.files.Key, CA: s.files.Key},
		true); err == nil {
		t.Error("an authority without a certificate was taken")
	}
	var unknown x509.UnknownAuthorityError
	_, err := tls.Dial("tcp", address, other.trusting(t))
	if !errors.As(err, &unknown) {
		t.Error(err)
	}
}

// FuzzOpen has a session read anything after the handshake, in any pieces.
func FuzzOpen(f *testing.F) {
	s := newSite(f)
	srv := newServer(f, s, false)
	f.Add([]byte("\x17\x03\x03\x00\x05hello"), uint8(1))
	f.Add([]byte("\x15\x03\x03\x00\x02\x01\x00"), uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		near, far := net.Pipe()
		done := make(chan error, 1)
		go func() { done <- tls.Client(far, s.trusting(t)).Handshake() }()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		session, err := srv.Secure(ctx, near)
		if err != nil {
			t.Fatal(err)
		}
		far.Close()
		<-done
		for len(b) > 0 && err == nil {
			n := min(len(b), 1+int(piece))
			_, err = session.Open(nil, b[:n])
			session.Answer(nil)
			b = b[n:]
		}
		session.End(nil)
	})
}

// FuzzHandshake has a server hear anything instead of a handshake: it ends with an error, soon.
func FuzzHandshake(f *testing.F) {
	s := newSite(f)
	srv := newServer(f, s, false)
	f.Add([]byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"))
	f.Add([]byte("\x16\x03\x01\xff\xff"))
	f.Add([]byte("PING\r\n"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	near, far := net.Pipe()
	hello := make([]byte, 2048)
	go func() { _ = tls.Client(far, s.trusting(f)).Handshake() }() // nobody answers
	n, err := near.Read(hello)
	if err != nil {
		f.Fatal(err)
	}
	near.Close()
	f.Add(hello[:n])
	f.Fuzz(func(t *testing.T, b []byte) {
		near, far := net.Pipe()
		go func() {
			_, _ = far.Write(b) // the other side may have seen enough of it
			_ = far.Close()
		}()
		go func() { _, _ = io.Copy(io.Discard, far) }()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if session, err := srv.Secure(ctx, near); err == nil {
			session.End(nil)
			t.Error("it was taken for a handshake")
		} else if ctx.Err() != nil {
			t.Error(err)
		}
		near.Close()
	})
}
