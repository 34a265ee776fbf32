package founding

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/raft"
)

// crowd is servers with empty directories that expect each other. Answers are lost and late,
// processes start again, and directories are emptied. Who has promised a list goes on as a
// founder of it.
type crowd struct {
	t       *testing.T
	rng     *rand.Rand
	expects int
	hosts   []*server
	frames  []message
	drawn   uint64
	founded map[string]bool
	kept    map[raft.Directory][]byte // every promise that was ever durable
	broken  string
}

type server struct {
	Candidate
	promised  []byte // on its disk
	founded   bool   // on its disk
	session   int
	gathering *Gathering
	founder   *Founder // since it has promised
}

// message is an answer to one that asks, or a statement to another founder.
type message struct {
	from, to  int
	who       Candidate
	sessions  [2]int
	view      View
	statement []byte // nil: it is an answer
}

func newCrowd(t *testing.T, hosts, expects int, rng *rand.Rand) *crowd {
	w := &crowd{t: t, rng: rng, expects: expects, founded: map[string]bool{},
		kept: map[raft.Directory][]byte{}}
	for i := range hosts {
		h := &server{Candidate: Candidate{Address: fmt.Sprint("host:", i+1)}}
		w.hosts = append(w.hosts, h)
		w.empty(h)
	}
	return w
}

func (w *crowd) empty(h *server) {
	w.drawn++
	h.Directory = raft.Directory{w.rng.Uint64(), w.drawn}
	h.promised, h.founded = nil, false
	w.start(h)
}

func (w *crowd) start(h *server) {
	h.session++
	h.gathering = NewGathering(h.Candidate, "a", w.expects, h.promised)
	if h.founder = nil; h.promised != nil {
		w.found(h)
	}
}

// found has one go on as a founder of the list that it has promised.
func (w *crowd) found(h *server) {
	c, err := config.Decode(h.promised)
	if err != nil {
		w.t.Fatal(err)
	}
	h.founder = New(Named(&c, h.Directory), h.Directory, c, h.promised, h.founded)
}

// ask has one ask another one, which answers; or tell it, if both are founders of one list.
func (w *crowd) ask(from, to int) {
	f, h := w.hosts[from], w.hosts[to]
	m := message{from: to, to: from, who: h.Candidate, sessions: [2]int{h.session, f.session}}
	switch {
	case f.founder == nil:
		m.view = h.gathering.View()
		if h.founded {
			return // it names its cluster, which is joined
		}
	case h.founder != nil && bytes.Equal(f.promised, h.promised):
		s := h.founder.Statement()
		m.statement = s.Encode()
	default:
		return
	}
	w.frames = append(w.frames, m)
}

// arrive delivers a message, those between two in order, or loses it.
func (w *crowd) arrive(lose bool) {
	if len(w.frames) == 0 {
		return
	}
	i := w.rng.IntN(len(w.frames))
	for k := range i {
		if f := &w.frames[k]; f.from == w.frames[i].from && f.to == w.frames[i].to {
			i = k
			break
		}
	}
	m := w.frames[i]
	w.frames = slices.Delete(w.frames, i, i+1)
	to, from := w.hosts[m.to], w.hosts[m.from]
	if m.sessions[1] != to.session {
		return
	}
	switch {
	case lose || m.sessions[0] != from.session:
		if to.founder == nil {
			to.gathering.Gone(m.who.Directory)
		}
	case m.statement == nil && to.founder == nil:
		to.gathering.Hear(m.who, m.view)
	case m.statement != nil && to.founder != nil:
		s, ok := Decode(m.statement)
		if !ok {
			w.t.Fatalf("%x", m.statement)
		}
		c, _ := config.Decode(to.promised)
		to.founder.Hear(Named(&c, m.who.Directory), m.who.Directory, s)
	}
}

// step takes the next step of one; its process may end in the midst.
func (w *crowd) step(h *server, crash bool) {
	if h.founder == nil {
		step, list := h.gathering.Next()
		if step == Wait {
			return
		}
		if old, ok := w.kept[h.Directory]; ok && !bytes.Equal(old, list) {
			w.broken = fmt.Sprintf("directory %v promises two lists", h.Directory)
		}
		h.promised, w.kept[h.Directory] = slices.Clone(list), slices.Clone(list)
		if crash {
			w.start(h)
			return
		}
		h.gathering.Promised(list)
		w.found(h)
		return
	}
	if step, list := h.founder.Next(); step == Found {
		h.founded = true
		w.judge(h, list)
		if crash {
			w.start(h)
			return
		}
		h.founder.SetFounded()
	} else if step == Promise {
		w.broken = "a promise was forgotten"
	}
}

// judge holds a founding against all before.
func (w *crowd) judge(h *server, list []byte) {
	c, err := config.Decode(list)
	if err != nil || len(c.Voters) != w.expects {
		w.broken = fmt.Sprintf("founded of %d, not %d: %v", len(c.Voters), w.expects, err)
	}
	for i, v := range c.Voters {
		if !bytes.Equal(w.kept[v.Directory], list) {
			w.broken = fmt.Sprintf("directory %v has not promised what is founded", v.Directory)
		}
		if v.ID != uint64(i+1) || i > 0 && compare(c.Voters[i-1].Directory, v.Directory) >= 0 {
			w.broken = "the ids are not those of the directories in order"
		}
	}
	for other := range w.founded {
		o, _ := config.Decode([]byte(other))
		for _, v := range o.Voters {
			if Named(&c, v.Directory) != 0 && other != string(list) {
				w.broken = fmt.Sprintf("directory %v is in two foundings", v.Directory)
			}
		}
	}
	w.founded[string(list)] = true
}

// rounds lets all ask all, without faults.
func (w *crowd) rounds() {
	for range 10 {
		for from := range w.hosts {
			for to := range w.hosts {
				if from != to {
					w.ask(from, to)
				}
			}
		}
		for len(w.frames) > 0 {
			w.arrive(false)
		}
		for _, h := range w.hosts {
			w.step(h, false)
		}
	}
}

func (w *crowd) count() (founded int) {
	for _, h := range w.hosts {
		if h.founded {
			founded++
		}
	}
	return founded
}

func TestFoundingByNumber(t *testing.T) {
	for n := 2; n <= config.VotersMax; n++ {
		w := newCrowd(t, n, n, rand.New(rand.NewPCG(1, uint64(n))))
		w.rounds()
		if w.count() != n || len(w.founded) != 1 || w.broken != "" {
			t.Errorf("%d servers: %d founded %d lists: %s: %s", n, w.count(), len(w.founded),
				w.broken, w.hosts[0].gathering.Why())
		}
	}
}

// Whatever is lost, late and started again, in whatever order: as long as fewer servers come
// than two clusters have, and no directory is emptied, at most one list is founded; with as
// many as are expected it always is. With emptied directories no directory is in two lists.
func TestFoundingByNumberWithFaults(t *testing.T) {
	all, none, emptied := 0, 0, 0
	for seed := range uint64(1200) {
		rng := rand.New(rand.NewPCG(9, seed))
		expects := 2 + rng.IntN(4)
		more := 0
		if rng.IntN(3) == 0 {
			more = 1 + rng.IntN(expects-1)
		}
		w := newCrowd(t, expects+more, expects, rng)
		empties := rng.IntN(4) == 0
		for range rng.IntN(300) {
			w.disturb(empties)
			if w.broken != "" || !empties && len(w.founded) > 1 {
				t.Fatalf("seed %d: %d lists: %s", seed, len(w.founded), w.broken)
			}
		}
		w.rounds()
		switch n := w.count(); {
		case w.broken != "" || !empties && len(w.founded) > 1:
			t.Fatalf("seed %d: %d lists: %s", seed, len(w.founded), w.broken)
		case empties:
			emptied++
		case n >= expects:
			all++
		case more == 0:
			t.Fatalf("seed %d: %d of %d founded: %s", seed, n, expects, w.hosts[0].gathering.Why())
		default:
			none++
		}
	}
	if all < 400 || none < 30 || emptied < 100 {
		t.Errorf("%d founded, %d not, %d emptied", all, none, emptied)
	}
}

func (w *crowd) disturb(empties bool) {
	n := len(w.hosts)
	h := w.hosts[w.rng.IntN(n)]
	switch w.rng.IntN(12) {
	case 0:
		w.start(h)
	case 1:
		if empties && w.rng.IntN(4) == 0 {
			w.empty(h)
		}
	case 2, 3, 4:
		w.step(h, w.rng.IntN(4) == 0)
	case 5, 6, 7:
		if from, to := w.rng.IntN(n), w.rng.IntN(n); from != to {
			w.ask(from, to)
		}
	default:
		w.arrive(w.rng.IntN(6) == 0)
	}
}

// hears has one hear others, as they are.
func (w *crowd) hears(i int, others ...int) {
	for _, k := range others {
		w.hosts[i].gathering.Hear(w.hosts[k].Candidate, w.hosts[k].gathering.View())
	}
}

// Who waits says for what; and nothing is promised by one that has only heard enough.
func TestWhyNothingIsPromised(t *testing.T) {
	w := newCrowd(t, 4, 3, rand.New(rand.NewPCG(1, 1)))
	g := w.hosts[0].gathering
	says := func(want string) {
		t.Helper()
		if step, _ := g.Next(); step != Wait || !strings.Contains(g.Why(), want) {
			t.Errorf("%v, %q, not %q", step, g.Why(), want)
		}
	}
	says("this one has heard nobody")
	w.hears(0, 1)
	says("waits for 1 more, and has heard host:2")
	w.hears(0, 2)
	says("until they have heard each other")
	w.hears(0, 3)
	says("4 servers with empty directories wait to found a cluster of 3")
	g.Gone(w.hosts[3].Directory)
	for _, x := range []struct {
		view View
		want string
	}{
		{View{Name: "b", Expects: 3}, `founds cluster "b", this one "a"`},
		{View{Name: "a", Expects: 5}, "waits for 5, this one for 3"},
		{View{Name: "a", Expects: 3, Promised: []byte{0xff}}, "founds a cluster with others"},
	} {
		g.Hear(w.hosts[2].Candidate, x.view)
		says(x.want)
	}
	moved := w.hosts[2].Candidate
	moved.Address = "host:2"
	g.Hear(moved, View{Name: "a", Expects: 3})
	says("two servers are reached at host:2")
}

// A list that another one has promised is promised only with this one's own directory, at
// its own address, and of as many as are expected.
func TestAListThatAnotherOnePromised(t *testing.T) {
	w := newCrowd(t, 3, 3, rand.New(rand.NewPCG(1, 1)))
	h, o := w.hosts[0], w.hosts[1]
	member := func(id uint64, c Candidate) config.Member {
		return config.Member{ID: id, Address: c.Address, Directory: c.Directory}
	}
	list := func(all ...config.Member) []byte { c := config.New(0, all); return c.Encode() }
	third, moved := w.hosts[2].Candidate, h.Candidate
	moved.Address = "elsewhere:1"
	other := member(1, moved)
	good := list(member(1, h.Candidate), member(2, o.Candidate), member(3, third))
	for what, x := range map[string]struct {
		list []byte
		name string
		want Step
	}{
		"it":            {good, "a", Promise},
		"its own name":  {good, "b", Wait},
		"fewer":         {list(member(1, h.Candidate), member(2, o.Candidate)), "a", Wait},
		"without it":    {list(member(2, o.Candidate), member(3, third)), "a", Wait},
		"another place": {list(other, member(2, o.Candidate), member(3, third)), "a", Wait},
	} {
		w.start(h)
		h.gathering.Hear(o.Candidate, View{Name: x.name, Expects: 3, Promised: x.list})
		step, b := h.gathering.Next()
		if step != x.want || step == Promise && !bytes.Equal(b, good) {
			t.Errorf("%s: %v", what, step)
		}
	}
	h.gathering.Promised(good)
	if step, _ := h.gathering.Next(); step != Wait || h.gathering.Why() != "" {
		t.Error("it promises again")
	}
}

// However many are heard, so many are kept, and it never hears itself.
func TestHowManyAreHeard(t *testing.T) {
	g := NewGathering(Candidate{Directory: raft.Directory{1, 1}}, "", 3, nil)
	for i := range uint64(100) {
		g.Hear(Candidate{Directory: raft.Directory{1, i}}, View{})
	}
	if n := len(g.Others()); n != config.MembersMax {
		t.Error(n)
	}
}
