package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/ringraft/ringraft/cmd/raftd/auth"
	"github.com/ringraft/ringraft/netio/resp"
)

// passwordVariable is where a tool finds the password without --pass-file.
const passwordVariable = "RAFTD_PASSWORD"

// access is how the tools that ask a running member say who they are.
type access struct {
	user, passFile string
	password       string
}

func (a *access) bind(f *pflag.FlagSet) {
	f.StringVar(&a.user, "user", auth.Default, "user to log in as")
	f.StringVar(&a.passFile, "pass-file", "",
		"file with the user's password, mode 0600; not given: the variable "+passwordVariable)
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
	return context.WithValue(ctx, accessKey{}, a), nil
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
