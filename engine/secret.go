package engine

import (
	"errors"

	"github.com/ringraft/ringraft/netio/secure"
)

// secret is what Secret and SecretFile were given.
type secret struct {
	given [][]byte
	file  string
	keys  *secure.Keys // of either, since Start; nil: none
}

// Secret gives the secrets that the members of the cluster share: one to four, of 32 to 256
// random bytes, all different. Connections between members are authenticated and encrypted with
// the first, and those that others make with any of them are accepted. Every member has to have
// it: one without, or with another, is refused in words, on both sides. Without a secret, the
// default, members speak in plain text to whoever connects. Engine.SetSecret replaces them.
func (b *Builder) Secret(keys ...[]byte) *Builder { b.secret.given = keys; return b }

// SecretFile is Secret from a file, with one secret for each line as hexadecimal digits or base64,
// which nobody but its owner may read; secure.NewFile (package netio/secure) and raftd secret
// new make one. Engine.ReloadSecret reads it
// again. "", the default: none.
func (b *Builder) SecretFile(path string) *Builder { b.secret.file = path; return b }

// checkSecret refuses what no keys can be made of.
func (b *Builder) checkSecret() error {
	_, err := b.secret.load()
	return err
}

// load makes keys of what was given; nil for nothing.
func (s *secret) load() (*secure.Keys, error) {
	switch {
	case s.file != "" && len(s.given) > 0:
		return nil, &ConfigError{"SecretFile", "Secret is given, too: give one of the two"}
	case s.file != "":
		keys, err := secure.ReadFile(s.file)
		if err != nil {
			return nil, &ConfigError{"SecretFile", err.Error()}
		}
		return keys, nil
	case len(s.given) > 0:
		keys, err := secure.NewKeys(s.given...)
		if err != nil {
			return nil, &ConfigError{"Secret", err.Error()}
		}
		return keys, nil
	}
	return nil, nil
}

// errPlain: this member speaks in plain text for as long as it runs.
var errPlain = errors.New("ringraft: this member was started without a secret: " +
	"give it one and start it again")

// SetSecret replaces the secrets that were given to Builder.Secret, while everything goes on. With
// it a cluster goes over from one secret to another: first all members are given (old, new), then
// all (new, old), then all (new). Connections stay while their secret is among those given, and are
// made again otherwise; no request is lost by it. A member that was started without a secret
// cannot be given one, and no other can be left without. Errors are ErrClosed, a *ConfigError, or
// say that; then nothing has changed.
func (e *Engine) SetSecret(keys ...[]byte) error {
	s := secret{given: keys}
	return e.setKeys(&s)
}

// ReloadSecret is SetSecret from the file that was given to Builder.SecretFile.
func (e *Engine) ReloadSecret() error {
	s := secret{file: e.b.secret.file}
	if s.file == "" && !e.lifecycle.stopping.Load() {
		return &ConfigError{"SecretFile", "none was given at the start"}
	}
	return e.setKeys(&s)
}

func (e *Engine) setKeys(s *secret) error {
	switch {
	case e.lifecycle.stopping.Load():
		return ErrClosed
	case e.b.secret.keys == nil:
		return errPlain
	}
	keys, err := s.load()
	switch {
	case err != nil:
		return err
	case keys == nil:
		return &ConfigError{"Secret", "none given: a member that has a secret keeps one"}
	}
	e.peers.SetKeys(keys)
	if e.announcer.conn != nil {
		_ = e.announcer.conn.SetKeys(datagramKeys(keys, secure.LabelDatagram),
			datagramKeys(keys, secure.LabelHeartbeat)) // they are as long as they have to be
	}
	e.log.Info("the secrets were replaced", "accepted", keys.Names(), "dials_with", keys.Names()[0])
	e.run.wake()
	return nil
}

// secretStatus is what Status says of secrets.
func (e *Engine) secretStatus() (names []string, locked string) {
	if keys := e.peers.Keys(); keys != nil {
		names = keys.Names()
	}
	if err := e.peers.Locked(); err != nil {
		locked = err.Error()
	}
	return names, locked
}
