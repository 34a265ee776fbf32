package member

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/raft/progress"
	"github.com/ringraft/ringraft/engine/internal/replica"
)

// Why the members were not changed; for errors.Is, wrapped with words, beside
// ErrNotLeader, ErrNotMember, ErrNotConnected and ErrClosed.
var (
	// ErrMember: it is one already.
	ErrMember = errors.New("it is a member already")
	// ErrChanging: another change is under way.
	ErrChanging = errors.New("another change of the members is under way")
	// ErrBehind: it did not catch up. It is, or stays, a learner.
	ErrBehind = errors.New("it did not catch up with the log")
	// ErrTooMany: the cluster would have too many voters, or members.
	ErrTooMany = errors.New("the cluster would have too many members")
	// ErrLastVoter: without it nobody votes.
	ErrLastVoter = errors.New("it is the only voter")
	// ErrOtherDirectory: what answers is not the data directory that it must be.
	ErrOtherDirectory = errors.New("it answers with another data directory")
	// ErrEarlier: a member is of an earlier release, or may be: such a one reads no joint
	// configuration.
	ErrEarlier = errors.New("not all members are known to be of this release")
	// ErrUnknownOutcome: leadership was lost while the change was under way. The list of
	// members says what came of it, once there is a leader.
	ErrUnknownOutcome = errors.New("leadership was lost while the members were changed")
)

// noMember is an ErrNotMember that speaks of learners too.
type noMember string

// Error says who is none.
func (e noMember) Error() string { return string(e) }

// Is reports that it is an ErrNotMember.
func (e noMember) Is(target error) bool { return target == ErrNotMember }

// ChangeKind is what is to be changed.
type ChangeKind uint8

// The kinds of changes.
const (
	AddLearner ChangeKind = iota + 1 // a member that is fed and does not vote
	AddVoter                         // as a learner first, then a voter when it has caught up
	Promote                          // a learner becomes a voter when it has caught up
	Demote                           // a voter becomes a learner
	Remove                           // a voter or a learner
	Replace                          // a member by another one, or by another directory of its id
	Update                           // its address and its priority
	Admit                            // a learner that asks for it, with the directory that it says
	Move                             // its address, as it was found to have moved
)

var changeNames = [...]string{AddLearner: "adding a learner", AddVoter: "adding a voter",
	Promote: "promoting a learner", Demote: "demoting a voter", Remove: "removing a member",
	Replace: "replacing a member", Update: "updating a member", Admit: "admitting a learner",
	Move: "following a member that has moved"}

// String says what is being done.
func (k ChangeKind) String() string {
	if k > 0 && int(k) < len(changeNames) {
		return changeNames[k]
	}
	return fmt.Sprintf("change(%d)", uint8(k))
}

// Change is a request to change the members, on its way through the polling goroutine.
type Change struct {
	kind      ChangeKind
	with      config.Member // its Directory is what answers at its Address, found out
	old       uint64        // Replace: whom
	from      string        // Move: the address until now
	answer    func(index uint64, err error)
	abandoned atomic.Bool

	// The polling goroutine's.
	term     uint64 // of the leadership that carries it out; 0: not begun
	began    int64  // or its last step
	votes    bool   // Replace: the old one was a voter
	appended bool   // an entry of it may be in the log
	catching catching
}

// catching is how a learner catches up: in rounds. In each it gets what the leader's log
// held when the round began.
type catching struct {
	since  int64  // of the round; 0: none
	target uint64 // where the log ended then
	rounds int
	match  uint64 // of the learner, when it last moved
	sent   int64  // of a snapshot
	moved  int64
}

const (
	// connectMax is how long one that is to be added may take to answer.
	connectMax = 5 * time.Second

	// catchingMax is how long a learner may stand still while it is waited for, and
	// roundsMax how many rounds may take longer than an election timeout.
	catchingMax = 30 * time.Second
	roundsMax   = 10
)

// NewChange asks for a change of the members. with is the member as it is to be; of
// Promote, Demote and Remove only the id counts. The polling goroutine calls answer once,
// unless the request was abandoned before: with the index of the last configuration of
// the change, which is committed then, or with an error.
func NewChange(kind ChangeKind, with config.Member, answer func(index uint64, err error)) *Change {
	with.Directory, with.Learns = raft.Directory{}, false
	return &Change{kind: kind, with: with, answer: answer}
}

// NewReplacement asks for member old to be replaced by another one, of another id; or by
// another data directory of the same id, when the old one is lost.
func NewReplacement(old uint64, with config.Member,
	answer func(index uint64, err error)) *Change {
	c := NewChange(Replace, with, answer)
	c.old = old
	return c
}

// NewMove asks for another address of a member, whose directory is connected there. Nothing
// comes of it if the configuration has another one by then than from.
func NewMove(with config.Member, from string, answer func(index uint64, err error)) *Change {
	c := NewChange(Move, with, answer)
	c.with.Directory, c.from = with.Directory, from
	return c
}

// Abandon says that nobody waits for the answer any more. Any goroutine. The change goes
// no further than it has come: what was added stays a learner, and a joint configuration
// is left.
func (x *Change) Abandon() { x.abandoned.Store(true) }

// changes are the requests: one is under way at a time.
type changes struct {
	mu      sync.Mutex
	arrived []*Change
	waiting flag

	underway *Change // the polling goroutine's; nil: none
}

// RequestChange hands a request in, to be begun by the next After. Any goroutine.
func (m *Member) RequestChange(x *Change) {
	m.changes.mu.Lock()
	m.changes.arrived = append(m.changes.arrived, x)
	m.changes.mu.Unlock()
	m.changes.waiting.set()
}

// prepares is the member whose address the change under way says; 0: none.
func (s *changes) prepares() uint64 {
	x := s.underway
	if x != nil && x.kind != Update && x.kind != Move && x.with.Address != "" {
		return x.with.ID
	}
	return 0
}

func (s *changes) take() (arrived []*Change) {
	if s.waiting.take() {
		s.mu.Lock()
		arrived, s.arrived = s.arrived, nil
		s.mu.Unlock()
	}
	return arrived
}

// poll advances the change under way, and leaves joint configurations.
func (s *changes) poll(m *Member, now int64) {
	for _, x := range s.take() {
		if s.underway != nil {
			x.end(0, fmt.Errorf("%w: %s", ErrChanging, s.underway.words()))
		} else {
			s.underway = x
		}
	}
	m.leaveJoint()
	if x := s.underway; x != nil && x.advance(m, now) {
		s.underway = nil
		m.followed = followed{} // addresses are those of the configuration again
	}
}

// close answers the requests that will not be advanced any more.
func (s *changes) close() {
	rest := s.take()
	if s.underway != nil {
		rest = append(rest, s.underway)
	}
	for _, x := range rest {
		x.end(0, ErrClosed)
	}
	s.underway = nil
}

func (x *Change) end(index uint64, err error) {
	if !x.abandoned.Load() {
		x.answer(index, err)
	}
}

// words say what is being done, for the operator.
func (x *Change) words() string {
	if x.kind == Replace && x.old != x.with.ID {
		return fmt.Sprintf("replacing member %d by member %d", x.old, x.with.ID)
	}
	return fmt.Sprintf("%s: member %d", x.kind, x.with.ID)
}

// leaveJoint has a leader leave a joint configuration that is committed, whoever entered
// it.
func (m *Member) leaveJoint() {
	c := m.core.Config()
	if len(c.Outgoing) == 0 || c.Index > m.core.Commit() || m.core.Role() != raft.Leader {
		return
	}
	left := m.members().Left()
	_ = m.replica.Change(left.Encode()) // or later: after the no-op, a transfer, a free slot
}

// advance carries the change a step further and reports that it is over. What comes next
// is judged from the configuration in force.
func (x *Change) advance(m *Member, now int64) (over bool) {
	if x.abandoned.Load() {
		return true
	}
	_, _, term := m.replica.Role()
	conf, index := m.members(), m.core.Config().Index
	settled := index <= m.core.Commit() && !conf.Joint()
	switch {
	case x.appended && settled && x.done(conf):
		x.end(index, nil)
		return true
	case !m.leads() && !x.appended:
		x.end(0, ErrNotLeader)
		return true
	case !m.leads() || x.appended && term != x.term:
		x.end(0, fmt.Errorf("%w: look at the list of the members", ErrUnknownOutcome))
		return true
	case m.core.Role() != raft.Leader:
		return false // soon it is known
	}
	err := x.step(m, conf, settled, now)
	if err != nil && x.appended {
		err = fmt.Errorf("%w; a part of it is done: look at the list of the members", err)
	}
	if err != nil {
		x.end(0, err)
	}
	return err != nil
}

// step begins, and takes the next step if the time has come.
func (x *Change) step(m *Member, conf *config.Config, settled bool, now int64) error {
	_, _, term := m.replica.Role()
	switch {
	case x.term != term && conf.Joint():
		return fmt.Errorf("%w: an earlier one is not finished yet", ErrChanging)
	case !settled:
		return nil
	case x.term != term:
		if err := x.begin(m, conf, now); err != nil {
			return err
		}
		if err := x.balance(conf); err != nil {
			return err
		}
		if err := m.allOfThisRelease(conf); err != nil {
			return err
		}
		if err := m.allKnowWitnesses(conf, x.with.Witness); err != nil {
			return err
		}
		x.term, x.catching = term, catching{}
	}
	next, err := x.next(m, conf, now)
	if err == nil && next != nil {
		err = x.append(m, next)
	}
	return err
}

// append puts a configuration in the log; for now it may be too early.
func (x *Change) append(m *Member, next *config.Config) error {
	err := m.replica.Change(next.Encode())
	switch {
	case err == nil:
		x.appended, x.began, x.catching = true, m.now, catching{}
		return nil
	case errors.Is(err, replica.ErrBusy), errors.Is(err, raft.ErrPending),
		errors.Is(err, raft.ErrTransferring):
		return nil
	}
	return fmt.Errorf("%w: %s", err, x.words())
}

// done reports that a configuration is what was asked for.
func (x *Change) done(conf *config.Config) bool {
	now, member := conf.Find(x.with.ID)
	votes := conf.Votes(x.with.ID)
	switch x.kind {
	case AddLearner, Demote:
		return member && !votes
	case Admit:
		return member && now.Directory == x.with.Directory
	case AddVoter, Promote:
		return votes
	case Remove:
		return !member
	case Update:
		return member && now.Address == x.with.Address && now.Priority == x.with.Priority
	case Move:
		return member && now.Address == x.with.Address
	}
	if _, stays := conf.Find(x.old); stays && x.old != x.with.ID {
		return false
	}
	return member && votes == x.votes && now.Directory == x.with.Directory
}

// begin refuses what cannot be done, before anything is. Of an added member it notes
// when it was first waited for.
func (x *Change) begin(m *Member, conf *config.Config, now int64) error {
	x.began = now
	id := x.with.ID
	old, member := conf.Find(id)
	votes := conf.Votes(id)
	switch x.kind {
	case AddLearner, AddVoter, Admit:
		if member {
			return fmt.Errorf("%w: member %d", ErrMember, id)
		}
		return x.room(m, conf)
	case Replace:
		return x.beginReplace(m, conf)
	case Move:
		return x.beginMove(m, &old)
	}
	if x.kind != Update {
		x.with.Witness = old.Witness
	}
	switch {
	case id == 0 || !member:
		return noMember(fmt.Sprintf("there is no member %d", id))
	case x.kind == Promote && votes:
		return fmt.Errorf("%w: %d votes already", ErrMember, id)
	case x.kind == Promote:
		return x.room(m, conf)
	case x.kind == Demote && !votes:
		return noMember(fmt.Sprintf("member %d does not vote", id))
	case (x.kind == Demote || x.kind == Remove) && votes && len(conf.Voters) == 1:
		return fmt.Errorf("%w: %d", ErrLastVoter, id)
	case x.kind == Update && x.with.Witness != old.Witness:
		return fmt.Errorf("%w: what member %d is stays so: remove it, and add it with an empty "+
			"directory", ErrKind, id)
	case x.kind == Update && x.with.Address == "":
		x.with.Address = old.Address
	}
	return nil
}

// allOfThisRelease refuses changes while a member may be of an earlier release, which reads
// a joint configuration without its old half. Of one that is not connected the binding tells:
// members are bound when each has said what its directory is, which earlier ones do not.
func (m *Member) allOfThisRelease(conf *config.Config) error {
	for _, v := range conf.Members() {
		switch {
		case v.Directory == raft.Directory{}:
			return fmt.Errorf("%w: member %d is not known by its data directory yet; have all of "+
				"them up", ErrEarlier, v.ID)
		case m.connected(v.ID) && !m.Link(v.ID).Limits().Changes:
			return fmt.Errorf("%w: upgrade member %d", ErrEarlier, v.ID)
		}
	}
	return nil
}

// beginMove refuses what is not so any more: the member is none, or has another directory, or
// is not connected where it is said to be.
func (x *Change) beginMove(m *Member, old *config.Member) error {
	id := x.with.ID
	x.with.Priority, x.with.Witness = old.Priority, old.Witness
	switch o := m.other(id); {
	case old.ID != id || old.Address != x.from:
		return noMember(fmt.Sprintf("there is no member %d at %s any more", id, x.from))
	case old.Directory != x.with.Directory || m.directoryOf(id) != x.with.Directory:
		return fmt.Errorf("%w: member %d", ErrOtherDirectory, id)
	case id != m.cfg.ID && o.address != x.with.Address:
		return fmt.Errorf("%w: member %d at %s", ErrNotConnected, id, x.with.Address)
	}
	return nil
}

func (x *Change) beginReplace(m *Member, conf *config.Config) error {
	old, member := conf.Find(x.old)
	if !member {
		return noMember(fmt.Sprintf("there is no member %d", x.old))
	}
	x.votes = conf.Votes(x.old)
	if x.old == x.with.ID {
		switch {
		case x.old == m.cfg.ID:
			return fmt.Errorf("%w: member %d is this one, and it leads", ErrMember, x.old)
		case x.votes && len(conf.Voters) == 1:
			return fmt.Errorf("%w: %d", ErrLastVoter, x.old)
		}
		if x.with.Address == "" {
			x.with.Address = old.Address
		}
		return nil
	}
	if _, member := conf.Find(x.with.ID); member {
		return fmt.Errorf("%w: member %d", ErrMember, x.with.ID)
	}
	return x.room(m, conf)
}

// room refuses a member more, or a voter more, than a cluster may have, and one without
// an address, unless it has connected by itself.
func (x *Change) room(m *Member, conf *config.Config) error {
	_, member := conf.Find(x.with.ID)
	if o := m.other(x.with.ID); o != nil && x.with.Address == "" {
		x.with.Address = o.address
	}
	switch {
	case x.with.ID == 0:
		return noMember("0 is no member's id")
	case !member && x.with.Address == "":
		return fmt.Errorf("%w: member %d has no address", ErrNotConnected, x.with.ID)
	case !member && len(conf.Members()) >= config.MembersMax:
		return fmt.Errorf("%w: it has %d", ErrTooMany, config.MembersMax)
	case (x.kind == AddVoter || x.kind == Promote) && len(conf.Voters) >= config.VotersMax:
		return fmt.Errorf("%w: it has %d voters", ErrTooMany, config.VotersMax)
	}
	return nil
}

// next is the configuration to be entered from a committed one that is not joint; nil:
// it is waited for something.
func (x *Change) next(m *Member, conf *config.Config, now int64) (*config.Config, error) {
	id := x.with.ID
	switch x.kind {
	case AddLearner:
		return x.added(m, conf, now)
	case Admit:
		next := conf.WithLearner(x.with)
		return &next, nil
	case AddVoter, Promote:
		if _, member := conf.Find(id); member || x.kind == Promote {
			return x.promoted(m, conf, 0, now)
		}
		return x.added(m, conf, now)
	case Demote:
		return x.shrunk(m, conf, id, true)
	case Remove:
		return x.shrunk(m, conf, id, false)
	case Update, Move:
		next := conf.Updated(id, x.with.Address, x.with.Priority)
		return &next, nil
	}
	return x.replaced(m, conf, now)
}

// replaced is the next step of a replacement. With another id, the new one learns, and
// then takes the place of the old one in one joint change. With the same id, the old
// directory goes before the new one comes: no entry rebinds an id.
func (x *Change) replaced(m *Member, conf *config.Config, now int64) (*config.Config, error) {
	id := x.with.ID
	known, member := conf.Find(id)
	switch {
	case x.old == id && x.with.Directory == (raft.Directory{}):
		directory, err := x.answers(m, conf, now)
		if err == nil && directory != (raft.Directory{}) && directory == known.Directory {
			err = fmt.Errorf("%w: member %d answers, with the data directory that it is "+
				"known with", ErrMember, id)
		}
		x.with.Directory = directory
		return nil, err
	case !member:
		return x.added(m, conf, now)
	case x.old == id && known.Directory != x.with.Directory:
		return x.shrunk(m, conf, id, false)
	case x.votes && x.old == id:
		return x.promoted(m, conf, 0, now)
	case x.votes:
		return x.promoted(m, conf, x.old, now)
	case x.old != id:
		next := conf.WithoutLearner(x.old)
		return &next, nil
	}
	return nil, nil
}

// answers is the directory that answers at the address of the request; zero: none does
// yet.
func (x *Change) answers(m *Member, conf *config.Config, now int64) (raft.Directory, error) {
	id := x.with.ID
	switch o := m.other(id); {
	case o == nil:
		m.connect(id, x.with.Address, now).named = true
	case x.with.Address != "" && o.address != x.with.Address:
		if o.next = x.with.Address; !m.connected(id) {
			m.moveLinks(now)
		}
	}
	if d := m.directoryOf(id); d != (raft.Directory{}) {
		return d, x.answersAs(m, conf)
	}
	if now-x.began >= int64(connectMax) {
		return raft.Directory{}, fmt.Errorf("%w: member %d at %s", ErrNotConnected, id,
			x.with.Address)
	}
	return raft.Directory{}, nil
}

// added is the configuration with a new learner, bound to the directory that answers.
func (x *Change) added(m *Member, conf *config.Config, now int64) (*config.Config, error) {
	directory, err := x.answers(m, conf, now)
	if err != nil || directory == (raft.Directory{}) {
		return nil, err
	}
	for _, o := range conf.Members() {
		if o.Directory == directory {
			return nil, fmt.Errorf("%w: that of member %d", ErrOtherDirectory, o.ID)
		}
	}
	x.with.Directory = directory
	next := conf.WithLearner(x.with)
	return &next, nil
}

// promoted is the joint configuration in which a learner that has caught up votes, and
// the voter out, if it is not 0, no longer.
func (x *Change) promoted(m *Member, conf *config.Config, out uint64,
	now int64) (*config.Config, error) {
	id := x.with.ID
	learner, _ := conf.Find(id)
	bound := learner.Directory
	d, unknown := m.directoryOf(id), raft.Directory{}
	if d != unknown && bound != unknown && d != bound {
		return nil, fmt.Errorf("%w: member %d was added with one that is not the one it has now; "+
			"remove it, and add it again", ErrOtherDirectory, id)
	}
	if d != unknown && m.Link(id) != nil && m.Link(id).Limits().Witness != learner.Witness {
		return nil, fmt.Errorf("%w: %w", ErrKind, &KindError{id, learner.Witness})
	}
	if caught, err := x.caughtUp(m, now); !caught || err != nil {
		return nil, err
	}
	next := conf.Promoting(id, out)
	return &next, m.majorities(&next)
}

// shrunk is the next configuration on the way to one in which a member is gone, or
// learns.
func (x *Change) shrunk(m *Member, conf *config.Config, id uint64,
	learns bool) (*config.Config, error) {
	var next config.Config
	if !conf.Votes(id) {
		next = conf.WithoutLearner(id)
		return &next, nil
	}
	next = conf.Removing(id, learns)
	return &next, m.majorities(&next)
}

// majorities refuses a joint configuration of which a half has no majority that is
// connected: it could not be committed, and until it is left it holds up the cluster.
func (m *Member) majorities(conf *config.Config) error {
	for _, half := range [][]config.Member{conf.Voters, conf.Outgoing} {
		n := 0
		for _, v := range half {
			bound := v.Directory != raft.Directory{}
			if v.ID == m.cfg.ID || m.connected(v.ID) &&
				(!bound || m.directoryOf(v.ID) == v.Directory) {
				n++
			}
		}
		if 2*n <= len(half) {
			return fmt.Errorf("%w: of the %d voters %d are", ErrNotConnected, len(half), n)
		}
	}
	return nil
}

// caughtUp reports that a learner has the log but for what came within an election
// timeout: it has on its disk what the leader's log held when a round began that took no
// longer, and has answered a heartbeat of this leadership since it was started, by which
// it does not say that it has lost what it had acknowledged. An idle leader begins no new
// round of heartbeats.
func (x *Change) caughtUp(m *Member, now int64) (bool, error) {
	c, id := &x.catching, x.with.ID
	p, _ := m.core.Member(id)
	sent, _, _ := m.Sending(id)
	if c.since == 0 || p.Match != c.match || sent != c.sent {
		c.match, c.sent, c.moved = p.Match, sent, now
	}
	if c.since == 0 {
		c.begin(m, now)
	}
	switch {
	case now-c.moved >= int64(catchingMax):
		return false, x.behind(m, &p, "its log stands still")
	case !c.over(m, &p, id):
		return false, nil
	case now-c.since < int64(m.cfg.Times.Election):
		return true, nil
	}
	if c.rounds++; c.rounds >= roundsMax {
		return false, x.behind(m, &p, "it is slower than what is written")
	}
	c.begin(m, now)
	return false, nil
}

func (c *catching) begin(m *Member, now int64) {
	c.since, c.target, c.moved = now, m.core.Last(), now
}

// over reports that the learner has the log up to where it ended when the round began.
func (c *catching) over(m *Member, p *progress.Progress, id uint64) bool {
	return m.connected(id) && p.Mode == progress.Stream && p.Match >= max(c.target, p.Doubted) &&
		p.Round > 0
}

func (x *Change) behind(m *Member, p *progress.Progress, why string) error {
	if err := m.Unfed(x.with.ID); err != nil {
		why += ": " + err.Error()
	}
	return fmt.Errorf("%w: member %d is a learner, at entry %d of %d; %s", ErrBehind, x.with.ID,
		p.Match, m.core.Last(), why)
}
