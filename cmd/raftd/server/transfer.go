package server

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/netio/resp"
)

// transferMax bounds RAFT.TRANSFER. The engine gives a transfer up after an election timeout; it is
// slower only when its own loop stands still.
const transferMax = 10 * time.Second

// transfer starts RAFT.TRANSFER [member-id] on the leader. The loop goes on; the reply finds its
// way back like that of any other command. One at a time: each takes a goroutine.
func (f *front) transfer(c *conn, args [][]byte) {
	to, ok := uint64(0), true
	if len(args) == 2 {
		var err error
		to, err = strconv.ParseUint(string(args[1]), 10, 64)
		ok = err == nil && to > 0
	}
	switch {
	case len(args) > 2:
		f.tally.faults++
		c.fault(arityFault("raft.transfer"))
		return
	case !ok:
		f.tally.faults++
		c.fault("ERR '" + printable(args[1], 32) + "' is not a member id; see INFO raft")
		return
	case !f.server.transferring.CompareAndSwap(false, true):
		f.tally.refused++
		c.fault("TRYAGAIN not transferred: another RAFT.TRANSFER is under way")
		return
	}
	place := c.queue.push(writeReply)
	s := f.server
	f.start(func() {
		ctx, cancel := context.WithTimeout(context.Background(), transferMax)
		defer cancel()
		err := (*s.transfer.Load())(ctx, to)
		s.transferring.Store(false)
		// The server is closing when it cannot be done in the loop, and the connection with it.
		_ = f.do(func() { f.transferred(c, place, err) })
	})
}

func (f *front) transferred(c *conn, place uint64, err error) {
	f.leadUntil = 0
	if err == nil {
		f.reply = resp.AppendOK(f.reply[:0])
	} else {
		f.tally.refused++
		f.reply = resp.AppendError(f.reply[:0], transferFault(err))
	}
	c.answer(place, f.reply)
	f.finish()
}

// transferFault words why leadership was not handed over as asked.
func transferFault(err error) string {
	why := strings.TrimPrefix(err.Error(), "ringraft: ")
	var who *engine.Error
	switch {
	case errors.As(err, &who):
		return notLeading("not transferred", who)
	case errors.Is(err, engine.ErrNotTaken), errors.Is(err, engine.ErrTransferring),
		errors.Is(err, engine.ErrNobodyWon):
		return "TRYAGAIN " + why
	case errors.Is(err, engine.ErrTransfer):
		return "ERR " + why
	}
	return "UNKNOWNRESULT leadership may have been handed over or not: " + why
}

// notLeading words that this member does not lead, and who does.
func notLeading(what string, who *engine.Error) string {
	says := "TRYAGAIN " + what + ": this member does not lead"
	if who.Leader == 0 {
		return says + ", and no leader is known"
	}
	says = fmt.Sprintf("%s; the leader is member %d", says, who.Leader)
	if who.LeaderAddress != "" {
		says += " at " + who.LeaderAddress
	}
	return says
}
