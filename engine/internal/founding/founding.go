// Package founding decides when a cluster is born, and of which data
// directories. It is a pure state machine: statements of the other founders in,
// steps out, and what it has promised is its driver's to keep.
//
//		hears all founders, given the same list     Promise: durable, then told
//		hears that all promised the same list       Found: entry 1
//		hears one that is founded, with this one's
//		own directory in its list                   Promise, then Found
//
//	 1. A directory promises one list in its life, and only one that names it.
//	 2. Whoever founds knows that every directory of the list has promised it.
//
// So two lists that have a directory in common are not both founded, and an empty
// directory in the place of one that took part is in no list that is.
//
// What a founder was given is compared before anything is promised: a mistake in
// it costs a restart and no directory.
package founding

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/wire"
)

// Statement is what a founder tells the others. Its directory is not in it: that
// is the one of the connection.
type Statement struct {
	Given    []byte // the founders it was given, as config.Config encodes them unbound
	Promised []byte // the list it has promised, the same with directories; nil: none
	Founded  bool   // its log has a configuration
	Known    []byte // which binds members, if it does, and is in force there
}

// Encode returns the frame that holds the statement: field 40 of wire.Frame.
func (s *Statement) Encode() []byte {
	b, err := proto.Marshal(&wire.Frame{Founding: &wire.Founding{Given: s.Given,
		Promised: s.Promised, Founded: s.Founded, Known: s.Known}})
	if err != nil {
		panic(fmt.Sprintf("founding: a statement does not encode: %v", err))
	}
	return b
}

// Decode reads a frame, copying what it keeps; false when it holds no statement.
func Decode(b []byte) (s Statement, ok bool) {
	if !wire.IsFounding(b) {
		return s, false
	}
	var f wire.Frame
	if err := proto.Unmarshal(b, &f); err != nil || f.Founding == nil {
		return s, false
	}
	return Statement{f.Founding.Given, f.Founding.Promised, f.Founding.Founded,
		f.Founding.Known}, true
}

// Founder is one founder's state.
type Founder struct {
	self      uint64
	directory raft.Directory
	given     config.Config
	list      []byte // given, encoded
	promised  []byte
	founded   bool
	known     []byte
	others    []other // in order of id
	newest    decoded
}

// decoded is the list that was decoded last: the same one is looked at again and again.
type decoded struct {
	list []byte
	conf config.Config
	err  error
}

// other is what was heard of another founder last.
type other struct {
	id        uint64
	directory raft.Directory // zero: nothing was heard
	said      Statement
	gone      bool // and may come back with another directory
	earlier   bool // of a release that founds nothing together with others
}

// New returns a founder over what its directory holds: the list that it has
// promised, nil for none, and whether its log has a configuration.
func New(self uint64, directory raft.Directory, given config.Config, promised []byte,
	founded bool) *Founder {
	f := &Founder{self: self, directory: directory, given: given.Bind(unbound), promised: promised,
		founded: founded}
	f.list = f.given.Encode()
	for _, v := range f.given.Voters {
		if v.ID != self {
			f.others = append(f.others, other{id: v.ID})
		}
	}
	return f
}

func unbound(uint64) raft.Directory { return raft.Directory{} }

// Statement is what this founder tells now.
func (f *Founder) Statement() Statement {
	return Statement{Given: f.list, Promised: f.promised, Founded: f.founded, Known: f.known}
}

// Founded reports whether the log has a configuration.
func (f *Founder) Founded() bool { return f.founded }

// SetFounded says that the log has a configuration, whoever wrote it.
func (f *Founder) SetFounded() { f.founded = true }

// SetKnown says what configuration is in force, with its directories. It is shown to
// members that have none, which learn from it that another directory is known as theirs.
func (f *Founder) SetKnown(list []byte) { f.known = list }

// Hear takes a statement of another founder, with the directory that its connection
// proved. Statements of one founder come in the order in which it made them.
func (f *Founder) Hear(id uint64, directory raft.Directory, s Statement) {
	if o := f.find(id); o != nil && directory != (raft.Directory{}) {
		o.directory, o.said, o.gone = directory, s, false
	}
}

// Gone says that a founder is not connected with the directory that was heard. What it
// has promised counts as before, but nothing new is promised with that directory.
func (f *Founder) Gone(id uint64) {
	if o := f.find(id); o != nil {
		o.gone = true
	}
}

// SetEarlier says whether a founder is of an earlier release, which takes no part.
func (f *Founder) SetEarlier(id uint64, earlier bool) {
	if o := f.find(id); o != nil {
		o.earlier = earlier
	}
}

// DirectoryOf is the directory of a founder that was heard last; zero: none was.
func (f *Founder) DirectoryOf(id uint64) raft.Directory { return f.directoryOf(id) }

func (f *Founder) find(id uint64) *other {
	for i := range f.others {
		if f.others[i].id == id {
			return &f.others[i]
		}
	}
	return nil
}

// Step is what is to be done next with the list.
type Step uint8

// The steps.
const (
	Wait    Step = iota
	Promise      // make it durable that this is the list, then call Promised
	Found        // append the list as entry 1, then call SetFounded
)

// Next is the next step and its list.
func (f *Founder) Next() (Step, []byte) {
	if f.founded {
		return Wait, nil
	}
	if len(f.others) == 0 {
		b := f.given.Bind(f.directoryOf)
		return Found, b.Encode()
	}
	list := f.shown()
	if list == nil && f.unanimous() {
		list = f.promised
	}
	switch {
	case list != nil && f.promised == nil:
		return Promise, list
	case list != nil:
		return Found, list
	case f.promised == nil && f.complete():
		b := f.given.Bind(f.directoryOf)
		return Promise, b.Encode()
	}
	return Wait, nil
}

// Promised says that the promise of Next's list is durable.
func (f *Founder) Promised(list []byte) { f.promised = slices.Clone(list) }

// directoryOf is a founder's directory, as far as it is known.
func (f *Founder) directoryOf(id uint64) raft.Directory {
	if id == f.self {
		return f.directory
	}
	if o := f.find(id); o != nil {
		return o.directory
	}
	return raft.Directory{}
}

// shown is a list that another founder shows to be founded, and that names this
// directory: the one that this founder has promised, unless it has lost its promise.
func (f *Founder) shown() []byte {
	for i := range f.others {
		s := &f.others[i].said
		if s.Founded && f.names(s.Promised, f.self, f.directory) &&
			(f.promised == nil || bytes.Equal(f.promised, s.Promised)) {
			return s.Promised
		}
	}
	return nil
}

// names reports whether a list binds a founder to a directory.
func (f *Founder) names(list []byte, id uint64, d raft.Directory) bool {
	c, err := f.decode(list)
	if err != nil {
		return false
	}
	m, ok := c.Find(id)
	return ok && m.Directory == d
}

// decode is config.Decode of a list. What it returns is valid until the next call.
func (f *Founder) decode(list []byte) (*config.Config, error) {
	if n := &f.newest; n.list == nil || !bytes.Equal(n.list, list) {
		n.list = slices.Clone(list)
		n.conf, n.err = config.Decode(list)
	}
	return &f.newest.conf, f.newest.err
}

// complete reports that all founders were heard, were given the same, have promised
// nothing that is not this, and have directories that differ.
func (f *Founder) complete() bool {
	b := f.given.Bind(f.directoryOf)
	list := b.Encode()
	for i := range f.others {
		o := &f.others[i]
		if o.directory == (raft.Directory{}) || o.gone || !bytes.Equal(o.said.Given, f.list) ||
			len(o.said.Promised) > 0 && !bytes.Equal(o.said.Promised, list) ||
			o.said.Founded || f.twice(o) {
			return false
		}
	}
	return true
}

// twice reports that a founder has the directory of another one: a copy.
func (f *Founder) twice(o *other) bool {
	return o.directory == f.directory || slices.ContainsFunc(f.others,
		func(p other) bool { return p.id != o.id && p.directory == o.directory })
}

// unanimous reports that every directory of the promised list has promised it.
func (f *Founder) unanimous() bool {
	if f.promised == nil || !f.names(f.promised, f.self, f.directory) {
		return false
	}
	c, err := f.decode(f.promised)
	if err != nil {
		return false
	}
	for _, v := range c.Voters {
		if v.ID == f.self {
			continue
		}
		o := f.find(v.ID)
		if o == nil || o.directory != v.Directory || !bytes.Equal(o.said.Promised, f.promised) {
			return false
		}
	}
	return len(c.Voters) == len(f.others)+1
}

// Refused reports that a founded cluster knows this member with another directory.
func (f *Founder) Refused() bool {
	return !f.founded && slices.ContainsFunc(f.others, func(o other) bool {
		list := o.said.Promised
		if len(o.said.Known) > 0 {
			list = o.said.Known
		}
		return o.said.Founded && len(list) > 0 && !f.names(list, f.self, f.directory)
	})
}

// Refusal is what a member says that is known with another directory.
func Refusal(id uint64) string {
	return fmt.Sprintf("member %d is known with another data directory; this one is empty: "+
		"bring the old one back, or replace the member", id)
}

// Why says in words, for the operator, why nothing is founded here yet; "" when it
// is.
func (f *Founder) Why() string {
	switch {
	case f.founded:
		return ""
	case f.Refused():
		return Refusal(f.self)
	}
	var silent []uint64
	for i := range f.others {
		o := &f.others[i]
		switch {
		case o.earlier:
			return fmt.Sprintf("member %d is of an earlier release, which takes no part in a "+
				"founding: start all members with one release", o.id)
		case o.directory == (raft.Directory{}) || o.gone:
			silent = append(silent, o.id)
		case !bytes.Equal(o.said.Given, f.list):
			return fmt.Sprintf("member %d was given other members than this one: "+
				"start all with the same list", o.id)
		case f.twice(o):
			return fmt.Sprintf("member %d has a copy of another member's data directory: "+
				"remove the copy", o.id)
		}
	}
	if len(silent) > 0 {
		return "the cluster is founded when all its members are up at once; " +
			"this one waits for " + members(silent)
	}
	if slices.ContainsFunc(f.others, func(o other) bool { return o.said.Founded }) {
		return "the cluster is founded already: this member waits for its leader"
	}
	return f.broken()
}

// broken says why a founding in which all have been heard does not come about: one of
// the directories that promised a list is gone.
func (f *Founder) broken() string {
	var hold, lost []uint64
	note := func(promised []byte, id uint64) {
		if len(promised) == 0 {
			return
		}
		hold = append(hold, id)
		c, err := f.decode(promised)
		for _, v := range c.Voters {
			if err == nil && v.Directory != f.directoryOf(v.ID) && !slices.Contains(lost, v.ID) {
				lost = append(lost, v.ID)
			}
		}
	}
	note(f.promised, f.self)
	for i := range f.others {
		note(f.others[i].said.Promised, f.others[i].id)
	}
	slices.Sort(hold)
	slices.Sort(lost)
	switch {
	case len(lost) == 0:
		return "the members agree on the list of the founders"
	case 2*len(lost) > len(f.others)+1: // they may have founded, and be the majority
		return fmt.Sprintf("%s lost the data directories that a founding was begun with: "+
			"bring those back, or, if they are lost for good with all that was in them, "+
			"remove the data directories of %s too", members(lost), members(hold))
	}
	return fmt.Sprintf("the founding cannot be completed, and nothing was founded: %s lost the "+
		"data directory that it was begun with: remove the data directories of %s, "+
		"which hold nothing, and start again", members(lost), members(hold))
}

// members is a list of members in words.
func members(ids []uint64) string {
	var b strings.Builder
	b.WriteString("member")
	if len(ids) > 1 {
		b.WriteString("s")
	}
	for i, id := range ids {
		switch {
		case i > 0 && i == len(ids)-1:
			b.WriteString(" and")
		case i > 0:
			b.WriteString(",")
		}
		fmt.Fprintf(&b, " %d", id)
	}
	return b.String()
}
