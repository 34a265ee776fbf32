package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"slices"
	"strings"
)

// Default is the name of the user that every connection begins as.
const Default = "default"

// Bounds of what rules may add up to; Redis has none.
const (
	// listMax bounds the passwords, patterns, rules and selectors of a user, each.
	listMax = 256
	// lineMax bounds the line that describes a user, and what one rule may have, in bytes.
	lineMax = 64 << 10
	// patternMax bounds a pattern in bytes.
	patternMax = 1 << 10
	// nameMax bounds the name of a user in bytes.
	nameMax = 256
)

// User is a user: it never changes. Any goroutine may read it.
type User struct {
	name      string
	serial    uint64 // of the user of that name: one that was deleted and made again is another
	on        bool
	noPass    bool
	sanitize  sanitize
	passwords [][sha256.Size]byte
	selectors []selector // the first holds the rules outside of parentheses

	line string // that makes such a user, as ACL LIST shows it
}

// sanitize says what RESTORE would do with payloads; it is kept and told, since rules of Redis name
// it.
type sanitize uint8

const (
	sanitizeUnset sanitize = iota
	sanitizeOn
	sanitizeSkip
)

// selector is a set of rules of which all have to allow a command.
type selector struct {
	allKeys     bool
	allChannels bool
	allCommands bool
	base        bool             // the rules of commands begin with +@all
	commands    []uint64         // bits by the command's number
	firstArgs   map[int][]string // allowed first arguments of commands whose bit is not set
	rules       []string         // of commands, in order, behind +@all or -@all
	keys        []keyPattern     // in order
	channels    []string         // in order
}

// Access is what a command does with a key, or a pattern allows.
type Access uint8

// A command whose Access is 0 looks at whether a key is there, and what it is.
const (
	Read Access = 1 << iota
	Write
)

type keyPattern struct {
	pattern string
	access  Access
}

// text is the pattern as in a rule.
func (k *keyPattern) text() string {
	switch k.access {
	case Read:
		return "%R~" + k.pattern
	case Write:
		return "%W~" + k.pattern
	}
	return "~" + k.pattern
}

// newUser is what Redis makes of a new name: off, no password, nothing allowed.
func newUser(name string) *User { return &User{name: name, selectors: make([]selector, 1)} }

// newDefault is the user named default as it is without any rule: it may do everything.
func newDefault() *User {
	u := newUser(Default)
	u.on, u.noPass = true, true
	u.selectors[0] = selector{allKeys: true, allChannels: true, allCommands: true,
		base: true}
	u.line = u.describe()
	return u
}

// Name is the user's name.
func (u *User) Name() string { return u.name }

// Same reports whether u and other are one user, before and after a change.
func (u *User) Same(other *User) bool {
	return other != nil && u.name == other.name && u.serial == other.serial
}

// Open reports whether whoever comes may be this user: it is on and needs no password.
func (u *User) Open() bool { return u.on && u.noPass }

// Free reports whether the user may do everything, so that there is nothing to check.
func (u *User) Free() bool { return u.selectors[0].allCommands && u.selectors[0].allKeys }

// NoPass reports whether any password fits.
func (u *User) NoPass() bool { return u.noPass }

// Line is what makes such a user in a file: user NAME and its rules.
func (u *User) Line() string { return u.line }

// accepts reports whether the user is on and has the password. It takes as long for a wrong one
// as for a right one.
func (u *User) accepts(password []byte) bool {
	sum, fits := sha256.Sum256(password), 0
	for i := range u.passwords {
		fits |= subtle.ConstantTimeCompare(u.passwords[i][:], sum[:])
	}
	return u.on && (u.noPass || fits == 1)
}

// copy is a user that may be changed before anybody else sees it.
func (u *User) copy() *User {
	c := *u
	c.passwords = slices.Clone(u.passwords)
	c.selectors = make([]selector, len(u.selectors))
	for i := range u.selectors {
		c.selectors[i] = u.selectors[i].copy()
	}
	return &c
}

func (s *selector) copy() selector {
	c := *s
	c.commands, c.rules = slices.Clone(s.commands), slices.Clone(s.rules)
	c.keys, c.channels = slices.Clone(s.keys), slices.Clone(s.channels)
	c.firstArgs = nil
	for id, args := range s.firstArgs {
		c.allowFirst(id, args...)
	}
	return c
}

func (s *selector) allowFirst(id int, args ...string) {
	if s.firstArgs == nil {
		s.firstArgs = make(map[int][]string)
	}
	for _, a := range args {
		if !slices.Contains(s.firstArgs[id], a) {
			s.firstArgs[id] = append(s.firstArgs[id], a)
		}
	}
}

// Flags are on or off, and the like.
func (u *User) Flags() []string {
	list := []string{"off"}
	if u.on {
		list[0] = "on"
	}
	if u.noPass {
		list = append(list, "nopass")
	}
	switch u.sanitize {
	case sanitizeSkip:
		list = append(list, "skip-sanitize-payload")
	case sanitizeOn:
		list = append(list, "sanitize-payload")
	}
	return list
}

// Passwords are the SHA-256 sums of the passwords, in hexadecimal digits.
func (u *User) Passwords() (list []string) {
	for _, p := range u.passwords {
		list = append(list, hex.EncodeToString(p[:]))
	}
	return list
}

// Permissions are the rules of one selector as ACL GETUSER shows them.
type Permissions struct{ Commands, Keys, Channels string }

// Permissions are those of each selector; the first is the user's own.
func (u *User) Permissions() (list []Permissions) {
	for i := range u.selectors {
		s := &u.selectors[i]
		list = append(list, Permissions{s.commandText(), s.keyText(), s.channelText()})
	}
	return list
}

func (s *selector) commandText() string {
	first := "-@all"
	if s.base {
		first = "+@all"
	}
	return strings.Join(append([]string{first}, s.rules...), " ")
}

func (s *selector) keyText() string {
	if s.allKeys {
		return "~*"
	}
	var list []string
	for i := range s.keys {
		list = append(list, s.keys[i].text())
	}
	return strings.Join(list, " ")
}

func (s *selector) channelText() string {
	if s.allChannels {
		return "&*"
	}
	var list []string
	for _, c := range s.channels {
		list = append(list, "&"+c)
	}
	return strings.Join(list, " ")
}

// describe makes the user's line.
func (u *User) describe() string {
	words := append([]string{"user", u.name}, u.Flags()...)
	for _, p := range u.Passwords() {
		words = append(words, "#"+p)
	}
	for i := range u.selectors {
		text := u.selectors[i].describe()
		if i > 0 {
			text = "(" + text + ")"
		}
		words = append(words, text)
	}
	return strings.Join(words, " ")
}

func (s *selector) describe() string {
	var words []string
	if k := s.keyText(); k != "" {
		words = append(words, k)
	}
	if !s.allChannels {
		words = append(words, "resetchannels")
	}
	if c := s.channelText(); c != "" {
		words = append(words, c)
	}
	return strings.Join(append(words, s.commandText()), " ")
}
