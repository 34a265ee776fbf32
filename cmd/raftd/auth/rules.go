package auth

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// RuleError says which rule is wrong, and why, as Redis words it.
type RuleError struct {
	Rule string
	Why  error
}

func (e *RuleError) Error() string {
	return fmt.Sprintf("Error in ACL SETUSER modifier '%s': %v", e.Rule, e.Why)
}

func (e *RuleError) Unwrap() error { return e.Why }

// redisError is an error in Redis's words, which clients look for.
type redisError string

func (e redisError) Error() string { return string(e) }

// Why a rule is wrong.
const (
	errSyntax  redisError = "Syntax error"
	errUnknown redisError = "Unknown command or category name in ACL"
	errAllKeys redisError = "Adding a pattern after the * pattern (or the 'allkeys' flag) is not " +
		"valid and does not have any effect. Try 'resetkeys' to start with an empty list of " +
		"patterns"
	errAllChannels redisError = "Adding a pattern after the * pattern (or the 'allchannels' " +
		"flag) is not valid and does not have any effect. Try 'resetchannels' to start with an " +
		"empty list of channels"
	errNoPassword redisError = "The password you are trying to remove from the user does not " +
		"exist"
	errHash redisError = "The password hash must be exactly 64 characters and contain only " +
		"lowercase hexadecimal characters"
	errFirstArg redisError = "Allowing first-arg of a subcommand is not supported"
)

// Errors that Redis does not have: it knows no bounds.
var (
	errTooMany = fmt.Errorf("more than %d of a kind for one user", listMax)
	errPattern = fmt.Errorf("a pattern has at most %d bytes", patternMax)
)

// selectorError says that a parenthesis was not closed.
type selectorError struct{ at string }

func (e *selectorError) Error() string {
	return "Unmatched parenthesis in acl selector starting at '" + e.at + "'."
}

// apply carries out rules in order on a user that nobody else sees yet.
func (b *Book) apply(u *User, rules []string) error {
	rules, err := joinSelectors(rules)
	if err != nil {
		return err
	}
	for _, r := range rules {
		if err := b.applyOne(u, r); err != nil {
			return &RuleError{r, err}
		}
	}
	u.line = u.describe()
	return nil
}

// joinSelectors puts words from one that begins with a parenthesis to one that ends with one into
// one rule.
func joinSelectors(words []string) (rules []string, err error) {
	open := -1
	for i, w := range words {
		switch {
		case open < 0 && strings.HasPrefix(w, "(") && !strings.HasSuffix(w, ")"):
			open = i
		case open < 0:
			rules = append(rules, w)
		case strings.HasSuffix(w, ")"):
			rules = append(rules, strings.Join(words[open:i+1], " "))
			open = -1
		}
	}
	if open >= 0 {
		return nil, &selectorError{words[open]}
	}
	return rules, nil
}

// applyOne carries out one rule.
func (b *Book) applyOne(u *User, rule string) error {
	switch strings.ToLower(rule) {
	case "":
	case "on":
		u.on = true
	case "off":
		u.on = false
	case "nopass":
		u.noPass, u.passwords = true, nil
	case "resetpass":
		u.noPass, u.passwords = false, nil
	case "sanitize-payload":
		u.sanitize = sanitizeOn
	case "skip-sanitize-payload":
		u.sanitize = sanitizeSkip
	case "clearselectors":
		u.selectors = u.selectors[:1]
	case "reset":
		u.noPass, u.passwords, u.on, u.sanitize = false, nil, false, sanitizeOn
		u.selectors = make([]selector, 1)
	default:
		switch {
		case rule[0] == '>' || rule[0] == '#' || rule[0] == '<' || rule[0] == '!':
			return u.password(rule)
		case rule[0] == '(' && rule[len(rule)-1] == ')':
			return b.addSelector(u, rule)
		}
		return b.select1(&u.selectors[0], rule)
	}
	return nil
}

// password adds or removes one.
func (u *User) password(rule string) error {
	var sum [sha256.Size]byte
	if rule[0] == '>' || rule[0] == '<' {
		sum = sha256.Sum256([]byte(rule[1:]))
	} else if !readSum(&sum, rule[1:]) {
		return errHash
	}
	at := slices.Index(u.passwords, sum)
	if rule[0] == '<' || rule[0] == '!' {
		if at < 0 {
			return errNoPassword
		}
		u.passwords = slices.Delete(u.passwords, at, at+1)
		return nil
	}
	u.noPass = false
	if at < 0 {
		if len(u.passwords) == listMax {
			return errTooMany
		}
		u.passwords = append(u.passwords, sum)
	}
	return nil
}

func readSum(sum *[sha256.Size]byte, digits string) bool {
	if len(digits) != 2*len(sum) || strings.ToLower(digits) != digits {
		return false
	}
	_, err := hex.Decode(sum[:], []byte(digits))
	return err == nil
}

// addSelector reads the rules between parentheses.
func (b *Book) addSelector(u *User, rule string) error {
	if len(u.selectors) == listMax {
		return errTooMany
	}
	var s selector
	for word := range strings.SplitSeq(rule[1:len(rule)-1], " ") {
		switch {
		case word == "":
			continue
		case strings.HasSuffix(word, ")"): // in a line it would end the selector
			return errSyntax
		}
		if err := b.select1(&s, word); err != nil {
			return err
		}
	}
	u.selectors = append(u.selectors, s)
	return nil
}

// select1 carries out one rule about keys, channels and commands.
func (b *Book) select1(s *selector, rule string) error {
	switch strings.ToLower(rule) {
	case "allkeys", "~*":
		s.allKeys, s.keys = true, nil
		return nil
	case "resetkeys":
		s.allKeys, s.keys = false, nil
		return nil
	case "allchannels", "&*":
		s.allChannels, s.channels = true, nil
		return nil
	case "resetchannels":
		s.allChannels, s.channels = false, nil
		return nil
	case "allcommands", "+@all":
		b.setAll(s, true)
		return nil
	case "nocommands", "-@all":
		b.setAll(s, false)
		return nil
	}
	switch rule[0] {
	case '~', '%':
		return s.addKeys(rule)
	case '&':
		return s.addChannels(rule[1:])
	case '+', '-':
		return b.addCommands(s, strings.ToLower(rule))
	}
	return errSyntax
}

// hasBlank reports whether s cannot be part of a line of rules.
func hasBlank[S string | []byte](s S) bool {
	return bytes.ContainsAny([]byte(s), " \t\n\v\f\r\x00")
}

// addKeys adds a pattern: ~pattern, or %R~, %W~ and %RW~. As in Redis the last ~ may be missing.
func (s *selector) addKeys(rule string) error {
	if s.allKeys {
		return errAllKeys
	}
	access, pattern := Read|Write, rule[1:]
	if rule[0] == '%' {
		access = 0
		for ; pattern != ""; pattern = pattern[1:] {
			c := pattern[0] &^ 0x20
			if pattern[0] == '~' {
				pattern = pattern[1:]
				break
			} else if c == 'R' && access&Read == 0 {
				access |= Read
			} else if c == 'W' && access&Write == 0 {
				access |= Write
			} else {
				return errSyntax
			}
		}
	}
	switch {
	case access == 0 || hasBlank(pattern):
		return errSyntax
	case len(pattern) > patternMax:
		return errPattern
	}
	for i := range s.keys {
		if s.keys[i].pattern == pattern {
			s.keys[i].access |= access
			return nil
		}
	}
	if len(s.keys) == listMax {
		return errTooMany
	}
	s.keys = append(s.keys, keyPattern{pattern, access})
	return nil
}

func (s *selector) addChannels(pattern string) error {
	switch {
	case s.allChannels:
		return errAllChannels
	case hasBlank(pattern):
		return errSyntax
	case len(pattern) > patternMax:
		return errPattern
	case slices.Contains(s.channels, pattern):
		return nil
	case len(s.channels) == listMax:
		return errTooMany
	}
	s.channels = append(s.channels, pattern)
	return nil
}

// setAll allows or forbids all commands, and forgets the rules so far.
func (b *Book) setAll(s *selector, allow bool) {
	s.allCommands, s.base, s.firstArgs, s.rules = allow, allow, nil, nil
	s.commands = make([]uint64, (len(b.commands)+63)/64)
	for id := range b.commands {
		s.set(id, allow)
	}
	s.allCommands = allow
}

// set has a command be allowed or not, whatever its first argument is.
func (s *selector) set(id int, allow bool) {
	if delete(s.firstArgs, id); allow {
		s.commands[id/64] |= 1 << (id % 64)
	} else {
		s.commands[id/64] &^= 1 << (id % 64)
		s.allCommands = false
	}
}

// setWithSubs is set of a command and its subcommands.
func (b *Book) setWithSubs(s *selector, id int, allow bool) {
	s.set(id, allow)
	for _, sub := range b.subs[id] {
		s.set(sub, allow)
	}
}

func (b *Book) grow(s *selector) {
	if s.commands == nil {
		s.commands = make([]uint64, (len(b.commands)+63)/64)
	}
}

// addCommands carries out a rule of commands and notes it behind the others. Those that it makes
// meaningless go: about the same command or its subcommands, or the same category; and so does the
// rule itself, if the others say the same without it.
func (b *Book) addCommands(s *selector, rule string) error {
	if len(s.rules) == listMax {
		return errTooMany
	}
	if err := b.act(s, rule); err != nil {
		return err
	}
	s.rules = slices.DeleteFunc(s.rules, func(r string) bool {
		return r[1:] == rule[1:] || strings.HasPrefix(r[1:], rule[1:]+"|")
	})
	var other selector
	b.setAll(&other, s.base)
	for _, r := range s.rules {
		_ = b.act(&other, r) // it was right before
	}
	if !other.sameCommands(s) {
		s.rules = append(s.rules, rule)
	}
	return nil
}

// sameCommands reports whether two selectors allow the same commands.
func (s *selector) sameCommands(other *selector) bool {
	return slices.Equal(s.commands, other.commands) &&
		maps.EqualFunc(s.firstArgs, other.firstArgs, slices.Equal[[]string])
}

// act carries out a rule of commands, in lower case.
func (b *Book) act(s *selector, rule string) error {
	b.grow(s)
	switch name, allow := rule[1:], rule[0] == '+'; {
	case strings.HasPrefix(name, "@"):
		return b.category(s, name[1:], allow)
	case allow:
		return b.allow(s, name)
	default:
		return b.forbid(s, name)
	}
}

// category allows or forbids all commands of a category.
func (b *Book) category(s *selector, category string, allow bool) error {
	if !slices.Contains(Categories, category) {
		return errUnknown
	}
	for id := range b.commands {
		if b.commands[id].in(category) {
			s.set(id, allow)
		}
	}
	return nil
}

// allow carries out +name, +name|sub and +name|first-argument.
func (b *Book) allow(s *selector, name string) error {
	outer, sub, divided := strings.Cut(name, "|")
	id, ok := b.ids[outer]
	switch {
	case !ok:
		return errUnknown
	case !divided:
		b.setWithSubs(s, id, true)
	case sub == "" || hasBlank(sub):
		return errSyntax
	case len(b.subs[id]) == 0:
		s.allowFirst(id, sub)
	case strings.Contains(sub, "|"):
		return errFirstArg
	default:
		if id, ok = b.ids[name]; !ok {
			return errUnknown
		}
		s.set(id, true)
	}
	return nil
}

// forbid carries out -name and -name|sub.
func (b *Book) forbid(s *selector, name string) error {
	id, ok := b.ids[name]
	if !ok {
		return errUnknown
	}
	b.setWithSubs(s, id, false)
	return nil
}
