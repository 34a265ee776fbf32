//go:build !race

package kv

const allocationsPerKey = 1
