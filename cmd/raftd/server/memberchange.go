package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/netio/resp"
)

// memberMax bounds how long a client waits for a change of the members. A member that is
// added has to be sent all the keys; one that stands still is given up by the engine.
const memberMax = time.Hour

// changeMembers starts a change of the members. The loop goes on; the reply finds its way
// back like that of any other command. One at a time: each takes a goroutine. The change
// goes on when the client does not wait for it any more.
//
// A member that does not lead asks the leader, on a connection of its own: on the one that
// it shares with its other clients, their commands would wait for minutes.
func (f *front) changeMembers(c *conn, d *command, args [][]byte) {
	x, fault := parseChange(args)
	s := f.server
	switch {
	case fault != "":
		f.tally.faults++
		f.counted(d).Failed++
		c.fault(fault)
		return
	case !f.lead.leading && f.lead.address != "" && s.clusters() && !c.proxied:
		f.tally.refused++
		c.fault(moved(d, args, f.lead.address))
		return
	case !s.changing.CompareAndSwap(false, true):
		f.tally.refused++
		c.fault("TRYAGAIN not changed: another RAFT.MEMBER is under way on this member")
		return
	}
	command := resp.AppendBulks(nil, args...)
	proxied, place := c.proxied, c.queue.push(writeReply)
	f.start(func() {
		reply := s.carryOut(&x, command, proxied)
		s.changing.Store(false)
		// The server is closing when it cannot be done in the loop, and the connection with it.
		_ = f.do(func() { f.membersChanged(c, d, place, reply) })
	})
}

// carryOut returns the reply to a change, here or from the leader.
func (s *Server) carryOut(x *memberChange, command []byte, proxied bool) []byte {
	ctx, cancel := context.WithTimeout(context.Background(), memberMax)
	defer cancel()
	asks := !proxied && !s.clusters()
	if lead := s.leadership(); asks && !lead.leading && lead.address != "" {
		return s.runErrand(ctx, lead.address, command)
	}
	err := x.run(ctx, *s.members.Load())
	var who *engine.Error
	switch {
	case err == nil:
		return resp.AppendOK(nil)
	case errors.As(err, &who) && who.LeaderAddress != "" && asks: // it has just handed over
		return s.runErrand(ctx, who.LeaderAddress, command)
	}
	return resp.AppendError(nil, memberFault(x, err))
}

func (f *front) membersChanged(c *conn, d *command, place uint64, reply []byte) {
	f.leadUntil = 0
	if reply[0] == '-' {
		f.tally.refused++
		f.counted(d).Failed++
	}
	c.answer(place, reply)
	f.finish()
}

// memberFault words why the members were not changed as asked, and what to do next.
func memberFault(x *memberChange, err error) string {
	why := oneLine(strings.TrimPrefix(err.Error(), "ringraft: "))
	var who *engine.Error
	var wrong *engine.ConfigError
	switch {
	case errors.As(err, &who):
		return notLeading("not changed", who)
	case errors.As(err, &wrong):
		return "ERR not changed: " + oneLine(wrong.Problem)
	case errors.Is(err, engine.ErrChanging):
		return "TRYAGAIN " + why
	case errors.Is(err, engine.ErrMembership) && !errors.Is(err, engine.ErrUnknownOutcome):
		return "ERR " + why + x.next(err)
	}
	return "UNKNOWNRESULT the members may have been changed or not; see RAFT.MEMBER LIST: " + why
}

// next says what to do after an error.
func (x *memberChange) next(err error) string {
	comes := x.verb == "add" || x.verb == "replace"
	switch {
	case errors.Is(err, engine.ErrNotConnected) && comes:
		return fmt.Sprintf("; is member %d up, started with --join, and reached there by the "+
			"leader? See RAFT.MEMBER LIST for the others", x.id)
	case errors.Is(err, engine.ErrNotConnected), errors.Is(err, engine.ErrNotMember):
		return "; see RAFT.MEMBER LIST"
	case errors.Is(err, engine.ErrMember) && x.verb == "replace" && x.id == x.old:
		return "; REPLACE with its own id is for one that has lost its directory, and does not lead"
	case errors.Is(err, engine.ErrMember) && x.verb == "add":
		return "; to change it: RAFT.MEMBER PROMOTE, DEMOTE, SET or REPLACE"
	case errors.Is(err, engine.ErrBehind):
		return fmt.Sprintf("; when it is well, RAFT.MEMBER PROMOTE %d, or REMOVE it", x.id)
	case errors.Is(err, engine.ErrKind) && comes:
		return "; WITNESS goes with --witness, and only with that"
	case errors.Is(err, engine.ErrTooMany):
		return "; remove one first, or add a learner"
	case errors.Is(err, engine.ErrLastVoter):
		return "; add another voter first"
	case errors.Is(err, engine.ErrOtherDirectory):
		return fmt.Sprintf("; is that address the one of member %d? One that lost its directory "+
			"needs RAFT.MEMBER REPLACE", x.id)
	}
	return ""
}
