package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/spf13/pflag"

	"github.com/ringraft/ringraft/cmd/raftd/auth"
	"github.com/ringraft/ringraft/netio/resp"
	"github.com/ringraft/ringraft/netio/secure"
)

// passwordVariable is where a tool finds the password without --pass-file.
const passwordVariable = "RAFTD_PASSWORD"

// access is how the tools that ask a running member say who they are.
type access struct {
	user, passFile string
	password       string

	tls      bool
	tlsFiles secure.TLSFiles
	over     *secure.TLSClient // nil: in plain text
}

func (a *access) bind(f *pflag.FlagSet) {
	f.StringVar(&a.user, "user", auth.Default, "user to log in as")
	f.StringVar(&a.passFile, "pass-file", "",
		"file with the user's password, mode 0600; not given: the variable "+passwordVariable)
	f.BoolVar(&a.tls, "tls", false, "ask over TLS: --addr is a member's --tls-client")
	f.StringVar(&a.tlsFiles.CA, "tls-ca", "",
		"with --tls: file with the certificates of those who sign members', PEM; not given: those "+
			"that the system trusts")
	f.StringVar(&a.tlsFiles.Cert, "tls-cert", "", "with --tls: file with a certificate, PEM")
	f.StringVar(&a.tlsFiles.Key, "tls-key", "", "with --tls: file with its key, PEM")
}

// accessKey is the key of an access in a context.
type accessKey struct{}

// with reads the password and returns a context with which dialMember logs in.
func (a *access) with(ctx context.Context) (context.Context, error) {
	a.password = os.Getenv(passwordVariable)
	if a.passFile != "" {
		var err error
		if a.password, err = auth.ReadPassword(a.passFile); err != nil {
			return nil, fmt.Errorf("--pass-file: %w", err)
		}
	}
	if a.password == "" && a.user != auth.Default {
		return nil, usagef("--user %s: give its password with --pass-file or in %s", a.user,
			passwordVariable)
	}
	switch {
	case !a.tls && a.tlsFiles != (secure.TLSFiles{}):
		return nil, usagef("--tls-ca, --tls-cert and --tls-key need --tls")
	case (a.tlsFiles.Cert == "") != (a.tlsFiles.Key == ""):
		return nil, usagef("--tls-cert and --tls-key belong together")
	case a.tls:
		var err error
		if a.over, err = secure.NewTLSClient(a.tlsFiles); err != nil {
			return nil, fmt.Errorf("--tls: %w", err)
		}
	}
	return context.WithValue(ctx, accessKey{}, a), nil
}

// over secures a new connection if the context says so.
func over(ctx context.Context, conn net.Conn, address string) (net.Conn, error) {
	a, ok := ctx.Value(accessKey{}).(*access)
	if !ok || a.over == nil {
		return conn, nil
	}
	ctx, cancel := context.WithTimeout(ctx, dialMax)
	defer cancel()
	secured := tls.Client(conn, a.over.Config(address))
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secured, nil
}

// logIn says who asks, if the context has a password. Errors never name it.
func (c *caller) logIn(ctx context.Context) error {
	a, ok := ctx.Value(accessKey{}).(*access)
	if !ok || a.password == "" {
		return nil
	}
	c.ask = resp.AppendBulkStrings(c.ask[:0], "AUTH", a.user, a.password)
	_, err := c.conn.Write(c.ask)
	var r resp.Reply
	if err == nil {
		r, err = c.read()
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("logging in to %s: %w", c.address, ctx.Err())
	case err != nil:
		return fmt.Errorf("logging in to %s: %w", c.address, err)
	case r.Kind == resp.Error:
		return &refusal{c.address, string(r.Body)}
	}
	return nil
}
