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

// world is a few founders whose links lose, repeat and delay; whose processes start
// again, between a promise and its being told too; and whose directories are emptied.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	given   config.Config
	hosts   []*host
	frames  []frame
	drawn   uint64
	founded map[string]bool           // every list that was ever founded
	kept    map[raft.Directory][]byte // every promise that was ever durable
	broken  string
}

type host struct {
	id        uint64
	given     config.Config
	directory raft.Directory
	promised  []byte // on its disk
	founded   []byte // entry 1 on its disk
	session   int    // of its process
	*Founder
}

type frame struct {
	from, to  int
	directory raft.Directory
	sessions  [2]int
	bytes     []byte
}

func newWorld(t *testing.T, n int, rng *rand.Rand) *world {
	w := &world{t: t, rng: rng, founded: map[string]bool{}, kept: map[raft.Directory][]byte{}}
	var voters []config.Member
	for i := range n {
		voters = append(voters, config.Member{ID: uint64(i + 1), Address: fmt.Sprint("host:", i)})
	}
	w.given = config.New(0, voters)
	for i := range n {
		h := &host{id: uint64(i + 1), given: w.given}
		w.hosts = append(w.hosts, h)
		w.empty(h)
	}
	return w
}

// empty gives a host a new directory.
func (w *world) empty(h *host) {
	w.drawn++
	h.directory, h.promised, h.founded = raft.Directory{h.id, w.drawn}, nil, nil
	w.start(h)
}

func (w *world) start(h *host) {
	h.session++
	h.Founder = New(h.id, h.directory, h.given, h.promised, h.founded != nil)
}

// tell sends a statement to a host.
func (w *world) tell(from, to int) {
	s := w.hosts[from].Statement()
	w.frames = append(w.frames, frame{from, to, w.hosts[from].directory,
		[2]int{w.hosts[from].session, w.hosts[to].session}, s.Encode()})
}

// arrive delivers the oldest frame between two hosts, or loses it. A connection ends
// with either process.
func (w *world) arrive(lose bool) {
	if len(w.frames) == 0 {
		return
	}
	i := w.rng.IntN(len(w.frames))
	for k := range i {
		if f := &w.frames[k]; f.from == w.frames[i].from && f.to == w.frames[i].to {
			i = k // in order
			break
		}
	}
	f := w.frames[i]
	w.frames = slices.Delete(w.frames, i, i+1)
	if lose || f.sessions != [2]int{w.hosts[f.from].session, w.hosts[f.to].session} {
		return
	}
	s, ok := Decode(f.bytes)
	if !ok {
		w.t.Fatalf("%x", f.bytes)
	}
	w.hosts[f.to].Hear(uint64(f.from+1), f.directory, s)
}

// step takes a host's next step; the process may end in its middle.
func (w *world) step(h *host, crash bool) {
	step, list := h.Next()
	switch step {
	case Promise:
		if old, ok := w.kept[h.directory]; ok && !bytes.Equal(old, list) {
			w.broken = fmt.Sprintf("directory %v promises two lists", h.directory)
		}
		h.promised, w.kept[h.directory] = slices.Clone(list), slices.Clone(list)
		if crash {
			w.start(h)
			return
		}
		h.Promised(list)
	case Found:
		h.founded = slices.Clone(list)
		w.founds(h, list)
		if crash {
			w.start(h)
			return
		}
		h.SetFounded()
	}
}

// founds judges a founding: everybody in the list has promised it, and no directory is
// in another list that was founded.
func (w *world) founds(h *host, list []byte) {
	c, err := config.Decode(list)
	if err != nil {
		w.t.Fatal(err)
	}
	if m, _ := c.Find(h.id); m.Directory != h.directory {
		w.broken = fmt.Sprintf("member %d founds a list without itself", h.id)
	}
	for _, v := range c.Voters {
		if len(c.Voters) > 1 && !bytes.Equal(w.kept[v.Directory], list) {
			w.broken = fmt.Sprintf("member %d founds what directory %v has not promised", h.id,
				v.Directory)
		}
	}
	for other := range w.founded {
		o, _ := config.Decode([]byte(other))
		for _, v := range o.Voters {
			if m, _ := c.Find(v.ID); m.Directory == v.Directory && other != string(list) {
				w.broken = fmt.Sprintf("directory %v is in two foundings", v.Directory)
			}
		}
	}
	w.founded[string(list)] = true
}

// rounds lets everybody tell everybody, without faults, until nothing changes.
func (w *world) rounds() {
	for range 8 {
		for from := range w.hosts {
			for to := range w.hosts {
				if from != to {
					w.tell(from, to)
				}
			}
		}
		for len(w.frames) > 0 {
			w.arrive(false)
		}
		for _, h := range w.hosts {
			for range 2 {
				w.step(h, false)
			}
		}
	}
}

func (w *world) all() bool {
	return !slices.ContainsFunc(w.hosts, func(h *host) bool { return !h.Founded() })
}

func TestFounding(t *testing.T) {
	for n := 1; n <= 7; n++ {
		w := newWorld(t, n, rand.New(rand.NewPCG(1, uint64(n))))
		w.rounds()
		if !w.all() || len(w.founded) != 1 || w.broken != "" {
			t.Errorf("%d members: %d foundings, %s", n, len(w.founded), w.broken)
		}
	}
}

// Losses, restarts, emptied directories: at most one list of what a directory is in is
// founded, and without emptied directories it always is.
func TestFoundingWithFaults(t *testing.T) {
	stuck, founded, again := 0, 0, 0
	for seed := range uint64(1500) {
		rng := rand.New(rand.NewPCG(7, seed))
		n := 2 + rng.IntN(4)
		w := newWorld(t, n, rng)
		empties := rng.IntN(4) == 0
		for range rng.IntN(200) {
			h := w.hosts[rng.IntN(n)]
			switch rng.IntN(12) {
			case 0:
				w.start(h)
			case 1:
				if empties && rng.IntN(4) == 0 {
					w.empty(h)
				}
			case 2, 3, 4:
				w.step(h, rng.IntN(4) == 0)
			case 5, 6:
				if from, to := rng.IntN(n), rng.IntN(n); from != to {
					w.tell(from, to)
				}
			default:
				w.arrive(rng.IntN(4) == 0)
			}
			if w.broken != "" {
				t.Fatalf("seed %d: %s", seed, w.broken)
			}
		}
		w.rounds()
		switch {
		case w.broken != "":
			t.Fatalf("seed %d: %s", seed, w.broken)
		case w.all():
			founded++
		case !empties:
			t.Fatalf("seed %d: not founded: %s", seed, w.hosts[0].Why())
		default:
			stuck++
			again += w.startOver(seed)
		}
	}
	if stuck < 8 || founded < 500 || again < 2 {
		t.Errorf("%d founded, %d stuck, of which %d founded when what is said was removed",
			founded, stuck, again)
	}
}

// startOver does what the members that cannot go on say: 1 when that helps.
func (w *world) startOver(seed uint64) int {
	for _, h := range w.hosts {
		why := h.Why()
		if !strings.Contains(why, "cannot be completed") {
			continue
		}
		if len(w.founded) > 0 && slices.ContainsFunc(w.hosts, func(h *host) bool {
			return h.founded != nil
		}) {
			w.t.Fatalf("seed %d: %q, and a member has founded", seed, why)
		}
		_, hold, _ := strings.Cut(why, "remove the data directories of ")
		for _, x := range w.hosts {
			if strings.Contains(hold, fmt.Sprint(x.id)) {
				w.empty(x)
			}
		}
		if w.rounds(); !w.all() {
			w.t.Fatalf("seed %d: not founded although what is said was removed: %s", seed, h.Why())
		}
		return 1
	}
	return 0
}

// What was heard of a directory whose process is gone is not promised: it may have been
// emptied meanwhile.
func TestGone(t *testing.T) {
	w := newWorld(t, 3, rand.New(rand.NewPCG(1, 1)))
	for from := 1; from < 3; from++ {
		w.tell(from, 0)
		w.arrive(false)
	}
	h := w.hosts[0]
	h.Gone(2)
	if step, _ := h.Next(); step != Wait || !strings.HasSuffix(h.Why(), "waits for member 2") {
		t.Fatal(step, h.Why())
	}
	w.empty(w.hosts[1])
	if w.rounds(); !w.all() {
		t.Error(h.Why())
	}
}

// Members with different lists promise nothing, and say so.
func TestOtherLists(t *testing.T) {
	w := newWorld(t, 3, rand.New(rand.NewPCG(1, 1)))
	w.hosts[2].given = config.New(w.given.Cluster, []config.Member{{ID: 1, Address: "x"},
		{ID: 2, Address: "y"}, {ID: 3, Address: "z"}})
	w.start(w.hosts[2])
	w.rounds()
	if len(w.kept) > 0 || !strings.Contains(w.hosts[0].Why(), "member 3 was given other members") {
		t.Error(len(w.kept), w.hosts[0].Why())
	}
	w.hosts[2].given = w.given
	w.start(w.hosts[2])
	if w.rounds(); !w.all() {
		t.Error(w.hosts[0].Why())
	}
}

// Whoever waits says for whom.
func TestWhy(t *testing.T) {
	w := newWorld(t, 3, rand.New(rand.NewPCG(1, 1)))
	if why := w.hosts[0].Why(); !strings.Contains(why, "waits for members 2 and 3") {
		t.Error(why)
	}
	w.tell(1, 0)
	w.arrive(false)
	if why := w.hosts[0].Why(); !strings.HasSuffix(why, "waits for member 3") {
		t.Error(why)
	}
	w.rounds()
	if why := w.hosts[0].Why(); why != "" {
		t.Error(why)
	}
	w.empty(w.hosts[0])
	w.rounds()
	if h := w.hosts[0]; !h.Refused() || h.Founded() || h.Why() != Refusal(1) {
		t.Error(h.Why())
	}
}

// A member that is founded tells one that is not, and has no copy of what all said.
func TestFoundedByAnother(t *testing.T) {
	w := newWorld(t, 3, rand.New(rand.NewPCG(1, 1)))
	w.rounds()
	h := w.hosts[1]
	h.founded = nil // its entry was torn
	w.start(h)
	w.tell(0, 1)
	w.arrive(false)
	w.step(h, false)
	if !h.Founded() || w.broken != "" {
		t.Error(h.Why(), w.broken)
	}
}

func FuzzDecode(f *testing.F) {
	s := Statement{Given: []byte("given"), Promised: []byte("promised"), Founded: true,
		Known: []byte("known")}
	f.Add(s.Encode())
	f.Add([]byte{0xc2, 2, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok := Decode(b)
		if !ok {
			return
		}
		if back, ok := Decode(s.Encode()); !ok || !bytes.Equal(back.Given, s.Given) ||
			!bytes.Equal(back.Promised, s.Promised) || back.Founded != s.Founded ||
			!bytes.Equal(back.Known, s.Known) {
			t.Fatalf("%+v became %+v", s, back)
		}
	})
}
