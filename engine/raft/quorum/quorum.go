// Package quorum is majority arithmetic over fixed arrays: what a majority of
// members, or of both configurations of a joint one, has reached.
package quorum

// Max is the largest number of voters in one configuration.
const Max = 15

// Majority is the number of members that decides among n.
func Majority(n int) int { return n/2 + 1 }

// Reached returns the largest value that a majority of values has reached,
// or passed. No members, no quorum: 0. It does not allocate and leaves values
// as they are; more than Max values is a broken invariant.
func Reached(values []uint64) uint64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	var sorted [Max]uint64
	s := sorted[:copy(sorted[:], values)]
	if len(s) != n {
		panic("quorum: more members than a configuration may have")
	}
	for i := 1; i < n; i++ { // insertion sort, ascending: n is small
		for k := i; k > 0 && s[k-1] > s[k]; k-- {
			s[k-1], s[k] = s[k], s[k-1]
		}
	}
	return s[n-Majority(n)]
}

// Result of a vote.
type Result uint8

const (
	// Pending: it may still be won.
	Pending Result = iota
	// Lost: too many have refused.
	Lost
	// Won: a majority has granted.
	Won
)

// Vote counts granted and refused ballots among n voters.
func Vote(n, granted, refused int) Result {
	switch {
	case n == 0:
		return Lost
	case granted >= Majority(n):
		return Won
	case n-refused < Majority(n):
		return Lost
	}
	return Pending
}
