// Package quorum answers three questions about a set of voters, without allocating: up to where has
// a majority come, has an election been decided, and can a majority do without some of them. A
// joint configuration asks both of its halves.
//
// An empty half agrees with everything, so that a plain configuration is a joint one whose outgoing
// half is empty. Everything here is pure; any goroutine may call it.
package quorum

import (
	"math"
	"math/bits"
)

// Max is the largest number of members (voters of both halves and learners together) of a
// configuration. It bounds every array of the core.
const Max = 16

// Size is the number of votes that make a majority of n voters.
func Size(n int) int { return n/2 + 1 }

// Set is a subset of a member table, one bit per slot of it.
type Set uint16

// Has reports whether slot i is in the set.
func (s Set) Has(i int) bool { return s>>uint(i)&1 != 0 }

// With returns the set with slot i added.
func (s Set) With(i int) Set { return s | 1<<uint(i) }

// Len is the number of slots in the set.
func (s Set) Len() int { return bits.OnesCount16(uint16(s)) }

// Positions holds one number per slot of the member table: an index, or a round.
type Positions [Max]uint64

// Reached is the largest number that a majority of voters has reached: the ⌈n/2⌉th smallest of
// their positions, or the largest number there is for an empty set.
func (p *Positions) Reached(voters Set) uint64 {
	if voters == 0 {
		return math.MaxUint64
	}
	var sorted Positions
	n := 0
	for left := uint16(voters); left != 0; left &= left - 1 {
		v := p[bits.TrailingZeros16(left)]
		k := n
		for ; k > 0 && sorted[k-1] > v; k-- {
			sorted[k] = sorted[k-1]
		}
		sorted[k] = v
		n++
	}
	return sorted[n-Size(n)]
}

// Joint is the largest number that a majority of each half has reached.
func (p *Positions) Joint(voters, outgoing Set) uint64 {
	return min(p.Reached(voters), p.Reached(outgoing))
}

// Result is the state of an election.
type Result uint8

// The states of an election. A joint election is won when both halves are, lost when either is.
const (
	Pending Result = iota
	Won
	Lost
)

// String names the result.
func (r Result) String() string {
	switch r {
	case Won:
		return "won"
	case Lost:
		return "lost"
	}
	return "pending"
}

// Votes decides a majority vote of voters: who granted and who refused so far.
func Votes(voters, granted, refused Set) Result {
	n := voters.Len()
	need := Size(n)
	switch {
	case n == 0 || (voters&granted).Len() >= need:
		return Won
	case n-(voters&refused).Len() < need:
		return Lost
	}
	return Pending
}

// Meets reports whether a set of voters has one in common with every majority of them: more than
// half of an odd number, half of an even one.
func Meets(voters, set Set) bool {
	n := voters.Len()
	return (voters & set).Len() > n-Size(n)
}

// JointVotes decides an election in both halves.
func JointVotes(voters, outgoing, granted, refused Set) Result {
	a, b := Votes(voters, granted, refused), Votes(outgoing, granted, refused)
	switch {
	case a == Lost || b == Lost:
		return Lost
	case a == Won && b == Won:
		return Won
	}
	return Pending
}
