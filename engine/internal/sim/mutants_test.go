package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	flagMutants  = flag.Bool("mutants", false, "build every mutant and hunt it")
	flagMutant   = flag.String("mutant", "", "only those whose name matches")
	flagPatience = flag.Uint64("mutants.seeds", 10000, "seeds that a mutant may survive")
	flagHunt     = flag.Uint64("sim.hunt", 0, "look for the first failure in so many seeds")
)

// mutant is a bug put back: the text of the production code that keeps it out
// is exchanged when the simulation is built (go build -overlay). So no
// production file carries a wrong line, not even one that a tag keeps out of
// the build, and a rule that moves takes its mutant with it or fails the test.
type mutant struct {
	name string
	seen string // where it happened, or why it is plausible
	file string
	old  string
	new  string
}

// also holds a second place of a bug that two rules keep out.
var also = map[string]mutant{
	"truncated-is-not-applied": {"", "", "engine/internal/pipeline/window.go", "a.settle(&t, from, t.last, Unknown, why)",
		"o := Unknown\n\t\t\tif why == Superseded {\n\t\t\t\to = NotApplied\n\t\t\t}\n\t\t\ta.settle(&t, from, t.last, o, why)"},
	"lapse-ignored": {"", "", "engine/internal/replica/actors.go", "if !r.out.pending() && a.Restarted() {", "if a.Restarted(); false {"},
}

var mutants = []mutant{
	// The core.
	{"commit-by-counting", "Raft, figure 8; LogCabin 44", "engine/internal/raft/leading.go",
		"if index <= c.commit || index < c.leading.termStart {", "if index <= c.commit {"},
	{"own-disk-assumed", "the leader counts itself before its write", "engine/internal/raft/leading.go",
		"match[c.self] = c.durable", "match[c.self] = c.log.last"},
	{"ack-durable-unverified", "an old tail is acknowledged that the leader has not shown to match", "engine/internal/raft/core.go",
		"match := min(c.durable, c.verified); c.leader", "match := c.durable; c.leader"},
	{"ack-probe-unverified", "the same, in answer to a probe", "engine/internal/raft/append.go",
		"c.ack(min(c.durable, c.verified), e)", "c.ack(c.durable, e)"},
	{"commit-unverified", "a follower's old tail becomes committed", "engine/internal/raft/append.go",
		"func (c *Core) heartbeat(m *Message, e *Effects) {\n\tc.commitTo(min(m.Commit, c.verified), e)",
		"func (c *Core) heartbeat(m *Message, e *Effects) {\n\tc.commitTo(min(m.Commit, c.log.last), e)"},
	{"vote-by-length", "openraft a48a3282: the longer log wins, whatever its last term", "engine/internal/raft/election.go",
		"if last := c.log.lastTerm(); m.PrevTerm != last {", "if last := c.log.lastTerm(); m.PrevTerm > last && false {"},
	{"vote-any-log", "a vote without comparing logs", "engine/internal/raft/election.go",
		"return m.PrevIndex >= c.log.last\n", "return true\n"},
	{"vote-answered-early", "ClickHouse, several 2025–26 reports: answered before the sync", "engine/internal/raft/election.go",
		"r := c.sendGated(e, VoteAck, m.From)\n\tr.Reject, r.LastResort", "r := c.send(e, VoteAck, m.From)\n\tr.Reject, r.LastResort"},
	{"own-vote-early", "vote requests leave before the own vote is durable", "engine/internal/raft/election.go",
		"m := c.sendGated(e, Vote, c.members[i].ID)", "m := c.send(e, Vote, c.members[i].ID)"},
	{"truncate-on-old-append", "openraft 9540c904: an append that repeats what is there cuts the log behind it", "engine/internal/raft/append.go",
		"if have < end && have < c.log.last {", "if false {"},
	{"read-before-noop", "RedisRaft 18 and 19", "engine/internal/raft/reads.go",
		"if c.commit < c.leading.termStart {\n\t\tc.reads.waiting", "if false {\n\t\tc.reads.waiting"},
	{"read-round-reused", "etcd 20418: an earlier round confirms a later read", "engine/internal/raft/reads.go",
		"round: c.newRound()})", "round: c.round})"},
	{"read-without-quorum", "a lease that nobody granted: TiKV 10011", "engine/internal/raft/reads.go",
		"round := rounds.Joint(c.voters, c.outgoing)", "round := c.round"},
	{"read-quorum-short", "openraft d60f1e85: majority − 1", "engine/internal/raft/quorum/quorum.go",
		"return sorted[n-Size(n)]", "return sorted[min(n-1, n-Size(n)+1)]"},
	{"no-check-quorum", "pre-vote without check-quorum: 2020 outage", "engine/internal/raft/tick.go",
		"if !c.quorumActive() {", "if false {"},
	{"probation-forgotten", "NATS 2.12.1: a damaged member votes as ever", "engine/internal/replica/recovered.go",
		"o.First, o.Probation = 1, rec.Probation || rec.Damaged", "o.First, o.Probation = 1, false"},
	{"last-resort-is-a-vote", "a member that lost what it acknowledged decides an election", "engine/internal/raft/election.go",
		"\tcase m.LastResort:\n\t\tc.lastResort = c.lastResort.With(i)\n", "\tcase m.LastResort:\n\t\tc.granted = c.granted.With(i)\n"},
	{"last-resort-of-everybody", "found here: all grant, and those who know have forgotten", "engine/internal/raft/election.go",
		"case result == quorum.Pending || !sound:", "case result == quorum.Pending || !sound && (c.granted == 0 || (c.granted|c.lastResort) != c.voters):"},
	{"probation-ends-by-restart", "the sealed log looks whole the second time", "journal/open.go",
		"j.state.probation = j.state.probation || out.Probation || r.last.flags&flagProbation != 0", "j.state.probation = out.Probation"},
	{"lapse-ignored", "found here: a member that lost its end is never fed again", "engine/internal/raft/leading.go",
		"if m.PrevIndex == p.Match && m.PrevIndex > 0 {", "if false {"},
	{"probation-ends-by-old-heartbeat", "a heartbeat on its way since before the start says where the log ends", "engine/internal/raft/probation.go",
		"if p.nonce != 0 && m.HintIndex == p.nonce && m.PrevIndex > 0 {", "if p.nonce != 0 && m.PrevIndex > 0 {"},
	{"probation-ends-in-memory", "what was lost is there again, but for a crash", "engine/internal/raft/probation.go",
		"min(c.durable, c.verified) >= p.target", "c.verified >= p.target"},
	{"handed-over-to-a-laggard", "thesis 3.10: the target is told before it has the whole log", "engine/internal/raft/transfer.go",
		"i >= 0 && c.members[i].Match == c.log.last {", "i >= 0 {"},
	{"old-ack-counts", "an acknowledgement of an earlier term moves the match", "engine/internal/raft/step.go",
		"case m.Term < c.hard.Term && m.Type != PreVoteAck:", "case m.Term < c.hard.Term && m.Type != PreVoteAck && (m.Type != AppendAck || m.Reject):"},

	// The replica.
	{"durable-is-last-write", "an index alone vouches for what overruled it", "engine/internal/replica/durable.go",
		"if l.cutHead < len(l.cuts) {", "if false {"},
	{"gate-open", "verdi-raft class: speak, then persist", "engine/internal/replica/gate.go",
		"if e.Gated && r.gate.seq > r.durable.reached {", "if false {"},
	{"deposed-leader-sends", "found here: a frame of two logs, while the step-down waits for a slot", "engine/internal/replica/actors.go",
		"if r.lead.role != raft.Leader || r.core.Role() != raft.Leader {", "if r.lead.role != raft.Leader {"},
	{"commit-ahead-in-batch", "found here: a batch says committed of what follows it", "engine/internal/replica/effects.go",
		"Count: e.Count, Commit: r.commit}", "Count: e.Count, Commit: r.core.Commit()}"},
	{"ready-ahead", "found here: apply takes the entry that is about to be cut", "engine/internal/replica/replica.go",
		"ready := min(r.commit, r.stored.index())", "ready := min(r.core.Commit(), r.stored.index())"},
	{"seal-ignored", "a list's cut end is read", "ziplist/read.go",
		"off, min(limit, p.last(), k.last()), maxBytes)", "off, min(limit, k.last()), maxBytes)"},
	{"lane-bytes-early", "Disruptor: an unconsumed slot is overwritten", "engine/internal/replica/replica.go",
		"if m := &r.lanes.table[i].mark; m.pos != 0 && m.seq <= seq {", "if m := &r.lanes.table[i].mark; m.pos != 0 {"},
	{"frame-bytes-early", "gnet 242: a buffer is given back while it is read", "engine/internal/replica/sources.go",
		"if s.mark.pos != 0 && s.mark.seq <= stored {", "if s.mark.pos != 0 {"},
	{"ring-overrun", "Disruptor gating error", "engine/internal/replica/replica.go",
		"r.ring.Gate(r.journal.Durable())", "r.ring.Gate(r.append.Stored())"},
	{"refused-but-appended", "Jepsen: an error for what is later committed", "engine/internal/replica/writes.go",
		"\treturn accepted > 0\n",
		"\tif accepted > 0 && r.stats.Batches%64 == 63 {\n\t\tr.refuse(b, pipeline.Busy)\n\t}\n\treturn accepted > 0\n"},

	// Apply and answers.
	{"truncated-is-not-applied", "a truncation proves nothing", "engine/internal/replica/effects.go",
		"	r.durable.publish(seq, s.First, s.Count)\n", "	if s.Count > 0 && s.First <= r.stored.end {\n\t\tr.notices.Expire(s.Term-1, pipeline.Superseded)\n\t}\n\tr.durable.publish(seq, s.First, s.Count)\n"},
	{"lost-leadership-is-not-applied", "Jepsen: indefinite told as failed", "engine/internal/pipeline/window.go",
		"a.settle(&t, from, t.last, Unknown, why)", "a.settle(&t, from, t.last, NotApplied, why)"},
	{"answer-by-index", "success for another leader's entry", "engine/internal/pipeline/window.go",
		"case t.term == term:", "case t.term == term || t.term < term:"},
	{"read-not-waiting-for-apply", "a read is answered from a state older than its index", "engine/internal/pipeline/apply.go",
		"g.reason == None && (g.index > applied || !l.answered(after))", "g.reason == None && !l.answered(after)"},
	{"read-own-write-lost", "a read overtakes its own write", "engine/internal/pipeline/apply.go",
		"(g.index > applied || !l.answered(after))", "(g.index > applied || !l.answered(after) && false)"},
	{"answers-counted", "found here: the newest answer stands for all before it", "engine/internal/pipeline/lane_apply.go",
		"return request == 0 || l.app.done[request&(l.cells-1)] >= request", "return request == 0 || l.app.done[(request+1)&(l.cells-1)] >= request"},
	{"applied-twice", "duplicate apply after a restart", "engine/internal/pipeline/apply.go",
		"run, ok := a.read(applied+1, ready)", "run, ok := a.read(max(1, applied), ready)"},

	{"apply-reads-overruled-tail", "found here: the journal still holds what a leader has overruled", "engine/internal/pipeline/apply.go",
		"if last := run.First + uint64(run.Count) - 1; last > sure {\n\t\trun = cutRun(run, sure)",
		"if last := run.First + uint64(run.Count) - 1; last > ready {\n\t\trun = cutRun(run, ready)"},

	// Actors.
	{"stall-never-ends", "a disk that hung once keeps its member from ever campaigning again", "engine/internal/member/watchdog.go",
		"w.on, w.giving = false, false\n\t\t\tm.core.SetStalled(false)", "w.on, w.giving = false, false"},
	{"transfer-claimed", "found here: RAFT.TRANSFER said OK when another member had won", "engine/internal/member/transfer.go",
		"case t.named == 0 || leader == t.named:", "case true:"},
	{"read-not-given-back", "a reader of the journal that reads once", "engine/internal/member/read.go",
		"c.read.done.Store(false)\n\tc.busy = false", "c.read.done.Store(false)"},
	{"probe-place-forgotten", "found here; yugabyte 32876: a probe goes on from where it did not end", "engine/internal/peer/actor.go",
		"a.next = a.probeFrom // the core", "// the core"},
	{"retry-forgotten", "a lost frame stops replication for ever", "engine/internal/peer/actor.go",
		"return (a.waiting || !a.inFlight.empty()) && now-a.moved > a.cfg.Retry", "return false"},
	{"old-read-sent", "a journal read of an earlier leadership is sent, overruled since", "engine/internal/peer/actor.go",
		"<= limit && a.current(&run) {", "<= limit {"},

	// The journal.
	{"durable-at-submit", "NATS 2.12.1: acknowledged on a timer, not on a sync", "journal/stage.go",
		"\tj.fill = (j.fill + 1) % len(j.groups)\n\treturn true", "\tj.durable.Store(g.sequence)\n\tj.fill = (j.fill + 1) % len(j.groups)\n\treturn true"},
	{"write-error-ignored", "fsyncgate: the next write succeeds", "journal/stage.go",
		"\t\tif err != nil {\n\t\t\tj.fail(fmt.Errorf(\"journal: %s: poisoned: %w\", j.cfg.Dir, err))\n\t\t\treturn worked\n\t\t}\n\t\tif done < j.flights[0].tag {",
		"\t\tif done < j.flights[0].tag && err == nil {"},
	{"interior-damage-is-the-end", "Redpanda, Dragonboat: truncated at the first bad record", "journal/verdict.go",
		"{promised: yes, verdict: damaged, cause: \"a batch that was durable is not there\"},", ""},
	{"hard-state-cuts-behind-damage", "a vote ends the log where it is damaged, and what may be committed behind it", "journal/stage.go",
		"if j.held > 0 && g.count == 0 && g.first == j.held {", "if false {"},
	{"unreadable-is-the-end", "an EIO while a journal opens ends the log silently", "journal/window.go",
		"\t\t\tbad = true\n", ""},
	{"zeros-mean-torn", "etcd: a zero sector means torn", "journal/verdict.go",
		"{promised: yes, header: yes, verdict: damaged,", "{allTags: no, promised: yes, header: yes, verdict: torn,"},
	{"torn-is-rot", "every member torn at once, and nobody may vote", "journal/verdict.go",
		"{someTags: yes, verdict: torn,", "{someTags: yes, verdict: rot,"},
	{"batch-number-used-twice", "two batches of one number, and a chain that fits both", "journal/open.go",
		"j.number = j.state.incarnation << 40", "j.number = max(1, r.last.number) - 1"},
	{"payload-unchecked", "a bit of an entry flips, and it is served", "journal/format.go",
		"if le.Uint64(tail[k:]) != xxhash.Sum64(payload[at:min(at+checkBytes, h.payload)]) {", "if false {"},
	{"segment-follows-any", "the last batch of a segment is lost, and passed over", "journal/recover.go",
		"r.heads[k+1].chain == r.last.sum &&\n\t\t", ""},
	{"lost-header-may-not-have-cut", "a lost batch may have cut", "journal/recover.go",
		"rg := Range{First: min(r.out.Commit+1, max(r.index.next, 1)),", "rg := Range{First: r.index.next,"},
	{"not-sealed-at-opening", "a tail that was cut comes back at the second restart", "journal/open.go",
		"\tj.sealOps()\n\tif err := device.Run(j.ops)", "\tif err := device.Run(j.ops)"},
	{"state-mended-whole", "ClickHouse Keeper 111454 class: both copies of a pair at once", "journal/recover.go",
		"case b.Term > a.Term || b.Term == a.Term && a.Vote == 0:", "case b.Term > a.Term+1:"},
	{"used-group-too-small", "found here: the end of a large value is not written", "journal/stage.go",
		"if g.n == 0 || g.used == 0 {", "if g.used == 0 {"},

	// Frames.
	{"frame-unchecked", "a flipped bit reaches the log", "netio/frames.go",
		"if f.digest.Sum64() != f.sum {", "if false {"},
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// apply returns the mutated text of a mutant's file.
func (m *mutant) apply(root string) (string, error) {
	b, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(b), m.old); n != 1 {
		return "", fmt.Errorf("%s: its line stands %d times in %s: mend the mutant", m.name, n, m.file)
	}
	text := strings.Replace(string(b), m.old, m.new, 1)
	_, err = parser.ParseFile(token.NewFileSet(), m.file, text, 0)
	return text, err
}

// TestMutantsApply: no mutant has lost the rule that it breaks.
func TestMutantsApply(t *testing.T) {
	root := moduleRoot(t)
	var names []string
	for i := range mutants {
		if _, err := mutants[i].apply(root); err != nil {
			t.Error(err)
		}
		if m, ok := also[mutants[i].name]; ok {
			if _, err := m.apply(root); err != nil {
				t.Error(err)
			}
		}
		names = append(names, mutants[i].name)
	}
	if slices.Sort(names); len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Error("two mutants of one name")
	}
}

// TestHunt looks for a failure and tells what it took; mutants are run by it.
func TestHunt(t *testing.T) {
	if *flagHunt == 0 {
		t.Skip("-sim.hunt says no number")
	}
	s := &Sweep{From: 1, To: *flagHunt, Stop: true}
	r := s.Run()
	if len(r.Failures) == 0 {
		fmt.Printf("SURVIVED %d seeds %.1f s\n", r.Seeds, r.Elapsed.Seconds())
		return
	}
	f := r.Failures[0]
	text := strings.Split(f.Text, "\n")[0]
	fmt.Printf("FOUND %d seeds %.1f s seed %d %s: %.110s\n", r.Seeds, r.Elapsed.Seconds(), f.Seed, f.Judge, text)
}

var huntLine = regexp.MustCompile(`(FOUND|SURVIVED) (\d+) seeds ([\d.]+) s ?(.*)`)

// TestMutants builds and hunts every mutant, and fails when one survives.
func TestMutants(t *testing.T) {
	if !*flagMutants {
		t.Skip("-mutants not given")
	}
	root := moduleRoot(t)
	var seeds []int
	fmt.Printf("%-32s %7s %8s  %s\n", "mutant", "seeds", "seconds", "found by")
	start := time.Now()
	for i := range mutants {
		m := &mutants[i]
		if *flagMutant != "" && !regexp.MustCompile(*flagMutant).MatchString(m.name) {
			continue
		}
		n, line, err := m.hunt(root, t.TempDir())
		fmt.Printf("%-32s %s\n", m.name, line)
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		seeds = append(seeds, n)
	}
	slices.Sort(seeds)
	if len(seeds) > 0 {
		fmt.Printf("%d found, median %d seeds, most %d; %.0f s\n", len(seeds), seeds[len(seeds)/2], seeds[len(seeds)-1],
			time.Since(start).Seconds())
	}
}

func (m *mutant) hunt(root, dir string) (seeds int, line string, err error) {
	text, err := m.apply(root)
	if err != nil {
		return 0, "", err
	}
	overlay, bin := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "sim.test")
	replace := map[string]string{}
	put := func(file, text string) error {
		changed := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		replace[filepath.Join(root, file)] = changed
		return os.WriteFile(changed, []byte(text), 0o600)
	}
	if err := put(m.file, text); err != nil {
		return 0, "", err
	}
	if second, ok := also[m.name]; ok {
		text, err := second.apply(root)
		if err == nil {
			err = put(second.file, text)
		}
		if err != nil {
			return 0, "", err
		}
	}
	j, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return 0, "", err
	}
	if err := os.WriteFile(overlay, j, 0o600); err != nil {
		return 0, "", err
	}
	build := exec.Command("go", "test", "-c", "-vet=off", "-tags", "poison", "-overlay", overlay, "-o", bin, "./engine/internal/sim")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return 0, "does not build", fmt.Errorf("%w\n%s", err, out)
	}
	run := exec.Command(bin, "-test.run", "^TestHunt$", "-sim.hunt", strconv.FormatUint(*flagPatience, 10))
	out, err := run.CombinedOutput()
	f := huntLine.FindStringSubmatch(string(out))
	if f == nil {
		return 0, "no verdict", fmt.Errorf("%w\n%.2000s", err, out)
	}
	n, err := strconv.Atoi(f[2])
	if err != nil {
		return 0, "", err
	}
	line = fmt.Sprintf("%7s %8s  %s", f[2], f[3], f[4])
	if f[1] == "SURVIVED" {
		return n, line + "SURVIVED", fmt.Errorf("survived %d seeds: a hole in the simulator (%s)", n, m.seen)
	}
	return n, line, nil
}
