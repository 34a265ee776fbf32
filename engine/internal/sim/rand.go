package sim

import "math"

// random is splitmix64: small, fast, the same everywhere. Each part of the
// world draws from one of its own, so that a fault taken out of a schedule
// disturbs the others as little as possible.
type random struct{ s uint64 }

func (r *random) next() uint64 {
	r.s += 0x9e3779b97f4a7c15
	z := r.s
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// fork makes an independent stream.
func (r *random) fork(id uint64) random { return random{mix(r.s, id)} }

func mix(a, b uint64) uint64 {
	z := a ^ b*0x9e3779b97f4a7c15
	z = (z ^ z>>32) * 0xd6e8feb86659fd93
	z = (z ^ z>>32) * 0xd6e8feb86659fd93
	return z ^ z>>32
}

// n is in [0, n).
func (r *random) n(n int) int {
	if n <= 1 {
		return 0
	}
	return int(r.next() % uint64(n))
}

// between is in [lo, hi].
func (r *random) between(lo, hi int64) int64 {
	if hi <= lo {
		return lo
	}
	return lo + int64(r.next()%uint64(hi-lo+1))
}

func (r *random) float() float64 { return float64(r.next()>>11) / (1 << 53) }

func (r *random) chance(p float64) bool { return p > 0 && r.float() < p }

// tail is exponential around mean, with one draw in a hundred ten to sixty
// times as long: the heavy tail of real networks and disks.
func (r *random) tail(mean int64) int64 {
	d := int64(-math.Log(1-r.float()) * float64(mean))
	if r.n(100) == 0 {
		d += mean * r.between(10, 60)
	}
	return d
}

// pick draws one of the given values.
func pick[T any](r *random, v ...T) T { return v[r.n(len(v))] }
