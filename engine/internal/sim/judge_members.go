package sim

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/member"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal/record"
)

// membership is what the judge knows of the members.
type membership struct {
	conf      config.Config // the newest that is committed
	confIndex uint64
	confTerm  uint64
	settled   map[uint64]config.Config    // by index
	written   map[[2]uint64]config.Config // on any disk ever, by index and term
	without   map[uint64]uint64           // member → the newest committed one without it
	inside    map[uint64]bool             // terms in which a member campaigned
	outsiders map[uint64]uint64           // term → who campaigned, where none of them was a member
}

// force is a configuration that was in force at a member, from then on.
type force struct {
	conf raft.Configuration
	from int64
}

// majorities reports whether those for whom has is true are a majority of each half.
func majorities(c *raft.Configuration, has func(id uint64) bool) bool {
	for _, half := range [][]uint64{c.Voters, c.Outgoing} {
		n := 0
		for _, id := range half {
			if has(id) {
				n++
			}
		}
		if 2*n <= len(half) && len(half) > 0 {
			return false
		}
	}
	return len(c.Voters) > 0
}

func inWords(c raft.Configuration) string {
	return fmt.Sprintf("configuration %d: %v from %v, learners %v", c.Index, c.Voters, c.Outgoing,
		c.Learners)
}

// wrote takes note of a configuration that is durable somewhere.
func (j *judge) wrote(index, term uint64, rec []byte) error {
	var e record.Entry
	if _, err := record.Parse(rec, &e); err != nil || e.Kind != record.Config {
		return err
	}
	conf, err := config.Decode(e.Data)
	j.written[[2]uint64{index, term}] = conf
	return err
}

// force takes note of the configuration in force at a member.
func (j *judge) force(h *host) {
	c := h.core.Config()
	n := len(h.forces)
	if n > 0 && h.forces[n-1].conf.Index == c.Index && h.forces[n-1].conf.Value == c.Value {
		return
	}
	if n > 0 && h.core.Role() == raft.Leader && c.Index > h.noop {
		before := h.forces[n-1].conf.Index
		if commit := h.core.Commit(); commit < max(before, h.noop) {
			j.w.fail("one change at a time", "member %d has %s, after %d, while %d is committed",
				h.id, inWords(c), before, commit)
		}
		j.promoted(h, &c)
		if len(c.Outgoing) > 0 && !j.w.healed && h.armed == 0 && h.rng.chance(0.2) {
			h.armed = 1 + h.rng.n(12)
			j.w.hit(CrashInJoint)
		}
	}
	h.forces = append(h.forces, force{c, j.w.now})
}

// promoted: whoever comes to vote has on its disk what the leader began its term with, and
// so what was committed before.
func (j *judge) promoted(h *host, c *raft.Configuration) {
	for _, id := range c.Voters {
		if len(c.Outgoing) == 0 || slices.Contains(c.Outgoing, id) {
			continue
		}
		if _, ok := j.w.hosts[id-1].had(c.DirectoryOf(id), h.noop, h.core.Hard().Term); !ok {
			j.w.fail("promoted when it has caught up", "member %d has %s, and member %d lacks "+
				"entry %d, with which its term began", h.id, inWords(*c), id, h.noop)
		}
	}
}

// member judges what a member knows of its own membership.
func (j *judge) member(h *host) {
	if without := j.without[h.id]; h.core.Dismissed() {
		if !h.told {
			h.told = true
			j.w.hit(RemovedTold)
		}
		if own := h.core.Config().Index; without == 0 || without < own {
			j.w.fail("removed", "member %d keeps still, since it was told that it is none; it has "+
				"configuration %d, and the newest without it is %d", h.id, own, without)
		}
	}
	if who := j.outsiders[h.core.Hard().Term]; who != 0 && j.belongs(h) {
		j.w.fail("removed", "member %d follows term %d, for which member %d alone campaigned, "+
			"which was removed", h.id, h.core.Hard().Term, who)
	}
}

// belongs reports whether a host is a member, by the newest committed configuration, with
// the directory that it has.
func (j *judge) belongs(h *host) bool {
	m, ok := j.conf.Find(h.id)
	return ok && (m.Directory == raft.Directory{} || m.Directory == h.directory)
}

// candidate takes note of whoever raises a term. One that is removed may, while its log has
// the configuration without it and it does not know that this is committed: nobody else may
// have that log (thesis 4.2.2).
func (j *judge) candidate(h *host, role raft.Role, term uint64) {
	if role == raft.PreCandidate && h.core.Dismissed() {
		j.w.fail("removed", "member %d campaigns, though it was told that it is none", h.id)
	}
	if role != raft.Candidate {
		return
	}
	_, named := j.conf.Find(h.id)
	own := h.core.Config().Index
	if !named && own >= j.confIndex && j.confIndex > 0 && h.core.Commit() >= own {
		j.w.fail("removed", "member %d campaigns in term %d, and knows that configuration %d is "+
			"committed, which is without it", h.id, term, own)
	}
	if named || len(j.conf.Voters) == 0 || own >= j.confIndex {
		j.inside[term] = true
		delete(j.outsiders, term)
	} else if !j.inside[term] {
		j.outsiders[term] = h.id
	}
}

// configured: every committed configuration follows legally from the one before.
func (j *judge) configured(h *host, index, term uint64, next *config.Config) {
	w, was, before := j.w, j.conf, j.confIndex
	w.logf("configuration %d of term %d is committed: %s", index, term, inWords(next.Raft(index)))
	if before > 0 {
		if why := illegal(&was, next); why != "" {
			w.fail("configurations follow", "%d after %d: %s: %s, then %s", index, before, why,
				inWords(was.Raft(before)), inWords(next.Raft(index)))
			return
		}
		j.mark(h, &was, next, term)
	}
	j.conf, j.confIndex, j.confTerm = *next, index, term
	j.settled[index] = *next
	for _, o := range w.hosts {
		m, named := next.Find(o.id)
		if !named {
			j.without[o.id] = index
		}
		bound := m.Directory != raft.Directory{}
		o.emptied = named && bound && m.Directory != o.directory
	}
}

// illegal says what is wrong with a step from one configuration to the next; "": nothing.
func illegal(was, next *config.Config) string {
	ids := func(list []config.Member) (all []uint64) {
		for _, m := range list {
			all = append(all, m.ID)
		}
		return all
	}
	same := func(a, b []config.Member) bool { return slices.Equal(ids(a), ids(b)) }
	switch {
	case was.Joint() && (next.Joint() || !same(was.Voters, next.Voters)):
		return "a joint one is left for other voters"
	case !was.Joint() && next.Joint() && !same(was.Voters, next.Outgoing):
		return "a joint one whose old half is not what it was"
	case !was.Joint() && !next.Joint() && !same(was.Voters, next.Voters):
		return "voters change at once"
	}
	if next.Full() < next.Witnesses() {
		return "more witnesses vote than full members"
	}
	for _, m := range was.Outgoing {
		if _, stays := next.Find(m.ID); m.Learns && !stays {
			return fmt.Sprintf("member %d was to learn, and is gone", m.ID)
		}
	}
	for _, m := range next.Members() {
		old, before := was.Find(m.ID)
		if before && old.Directory != m.Directory && old.Directory != (raft.Directory{}) {
			return fmt.Sprintf("member %d is bound to another directory in one entry", m.ID)
		}
		if before && old.Witness != m.Witness {
			return fmt.Sprintf("member %d is a witness, or was", m.ID)
		}
		if !before && next.Votes(m.ID) {
			return fmt.Sprintf("member %d votes without having learned", m.ID)
		}
	}
	return ""
}

// mark hits the markers of a committed step.
func (j *judge) mark(h *host, was, next *config.Config, term uint64) {
	w := j.w
	switch {
	case next.Joint():
		w.hit(JointEntered)
	case was.Joint():
		w.hit(JointLeft)
		if term != j.confTerm {
			w.hit(JointLeftByAnother)
		}
	}
	for _, m := range next.Members() {
		old, before := was.Find(m.ID)
		_, learned := (&config.Config{Voters: was.Learners}).Find(m.ID)
		switch {
		case !before && j.hadOther(m):
			w.hit(OtherDirectoryAdded)
		case learned && next.Votes(m.ID):
			w.hit(LearnerPromoted)
		case before && !next.Joint() && was.Joint() && !next.Votes(m.ID) && !was.Votes(m.ID):
			w.hit(VoterDemoted)
		case before && old.Address != m.Address:
			w.hit(AddressChanged)
		}
	}
	if !next.Joint() && !next.Votes(h.id) && j.leaders[term] == h.id {
		w.hit(LeaderRemoved)
	}
	if next.Joint() && len(next.Voters) == len(next.Outgoing) {
		w.hit(MemberReplaced)
	}
}

// hadOther reports that an id was a member with another directory before.
func (j *judge) hadOther(m config.Member) bool {
	for k := range j.confIndex + 1 {
		if conf, ok := j.settled[k]; ok {
			if old, is := conf.Find(m.ID); is && old.Directory != m.Directory {
				return true
			}
		}
	}
	return false
}

// changed: whoever asked for a change is told yes only when it is committed.
func (j *judge) changed(a *asked, index uint64, err error) {
	w := j.w
	w.logf("the answer to %v of member %d: %d, %v", a.kind, a.with.ID, index, err)
	w.trace = mix(w.trace, index)
	known := []error{member.ErrNotLeader, member.ErrNotMember, member.ErrMember,
		member.ErrChanging, member.ErrNotConnected, member.ErrBehind, member.ErrTooMany,
		member.ErrLastVoter, member.ErrOtherDirectory, member.ErrClosed, member.ErrUnknownOutcome,
		member.ErrKind, member.ErrTooManyWitnesses, member.ErrEarlier}
	switch is := func(target error) bool { return errors.Is(err, target) }; {
	case err == nil:
		w.hit(ChangeDone)
		if conf, ok := j.settled[index]; !ok || !a.fits(&conf) {
			w.fail("changes are committed", "%v of member %d is said to be done at entry %d: %+v",
				a.kind, a.with.ID, index, conf)
		}
	case !slices.ContainsFunc(known, is):
		w.fail("typed errors", "%v of member %d: %v", a.kind, a.with.ID, err)
	case is(member.ErrKind):
		w.hit(KindRefused)
	case is(member.ErrTooManyWitnesses):
		w.hit(WitnessesRefused)
	case is(member.ErrUnknownOutcome):
		w.hit(ChangeUnknown)
	case is(member.ErrOtherDirectory):
		w.hit(OtherDirectoryRefused)
	case is(member.ErrChanging):
		w.hit(ChangeRefused)
	}
}

// fits reports whether a configuration is what was asked for.
func (a *asked) fits(conf *config.Config) bool {
	m, is := conf.Find(a.with.ID)
	votes := conf.Votes(a.with.ID)
	switch a.kind {
	case member.AddLearner, member.Demote:
		return is && !votes && !conf.Joint()
	case member.AddVoter, member.Promote:
		return votes && !conf.Joint()
	case member.Remove:
		return !is
	case member.Replace:
		_, stays := conf.Find(a.old)
		return is && !conf.Joint() && (a.old == a.with.ID || !stays)
	}
	return is && m.Address == a.with.Address && m.Priority == a.with.Priority
}
