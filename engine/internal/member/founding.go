package member

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"github.com/ringraft/ringraft/engine/internal/founding"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/replica"
)

// Founding is what a member needs until its log has a configuration. Founder nil: it
// has one, or its cluster is none that can be founded.
type Founding struct {
	Founder  *founding.Founder
	Founders []uint64 // who they are
	// Promise makes the list durable that this directory has promised. An error is the
	// end of the member.
	Promise func(list []byte) error
	// OnFounded is told the list when this member founds, or as a leader binds the members
	// of a cluster that an earlier release founded. It is not durable yet.
	OnFounded func(list []byte)
	// Bind is the configuration in force with the directories that of says; nil: members
	// are not bound later.
	Bind func(of func(id uint64) raft.Directory) []byte
}

// repeatEvery is how many heartbeats a founder waits before it tells again what it told:
// frames are lost.
const repeatEvery = 4

// Why nothing is founded is said when it has been so for a while, and now and then.
const (
	patience   = 3 * time.Second
	linesApart = time.Minute
)

// birth is how far a founding has come.
type birth struct {
	due    bool // a tick has passed, or something was heard
	told   []telling
	why    string // what was logged last
	saidAt int64  // when; 0: never
	shown  uint64 // index of the configuration that is shown
	since  int64  // when the member was first polled
}

// telling is what another founder was told.
type telling struct {
	member     uint64
	connection uint64
	statement  []byte
	at         int64
	asks       bool // it is not founded, and was not answered
}

// hearFounder takes a frame of another founder; within Poll.
func (m *Member) hearFounder(id uint64, d raft.Directory, frame []byte) {
	s, ok := founding.Decode(frame)
	if !ok || m.cfg.Founder == nil {
		return
	}
	m.cfg.Founder.Hear(id, d, s)
	m.birth.due = true
	if t := m.telling(id); !s.Founded {
		t.asks = true
	}
}

func (m *Member) telling(id uint64) *telling {
	b := &m.birth
	for i := range b.told {
		if b.told[i].member == id {
			return &b.told[i]
		}
	}
	b.told = append(b.told, telling{member: id})
	return &b.told[len(b.told)-1]
}

// found takes the steps of a founding that are due, and tells the others.
func (m *Member) found(now int64) error {
	b, f := &m.birth, m.cfg.Founder
	if f == nil || !b.due { // after every poll
		return nil
	}
	b.due = false
	if f.Founded() {
		m.bindAll()
		m.show()
	}
	if b.since == 0 {
		b.since = now
	}
	if !f.Founded() && len(m.core.Config().Voters) > 0 {
		f.SetFounded() // a leader was faster
		m.cfg.OnEvent(Event{Kind: Founded})
	}
	if !f.Founded() {
		m.miss()
	}
	for {
		step, list := f.Next()
		if step == founding.Wait {
			break
		}
		if err := m.step(step, list); errors.Is(err, replica.ErrBusy) {
			break // at the next tick
		} else if err != nil {
			return err
		}
	}
	m.tellFounders(now)
	m.complain(now)
	return nil
}

// miss tells the founder who is not connected with the directory that was heard, and who
// takes no part.
func (m *Member) miss() {
	f := m.cfg.Founder
	for i := range m.links {
		l := &m.links[i]
		connection, _ := l.link.State()
		if connection == 0 || l.link.Session().Directory != f.DirectoryOf(l.id) {
			f.Gone(l.id)
		}
		f.SetEarlier(l.id, connection != 0 && !l.link.Limits().Foundings)
	}
}

func (m *Member) step(step founding.Step, list []byte) error {
	f := m.cfg.Founder
	if step == founding.Promise {
		if err := m.cfg.Promise(list); err != nil {
			return err
		}
		f.Promised(list)
		return nil
	}
	if err := m.replica.Bootstrap(list); err != nil {
		return err
	}
	f.SetFounded()
	m.cfg.OnFounded(list)
	m.cfg.OnEvent(Event{Kind: Founded})
	return nil
}

// tellFounders sends the statement to all who have not heard it, and again and again
// to those who may not have, until this member is founded. Then it answers who asks. An
// earlier release is told nothing.
func (m *Member) tellFounders(now int64) {
	f := m.cfg.Founder
	if f.Founded() && !slices.ContainsFunc(m.birth.told, func(t telling) bool { return t.asks }) {
		return
	}
	s := f.Statement()
	statement := s.Encode()
	for i := range m.links {
		l := &m.links[i]
		t := m.telling(l.id)
		connection, _ := l.link.State()
		again := now-t.at >= int64(repeatEvery*m.cfg.Times.Heartbeat)
		heard := t.connection == connection && bytes.Equal(t.statement, statement)
		if connection == 0 || f.Founded() && !t.asks || !f.Founded() && heard && !again ||
			!l.link.Limits().Foundings {
			continue
		}
		l.link.Send(statement, nil)
		l.link.Flush()
		t.connection, t.statement, t.at, t.asks = connection, statement, now, false
	}
}

// complain says for the operator why nothing is founded, or why this member takes no
// part.
func (m *Member) complain(now int64) {
	b, e := &m.birth, Event{Kind: Unfounded}
	why := m.cfg.Founder.Why()
	if m.Refused() {
		e.Kind, why = NotThis, founding.Refusal(m.cfg.ID)
	}
	apart, since := int64(linesApart), b.saidAt
	if why != b.why {
		apart, since = int64(patience), max(b.saidAt, b.since)
	}
	if why == "" || now-since < apart {
		return
	}
	b.why, b.saidAt, e.Err = why, now, errors.New(why)
	m.cfg.OnEvent(e)
}

// Refused reports that another data directory is known as this member, which therefore
// neither votes nor serves. Poll's goroutine only.
func (m *Member) Refused() bool {
	f := m.cfg.Founder
	return m.core.Refused() || f != nil && f.Refused()
}

// Unfounded says in words why nothing is founded here yet, "" when it is. Poll's
// goroutine only.
func (m *Member) Unfounded() string {
	if f := m.cfg.Founder; f != nil {
		return f.Why()
	}
	return ""
}

// show notes the configuration in force for members that have none.
func (m *Member) show() {
	c := m.core.Config()
	if m.cfg.Bind != nil && len(c.Bound) > 0 && c.Index != m.birth.shown {
		m.birth.shown = c.Index
		m.cfg.Founder.SetKnown(m.cfg.Bind(c.DirectoryOf))
	}
}

// bindAll has a leader bind the voters of a cluster that an earlier release founded, all
// by one entry, once it is connected with all and each has said what its directory is.
func (m *Member) bindAll() {
	c := m.core.Config()
	if m.cfg.Bind == nil || m.core.Role() != raft.Leader || len(c.Bound) > 0 ||
		len(c.Outgoing) > 0 || len(c.Learners) > 0 {
		return
	}
	for _, id := range c.Voters {
		if (m.directoryOf(id) == raft.Directory{}) {
			return
		}
	}
	data := m.cfg.Bind(m.directoryOf)
	if m.replica.Change(data) == nil { // or later: an entry of this term is not committed yet
		m.cfg.OnFounded(data)
		m.cfg.OnEvent(Event{Kind: Binding})
	}
}

// directoryOf is the directory that speaks for a voter at this moment; zero: it is not
// known, or not connected.
func (m *Member) directoryOf(id uint64) raft.Directory {
	if id == m.cfg.ID {
		return m.directory
	}
	if !m.connected(id) {
		return raft.Directory{}
	}
	return m.Link(id).Session().Directory
}
