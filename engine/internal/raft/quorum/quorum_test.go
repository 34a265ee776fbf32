package quorum

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// Reached, for every set of up to 7 voters among 8 slots and positions in 0…3, against the
// definition: the largest number that a majority is at or beyond.
func TestReachedExhaustive(t *testing.T) {
	for n := 1; n <= 7; n++ {
		voters := Set(1<<n-1) << uint(n%2) // not always from slot 0
		var p Positions
		for combo := range 1 << (2 * n) {
			for i := range n {
				p[i+n%2] = uint64(combo >> (2 * i) & 3)
			}
			want := uint64(0)
			for v := uint64(0); v <= 3; v++ {
				at := 0
				for i := range Max {
					if voters.Has(i) && p[i] >= v {
						at++
					}
				}
				if 2*at > n {
					want = v
				}
			}
			if got := p.Reached(voters); got != want {
				t.Fatalf("%d voters %v: %d, want %d", n, p, got, want)
			}
		}
	}
}

// Every pair of halves over 4 slots: the joint answer is the lower one, and both halves decide
// votes.
func TestJointExhaustive(t *testing.T) {
	p := Positions{5, 9, 2, 7}
	for a := Set(0); a < 16; a++ {
		for b := Set(0); b < 16; b++ {
			if got, want := p.Joint(a, b), min(p.Reached(a), p.Reached(b)); got != want {
				t.Fatalf("%b %b: %d, want %d", a, b, got, want)
			}
			for granted := Set(0); granted < 16; granted++ {
				for refused := Set(0); refused < 16; refused++ {
					if granted&refused == 0 {
						checkVotes(t, a, b, granted, refused)
					}
				}
			}
		}
	}
}

func checkVotes(t *testing.T, a, b, granted, refused Set) {
	t.Helper()
	half := func(s Set) Result {
		yes, no := (s & granted).Len(), (s & refused).Len()
		switch {
		case s == 0 || 2*yes > s.Len():
			return Won
		case 2*(s.Len()-no) <= s.Len():
			return Lost
		}
		return Pending
	}
	x, y, want := half(a), half(b), Pending
	if x == Lost || y == Lost {
		want = Lost
	} else if x == Won && y == Won {
		want = Won
	}
	if got := JointVotes(a, b, granted, refused); got != want {
		t.Fatalf("halves %b %b granted %b refused %b: %s, want %s",
			a, b, granted, refused, got, want)
	}
}

// Meets, for every set among up to 6 voters, against the definition: no majority is without one of
// it.
func TestMeetsExhaustive(t *testing.T) {
	for n := range 7 {
		voters := Set(1<<n - 1)
		for set := Set(0); set <= voters; set++ {
			want := true
			for m := Set(0); m <= voters; m++ {
				if m.Len() >= Size(n) && m&set == 0 {
					want = false
				}
			}
			if got := Meets(voters, set|1<<9); got != want { // 9 does not vote
				t.Fatalf("%b of %b: meets every majority %t, want %t", set, voters, got, want)
			}
		}
	}
}

func TestEmptyAgrees(t *testing.T) {
	var p Positions
	if p.Reached(0) != math.MaxUint64 || Votes(0, 0, 0) != Won {
		t.Error("an empty half must agree with everything")
	}
}

// picture draws where each voter stands and where the majority does.
func picture(p *Positions, voters Set) string {
	var b strings.Builder
	top := uint64(0)
	for i := range Max {
		top = max(top, p[i])
	}
	for i := range Max {
		if voters.Has(i) {
			fmt.Fprintf(&b, "%d %s> %d\n", i, strings.Repeat("=", int(p[i])), p[i])
		}
	}
	fmt.Fprintf(&b, "  %s^ %d\n", strings.Repeat(" ", int(p.Reached(voters))), p.Reached(voters))
	return b.String()
}

// Pictures for the eye; the arrow is the majority's place.
func TestPictures(t *testing.T) {
	for _, c := range []struct {
		p      Positions
		voters Set
		want   string
	}{
		{Positions{4, 7, 2}, 0b111, `
0 ====> 4
1 =======> 7
2 ==> 2
      ^ 4
`},
		{Positions{4, 7, 2, 6}, 0b1111, `
0 ====> 4
1 =======> 7
2 ==> 2
3 ======> 6
      ^ 4
`},
		{Positions{9, 1, 9, 0, 3}, 0b11010, `
1 => 1
3 > 0
4 ===> 3
   ^ 1
`},
	} {
		if got := "\n" + picture(&c.p, c.voters); got != c.want {
			t.Errorf("got%swant%s", got, c.want)
		}
	}
}

func BenchmarkJoint(b *testing.B) {
	p := Positions{4, 7, 2, 6, 9}
	b.ReportAllocs()
	for b.Loop() {
		_ = p.Joint(0b11111, 0b00111)
	}
}
