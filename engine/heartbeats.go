package engine

import (
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/replica"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/netio/multicast"
)

// Heartbeats in datagrams to the group of Builder.Discover. What they may bring about is up to
// replica.Replica.Hear, and is nothing that connections have not said. Sending has a goroutine of
// its own, so that the replica never waits for a socket; hearing is in the connection's.

// HeartbeatStatus counts the heartbeats of this member's leaderships, and those of others in
// datagrams, since the start.
type HeartbeatStatus struct {
	Alone     uint64 // sent over a connection, to one member each
	Multicast uint64 // sent in a datagram, to all who hear the group
	// Hearing is how many members a leader leaves to datagrams now: they have answered the last.
	Hearing int
	Heard   uint64 // datagrams that were taken for a sign of life of the leader
	// Refused are those that came in time and said what connections have not: of another term or
	// leader, or while its connection brought nothing.
	Refused uint64
}

// beater is how the replica sends to the group.
type beater struct {
	cluster uint64
	out     chan<- wire.Beat
}

// group is how the replica sends heartbeats to the group; nil: there is none.
func (a *announcer) group(cluster uint64) replica.Group {
	if a.conn == nil {
		return nil
	}
	return beater{cluster, a.beats}
}

// Send implements replica.Group. While the one before waits for the socket this one is lost: then
// nobody answers it, and each member is sent its own.
func (b beater) Send(m *raft.Message, number uint64) {
	select {
	case b.out <- wire.BeatOf(b.cluster, m, number):
	default:
	}
}

// beat sends what the replica has to send until it is stopped.
func (a *announcer) beat() {
	room := make([]byte, 0, wire.BeatSize)
	for {
		select {
		case <-a.stop:
			return
		case b := <-a.beats:
			_ = a.conn.SendShort(b.Append(room)) // counted; it is one that is lost
		}
	}
}

// hearBeat takes a heartbeat; in the connection's goroutine.
func (a *announcer) hearBeat(d multicast.Datagram) {
	b, err := wire.ParseBeat(d.Payload)
	a.mu.Lock()
	e := a.e
	a.mu.Unlock()
	if err != nil || e == nil || b.Cluster != e.membership.Cluster {
		return
	}
	e.member.Replica().Hear(d.Directory, b)
	e.run.wake()
}
