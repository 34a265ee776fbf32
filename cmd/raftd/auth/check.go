package auth

import "strings"

// Request is a command that somebody wants to have carried out.
type Request struct {
	Command int      // its number in the book
	Args    [][]byte // with the name in front
	Sub     bool     // it is a subcommand, whose arguments begin behind two names
	Always  bool     // everybody may: AUTH, HELLO, QUIT, RESET
	// Keys are at First, First+Step … Last, which is negative when it counts from the end; none
	// when First is 0.
	First, Last, Step int
	Access            Access // what it does with the keys
}

// Verdict says whether a user may.
type Verdict uint8

// Verdicts, in the order in which Redis finds what to say when several selectors forbid.
const (
	Allowed       Verdict = iota
	DeniedCommand         // the command is not allowed
	DeniedKey             // one of its keys is not
	TooMuch               // to compare its keys with the user's patterns would take too long
)

// workMax bounds what one command may compare: bytes of its keys times patterns of the user. It is
// about a tenth of a second; the caller's loop does nothing else meanwhile.
const workMax = 64 << 20

// keyWork is what a key counts beside its bytes.
const keyWork = 16

// Check says whether the user may have the request carried out, and at which argument stands the
// key that it may not touch.
func (u *User) Check(q *Request) (v Verdict, at int) {
	v = DeniedCommand
	for i := range u.selectors {
		one, key := u.selectors[i].check(q)
		if one == Allowed {
			return Allowed, 0
		}
		if one > v || one == v && key > at {
			v, at = one, key
		}
	}
	return v, at
}

func (s *selector) check(q *Request) (Verdict, int) {
	if !s.allCommands && !q.Always && !s.allows(q) {
		return DeniedCommand, 0
	}
	if s.allKeys || q.First == 0 {
		return Allowed, 0
	}
	last := q.Last
	if last < 0 {
		last += len(q.Args)
	}
	work := 0
	for i := q.First; i <= last && i < len(q.Args); i += q.Step {
		if work += (len(q.Args[i]) + keyWork) * len(s.keys); work > workMax {
			return TooMuch, i
		}
		if !s.fits(q.Args[i], q.Access) {
			return DeniedKey, i
		}
	}
	return Allowed, 0
}

// allows reports whether the command itself is allowed.
func (s *selector) allows(q *Request) bool {
	if id := q.Command; len(s.commands) > id/64 && s.commands[id/64]&(1<<(id%64)) != 0 {
		return true
	}
	if q.Sub || len(q.Args) < 2 {
		return false
	}
	for _, first := range s.firstArgs[q.Command] {
		if strings.EqualFold(first, string(q.Args[1])) {
			return true
		}
	}
	return false
}

// fits reports whether a pattern that allows the access matches the key.
func (s *selector) fits(key []byte, access Access) bool {
	for i := range s.keys {
		if k := &s.keys[i]; k.access&access == access && Match(k.pattern, key) {
			return true
		}
	}
	return false
}
