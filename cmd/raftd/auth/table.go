package auth

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Table is all users at one moment. It never changes; any goroutine may read it.
type Table struct {
	users map[string]*User
	bytes int // of all lines
}

// User finds a user; nil when there is none of that name.
func (t *Table) User(name string) *User { return t.users[name] }

// Default is the user that every connection begins as.
func (t *Table) Default() *User { return t.users[Default] }

// Users are all of them, by name.
func (t *Table) Users() []*User {
	list := slices.Collect(maps.Values(t.users))
	slices.SortFunc(list, func(a, b *User) int { return strings.Compare(a.name, b.name) })
	return list
}

// Login finds the user that has the password; nil when there is none, when the password is another
// or the user is off. How long it takes does not say which.
func (t *Table) Login(name string, password []byte) *User {
	u := t.users[name]
	if u == nil {
		nobody.accepts(password)
		return nil
	}
	if !u.accepts(password) {
		return nil
	}
	return u
}

// nobody takes the time of a user with one password.
var nobody = &User{passwords: make([][32]byte, 1)}

// Registry has the users of a server and changes them. Any goroutine may call its methods.
type Registry struct {
	book *Book
	file string // "" when users are kept nowhere

	mu     sync.Mutex // orders changes
	serial uint64     // of the newest user
	table  atomic.Pointer[Table]
}

// tableMax bounds the lines of all users together in bytes, so that a file can hold them.
const tableMax = fileMax

// Errors of a Registry that Redis has, too.
const (
	ErrDefault redisError = "The 'default' user cannot be removed"
	ErrName    redisError = "Usernames can't contain spaces or null characters"
)

// Errors of a Registry beside those and *RuleError.
var (
	ErrLongName = fmt.Errorf("a user's name has at most %d bytes", nameMax)
	ErrLongLine = fmt.Errorf("the rules of one user have at most %d bytes", lineMax)
	ErrFull     = fmt.Errorf("the rules of all users have at most %d bytes", tableMax)
	ErrNoFile   = errors.New("this member has no file of users: start it with --users-file")
)

// NewRegistry begins with the user named default alone, who may do everything and needs no
// password.
func NewRegistry(book *Book) *Registry {
	r := &Registry{book: book}
	u := newDefault()
	r.table.Store(&Table{users: map[string]*User{Default: u}, bytes: len(u.line)})
	return r
}

// Table is the users as they are now.
func (r *Registry) Table() *Table { return r.table.Load() }

// Set makes a user, or changes the one of that name: all rules are carried out in order, or none.
func (r *Registry) Set(name string, rules ...string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.Table().copy()
	if err := r.set(next, name, rules); err != nil {
		return err
	}
	r.table.Store(next)
	return nil
}

func (t *Table) copy() *Table { return &Table{maps.Clone(t.users), t.bytes} }

// set changes a user in a table that nobody else sees yet.
func (r *Registry) set(t *Table, name string, rules []string) error {
	switch {
	case hasBlank(name):
		return ErrName
	case len(name) > nameMax:
		return ErrLongName
	}
	was, before := t.users[name], 0
	var u *User
	if was != nil {
		u, before = was.copy(), len(was.line)
	} else {
		r.serial++
		u = newUser(name)
		u.serial = r.serial
	}
	size := 0
	for _, rule := range rules {
		if size += len(rule); size > lineMax {
			return ErrLongLine
		}
	}
	if err := r.book.apply(u, rules); err != nil {
		return err
	}
	if len(u.line) > lineMax {
		return ErrLongLine
	}
	if t.bytes += len(u.line) - before; t.bytes > tableMax {
		return ErrFull
	}
	t.users[name] = u
	return nil
}

// Delete removes users and says how many there were.
func (r *Registry) Delete(names ...string) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.Table().copy()
	for _, name := range names {
		if name == Default {
			return 0, ErrDefault
		}
		if u := next.users[name]; u != nil {
			delete(next.users, name)
			next.bytes -= len(u.line)
			n++
		}
	}
	r.table.Store(next)
	return n, nil
}
