//go:build race

package kv

// allocationsPerKey: the race detector keeps the compiler from growing a slice in place.
const allocationsPerKey = 2
