package quorum

import "testing"

// Every assignment of small values to up to seven members, against the
// definition: the largest value that a majority has reached.
func TestReachedAgainstTheDefinition(t *testing.T) {
	for n := range 8 {
		values := make([]uint64, n)
		var try func(i int)
		try = func(i int) {
			if i < n {
				for v := range uint64(3) {
					values[i] = v
					try(i + 1)
				}
				return
			}
			want := uint64(0)
			for v := range uint64(4) {
				holders := 0
				for _, x := range values {
					if x >= v {
						holders++
					}
				}
				if n > 0 && holders >= n/2+1 {
					want = v
				}
			}
			if got := Reached(values); got != want {
				t.Fatalf("%v: %d, want %d", values, got, want)
			}
		}
		try(0)
	}
}

func TestVote(t *testing.T) {
	for n := 1; n <= 7; n++ {
		for granted := 0; granted <= n; granted++ {
			for refused := 0; granted+refused <= n; refused++ {
				got := Vote(n, granted, refused)
				open := n - granted - refused
				switch {
				case granted*2 > n && got != Won, (granted+open)*2 <= n && got != Lost,
					granted*2 <= n && (granted+open)*2 > n && got != Pending:
					t.Fatalf("%d voters, %d for, %d against: %d", n, granted, refused, got)
				}
			}
		}
	}
	if Vote(0, 0, 0) != Lost || Reached(nil) != 0 {
		t.Fatal("no voters decide nothing")
	}
}
