package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/member"
	"github.com/ringraft/ringraft/engine/internal/raft"
)

// MemberKind is what a member does in the cluster.
type MemberKind uint8

// The kinds.
const (
	// Voter: it votes, and entries are committed by a majority of those like it.
	Voter MemberKind = iota
	// Learner: it is fed, and counts for nothing.
	Learner
	// Leaving: it votes until the change that is under way is done, and not after that.
	Leaving
	// Outside: it is in no configuration that this member knows: it waits to be added, was
	// removed, or the cluster is not founded yet.
	Outside
)

// String returns "voter", "learner", "leaving" or "outside".
func (k MemberKind) String() string {
	return name("kind", int(k), "voter", "learner", "leaving", "outside")
}

// kindOf is what a member does in a configuration.
func kindOf(c *config.Config, id uint64) MemberKind {
	in := func(list []config.Member) bool {
		return slices.ContainsFunc(list, func(m config.Member) bool { return m.ID == id })
	}
	switch {
	case in(c.Voters):
		return Voter
	case in(c.Outgoing):
		return Leaving
	case in(c.Learners):
		return Learner
	}
	return Outside
}

// Membership is who belongs to the cluster, by the configuration that this member follows.
// It belongs to whoever asked for it.
type Membership struct {
	Index     uint64       // of the configuration's entry; 0: there is none yet
	Committed bool         // it is committed; if not, another leader may undo it
	Change    string       // on a leader: what is under way, in words; "": nothing
	Members   []MemberInfo // in order of id
}

// MemberInfo is one member of the cluster.
type MemberInfo struct {
	Member
	Kind      MemberKind
	Bound     bool // it is known by its data directory: another one in its place is refused
	Connected bool // this member has a connection to it, or is it
	// Match is up to where it has the log on its disk: as a leader knows of others, and any
	// member of itself; else 0.
	Match uint64
}

// Membership returns who belongs to the cluster. It is renewed as Status is, and costs
// next to nothing. Once the engine closes nothing is under way and nobody is connected.
func (e *Engine) Membership() Membership {
	m := *e.members.Load()
	m.Members = slices.Clone(m.Members)
	if e.lifecycle.stopping.Load() {
		m.Change = ""
		for i := range m.Members {
			m.Members[i].Connected = false
		}
	}
	return m
}

// publishMembers renews what Membership returns; polling goroutine.
func (e *Engine) publishMembers() {
	now := e.member.Members()
	m := &Membership{Index: now.Index, Committed: now.Committed, Change: now.Change}
	for _, s := range now.List {
		i := MemberInfo{Member: memberOf(&s.Member), Kind: Learner, Connected: s.Connected,
			Bound: s.Directory != raft.Directory{}, Match: s.Match}
		switch {
		case s.Votes:
			i.Kind = Voter
		case s.Voted:
			i.Kind = Leaving
		}
		m.Members = append(m.Members, i)
	}
	e.members.Store(m)
}

// ErrMembership: who belongs to the cluster was not changed as asked. Every *MemberError
// is one, for errors.Is.
var ErrMembership = errors.New("ringraft: the members were not changed as asked")

// Why the members were not changed, for errors.Is with what Engine.AddMember and the like
// return. Nothing was changed, except where it is said otherwise. ErrNotMember and
// ErrNotConnected are such causes, too.
var (
	// ErrMember: there is a member of that id, or it is what it was to be already.
	ErrMember = member.ErrMember
	// ErrChanging: another change is under way; one is made at a time.
	ErrChanging = member.ErrChanging
	// ErrBehind: the new member did not catch up in time. It stays a learner.
	ErrBehind = member.ErrBehind
	// ErrTooMany: there are as many members, or voters, as there may be.
	ErrTooMany = member.ErrTooMany
	// ErrLastVoter: it is the only voter.
	ErrLastVoter = member.ErrLastVoter
	// ErrOtherDirectory: what answers has not the data directory that it must have: it was
	// emptied since it was added, or it is a copy of another member's.
	ErrOtherDirectory = member.ErrOtherDirectory
	// ErrEarlier: a member is of an earlier release, which reads no joint configuration, or
	// may be: members are not known by their data directories before all have been up.
	ErrEarlier = member.ErrEarlier
	// ErrUnknownOutcome: this member ceased to lead while the change was under way. What
	// became of it, Membership says, there and on the new leader.
	ErrUnknownOutcome = member.ErrUnknownOutcome
)

// MemberError says why the members were not changed. errors.Is matches it with
// ErrMembership and with its cause.
type MemberError struct {
	ID    uint64 // the member that was to change
	Cause error  // one of the sentinels beside ErrMembership, perhaps wrapped
}

// Error names the member and the cause.
func (e *MemberError) Error() string {
	return fmt.Sprintf("%v: member %d: %v", ErrMembership, e.ID, e.Cause)
}

// Is reports whether target is ErrMembership.
func (e *MemberError) Is(target error) bool { return target == ErrMembership }

// Unwrap returns the cause.
func (e *MemberError) Unwrap() error { return e.Cause }

// AddMember adds a member, as a voter or as a learner. It has to be up, at the address
// given, with a data directory that joined this cluster (Builder.Join) or belongs to it, and
// started as a witness if it is to be one. It
// is fed as a learner first, and becomes a voter when it has caught up, through a
// configuration in which majorities of the old voters and of the new ones decide.
//
// This and the other changes are made on the leader, one at a time, and return nil when
// the last configuration of the change is committed, which Membership returns by then.
// Errors are a *MemberError with its cause; a *ConfigError when the member given cannot be
// one; an *Error with ReasonNotLeader, which says who leads; ErrClosed; or ctx's error, after
// which the change may still come about, unless ctx was over before the call. They must not
// be called where waiting is forbidden; see Engine.
func (e *Engine) AddMember(ctx context.Context, m Member, kind MemberKind) error {
	what := member.AddVoter
	switch kind {
	case Voter:
	case Learner:
		what = member.AddLearner
	default:
		return &ConfigError{"AddMember", fmt.Sprintf("%v; must be Voter or Learner", kind)}
	}
	return e.change(ctx, what, 0, m)
}

// PromoteMember makes a voter of a learner, when it has caught up. AddMember says what
// else there is to know.
func (e *Engine) PromoteMember(ctx context.Context, id uint64) error {
	return e.change(ctx, member.Promote, 0, Member{ID: id})
}

// DemoteMember makes a learner of a voter: it is fed, and counts no more. AddMember says
// what else there is to know.
func (e *Engine) DemoteMember(ctx context.Context, id uint64) error {
	return e.change(ctx, member.Demote, 0, Member{ID: id})
}

// RemoveMember removes a member, running or not. A leader may remove itself: it leads until
// that is committed, and has another member follow it. A member that was removed and runs
// says so by Status.Removed. AddMember says what else there is to know.
func (e *Engine) RemoveMember(ctx context.Context, id uint64) error {
	return e.change(ctx, member.Remove, 0, Member{ID: id})
}

// ReplaceMember puts a member in the place of the one with the id old, as a voter if that
// one votes. With another id it is added first, and the old one goes when the new one has
// caught up. With the same id, for a member whose data directory is lost, the old one goes
// first: what it has acknowledged counts no more. AddMember says what else there is to
// know.
func (e *Engine) ReplaceMember(ctx context.Context, old uint64, with Member) error {
	return e.change(ctx, member.Replace, old, with)
}

// UpdateMember changes a member's address and priority; whether it is a witness stays as it
// is. The others dial it there as soon
// as they have no connection to it. AddMember says what else there is to know.
func (e *Engine) UpdateMember(ctx context.Context, m Member) error {
	return e.change(ctx, member.Update, 0, m)
}

// change asks the member for a change and waits for what becomes of it.
func (e *Engine) change(ctx context.Context, kind member.ChangeKind, old uint64, m Member) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if e.lifecycle.stopping.Load() {
		return ErrClosed
	}
	if err := cmp.Or(checkMember(kind, &m), e.checkReach(kind)); err != nil {
		return err
	}
	answer := make(chan error, 1)
	with := config.Member{ID: m.ID, Address: m.Address, Witness: m.Witness,
		Priority: m.Priority}
	done := func(_ uint64, err error) { // in the polling goroutine
		e.publishStatus()
		answer <- e.changeError(m.ID, err)
	}
	c := member.NewChange(kind, with, done)
	if kind == member.Replace {
		c = member.NewReplacement(old, with, done)
	}
	e.member.RequestChange(c)
	e.run.wake()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		c.Abandon()
		return ctx.Err()
	case <-e.lifecycle.done:
		return ErrClosed
	}
}

// checkMember refuses what cannot be a member's, for changes that say where it is.
func checkMember(kind member.ChangeKind, m *Member) error {
	switch kind {
	case member.Promote, member.Demote, member.Remove:
		return nil
	}
	if m.ID == 0 {
		return &ConfigError{"Member", "an id of 0"}
	}
	if err := m.checkPriority(); err != nil {
		return &ConfigError{"Member", err.Error()}
	}
	if err := checkDialable(m.Address); err != nil {
		return &ConfigError{"Member", fmt.Sprintf("address %q: %v", m.Address, err)}
	}
	return nil
}

// checkReach refuses to bring a member in that the others could not be reached by.
func (e *Engine) checkReach(kind member.ChangeKind) error {
	if kind != member.AddLearner && kind != member.AddVoter && kind != member.Replace {
		return nil
	}
	for _, m := range e.listed().Members() {
		if err := checkDialable(m.Address); err != nil {
			return &MemberError{m.ID, fmt.Errorf("%w: its address is %q, and %w: "+
				"update it first", ErrNotConnected, m.Address, err)}
		}
	}
	return nil
}

// changeError says what became of a change, in the engine's terms.
func (e *Engine) changeError(id uint64, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, member.ErrNotLeader):
		return e.failed(NotApplied, ReasonNotLeader)
	case errors.Is(err, member.ErrClosed):
		return ErrClosed
	}
	return &MemberError{id, err}
}
