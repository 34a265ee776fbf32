package secure

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ringraft/ringraft/internal/private"
)

const (
	// KeysMax is how many secrets a process accepts at once: each is tried on a first message.
	KeysMax = 4
	// SecretMin is how many bytes a secret has at least.
	SecretMin = 32

	secretMax   = 256
	fileMax     = 8 << 10
	distinctMin = 10 // different bytes in a secret: 32 random ones have fewer once in 2^100
)

// Label names a use of a secret: each has a key of its own, and knows nothing of the others'.
type Label string

// The uses. They are part of the protocol: a changed one is another key.
const (
	LabelLink       Label = "link"        // pre-shared key of the handshake between members
	LabelDatagram   Label = "datagram"    // authenticates datagrams
	LabelHeartbeat  Label = "heartbeat"   // authenticates datagrams with heartbeats
	LabelClusterTag Label = "cluster tag" // by which datagrams of a cluster are told from others'
	labelName       Label = "name"        // by which an operator tells keys apart
)

// Keys are the secrets of a cluster that a process holds. The first is used for what this process
// begins, and all are accepted. They never change, and any goroutine may read them. fmt and
// log/slog print their number and names.
type Keys struct{ list []key }

type key struct {
	secret []byte
	link   [32]byte
	name   string
}

// KeyError says what is wrong with secrets. It never quotes one.
type KeyError struct {
	Number  int // which, from 1; 0: all of them
	Problem string
}

func (e *KeyError) Error() string {
	if e.Number == 0 {
		return e.Problem
	}
	return fmt.Sprintf("secret %d: %s", e.Number, e.Problem)
}

// NewKeys takes secrets, which it copies: one to KeysMax, of 32 to 256 random bytes, all
// different. The error is a *KeyError.
func NewKeys(secrets ...[]byte) (*Keys, error) {
	if len(secrets) == 0 || len(secrets) > KeysMax {
		return nil, &KeyError{Problem: fmt.Sprintf("%d secrets; must be 1 to %d", len(secrets),
			KeysMax)}
	}
	ks := &Keys{}
	for i, s := range secrets {
		if problem := unfit(s); problem != "" {
			return nil, &KeyError{i + 1, problem}
		}
		k := key{secret: bytes.Clone(s)}
		k.link = k.derive(LabelLink)
		name := k.derive(labelName)
		k.name = hex.EncodeToString(name[:4])
		if ks.find(&k) {
			return nil, &KeyError{i + 1, "it is there already"}
		}
		ks.list = append(ks.list, k)
	}
	return ks, nil
}

// unfit says why bytes are no secret, "" when they may be one.
func unfit(s []byte) string {
	if len(s) < SecretMin || len(s) > secretMax {
		return fmt.Sprintf("%d bytes; must be %d to %d", len(s), SecretMin, secretMax)
	}
	var seen [256]bool
	n := 0
	for _, b := range s {
		if !seen[b] {
			seen[b] = true
			n++
		}
	}
	if n < distinctMin {
		return "its bytes repeat: it must be random"
	}
	return ""
}

// derive is HKDF-SHA256 (RFC 5869) of the secret, without salt: it is random.
func (k *key) derive(l Label) (out [32]byte) {
	b, err := hkdf.Key(sha256.New, k.secret, nil, "ringraft 1 "+string(l), len(out))
	if err != nil {
		panic(fmt.Sprintf("secure: HKDF of 32 bytes: %v", err)) // it takes up to 8,160
	}
	copy(out[:], b)
	return out
}

// Derive gives the keys of a use, in the order of the secrets: the first is for what is sent, and
// all are for what is received.
func (ks *Keys) Derive(l Label) [][32]byte {
	out := make([][32]byte, 0, len(ks.list))
	for i := range ks.list {
		out = append(out, ks.list[i].derive(l))
	}
	return out
}

// find reports whether k is among them.
func (ks *Keys) find(k *key) (found bool) {
	for i := range ks.list {
		found = subtle.ConstantTimeCompare(ks.list[i].link[:], k.link[:]) == 1 || found
	}
	return found
}

// Names are eight hexadecimal digits for each key, by which operators tell them apart: derived,
// they give nothing away of a secret that is random.
func (ks *Keys) Names() []string {
	out := make([]string, 0, len(ks.list))
	for i := range ks.list {
		out = append(out, ks.list[i].name)
	}
	return out
}

// String is what fmt prints.
func (ks *Keys) String() string { return fmt.Sprintf("%d secrets %v", len(ks.list), ks.Names()) }

// FileError says what is wrong with a file of secrets. It never quotes what is in it.
type FileError struct {
	Path    string
	Line    int // from 1; 0: the file as a whole
	Problem string
	Err     error // the system's; nil when it had nothing to say
}

func (e *FileError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s: line %d: %s", e.Path, e.Line, e.Problem)
	}
	return e.Path + ": " + e.Problem
}

// Unwrap gives the system's error.
func (e *FileError) Unwrap() error { return e.Err }

// ReadFile reads a file of secrets: one for each line, as hexadecimal digits or base64. Lines
// that begin with # and empty ones are skipped. It must be a file that nobody but its owner can
// read; one of root's may be readable by its group, too, for a process that is not root. The error
// is a *FileError.
func ReadFile(path string) (*Keys, error) {
	fail := func(problem string, err error) (*Keys, error) {
		return nil, &FileError{Path: path, Problem: problem, Err: err}
	}
	st, err := os.Stat(path) // before it is opened: a pipe would wait for a writer
	if err == nil && !st.Mode().IsRegular() {
		return fail("it is no file", nil)
	}
	if err != nil {
		return fail(reason(err), err)
	}
	f, err := os.Open(path)
	if err != nil {
		return fail(reason(err), err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	if st, err = f.Stat(); err == nil && !private.Kept(st) {
		return fail(fmt.Sprintf("others than its owner can read or change it (mode %04o): "+
			"chmod 600 %s", st.Mode().Perm(), path), nil)
	}
	var text []byte
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(f, fileMax+1))
	}
	switch {
	case err != nil:
		return fail(reason(err), err)
	case len(text) > fileMax:
		return fail(fmt.Sprintf("it has more than %d bytes, and so is no file of secrets", fileMax),
			nil)
	}
	ks, err := parse(text)
	var bad *FileError
	if errors.As(err, &bad) {
		bad.Path = path
	}
	return ks, err
}

// reason is an error of package os without the path, which is said already.
func reason(err error) string {
	var at *os.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	return err.Error()
}

// parse reads the lines of a file; its errors are *FileError without a path.
func parse(text []byte) (*Keys, error) {
	var secrets [][]byte
	var lines []int
	number := 0
	for line := range bytes.Lines(text) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		s, ok := decode(string(line))
		if !ok {
			return nil, &FileError{Line: number, Problem: "neither hexadecimal digits nor base64"}
		}
		secrets, lines = append(secrets, s), append(lines, number)
	}
	if len(secrets) == 0 {
		return nil, &FileError{Problem: "there is no secret in it: raftd secret new makes a file"}
	}
	ks, err := NewKeys(secrets...)
	var bad *KeyError
	if errors.As(err, &bad) {
		at := &FileError{Problem: bad.Problem}
		if bad.Number > 0 {
			at.Line = lines[bad.Number-1]
		}
		return nil, at
	}
	return ks, nil
}

// decode reads a secret. What consists of hexadecimal digits alone is that, although it may be
// base64, too.
func decode(line string) ([]byte, bool) {
	for _, read := range []func(string) ([]byte, error){hex.DecodeString,
		base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString} {
		if b, err := read(line); err == nil {
			return b, true
		}
	}
	return nil, false
}

// NewFile makes a file with one new secret, which only its owner can read, and returns its name
// as Names has it. A file that is there already is left alone. The error is a *FileError.
func NewFile(path string) (name string, err error) {
	var secret [SecretMin]byte
	_, _ = rand.Read(secret[:]) // never fails
	ks, err := NewKeys(secret[:])
	if err != nil {
		panic(err) // see distinctMin
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return "", &FileError{path, 0, "it is there already, and is not replaced", err}
	}
	if err != nil {
		return "", &FileError{path, 0, reason(err), err}
	}
	_, err = f.WriteString(hex.EncodeToString(secret[:]) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		err = errors.Join(err, os.Remove(path))
		return "", &FileError{path, 0, reason(err), err}
	}
	return ks.list[0].name, nil
}
