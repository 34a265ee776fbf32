package founding

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/raft"
)

// Founding by number: so many empty directories found a cluster that nobody has listed. Each
// asks the others that it hears of, over connections, whom they have heard. The list is made
// from the directories and their addresses, ids in order of directories; and then it ends in
// the same promise as a list that was given.
//
//	has heard so many with itself, and each says that it has heard the same  Promise
//	is told of a list that another one has promised, with its own directory  Promise
//
// Hearing is not agreeing: a directory promises one list in its life, and a cluster is
// founded of a list that all its directories have promised. So the rules of Founder hold,
// whatever was heard. Whoever has promised goes on as a Founder.

// Candidate is an empty directory that founds a cluster with others, and where it is reached.
type Candidate struct {
	Directory raft.Directory
	Address   string
}

// View is what a candidate tells of what it has heard.
type View struct {
	Name     string // of the cluster
	Expects  int    // directories, its own among them; 0: it founds nothing
	Heard    []Candidate
	Promised []byte // a list that it has promised; nil: none
}

// Gathering is the state of one candidate.
type Gathering struct {
	self     Candidate
	name     string
	expects  int
	promised []byte
	others   []met // in order of directory
}

// met is another candidate that has answered.
type met struct {
	Candidate
	view View
}

// NewGathering returns the state of a candidate that has heard nobody. promised is the
// list that its directory has promised; nil: none.
func NewGathering(self Candidate, name string, expects int, promised []byte) *Gathering {
	return &Gathering{self: self, name: name, expects: expects, promised: promised}
}

// View is what this candidate tells now.
func (g *Gathering) View() View {
	v := View{Name: g.name, Expects: g.expects, Promised: g.promised}
	for i := range g.others {
		v.Heard = append(v.Heard, g.others[i].Candidate)
	}
	return v
}

// Hear takes what another candidate answered that was asked where it is reached. Answers of
// one come in the order in which it gave them.
func (g *Gathering) Hear(from Candidate, v View) {
	if from.Directory == (raft.Directory{}) || from.Directory == g.self.Directory {
		return
	}
	by := func(m met, d raft.Directory) int { return compare(m.Directory, d) }
	i, found := slices.BinarySearchFunc(g.others, from.Directory, by)
	switch {
	case found:
		g.others[i] = met{from, v}
	case len(g.others) < config.MembersMax:
		g.others = slices.Insert(g.others, i, met{from, v})
	}
}

// Gone says that a candidate does not answer any more.
func (g *Gathering) Gone(d raft.Directory) {
	g.others = slices.DeleteFunc(g.others, func(m met) bool { return m.Directory == d })
}

// Others are the candidates that answer.
func (g *Gathering) Others() []Candidate { return g.View().Heard }

func compare(a, b raft.Directory) int {
	return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]))
}

// Next is Promise and the list to be promised, or Wait.
func (g *Gathering) Next() (Step, []byte) {
	if g.promised != nil {
		return Wait, nil
	}
	for i := range g.others {
		if v := &g.others[i].view; v.Name == g.name && g.takes(v.Promised) {
			return Promise, v.Promised
		}
	}
	if list := g.list(); g.complete(list) {
		return Promise, list
	}
	return Wait, nil
}

// Promised says that the promise of Next's list is durable.
func (g *Gathering) Promised(list []byte) { g.promised = slices.Clone(list) }

// takes reports that a list which another one has promised may be promised here.
func (g *Gathering) takes(list []byte) bool {
	if len(list) == 0 {
		return false
	}
	c, err := config.Decode(list)
	return err == nil && len(c.Voters) == g.expects && len(c.Members()) == g.expects &&
		g.listed(&c) == g.self.Address
}

// listed is where a list has this one; "": it has not.
func (g *Gathering) listed(c *config.Config) string {
	m, _ := c.Find(Named(c, g.self.Directory))
	return m.Address
}

// Named is the id of a directory in a configuration; 0: it is in none.
func Named(c *config.Config, d raft.Directory) uint64 {
	for _, m := range c.Members() {
		if m.Directory == d {
			return m.ID
		}
	}
	return 0
}

// list is the one that would be promised: of all that are heard.
func (g *Gathering) list() []byte {
	all := append(g.Others(), g.self)
	slices.SortFunc(all, func(a, b Candidate) int { return compare(a.Directory, b.Directory) })
	var voters []config.Member
	for i, c := range all {
		voters = append(voters, config.Member{ID: uint64(i + 1), Address: c.Address,
			Directory: c.Directory})
	}
	c := config.New(0, voters)
	return c.Encode()
}

// complete reports that there are as many as are expected, at addresses of their own, and
// that each says that it has heard the same and expects as many, and has promised nothing.
func (g *Gathering) complete(list []byte) bool {
	if len(g.others)+1 != g.expects {
		return false
	}
	for i := range g.others {
		o := &g.others[i]
		theirs := Gathering{self: o.Candidate}
		for _, c := range o.view.Heard {
			theirs.Hear(c, View{})
		}
		if o.view.Name != g.name || o.view.Expects != g.expects ||
			len(o.view.Promised) > 0 || !bytes.Equal(theirs.list(), list) || g.twice(i) {
			return false
		}
	}
	return true
}

// twice reports that another one is reached where a second one is, too.
func (g *Gathering) twice(i int) bool {
	at := g.others[i].Address
	return at == g.self.Address || slices.ContainsFunc(g.others[i+1:], func(m met) bool {
		return m.Address == at
	})
}

// Why says in words, for the operator, what is waited for; "" when a list is promised.
func (g *Gathering) Why() string {
	if g.promised != nil {
		return ""
	}
	for i := range g.others {
		o := &g.others[i]
		switch v := &o.view; {
		case v.Name != g.name:
			return fmt.Sprintf("the server at %s founds cluster %q, this one %q: start all with "+
				"the same --cluster", o.Address, v.Name, g.name)
		case v.Expects != g.expects:
			return fmt.Sprintf("the server at %s waits for %d, this one for %d: start all with "+
				"the same --bootstrap-expect", o.Address, v.Expects, g.expects)
		case len(v.Promised) > 0:
			if c, err := config.Decode(v.Promised); err == nil && g.listed(&c) != "" {
				return fmt.Sprintf("the others have promised to found the cluster with this one "+
					"at %s: start it with that --peer", g.listed(&c))
			}
			return fmt.Sprintf("the server at %s founds a cluster with others: this one waits for "+
				"it to be founded, and joins it", o.Address)
		case g.twice(i):
			return fmt.Sprintf("two servers are reached at %s: give each a --peer of its own",
				o.Address)
		}
	}
	n := len(g.others) + 1
	var at []string
	for i := range g.others {
		at = append(at, g.others[i].Address)
	}
	switch heard := strings.Join(at, ", "); {
	case n > g.expects:
		return fmt.Sprintf("%d servers with empty directories wait to found a cluster of %d: stop "+
			"those that are too many, of this one and %s", n, g.expects, heard)
	case n < g.expects && n > 1:
		return fmt.Sprintf("the cluster is founded when %d servers have heard each other: this "+
			"one waits for %d more, and has heard %s", g.expects, g.expects-n, heard)
	case n < g.expects:
		return fmt.Sprintf("the cluster is founded when %d servers have heard each other: this "+
			"one has heard nobody", g.expects)
	}
	return "all servers have been heard: this one waits until they have heard each other"
}
