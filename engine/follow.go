package engine

import (
	"fmt"
	"strings"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/member"
)

// follow takes over the configuration in force when it is another one; polling goroutine,
// once per tick and when the role changes.
func (e *Engine) follow() {
	conf := e.member.Core().Config()
	c := config.Of(&conf)
	if c == nil {
		return
	}
	for _, p := range e.peers.All() { // one may have connected since it was named
		if _, named := c.Find(p.ID()); named && p.Provisional() {
			e.peers.Confirm(p.ID())
		}
	}
	if c != e.followed.Load() {
		e.followed.Store(c)
		e.log.Info("members", "index", conf.Index, "members", inWords(c))
	}
}

// inWords lists the members of a configuration for the log.
func inWords(c *config.Config) string {
	var all []string
	for _, m := range c.Members() {
		s := fmt.Sprintf("%d=%s", m.ID, m.Address)
		if k := kindOf(c, m.ID); k != Voter {
			s += " (" + k.String() + ")"
		}
		if m.Witness {
			s += " (witness)"
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}

// listed is who is to be shown as members: of the configuration in force, and before the
// cluster is founded those that this member was given.
func (e *Engine) listed() *config.Config {
	if c := e.followed.Load(); c != nil {
		return c
	}
	if e.joins {
		return &config.Config{Cluster: e.membership.Cluster}
	}
	return &e.membership
}

// configuration is the one in force, for who asks which cluster this is; nil: there is
// none. Any goroutine.
func (e *Engine) configuration() []byte {
	if c := e.followed.Load(); c != nil {
		return c.Encode()
	}
	return nil
}

// ownAddress is where the other members reach this one: where the configuration has it, or
// the list that it was started with; but where it listens, if whoever dials that does not
// come out there. Any goroutine.
func (e *Engine) ownAddress() string {
	address := e.home
	if c := e.followed.Load(); c != nil {
		if m, ok := c.Find(e.b.id); ok {
			address = m.Address
		}
	}
	if checkDialable(e.b.listen) == nil && elsewhere(e.b.listen, address) {
		return e.b.listen
	}
	return address
}

// introduce tells the member of who has connected; in the connection's loop.
func (e *Engine) introduce(id uint64, address string) {
	e.member.Introduce(id, address)
	e.run.wake()
}

// newLink makes the link to one of the other members.
func (e *Engine) newLink(id uint64, address string) member.Link {
	return e.peers.Add(id, address)
}
