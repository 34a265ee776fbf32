package secure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/netio"
)

// TLS for clients, and for members that forward their clients' commands.
//
// The standard library's TLS blocks, and a loop must not. So the handshake runs on a goroutine, on
// the socket itself, before the loop gets the connection. After that the same tls.Conn reads and
// writes a pair of buffers, which the loop fills and empties:
//
//	         handshake                            afterwards
//	tls.Conn ◄──────► socket            socket ─► in ─► tls.Conn ─► plain
//	  a goroutine of its own            plain ─► tls.Conn ─► out ─► socket       in the loop
//
// A tls.Conn bears it that a read finds no bytes: an error that is temporary leaves its state as
// it was. A write that fails does not, so writes into out never do.
//
// *Simpler rule:* a goroutine for each connection that reads, decrypts and hands bytes to the loop.
// *Why it lost:* each command then costs two wake-ups, which is what the loops are there to avoid.

// TLSFiles are where certificates are.
type TLSFiles struct {
	Cert, Key string // PEM; the certificate's issuers may follow it
	CA        string // PEM; of those whose peers are trusted
}

// TLSServer secures accepted connections with TLS 1.2 or 1.3. Any goroutine may call its methods.
type TLSServer struct {
	files   TLSFiles
	clients bool
	config  atomic.Pointer[tls.Config]
	turns   chan struct{}
}

// handshakesAtOnce is how many handshakes calculate at a time: each takes a processor for a
// millisecond or so, which the loops want, too.
const handshakesAtOnce = 1

// NewTLSServer reads the files. With clients a peer must have a certificate that TLSFiles.CA
// vouches for.
func NewTLSServer(files TLSFiles, clients bool) (*TLSServer, error) {
	s := &TLSServer{files: files, clients: clients, turns: make(chan struct{}, handshakesAtOnce)}
	return s, s.Reload()
}

// Reload reads the files again, for the connections that come from now on. With an error all is as
// it was.
func (s *TLSServer) Reload() error {
	pair, err := tls.LoadX509KeyPair(s.files.Cert, s.files.Key)
	if err != nil {
		return err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair},
		DynamicRecordSizingDisabled: true} // the loop writes whole batches
	if s.clients {
		if c.ClientCAs, err = readPool(s.files.CA); err != nil {
			return err
		}
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	s.config.Store(c)
	return nil
}

func readPool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in PEM", file)
	}
	return pool, nil
}

// Secure implements netio.Securer.
func (s *TLSServer) Secure(ctx context.Context, nc net.Conn) (netio.Session, error) {
	p := &pipe{Conn: nc, turns: s.turns}
	return p.shakeHands(ctx, tls.Server(p, s.config.Load()))
}

// TLSClient secures connections that this process makes. Any goroutine may call its methods.
type TLSClient struct {
	files  TLSFiles
	config atomic.Pointer[tls.Config]
	turns  chan struct{}
}

// NewTLSClient reads the files: without CA those whom the system trusts are trusted, without Cert
// the client has no certificate.
func NewTLSClient(files TLSFiles) (*TLSClient, error) {
	c := &TLSClient{files: files, turns: make(chan struct{}, handshakesAtOnce)}
	return c, c.Reload()
}

// Reload is as that of TLSServer.
func (c *TLSClient) Reload() error {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, DynamicRecordSizingDisabled: true}
	var err error
	if c.files.CA != "" {
		if cfg.RootCAs, err = readPool(c.files.CA); err != nil {
			return err
		}
	}
	if c.files.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
		if err != nil {
			return err
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	c.config.Store(cfg)
	return nil
}

// To is the client for connections to an address: the certificate there must be for its host.
func (c *TLSClient) To(address string) netio.Securer { return &clientTo{c, address} }

// Config is the configuration for an address, for connections that block.
func (c *TLSClient) Config(address string) *tls.Config {
	cfg := c.config.Load().Clone()
	cfg.ServerName, _, _ = net.SplitHostPort(address) // "": no certificate fits
	return cfg
}

type clientTo struct {
	client  *TLSClient
	address string
}

// Secure implements netio.Securer.
func (c *clientTo) Secure(ctx context.Context, nc net.Conn) (netio.Session, error) {
	p := &pipe{Conn: nc, turns: c.client.turns}
	return p.shakeHands(ctx, tls.Client(p, c.client.Config(c.address)))
}

// pipe is what is under a tls.Conn: the socket until hands were shaken, buffers afterwards.
type pipe struct {
	net.Conn
	turns chan struct{} // nil afterwards
	in    []byte        // not read yet; the caller's
	out   []byte        // written, and not taken
}

// errMore says that a read found no bytes. It is temporary, as tls.Conn wants it.
var errMore = &moreError{}

type moreError struct{}

func (*moreError) Error() string   { return "secure: no bytes have come" }
func (*moreError) Timeout() bool   { return true }
func (*moreError) Temporary() bool { return true }

// Read gives others their turn while it waits for the socket.
func (p *pipe) Read(b []byte) (int, error) {
	if p.turns != nil {
		<-p.turns
		defer func() { p.turns <- struct{}{} }()
		return p.Conn.Read(b)
	}
	if len(p.in) == 0 {
		return 0, errMore
	}
	n := copy(b, p.in)
	p.in = p.in[n:]
	return n, nil
}

// Write never fails after the handshake.
func (p *pipe) Write(b []byte) (int, error) {
	if p.turns != nil {
		return p.Conn.Write(b)
	}
	p.out = append(p.out, b...)
	return len(b), nil
}

// shakeHands ends with the pipe cut off from the socket.
func (p *pipe) shakeHands(ctx context.Context, c *tls.Conn) (netio.Session, error) {
	turns := p.turns
	turns <- struct{}{}
	err := c.HandshakeContext(ctx)
	<-turns
	if err != nil {
		return nil, err
	}
	p.turns, p.Conn = nil, ends{p.LocalAddr(), p.RemoteAddr()}
	return &tlsSession{c, p}, nil
}

// ends are the addresses of a connection. A tls.Conn asks for nothing else of it afterwards, but
// sets deadlines, which have no meaning then.
type ends struct{ local, remote net.Addr }

func (e ends) LocalAddr() net.Addr            { return e.local }
func (e ends) RemoteAddr() net.Addr           { return e.remote }
func (ends) Read([]byte) (int, error)         { return 0, net.ErrClosed }
func (ends) Write([]byte) (int, error)        { return 0, net.ErrClosed }
func (ends) Close() error                     { return nil }
func (ends) SetDeadline(time.Time) error      { return nil }
func (ends) SetReadDeadline(time.Time) error  { return nil }
func (ends) SetWriteDeadline(time.Time) error { return nil }

// tlsSession implements netio.Session over a tls.Conn.
type tlsSession struct {
	conn *tls.Conn
	pipe *pipe
}

// openStep is the longest that one record says.
const openStep = 16 << 10

// Open implements netio.Session.
func (s *tlsSession) Open(dst, sealed []byte) ([]byte, error) {
	s.pipe.in = sealed
	defer func() { s.pipe.in = nil }()
	for {
		dst = slices.Grow(dst, openStep)
		n, err := s.conn.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if errors.Is(err, errMore) {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

// Seal implements netio.Session.
func (s *tlsSession) Seal(dst, p []byte) ([]byte, error) {
	s.pipe.out = dst
	_, err := s.conn.Write(p)
	dst, s.pipe.out = s.pipe.out, nil
	return dst, err
}

// Answer implements netio.Session.
func (s *tlsSession) Answer(dst []byte) []byte {
	dst = append(dst, s.pipe.out...)
	s.pipe.out = nil
	return dst
}

// End implements netio.Session.
func (s *tlsSession) End(dst []byte) []byte {
	s.pipe.out = dst
	_ = s.conn.CloseWrite() // it was sent before, or the peer is gone
	dst, s.pipe.out = s.pipe.out, nil
	return dst
}
