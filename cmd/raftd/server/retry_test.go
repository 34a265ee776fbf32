package server

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine"
)

// shuffled is a member whose leadership comes and goes, with a leader beside it that it forwards
// to. Both apply to one machine, as a cluster does.
type shuffled struct {
	*rig
	rnd     *rand.Rand
	leader  *rig
	open    *forwarder // connected to leader, nil when it is not
	sent    *wire      // what open has sent
	proxied *conn      // of leader
	back    *wire      // what leader has answered
	done    [2]int     // requests of the two lanes that have their outcome
}

// resolve gives outstanding requests of a lane their outcomes, in their order. Calm: all are
// applied.
func (s *shuffled) resolve(which int, calm bool) {
	r := []*rig{s.rig, s.leader}[which]
	for most := s.rnd.IntN(8); s.done[which] < len(r.lane.sent) && (calm || most > 0); most-- {
		s.done[which]++
		n := uint64(s.done[which])
		switch fate := s.rnd.IntN(10); {
		case calm || fate < 6:
			r.lane.complete(n)
		case fate < 8:
			r.lane.refuse(n, engine.NotApplied, engine.ReasonNotLeader)
		default: // carried out or not, nobody knows
			if fate == 8 {
				r.lane.complete(n)
				r.lane.done = r.lane.done[:len(r.lane.done)-1]
			}
			r.lane.refuse(n, engine.Unknown, engine.ReasonLeadershipLost)
		}
	}
	r.front.completions()
}

// carry moves bytes between the member and the leader, and makes their connections.
func (s *shuffled) carry() {
	for _, l := range s.dialed {
		if l != s.open && l.stop != nil && l.state == forwarderDialing && !l.retired {
			s.cut()
			s.open, s.sent = l, &wire{}
			s.proxied, s.back = s.leader.connect()
			l.opened(s.sent)
		}
	}
	if s.open == nil {
		return
	}
	s.leader.send(s.proxied, s.sent.take())
	if got := s.back.take(); got != "" {
		feed(s.t, s.open, got)
	}
}

// cut ends the connection to the leader. What is under way may arrive, but its answers do not.
func (s *shuffled) cut() {
	if s.open == nil {
		return
	}
	if s.rnd.IntN(2) == 0 {
		s.leader.send(s.proxied, s.sent.take())
	}
	was := s.open
	s.open = nil
	s.proxied.gone()
	was.lost(nil)
}

// TestWhateverGoesAgainGoesOnceAndInOrder has clients pipeline increments and reads while commands
// are refused, lost and answered on both paths at random. Each client's answers are those of its
// commands in their order: an increment is counted once if it was acknowledged, never if it was
// refused, and a read sees what came before it on its connection and nothing behind it.
func TestWhateverGoesAgainGoesOnceAndInOrder(t *testing.T) {
	retried := uint64(0)
	for seed := range uint64(300) {
		s := &shuffled{rnd: rand.New(rand.NewPCG(seed, 1)), rig: newRig(t, nil),
			leader: newRig(t, nil)}
		s.leader.lane.machine = s.lane.machine
		type client struct {
			c    *conn
			w    *wire
			asks []string
		}
		clients := make([]*client, 3)
		for i := range clients {
			clients[i] = &client{}
			clients[i].c, clients[i].w = s.connect()
		}
		for range 200 {
			switch s.rnd.IntN(9) {
			case 0, 1, 2:
				i := s.rnd.IntN(len(clients))
				var input strings.Builder
				for range 1 + s.rnd.IntN(6) {
					ask := []string{"INCR", "INCR", "GET", "PING"}[s.rnd.IntN(4)]
					clients[i].asks = append(clients[i].asks, ask)
					if ask == "PING" {
						input.WriteString("PING\r\n")
					} else {
						input.WriteString(array(ask, fmt.Sprint("k", i)))
					}
				}
				s.send(clients[i].c, input.String())
			case 3, 4:
				s.resolve(s.rnd.IntN(2), false)
			case 5, 6:
				s.carry()
			case 7:
				s.later(time.Duration(s.rnd.IntN(60)) * time.Millisecond)
			default:
				[]func(){s.leads, s.leaderless, s.cut,
					func() { s.follow("127.0.0.1:9000") },
					func() { s.follow("127.0.0.1:9001") }}[s.rnd.IntN(5)]()
			}
		}
		s.leads()
		for range 20 {
			s.resolve(0, true)
			s.resolve(1, true)
			s.carry()
			s.later(100 * time.Millisecond)
		}
		s.cut()
		s.later(3 * time.Second)
		for range 20 {
			s.resolve(0, true)
			s.later(100 * time.Millisecond)
		}
		for i, x := range clients {
			sure, unsure := 0, 0
			replies := x.w.take()
			for n, ask := range x.asks {
				size := replySize([]byte(replies))
				if size <= 0 {
					t.Fatalf("seed %d client %d: %d of %d replies", seed, i, n, len(x.asks))
				}
				reply := replies[:size]
				replies = replies[size:]
				got := 0
				switch {
				case ask == "PING" && reply == "+PONG\r\n":
					continue
				case strings.HasPrefix(reply, "-UNKNOWNRESULT") && ask == "INCR":
					unsure++
					continue
				case strings.HasPrefix(reply, "-TRYAGAIN"),
					strings.HasPrefix(reply, "-CLUSTERDOWN"):
					continue
				case ask == "INCR" && reply[0] == ':':
					fmt.Sscan(reply[1:], &got)
					sure++
				case ask == "GET" && reply[0] == '$':
					if reply != "$-1\r\n" {
						_, digits, _ := strings.Cut(reply, "\r\n")
						fmt.Sscan(digits, &got)
					}
				default:
					t.Fatalf("seed %d client %d: %s is answered with %q", seed, i, ask, reply)
				}
				if got < sure || got > sure+unsure {
					t.Fatalf("seed %d client %d, command %d: %s says %d; %d are sure and %d "+
						"unknown", seed, i, n, ask, got, sure, unsure)
				}
			}
			if replies != "" {
				t.Fatalf("seed %d client %d: %q left over", seed, i, replies)
			}
		}
		s.front.publishCounts()
		retried += s.front.server.Counts().Retried
	}
	if retried < 1000 {
		t.Errorf("only %d commands went again", retried)
	}
}
