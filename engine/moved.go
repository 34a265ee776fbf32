package engine

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/link"
	"github.com/ringraft/ringraft/engine/internal/member"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/wire"
)

// A member that is reached elsewhere than the configuration says is put right there by the
// leader, with an Update like that of UpdateMember. What it takes:
//
//	a secret         else whoever answers at an address proves nothing
//	a connection     that was dialed to the other address, and whose hello had the directory that
//	                 the configuration has for this member
//	made since       the configuration named the present address: an operator may name the next
//	                 one, and then the member moves there
//	nobody there     the present address was asked several times, and that directory did not
//	                 answer: a name, or a way through a translation of addresses, is left alone

const (
	// moveEvery is how often it is looked whether a member has moved, and how long one may take to
	// answer.
	moveEvery = time.Second
	// moveMisses is how often the address of the configuration is asked in vain before.
	moveMisses = 3
	// moveAgain is how many rounds are let pass after an address that answers, or a change.
	moveAgain = 30
)

// mover looks for members that have moved, on a goroutine of its own. The zero value does not.
type mover struct {
	end  context.CancelFunc // nil: the zero value
	done sync.WaitGroup

	seen map[uint64]*sighting // the goroutine's
}

// sighting is what is known of where a member is.
type sighting struct {
	listed     string // where the configuration has it
	connection uint64 // that there was when that came; 0: none
	to         string // where it is reached; "": there
	misses     int    // of listed; below 0: it is not asked yet
}

// startMover begins, if members prove who they are.
func (e *Engine) startMover() {
	if e.b.secret.keys == nil {
		return
	}
	m, ctx := &e.mover, context.Context(nil)
	ctx, m.end = context.WithCancel(context.Background())
	m.seen = map[uint64]*sighting{}
	m.done.Go(func() {
		tick := time.NewTicker(cmp.Or(e.b.moveEvery, moveEvery))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				e.lookForMoved(ctx)
			}
		}
	})
}

func (m *mover) close() {
	if m.end != nil {
		m.end()
		m.done.Wait()
	}
}

// lookForMoved compares where members are with the committed configuration, once.
func (e *Engine) lookForMoved(ctx context.Context) {
	c := e.committed.Load()
	if c == nil || c.Joint() {
		return
	}
	leads := e.Status().Role == Leader
	free := e.members.Load().Change == "" // one change is made at a time
	for _, m := range c.Members() {
		to, connection := e.reachedAt(&m)
		s := e.mover.seen[m.ID]
		switch {
		case s == nil: // this start of the member has found the address in its journal
			s = &sighting{listed: m.Address}
			e.mover.seen[m.ID] = s
		case s.listed != m.Address:
			*s = sighting{listed: m.Address, connection: connection}
		}
		if to != s.to {
			s.to, s.misses = to, 0
		}
		if !leads || to == "" || m.ID != e.b.id && connection == s.connection {
			continue
		}
		if s.misses++; s.misses <= 0 {
			continue
		}
		if e.answers(ctx, &m) {
			s.misses = -moveAgain
		}
		if s.misses >= moveMisses && free && ctx.Err() == nil {
			s.misses, free = -moveAgain, false
			e.move(m, to)
		}
	}
}

// reachedAt is where a member is reached, if that is elsewhere than the configuration has it,
// and over which connection.
func (e *Engine) reachedAt(m *config.Member) (to string, connection uint64) {
	if m.Directory == (raft.Directory{}) {
		return "", 0
	}
	if m.ID == e.b.id {
		if to = e.ownAddress(); to == m.Address || m.Directory != e.recovery.Directory {
			to = ""
		}
		return to, 0
	}
	p := e.peers.Find(m.ID)
	if p == nil {
		return "", 0
	}
	connection, _ = p.State()
	if connection != 0 && p.Address() != m.Address && p.Session().Directory == m.Directory {
		to = p.Address()
	}
	return to, connection
}

// answers reports that the directory of a member answers where the configuration has it.
func (e *Engine) answers(ctx context.Context, m *config.Member) bool {
	ctx, cancel := context.WithTimeout(ctx, moveEvery)
	defer cancel()
	w, err := link.Ask(ctx, m.Address, link.Question{Keys: e.peers.Keys(), Meeting: &wire.Meeting{
		Name: e.b.name}})
	return err == nil && w.Directory == m.Directory
}

// move asks for the change.
func (e *Engine) move(m config.Member, to string) {
	from := m.Address
	words := fmt.Sprintf("member %d has moved from %s to %s", m.ID, from, to)
	m.Address = to
	e.member.RequestChange(member.NewMove(m, from, func(_ uint64, err error) {
		e.publishStatus()
		if err != nil {
			e.log.Warn(words+"; the configuration still has the old address", "err", err)
			return
		}
		e.log.Info(words + ": the configuration has the new address")
	}))
	e.run.wake()
}
