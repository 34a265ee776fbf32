package raft

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/engine/internal/raft/progress"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run this one seed of the random cluster, with a trace")
	seedsFlag = flag.Int("seeds", 300, "seeds of the random cluster")
)

// stormSteps is how long the faults last in a seed.
const stormSteps = 20000

// storm drives a world by a seed: what is delivered, lost, repeated, reordered, cut off, written,
// crashed and asked for.
type storm struct {
	*world
	r       random
	cut     map[[2]uint64]bool // links that lose everything
	changes bool
	bound   bool    // voters are bound, so that one may lose its directory
	emptied *server // it has
	rough   int     // per cent of messages lost, and of messages repeated
}

func newStorm(seed uint64) *storm {
	r := random{state: seed}
	n := []int{3, 5}[seed%2]
	voters := []uint64{1, 2, 3, 4, 5}[:n]
	s := &storm{r: r, changes: seed%3 == 2, rough: r.below(10)}
	if s.changes {
		voters = voters[:3]
	}
	base := Configuration{Voters: voters}
	losses := seed%5 == 4
	if !s.changes && seed%7 < 3 { // two of three are full, or three of five
		base.Witnesses = voters[(n+1)/2:]
	}
	s.bound = !s.changes && !losses && seed%4 < 2
	for _, id := range voters {
		if s.bound {
			base.Bound = append(base.Bound, Binding{id, Directory{id, 1}})
		}
	}
	s.world = newWorldOf(n, base, r.next())
	s.losses = losses
	s.cut = map[[2]uint64]bool{}
	return s
}

func (s *storm) one() *server { return s.servers[s.r.below(len(s.servers))] }

func (s *storm) step() {
	switch x := s.r.below(1000); {
	case x < 450:
		s.deliverOne()
	case x < 650:
		s.one().persist(s.r.below(4) != 0)
	case x < 800:
		from := s.one()
		from.feed(s.one().id, 1+s.r.below(5))
	case x < 895:
		from := s.one()
		if !from.slow || s.r.below(20) == 0 {
			from.do(func(c *Core, e *Effects) { c.Tick(1+s.r.below(3), e) })
			from.giveWay()
		}
	case x < 940:
		v := s.one()
		v.do(func(c *Core, e *Effects) {
			if c.Propose(1+s.r.below(4), e) > 0 && v.witness {
				v.fail("a witness takes proposals")
			}
		})
	case x < 965:
		s.one().read()
	case x < 980:
		from, to := s.one(), s.one().id
		from.do(func(c *Core, e *Effects) { c.Lost(to, e) })
	case x < 983:
		s.fault()
	case x < 984:
		v, stalled := s.one(), s.r.below(3) == 0
		v.do(func(c *Core, e *Effects) {
			c.SetStalled(stalled)
			if stalled && s.r.below(2) == 0 {
				c.StepDown(e)
			}
		})
	case x < 986:
		from, to := s.one(), s.one().id
		from.do(func(c *Core, e *Effects) { _ = c.Transfer(to, e) })
	case x < 990:
		if s.changes {
			s.change(s.one())
		}
	case x < 992:
		v := s.one()
		v.compact(v.commit - min(v.commit, uint64(s.r.below(20))))
	case x < 995:
		s.reportSnapshot(s.one(), s.one().id)
	default:
		for _, v := range s.servers {
			if v.down && s.r.below(2) == 0 {
				s.restart(v)
			}
		}
	}
}

// giveWay has a witness that leads hand leadership to the full voter that has the most.
func (s *server) giveWay() {
	if s.core.Role() != Leader || !s.witness || s.core.Transferring() != 0 {
		return
	}
	var to progress.Progress
	for i := range s.core.n {
		if p := s.core.members[i]; s.core.mayLead(i) && p.Mode == progress.Stream &&
			(to.ID == 0 || p.Match > to.Match) {
			to = p
		}
	}
	s.do(func(c *Core, e *Effects) { _ = c.Transfer(to.ID, e) })
}

// reportSnapshot says of a snapshot that it was sent, or that it was not, whatever is true. Or one
// comes that nobody needs any more, as if it had been under way for long.
func (s *storm) reportSnapshot(from *server, to uint64) {
	if from.core.Role() == Leader && !from.down && from.first > 1 && s.r.below(2) == 0 {
		from.sendSnapshot(to)
		return
	}
	sent := s.r.below(2) == 0
	from.do(func(c *Core, e *Effects) {
		if sent {
			c.SnapshotSent(to, from.first-1, e)
		} else {
			c.SnapshotFailed(to, e)
		}
	})
}

func (s *storm) deliverOne() {
	if len(s.net) == 0 {
		return
	}
	i := s.r.below(min(len(s.net), 8)) // mostly in order
	if s.r.below(20) == 0 {
		i = s.r.below(len(s.net))
	}
	p := s.net[i]
	if s.r.below(100) >= s.rough || len(s.net) > 200 {
		s.net = slices.Delete(s.net, i, i+1) // otherwise it comes again
	}
	if s.cut[[2]uint64{p.From, p.To}] || s.r.below(100) < s.rough || int(p.To) > len(s.servers) {
		return
	}
	s.servers[p.To-1].deliver(p)
}

func (s *storm) fault() {
	switch s.r.below(10) {
	case 4:
		v := s.one()
		v.slow = !v.slow
	case 0, 5:
		v := s.one()
		if v.down {
			return
		}
		s.trace(fmt.Sprintf("crash %d", v.id))
		for range s.r.below(3) {
			v.persist(false)
		}
		v.crash()
		s.loseTail(v)
	case 1: // one way of one link
		s.cut[[2]uint64{s.one().id, s.one().id}] = true
	case 2: // one server alone
		v := s.one().id
		for i := range s.servers {
			s.cut[[2]uint64{v, uint64(i + 1)}], s.cut[[2]uint64{uint64(i + 1), v}] = true, true
		}
	case 6:
		if s.bound && s.emptied == nil {
			s.emptied = s.one()
			s.trace(fmt.Sprintf("empty %d", s.emptied.id))
			s.emptied.empty()
		}
	default:
		clear(s.cut)
	}
}

// loseTail takes durable entries from a stopped server, which then starts on probation. One server
// at a time: no algorithm survives more.
func (s *storm) loseTail(v *server) {
	if !s.losses || len(v.disk.log) == 0 || slices.ContainsFunc(s.servers, func(o *server) bool {
		return o.lossy || len(o.core.Config().Voters) < 2
	}) {
		return
	}
	v.lossy = true
	n := len(v.disk.log) - 1 - s.r.below(min(5, len(v.disk.log)))
	v.disk.log = slices.Clone(v.disk.log[:max(n, int(v.disk.first)-1)])
	s.trace(fmt.Sprintf("lose %d after %d", v.id, len(v.disk.log)))
}

// restart starts a server again. Its greeting tells the others that it is another incarnation, and
// nothing that the earlier one sent comes after that. A server that lost nothing may do without.
func (s *storm) restart(v *server) {
	s.trace(fmt.Sprintf("start %d", v.id))
	v.start()
	if !v.lossy && s.r.below(2) == 0 {
		return
	}
	s.net = slices.DeleteFunc(s.net, func(p packet) bool { return p.From == v.id })
	for _, o := range s.servers {
		o.do(func(c *Core, e *Effects) { c.Forget(v.id, e) })
	}
}

// change asks for a random next configuration.
func (s *storm) change(v *server) {
	now := v.core.Config().clone()
	if s.r.below(4) == 0 {
		next := now.clone()
		s.bind(&next, now, next.members())
		v.do(func(c *Core, e *Effects) { _ = c.Change(next, e) })
		return
	}
	id := s.one().id
	next := Configuration{Voters: slices.Clone(now.Voters)}
	switch i := slices.Index(next.Voters, id); {
	case len(now.Outgoing) > 0:
	case i >= 0:
		next.Voters = slices.Delete(next.Voters, i, i+1)
	default:
		next.Voters = append(next.Voters, id)
	}
	if s.r.below(2) == 0 && len(now.Outgoing) == 0 {
		other := s.one().id
		if i := slices.Index(next.Voters, other); i < 0 {
			next.Voters = append(next.Voters, other)
		} else {
			next.Voters = slices.Delete(next.Voters, i, i+1)
		}
	}
	if len(now.Outgoing) == 0 && s.r.below(4) != 0 { // else it is refused
		next.Outgoing = now.Voters
	}
	if s.losses && len(next.Voters) == 1 {
		return // one that has lost entries could be the only voter, and waits for its operator
	}
	var newcomers []uint64
	if now.bindsVoters() {
		newcomers = next.Voters
	}
	s.bind(&next, now, newcomers)
	v.do(func(c *Core, e *Effects) { _ = c.Change(next, e) })
}

// heal ends all faults and waits, by steps, until everybody has the same.
func (s *storm) heal(most int) bool {
	clear(s.cut)
	s.rough = 0
	for _, v := range s.servers {
		v.slow = false
		v.core.SetStalled(false)
		if v.down {
			s.restart(v)
		}
	}
	for range most {
		for _, v := range s.servers {
			v.do(func(c *Core, e *Effects) { c.Tick(1, e) })
			v.giveWay()
			for range 1 + len(v.writes) {
				v.persist(true)
			}
			for _, to := range s.servers {
				if a := v.actors[to.id]; a != nil && s.r.below(8) == 0 {
					v.do(func(c *Core, e *Effects) { c.Lost(to.id, e) })
				}
				v.feed(to.id, 16)
				if s.r.below(8) == 0 {
					s.reportSnapshot(v, to.id)
				}
			}
		}
		for n := len(s.net); n > 0; n-- {
			p := s.net[0]
			s.net = s.net[1:]
			s.servers[p.To-1].deliver(p)
		}
		if s.failure != nil || s.settled() {
			return true
		}
	}
	return false
}

// settled: one leader, and every member of its configuration has its log, committed.
func (s *storm) settled() bool {
	for _, v := range s.servers {
		if !v.core.Serves() || v.core.Commit() != v.core.Last() || len(v.reads) > 0 {
			continue
		}
		conf := v.core.Config()
		same := true
		for _, id := range conf.members() {
			o := s.servers[id-1].core
			if s.servers[id-1] == s.emptied {
				continue // it is not fed, for nothing it says is heard
			}
			same = same && o.Hard().Term == v.core.Hard().Term && o.Commit() == v.core.Commit() &&
				o.Last() == v.core.Last() && !o.Probation()
		}
		if same {
			return true
		}
	}
	return false
}

func runStorm(seed uint64, steps int, trace func(string)) (s *storm, err error) {
	s = newStorm(seed)
	s.trace = trace
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	for i := range steps {
		s.step()
		if i%100 == 0 {
			s.checkLogs()
		}
		if s.failure != nil {
			return s, s.failure
		}
	}
	if !s.heal(600) {
		s.fail("no agreement after the faults ended\n%s", s.dump())
	}
	s.checkLogs()
	return s, s.failure
}

func (s *storm) dump() string {
	var b strings.Builder
	for _, v := range s.servers {
		b.WriteString(v.core.Dump())
	}
	return b.String()
}

// TestRandomCluster runs seeds of crashes, losses and partitions over 3 and 5 cores and checks
// election safety, votes, log matching, leader completeness, commit, reads, and agreement at the
// end.
func TestRandomCluster(t *testing.T) {
	if *seedFlag != 0 {
		_, err := runStorm(*seedFlag, stormSteps, func(line string) { t.Log(line) })
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	seeds := *seedsFlag
	if testing.Short() {
		seeds /= 2
	}
	var commits, terms, reads, restores, emptied, foreign, ledByWitness int
	for seed := uint64(1); seed <= uint64(seeds); seed++ {
		s, err := runStorm(seed, stormSteps, func(string) {})
		if err != nil {
			t.Fatalf("seed %d (repeat with -seed=%d): %v", seed, seed, err)
		}
		commits += len(s.committed)
		terms += len(s.leaders)
		for _, id := range s.leaders {
			if s.servers[id-1].witness {
				ledByWitness++
			}
		}
		restores += s.restores
		if s.emptied != nil {
			emptied++
		}
		for _, v := range s.servers {
			reads += int(v.ctx)
			foreign += int(v.core.Counters().Foreign)
		}
	}
	t.Logf("%d seeds: %d leaderships, %d entries committed, %d read batches, %d restores, %d "+
		"directories lost, %d messages of such, %d leaderships of witnesses", seeds, terms, commits,
		reads, restores, emptied, foreign, ledByWitness)
	if commits < seeds*20 || terms < seeds || restores < seeds || emptied < seeds/10 ||
		ledByWitness < seeds/10 {
		t.Error("hardly anything happened")
	}
}
