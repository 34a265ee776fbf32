package raft

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the transcripts' outputs with what happens now")

// TestTranscripts runs the scripts of testdata. A block is commands, a line "----", and what they
// print, up to an empty line; lines that start with # are for the reader. Servers are named by id:
//
//	cluster N [voters …]          a fresh cluster of N servers
//	cluster N witnesses ID…       of N voters, of which these keep no state
//	bound N                       one of N voters, each bound to its directory
//	empty ID                      an empty directory, founded with the voters, in place of its own
//	refused ID                    what it thinks of its directory, and of others'
//	log ID T T …                  the server's disk holds entries of these terms (restarts it)
//	tick ID N                     N times one tick, within one round: what the last one sends
//	persist ID                    all its writes become durable, and it learns that
//	propose ID N · feed ID TO [most]
//	campaign ID · transfer ID TO · read ID
//	change ID VOTER… [from VOTER…] [learners ID…] [bound ID…] [witnesses ID…]
//	                              bound: to the directory of now; who was bound stays so
//	compact ID INDEX              a snapshot up to there, and no log before it
//	sent ID TO INDEX · failed ID TO · forget ID TO
//	                              what is said of a snapshot to a member; of its restart
//	dismiss ID TO                 a leader tells one that is no member so
//	floor ID                      what every full voter holds, as it knows
//	dismissed ID                  whether it was told so
//	crash ID · start ID · lost ID TO · stall ID 0|1 · full ID 0|1 · room ID · stepdown ID
//	deliver | drop | again  [FROM->TO] [TYPE] [prev=INDEX]
//	                              messages under way now, all that fit; again: deliver a copy
//	settle                        writes, deliveries and feeding until nothing moves; silent
//	show                          one line a server
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"),
			func(t *testing.T) { runTranscript(t, file) })
	}
}

func runTranscript(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all, out strings.Builder
	w := &world{}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		all.WriteString(line + "\n")
		if line == "----" {
			if w.failure != nil {
				fmt.Fprintln(&out, "FAILURE", w.failure)
			}
			all.WriteString(out.String())
			out.Reset()
			for i+1 < len(lines) && lines[i+1] != "" {
				i++
			}
			continue
		}
		if f := strings.Fields(line); len(f) > 0 && f[0] != "#" {
			w = command(w, f, func(s string) { out.WriteString(s + "\n") })
		}
	}
	if got := all.String(); *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got != string(text) {
		t.Errorf("%s says otherwise now (accept it by -rewrite):\n%s", file,
			firstDifference(got, string(text)))
	}
	if w.failure != nil {
		t.Error(w.failure)
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d\n  now  %s\n  then %s", i+1, g[i], w[i])
		}
	}
	return "one ends early"
}

func numbers(fields []string) (ns []uint64) {
	for _, f := range fields {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			panic("not a number: " + f)
		}
		ns = append(ns, n)
	}
	return ns
}

func command(w *world, f []string, print func(string)) *world {
	switch f[0] {
	case "cluster", "bound":
		n := numbers(f[1:2])[0]
		base := Configuration{Voters: []uint64{1, 2, 3, 4, 5, 6, 7}[:n]}
		switch {
		case len(f) > 3 && f[2] == "witnesses":
			base.Witnesses = numbers(f[3:])
		case len(f) > 3:
			base.Voters = numbers(f[3:])
		}
		for _, id := range base.Voters {
			if f[0] == "bound" {
				base.Bound = append(base.Bound, Binding{id, Directory{id, 1}})
			}
		}
		w = newWorldOf(int(n), base, 7)
		w.trace = print
		for _, s := range w.servers {
			s.core.round = 0 // for the reader
		}
	case "deliver", "drop", "again":
		w.traffic(f[0], f[1:])
	case "settle":
		w.settle()
		w.trace = print
	case "show":
		for _, s := range w.servers {
			print("  " + s.core.String())
		}
	case "change":
		w.changeTo(f[1:])
	default:
		ns := numbers(f[1:])
		w.servers[ns[0]-1].command(f[0], ns[1:], print)
	}
	return w
}

func (s *server) command(verb string, ns []uint64, print func(string)) {
	report := func(err error) {
		if err != nil {
			print("  " + err.Error())
		}
	}
	switch verb {
	case "tick":
		under := len(s.w.net)
		for i := range ns[0] {
			s.w.trace = func(line string) {
				if i+1 == ns[0] || !strings.Contains(line, "Heartbeat") {
					print(line)
				}
			}
			s.w.net = append(s.w.net[:under], slices.DeleteFunc(s.w.net[under:],
				func(p packet) bool { return p.Type == Heartbeat })...)
			s.do(func(c *Core, e *Effects) { c.Tick(1, e) })
		}
		s.w.trace = print
	case "persist":
		for len(s.writes) > 0 {
			s.persist(true)
		}
	case "propose":
		s.do(func(c *Core, e *Effects) {
			print(fmt.Sprintf("  accepted %d", c.Propose(int(ns[0]), e)))
		})
	case "feed":
		most := 100
		if len(ns) > 1 {
			most = int(ns[1])
		}
		s.feed(ns[0], most)
	case "campaign":
		s.do(func(c *Core, e *Effects) { c.Campaign(e) })
	case "transfer":
		s.do(func(c *Core, e *Effects) { report(c.Transfer(ns[0], e)) })
	case "read":
		if !s.core.Serves() {
			print("  refused")
		}
		s.read()
	case "stall":
		s.core.SetStalled(ns[0] != 0)
	case "full":
		s.core.SetFull(ns[0] != 0)
	case "room":
		for _, o := range s.w.servers {
			if p, _ := s.core.Member(o.id); o != s {
				print(fmt.Sprintf("  %d has room: %t", o.id, p.Room))
			}
		}
		print(fmt.Sprintf("  cramped: %t", s.core.Cramped()))
	case "stepdown":
		s.do(func(c *Core, e *Effects) {
			if !c.StepDown(e) {
				print("  leads on")
			}
		})
	case "floor":
		f := s.core.Floor()
		print(fmt.Sprintf("  floor %d of %d", f.Index, f.Member))
	case "lost":
		s.do(func(c *Core, e *Effects) { c.Lost(ns[0], e) })
	case "compact":
		s.compact(ns[0])
	case "sent":
		s.do(func(c *Core, e *Effects) { c.SnapshotSent(ns[0], ns[1], e) })
	case "failed":
		s.do(func(c *Core, e *Effects) { c.SnapshotFailed(ns[0], e) })
	case "dismiss":
		s.do(func(c *Core, e *Effects) { c.Dismiss(ns[0], e) })
	case "dismissed":
		print(fmt.Sprintf("  dismissed: %t", s.core.Dismissed()))
	case "forget":
		s.do(func(c *Core, e *Effects) { c.Forget(ns[0], e) })
	case "empty":
		s.empty()
		s.core.round = 0
	case "refused":
		print(fmt.Sprintf("  refused: %t, messages of others: %d", s.core.Refused(),
			s.core.Counters().Foreign))
	case "crash":
		s.crash()
	case "start":
		s.start()
		s.core.round = 0
	case "log":
		s.disk.log = nil
		for i, term := range ns {
			s.disk.log = append(s.disk.log, entry{term: term, value: uint64(i)<<32 | term})
		}
		s.disk.hard = Hard{Term: ns[len(ns)-1]}
		s.start()
		s.core.round = 0
	default:
		panic("no such command: " + verb)
	}
}

func (w *world) changeTo(f []string) {
	conf := Configuration{Witnesses: w.base.Witnesses}
	var bound []uint64
	if i := slices.Index(f, "witnesses"); i >= 0 {
		conf.Witnesses = numbers(f[i+1:])
		f = f[:i]
	}
	if i := slices.Index(f, "bound"); i >= 0 {
		bound = numbers(f[i+1:])
		f = f[:i]
	}
	if i := slices.Index(f, "learners"); i >= 0 {
		conf.Learners = numbers(f[i+1:])
		f = f[:i]
	}
	if i := slices.Index(f, "from"); i >= 0 {
		conf.Outgoing = numbers(f[i+1:])
		f = f[:i]
	}
	ns := numbers(f)
	conf.Voters = ns[1:]
	w.bind(&conf, w.servers[ns[0]-1].core.Config(), bound)
	w.servers[ns[0]-1].do(func(c *Core, e *Effects) {
		if err := c.Change(conf, e); err != nil {
			w.trace("  " + err.Error())
		}
	})
}

// traffic delivers, drops or repeats the messages that fit and are under way now.
func (w *world) traffic(verb string, filter []string) {
	fits := func(p *packet) bool {
		for _, f := range filter {
			if f != fmt.Sprintf("%d->%d", p.From, p.To) && f != p.Type.String() &&
				f != fmt.Sprintf("%d->", p.From) && f != fmt.Sprintf("->%d", p.To) &&
				f != fmt.Sprintf("prev=%d", p.PrevIndex) {
				return false
			}
		}
		return true
	}
	var now, rest []packet
	for _, p := range w.net {
		if fits(&p) {
			now = append(now, p)
		}
		if !fits(&p) || verb == "again" {
			rest = append(rest, p)
		}
	}
	w.net = rest
	for _, p := range now {
		if verb == "drop" || w.servers[p.To-1].down {
			w.trace("drop " + p.String())
		} else {
			w.servers[p.To-1].deliver(p)
		}
	}
}

func (w *world) settle() {
	w.trace = func(string) {}
	for range 100 {
		for _, s := range w.servers {
			for len(s.writes) > 0 && !s.down {
				s.persist(true)
			}
			for _, to := range w.servers {
				s.feed(to.id, 100)
			}
		}
		w.traffic("deliver", nil)
	}
}
