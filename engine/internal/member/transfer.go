package member

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/raft/progress"
	"github.com/ringraft/ringraft/engine/internal/replica"
)

// Why leadership was not handed over; for errors.Is. The old leader leads on,
// except where it is said otherwise.
var (
	// ErrNotLeader: this member does not lead.
	ErrNotLeader = errors.New("this member does not lead")
	// ErrNotMember: no voting member has that id.
	ErrNotMember = errors.New("there is no such voting member")
	// ErrLeadsAlready: the member named is the leader.
	ErrLeadsAlready = errors.New("it leads already")
	// ErrNotConnected: the member, or every other one, is not connected.
	ErrNotConnected = errors.New("it is not connected")
	// ErrTransferring: leadership is being handed to another member.
	ErrTransferring = errors.New("leadership is being handed to another member")
	// ErrNotTaken: the member did not catch up and win within an election timeout.
	ErrNotTaken = errors.New("it did not take over within an election timeout")
	// ErrAnotherWon: the old leader leads no more, but it was not the member named
	// that won the election.
	ErrAnotherWon = errors.New("another member won the election")
	// ErrNobodyWon: the old leader leads no more, and no other leader is known yet.
	ErrNobodyWon = errors.New("nobody is known to have won the election yet")
	// ErrClosed: the member was closed before it was known who leads.
	ErrClosed = errors.New("the member was closed")
)

// Transfer is a request to hand leadership over, on its way through the
// polling goroutine.
type Transfer struct {
	named     uint64 // by whoever asks; 0: any
	to        uint64
	answer    func(to uint64, err error)
	abandoned atomic.Bool

	term    uint64 // that is given up; 0: not begun
	expires int64  // then no leader need be known
}

// NewTransfer asks for leadership to be handed to a voting member, or to the
// most up-to-date one that is connected when to is 0. The polling goroutine
// calls answer once, unless the request was abandoned before: err is nil when
// the member named is known to lead, or, when none was named, as soon as this
// member leads no more and another is known to lead or is not within an
// election timeout; otherwise one of this package's errors.
func NewTransfer(to uint64, answer func(to uint64, err error)) *Transfer {
	return &Transfer{named: to, to: to, answer: answer}
}

// Abandon says that nobody waits for the answer any more. Any goroutine. The
// transfer may still come about.
func (t *Transfer) Abandon() { t.abandoned.Store(true) }

// transfers are the requests under way.
type transfers struct {
	mu       sync.Mutex
	arrived  []*Transfer
	waiting  flag
	underway []*Transfer // the polling goroutine's
}

// RequestTransfer hands a request in, to be begun by the next After. Any
// goroutine.
func (m *Member) RequestTransfer(t *Transfer) {
	m.transfers.mu.Lock()
	m.transfers.arrived = append(m.transfers.arrived, t)
	m.transfers.mu.Unlock()
	m.transfers.waiting.set()
}

func (s *transfers) take() {
	if s.waiting.take() {
		s.mu.Lock()
		s.underway = append(s.underway, s.arrived...)
		s.arrived = nil
		s.mu.Unlock()
	}
}

// poll advances every request.
func (s *transfers) poll(m *Member, now int64) {
	s.take()
	if len(s.underway) > 0 {
		done := func(t *Transfer) bool { return m.advance(t, now) }
		s.underway = slices.DeleteFunc(s.underway, done)
	}
}

// close answers the requests that will not be advanced any more.
func (s *transfers) close() {
	s.take()
	for _, t := range s.underway {
		t.answer(t.to, ErrClosed)
	}
	s.underway = nil
}

// advance carries one request a step further and reports that it is over.
func (m *Member) advance(t *Transfer, now int64) bool {
	if t.abandoned.Load() {
		return true
	}
	role, leader, term := m.replica.Role()
	switch {
	case t.term == 0 && !m.leads():
		t.answer(t.to, ErrNotLeader)
	case t.term == 0:
		named := t.to
		if named == 0 {
			named = m.successor(false)
		}
		to, err := m.handOver(named)
		if errors.Is(err, replica.ErrBusy) {
			return false // effects wait for slots; the request waits with them
		}
		if err == nil {
			t.to, t.term = to, term
			t.expires = now + int64(m.cfg.Times.Election)
			return false
		}
		t.answer(t.to, err)
	case role != raft.Leader && leader == 0 && now < t.expires:
		return false // it leads no more, and soon it is known who does
	case role != raft.Leader:
		t.answer(t.to, t.verdict(leader))
	case term == t.term && m.core.Transferring() == t.to:
		return false
	default:
		t.answer(t.to, ErrNotTaken)
	}
	return true
}

// verdict is the answer once this member leads no more and another one does;
// leader is 0 when nobody is known to.
func (t *Transfer) verdict(leader uint64) error {
	switch {
	case t.named == 0 || leader == t.named:
		return nil
	case leader == 0:
		return ErrNobodyWon
	default:
		return fmt.Errorf("%w: member %d leads", ErrAnotherWon, leader)
	}
}

// handOver begins to hand leadership to a member, which is none when to is 0, and
// returns to whom.
func (m *Member) handOver(to uint64) (uint64, error) {
	switch {
	case to == 0:
		return 0, ErrNotConnected
	case to == m.cfg.ID:
		return 0, ErrLeadsAlready
	case !m.core.Votes(to):
		return 0, ErrNotMember
	case m.core.Witness(to):
		return 0, ErrWitness
	case !m.connected(to):
		return 0, ErrNotConnected
	}
	switch err := m.replica.Transfer(to); {
	case errors.Is(err, raft.ErrTransferring):
		return 0, ErrTransferring
	case errors.Is(err, raft.ErrNotMember):
		return 0, ErrNotMember
	case errors.Is(err, raft.ErrWitness):
		return 0, ErrWitness
	default:
		return to, err
	}
}

// successor is the best of the connected voters that have a state: one whose disk has room,
// as far as is known, before others, then one that was heard from lately, then the most
// up-to-date. 0: none is connected, or none has room when that is a must.
func (m *Member) successor(room bool) (to uint64) {
	var best progress.Progress
	for _, l := range m.links {
		p, ok := m.core.Member(l.id)
		if !ok || !m.core.Votes(l.id) || m.core.Witness(l.id) || !m.connected(l.id) ||
			room && !p.Room {
			continue
		}
		if best.ID == 0 || cmp.Or(compare(p.Room, best.Room), compare(p.Active, best.Active),
			cmp.Compare(p.Match, best.Match)) > 0 {
			best = p
		}
	}
	return best.ID
}

// compare puts true behind false.
func compare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
