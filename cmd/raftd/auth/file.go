package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ringraft/ringraft/internal/private"
)

const (
	// fileMax bounds a file of users in bytes, passwordMax one with passwords.
	fileMax     = 4 << 20
	passwordMax = 4 << 10

	// PasswordsMax is how many passwords a file has at most.
	PasswordsMax = 4
)

// ReadSecret reads a file that nobody but its owner may read or write: the mode must be 0600 or
// less, or 0640 or less for a file of root's and a process that is not. limit bounds its bytes.
func ReadSecret(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !private.Kept(st) {
		return nil, fmt.Errorf("%s can be read or written by others (mode %04o); chmod 600 it",
			file, st.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", file, limit)
	}
	return b, err
}

// ReadPassword reads a password from a file of passwords: the first one.
func ReadPassword(file string) (string, error) {
	list, err := ReadPasswords(file)
	if err != nil {
		return "", err
	}
	return list[0], nil
}

// ReadPasswords reads a file of passwords: one for each line, of which the end does not count, at
// most PasswordsMax. There are several while one is replaced: all of them are accepted, and who
// reads the file to log in says the first.
func ReadPasswords(file string) ([]string, error) {
	b, err := ReadSecret(file, passwordMax)
	if err != nil {
		return nil, err
	}
	list := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	for i, s := range list {
		s = strings.TrimSuffix(s, "\r")
		switch {
		case s == "" && len(list) == 1:
			return nil, fmt.Errorf("%s is empty; write one line with a password", file)
		case s == "":
			return nil, fmt.Errorf("%s:%d: the line is empty; each has a password", file, i+1)
		case strings.ContainsAny(s, "\r\x00"):
			return nil, fmt.Errorf("%s:%d: a password has no control characters", file, i+1)
		case i == PasswordsMax:
			return nil, fmt.Errorf("%s has more than %d lines; each has a password, and there are "+
				"several only while one is replaced", file, PasswordsMax)
		}
		list[i] = s
	}
	return list, nil
}

// Open reads the users from a file of lines user NAME RULES…, as Redis's aclfile has them, and
// keeps its name for Save and Load.
func (r *Registry) Open(file string) error {
	r.file = file
	return r.Load()
}

// Load reads the users again. All lines are right, or nothing changes and the error names all that
// are not. The user named default is as ever when no line names it. Who was not changed stays the
// same user for connections.
func (r *Registry) Load() error {
	if r.file == "" {
		return ErrNoFile
	}
	b, err := ReadSecret(r.file, fileMax)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	next, err := r.parse(b)
	if err != nil {
		return err
	}
	for name, u := range next.users {
		if old := r.Table().User(name); old != nil {
			u.serial = old.serial
		}
	}
	r.table.Store(next)
	return nil
}

// parse makes a table of the lines of a file.
func (r *Registry) parse(b []byte) (*Table, error) {
	u := newDefault()
	t := &Table{users: map[string]*User{Default: u}, bytes: len(u.line)}
	var faults []error
	seen := map[string]bool{}
	number := 0
	for line := range bytes.Lines(b) {
		number++
		words := strings.Split(string(bytes.Trim(line, " \t\r\n")), " ")
		if len(words) == 1 && words[0] == "" {
			continue
		}
		if err := r.parseLine(t, words, seen); err != nil {
			faults = append(faults, fmt.Errorf("%s:%d: %w", r.file, number, err))
			if len(faults) == faultsMax {
				break
			}
		}
	}
	return t, errors.Join(faults...)
}

// faultsMax is how many wrong lines are named.
const faultsMax = 8

func (r *Registry) parseLine(t *Table, words []string, seen map[string]bool) error {
	switch {
	case words[0] != "user" || len(words) < 2:
		return errors.New("line should start with user keyword followed by the username")
	case seen[words[1]]:
		return redisError("Duplicate user '" + words[1] + "' found")
	}
	name := words[1]
	seen[name] = true
	if name == Default { // its line says all of it, as in Redis
		t.bytes -= len(t.users[name].line)
		delete(t.users, name)
	}
	err := r.set(t, name, words[2:])
	if t.users[Default] == nil {
		t.users[Default] = newDefault() // the table is not used
	}
	return err
}

// Save writes the users to the file: beside it first, then in its place.
func (r *Registry) Save() error {
	if r.file == "" {
		return ErrNoFile
	}
	var b bytes.Buffer
	for _, u := range r.Table().Users() {
		b.WriteString(u.line + "\n")
	}
	part := r.file + ".part"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(b.Bytes()); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(part, r.file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(part))
	}
	d, err := os.Open(filepath.Dir(r.file))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
