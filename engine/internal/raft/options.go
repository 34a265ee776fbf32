package raft

import (
	"errors"
	"fmt"
)

// Hard is what must survive a crash beside the log: the term, and whom it was given the vote in it
// (0: nobody).
type Hard struct{ Term, Vote uint64 }

// Options is what a core starts from: the recovered state and the rules of time.
type Options struct {
	ID uint64 // this replica, not 0
	// this replica's data directory; zero: none, and then a member that is bound is not this one
	Directory Directory
	// the one in force at its Index; newer ones of the log follow by PutConfig
	Config Configuration
	Hard   Hard

	// the log's bounds; First 1 for a whole log, Last = First-1 for an empty one
	First, Last uint64
	Runs        []TermRun // terms of the log, copied; they may begin before First
	// the newest snapshot, or zero: First-1 at least, and at most Commit. It says the term of
	// entry First-1 where Runs do not.
	Snapshot Position
	Commit   uint64 // known to be committed, at most Last

	HeartbeatTicks int    // between two heartbeats of a leader
	ElectionTicks  int    // the least election timeout; each one is drawn from [E, 2E)
	Seed           uint64 // of the random numbers; another one after each start
	Probation      bool   // the log may have lost acknowledged entries: see probation.go
	Witness        bool   // this replica keeps no state, whatever a configuration says of it
}

// Position is an entry's index and term. The zero Position is before all entries.
type Position struct{ Index, Term uint64 }

// Errors of New, Transfer, Change and StepSnapshot; they are returned bare or wrapped.
var (
	ErrNotLeader    = errors.New("raft: not the leader")
	ErrNotMember    = errors.New("raft: not a voting member")
	ErrTransferring = errors.New("raft: leadership is being transferred")
	ErrPending      = errors.New("raft: an earlier change or the leader's no-op is not committed")
	ErrBadChange    = errors.New("raft: the configurations' quorums might not meet")
	ErrFounded      = errors.New("raft: the replica has a log or a configuration already")
	ErrWitness      = errors.New("raft: a witness does not lead")
	ErrBadSnapshot  = errors.New("raft: not a snapshot")
)

// NumberMax bounds terms, indices and rounds, so that no arithmetic of the core overflows: each is
// below it, in what is recovered, in messages, and in what the core makes itself.
const NumberMax = 1 << 62

// leapMax is how much higher than the own term a message's may be. An election takes a few
// milliseconds at least, so an honest cluster is not so far ahead before most of a year of nothing
// but elections; and whoever adopted a term near the bound could never be led again.
const leapMax = 1 << 32

// New makes a follower from recovered state. The whole recovered log counts as durable.
func New(o Options) (*Core, error) {
	c := &Core{
		id: o.ID, directory: o.Directory, hard: o.Hard, durableHard: o.Hard, self: -1,
		commit: o.Commit, verified: o.Commit, durable: o.Last,
		heartbeatTicks: o.HeartbeatTicks, electionTicks: o.ElectionTicks,
		random: random{state: o.Seed}, witness: o.Witness,
	}
	if err := o.valid(); err != nil {
		return nil, err
	}
	if err := c.log.open(&o); err != nil {
		return nil, err
	}
	if err := o.Config.valid(); err != nil {
		return nil, err
	}
	c.configs = append(c.configs, o.Config.clone())
	c.seat()
	c.round = c.random.next() % (NumberMax / 4)
	c.drawTimeout()
	if o.Probation {
		c.probation.nonce = c.random.next()%(NumberMax-1) + 1
	}
	return c, nil
}

func (o *Options) valid() error {
	switch {
	case o.ID == 0:
		return errors.New("raft: the replica has no id")
	case o.HeartbeatTicks < 1 || o.ElectionTicks <= o.HeartbeatTicks:
		return fmt.Errorf("raft: heartbeat ticks %d, election ticks %d", o.HeartbeatTicks,
			o.ElectionTicks)
	case o.Commit > o.Last || o.Commit+1 < o.First:
		return fmt.Errorf("raft: commit %d, log %d-%d", o.Commit, o.First, o.Last)
	case o.Hard.Term >= NumberMax || o.Last >= NumberMax:
		return errors.New("raft: term or index out of range")
	case o.Snapshot.Index > o.Commit || o.Snapshot.Index > 0 && o.Snapshot.Index+1 < o.First:
		return fmt.Errorf("raft: snapshot %d, log %d-%d, commit %d", o.Snapshot.Index, o.First,
			o.Last, o.Commit)
	}
	return nil
}
