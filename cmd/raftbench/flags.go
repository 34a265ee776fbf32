package main

import (
	"fmt"
	"os"
)

// mistake is the first mistake in the flags of a command.
type mistake struct{ err error }

// note keeps what is wrong with a flag, unless something was wrong before.
func (m *mistake) note(flag string, err error) {
	if m.err == nil && err != nil {
		m.err = usagef("%s: %v", flag, err)
	}
}

// check has a configuration checked that was read without a mistake. Its
// errors name the flag.
func (m *mistake) check(c interface{ Check() error }) error {
	if m.err == nil {
		if err := c.Check(); err != nil {
			m.err = usagef("%v", err)
		}
	}
	return m.err
}

// progressLine returns a function that shows on a terminal what runs now, on
// one line that it renews; "" takes the line away.
func progressLine(hidden bool) func(string) {
	if hidden || !onTerminal(os.Stderr) {
		return func(string) {}
	}
	return func(text string) { _, _ = fmt.Fprintf(os.Stderr, "\r\x1b[K%s", text) }
}
