// Package poison overwrites memory that was given back, in builds with the
// tag poison, so that whoever still reads it is found out. In other builds On
// is a false constant and nothing of it is compiled.
package poison

// Fill overwrites b. Callers ask On first.
func Fill(b []byte) {
	if len(b) == 0 {
		return
	}
	b[0] = 0xdb
	for n := 1; n < len(b); n *= 2 {
		copy(b[n:], b[:n])
	}
}
