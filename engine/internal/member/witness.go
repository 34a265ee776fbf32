package member

import (
	"cmp"
	"errors"
	"fmt"
	"io"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/raft/progress"
	"github.com/ringraft/ringraft/engine/internal/snapshot"
)

// A witness is a member whose Config.Machine is a Witness. It votes and keeps the log, and
// what is committed it passes over. Its snapshots hold the configuration alone:
//
//	its log     begins behind what every full voter holds, as the leader says in its
//	            heartbeats, unless that is more than Config.WitnessLog before its snapshot
//	it leads    because nobody else has the newest entries: it takes no request, brings a
//	            full voter up to date, and hands leadership over
//	far behind  it is sent an offer with the configuration, and no chunk; it makes the
//	            file itself
//
// Full members take no snapshot of a witness, neither over links nor from a disk.

var (
	// ErrWitness: leadership is not handed to a member that has no state.
	ErrWitness = errors.New("it is a witness, which does not lead")
	// ErrKind: what the member is and what it is to be differ: a witness, or a full member.
	ErrKind = errors.New("it is not of the kind that it is to be")
	// ErrTooManyWitnesses: there would be too few voters with a state.
	ErrTooManyWitnesses = errors.New("there would be too few full voters for the witnesses")

	errWitnessLog = errors.New("it needs what this member, a witness, has in its log no more, " +
		"and a witness has no state to send: bring back a full member that has it")
	errNoState  = errors.New("the snapshot is of a witness and holds no state")
	errHasState = errors.New("this member is a witness: it takes no state")
)

// KindError: the configuration has this member as a witness, and it was started as a full
// member; or the other way round. It must not go on.
type KindError struct {
	Member  uint64
	Witness bool // by the configuration
}

// Error says what to do.
func (e *KindError) Error() string {
	if e.Witness {
		return fmt.Sprintf("member %d is a witness by the configuration, and was started as a "+
			"full member: start it with Witness (raftd: --witness), or remove it, and add it with "+
			"an empty directory", e.Member)
	}
	return fmt.Sprintf("member %d is a full member by the configuration, and was started as a "+
		"witness: start it without Witness (raftd: --witness), or remove it, and add it with an "+
		"empty directory", e.Member)
}

// Is reports that target is ErrKind.
func (e *KindError) Is(target error) bool { return target == ErrKind }

// Witness is the state machine of a member that has none.
type Witness struct{}

// Apply implements pipeline.StateMachine. A witness proposes nothing, so nobody waits for a
// reply.
func (Witness) Apply([]pipeline.Entry, *pipeline.Replies) {}

// Read implements pipeline.StateMachine: there is nothing to be read.
func (Witness) Read(_, dst []byte) []byte { return dst }

// Snapshot implements pipeline.Viewer.
func (Witness) Snapshot() (pipeline.View, error) { return noState{}, nil }

// Restore implements Restorer. What a full member has left in the directory is not read.
func (Witness) Restore(io.Reader) (install func(), err error) { return func() {}, nil }

// noState is the view of a witness.
type noState struct{}

// WriteTo implements pipeline.View.
func (noState) WriteTo(io.Writer) (int64, error) { return 0, nil }

// Close implements pipeline.View.
func (noState) Close() error { return nil }

// isWitness reports that a state machine is none.
func isWitness(m pipeline.StateMachine) bool {
	_, is := m.(Witness)
	return is
}

// checkKind refuses a configuration in which this member is not what it was started as.
func (m *Member) checkKind(conf *config.Config) error {
	if own, ok := conf.Find(m.cfg.ID); ok && own.Witness != m.witness {
		return &KindError{Member: own.ID, Witness: own.Witness}
	}
	return nil
}

// leads reports whether this member leads, and takes requests.
func (m *Member) leads() bool {
	role, _, _ := m.replica.Role()
	return role == raft.Leader && !m.witness
}

// giveWay has a witness that leads hand leadership to a full voter, behind every poll: to the
// one with the most of those that are fed. Its transfer waits until it has everything.
func (m *Member) giveWay() {
	if !m.witness || m.core.Role() != raft.Leader || m.core.Transferring() != 0 {
		return
	}
	var heir progress.Progress
	for _, l := range m.links {
		p, ok := m.core.Member(l.id)
		if !ok || !m.core.Votes(l.id) || m.core.Witness(l.id) || !m.connected(l.id) ||
			p.Mode != progress.Stream {
			continue
		}
		if heir.ID == 0 || cmp.Or(compare(p.Room, heir.Room),
			cmp.Compare(p.Match, heir.Match)) > 0 {
			heir = p
		}
	}
	if heir.ID != 0 {
		_, _ = m.handOver(heir.ID) // or behind the next poll
	}
}

// witnessed is what a witness keeps for full voters that are behind.
type witnessed struct {
	since  int64 // since then the log here has begun too late for a full voter; 0: it has not
	beyond raft.Floor
	known  bool // it was reported
}

// keepForFull lowers the first entry that stays of a witness's log, to what a full voter
// may need, as far as that is no more than the bound before the snapshot up to s.
func (m *Member) keepForFull(s, keep uint64) uint64 {
	floor := m.core.Floor().Index
	if most := m.snapshots.sizes.before(s, m.cfg.WitnessLog); floor < most {
		floor = most
	}
	return min(keep, floor+1)
}

// check reports a full voter that this witness cannot bring up to date any more, once per
// tick. What a new leader says at first is of no account: it has heard nobody yet.
func (w *witnessed) check(m *Member, now int64) {
	f := m.core.Floor()
	switch {
	case !m.witness || f.Member == 0:
	case f.Index+1 >= m.core.First():
		w.since, w.beyond = 0, raft.Floor{}
	case w.since == 0 || w.beyond.Member != f.Member:
		w.since, w.beyond = now, f
	}
	if known := w.since != 0 && now-w.since >= m.patience(); known != w.known {
		w.known = known
		e := Event{Kind: WithinWitness}
		if known {
			e = Event{Kind: BeyondWitness, Member: w.beyond.Member,
				Err: errors.New(m.BeyondWitness())}
		}
		m.cfg.OnEvent(e)
	}
}

// BeyondWitness says in words which full voter this witness cannot bring up to date; ""
// there is none. Poll's goroutine only.
func (m *Member) BeyondWitness() string {
	w := &m.witnessed
	if !w.known {
		return ""
	}
	return fmt.Sprintf("member %d is known to have the log up to entry %d, and this witness keeps "+
		"it from entry %d on: only a full member can bring it up to date", w.beyond.Member,
		w.beyond.Index, m.core.First())
}

// section is what the snapshots of a member hold beside the configuration.
func (m *Member) section() snapshot.Kind {
	if m.witness {
		return snapshot.Witness
	}
	return snapshot.StateMachine
}

// stateIn is the state in a snapshot, for a state machine; of no bytes for a witness.
func stateIn(r *snapshot.Reader, witness bool) (io.Reader, error) {
	if witness {
		return eof{}, nil
	}
	section, err := r.Section(snapshot.StateMachine)
	if errors.Is(err, snapshot.ErrNoSection) && r.Has(snapshot.Witness) {
		return nil, errNoState
	}
	return section, err
}

// eof is a reader of nothing.
type eof struct{}

// Read implements io.Reader.
func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// makeEmpty makes the file of a witness's snapshot out of what the leader has offered.
func (r *receiving) makeEmpty(dir *snapshot.Dir, created int64) error {
	w, err := dir.Create(snapshot.Header{ID: r.info.ID, Created: created,
		Configuration: r.configuration})
	if err != nil {
		return err
	}
	if _, err = w.Section(snapshot.Witness); err != nil {
		return errors.Join(err, w.Abort())
	}
	_, err = w.Commit()
	return err
}

// balance refuses changes after which the full voters are too few: never fewer than the
// witnesses, and more when a witness comes, for a witness that makes them as many as the
// others adds nothing: four voters survive the loss of one, as three do.
func (x *Change) balance(conf *config.Config) error {
	full, witnesses := conf.Full(), conf.Witnesses()
	count := func(m config.Member, by int) {
		if m.Witness {
			witnesses += by
		} else {
			full += by
		}
	}
	id := x.with.ID
	if x.kind == Replace {
		id = x.old
	}
	leaves := x.kind == Demote || x.kind == Remove || x.kind == Replace
	if old, _ := conf.Find(id); leaves && conf.Votes(id) {
		count(old, -1)
		if x.kind == Replace && x.old != x.with.ID { // in one step
			count(x.with, 1)
		}
	}
	if full < witnesses {
		return fmt.Errorf("%w: %d of %d; demote or remove a witness first", ErrTooManyWitnesses,
			full, full+witnesses)
	}
	if x.kind == AddVoter || x.kind == Promote || x.votes && x.old == x.with.ID {
		count(x.with, 1)
	}
	if x.with.Witness && full <= witnesses && conf.Witnesses() < witnesses {
		return fmt.Errorf("%w: %d of %d; more of them than witnesses are needed",
			ErrTooManyWitnesses, full, full+witnesses)
	}
	return nil
}

// allKnowWitnesses refuses to bring in the first witness while a member is of an earlier
// release, or may be, and whoever is of one where there are witnesses.
func (m *Member) allKnowWitnesses(conf *config.Config, comes bool) error {
	first := !conf.HasWitness()
	if !comes && first {
		return nil
	}
	for _, v := range conf.Members() {
		switch {
		case v.ID == m.cfg.ID:
		case first && !m.connected(v.ID):
			return fmt.Errorf("%w: member %d is not connected, and may know of no witnesses: "+
				"have all of them up", ErrEarlier, v.ID)
		case m.connected(v.ID) && !m.Link(v.ID).Limits().Witnesses:
			return fmt.Errorf("%w: upgrade member %d, which knows of no witnesses", ErrEarlier,
				v.ID)
		}
	}
	return nil
}

// answersAs refuses who answers at the address of a request as something else than it is to
// be, or knows of no witnesses where there are some.
func (x *Change) answersAs(m *Member, conf *config.Config) error {
	limits := m.Link(x.with.ID).Limits()
	switch {
	case !limits.Witnesses && (x.with.Witness || conf.HasWitness()):
		return fmt.Errorf("%w: upgrade member %d, which knows of no witnesses", ErrEarlier,
			x.with.ID)
	case limits.Witness && !x.with.Witness:
		return fmt.Errorf("%w: member %d was started as a witness, and is to be added as a full "+
			"member", ErrKind, x.with.ID)
	case !limits.Witness && x.with.Witness:
		return fmt.Errorf("%w: member %d was started as a full member, and is to be added as a "+
			"witness", ErrKind, x.with.ID)
	}
	return nil
}
