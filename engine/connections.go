package engine

import (
	"errors"
	"fmt"
	"iter"
)

// defaultConnections is how many connections an address of Serve has open at once.
const defaultConnections = 16384

// peerConnections is how many connections the port for members has open at once, of its own. Each
// other member has one, and a second for a moment when it connects again.
const peerConnections = 128

// connections bounds what an address of Serve accepts.
type connections struct {
	max, spare int
	refusal    string
}

// MaxConnections bounds the connections that each address given to Serve has open at once: 16384 by
// default and when n is 0. One more is sent refusal, closed, and counted by Engine.Refused. But
// spare of them are accepted beyond n: netio.Conn.Beyond tells the front end, which finds out who
// they are. The port for members has places of its own.
func (b *Builder) MaxConnections(n, spare int, refusal string) *Builder {
	b.connections = connections{max: n, spare: spare, refusal: refusal}
	return b
}

func (c *connections) check() error {
	if c.max < 0 || c.spare < 0 {
		return &ConfigError{"MaxConnections", fmt.Sprintf("%d and %d spare; must not be negative",
			c.max, c.spare)}
	}
	return nil
}

// StopServing closes the addresses given to Builder.Serve to whoever is not connected yet, as a
// part of ending gently: whoever is connected stays until Close. Any goroutine may call it. Errors
// are ErrClosed and those of the system.
func (e *Engine) StopServing() error {
	if e.lifecycle.stopping.Load() {
		return ErrClosed
	}
	var all []error
	for i := range e.listeners() {
		all = append(all, e.net.StopAccepting(i))
	}
	return errors.Join(all...)
}

// Refused is how many connections to addresses given to Builder.Serve and Builder.Secure were
// refused, because as many as allowed were open. Any goroutine may call it.
func (e *Engine) Refused() (n uint64) {
	for i := range e.listeners() {
		n += e.net.Refused(i)
	}
	return n
}

// listeners are the places of the services' listeners; that of the members is before them.
func (e *Engine) listeners() iter.Seq[int] {
	return func(yield func(int) bool) {
		at := 0
		for _, s := range e.b.services {
			if at++; !yield(at) {
				return
			}
			if s.secure == nil {
				continue
			}
			if at++; !yield(at) {
				return
			}
		}
	}
}
