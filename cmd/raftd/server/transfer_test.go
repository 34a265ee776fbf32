package server

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/ringraft/ringraft/engine"
)

// handing makes transfers end when the test says so: it returns what runs the
// one begun, with its outcome.
func (r *rig) handing() (begun func() uint64, end func(err error)) {
	var run func()
	var to uint64
	var outcome error
	transfer := func(_ context.Context, id uint64) error { to = id; return outcome }
	r.front.server.transfer.Store(&transfer)
	r.front.start = func(f func()) { run = f }
	r.front.do = func(f func()) error { f(); return nil }
	return func() uint64 { return to }, func(err error) { outcome = err; run() }
}

func TestTransferAnswersInItsPlace(t *testing.T) {
	r := newRig(t, nil)
	to, end := r.handing()
	c, w := r.connect()
	r.send(c, array("RAFT.TRANSFER", "2")+array("PING")+array("SET", "k", "v"))
	r.lane.complete(1)
	r.front.completions()
	expect(t, "nothing overtakes it", w.take(), "")
	other, wo := r.connect()
	r.send(other, array("PING")+array("RAFT.TRANSFER"))
	expect(t, "the loop goes on, and takes one at a time", wo.take(),
		"+PONG\r\n-TRYAGAIN not transferred: another RAFT.TRANSFER is under way\r\n")
	end(nil)
	expect(t, "then all", w.take(), "+OK\r\n+PONG\r\n+OK\r\n")
	if to() != 2 {
		t.Fatalf("handed to %d", to())
	}
	r.send(c, array("RAFT.TRANSFER", "18446744073709551615"))
	end(nil)
	expect(t, "to the largest id that --id takes", w.take(), "+OK\r\n")
	if to() != 1<<64-1 {
		t.Fatalf("handed to %d", to())
	}
	r.send(c, array("raft.transfer"))
	end(nil)
	expect(t, "to whoever is best", w.take(), "+OK\r\n")
	if to() != 0 {
		t.Fatalf("handed to %d", to())
	}
}

func TestTransferSaysWhyNot(t *testing.T) {
	r := newRig(t, nil)
	_, end := r.handing()
	c, w := r.connect()
	for _, x := range []struct {
		err  error
		says string
	}{
		{&engine.TransferError{To: 9, Cause: engine.ErrNotMember},
			"-ERR leadership was not transferred to member 9: there is no such voting member"},
		{&engine.TransferError{To: 1, Cause: engine.ErrLeadsAlready},
			"-ERR leadership was not transferred to member 1: it leads already"},
		{&engine.TransferError{Cause: engine.ErrNotConnected},
			"-ERR leadership was not transferred to another member: it is not connected"},
		{&engine.TransferError{To: 2, Cause: engine.ErrNotTaken},
			"-TRYAGAIN leadership was not transferred to member 2: it did not take over within " +
				"an election timeout"},
		{&engine.TransferError{To: 2, Cause: fmt.Errorf("%w: member 3 leads",
			engine.ErrAnotherWon)},
			"-ERR leadership was not transferred to member 2: another member won the election: " +
				"member 3 leads"},
		{&engine.TransferError{To: 2, Cause: engine.ErrNobodyWon},
			"-TRYAGAIN leadership was not transferred to member 2: nobody is known to have won " +
				"the election yet"},
		{&engine.Error{Outcome: engine.NotApplied, Reason: engine.ReasonNotLeader, Leader: 2,
			LeaderAddress: "127.0.0.1:9"},
			"-TRYAGAIN not transferred: this member does not lead; the leader is member 2 at " +
				"127.0.0.1:9"},
		{&engine.Error{Outcome: engine.NotApplied, Reason: engine.ReasonNotLeader, Leader: 2},
			"-TRYAGAIN not transferred: this member does not lead; the leader is member 2"},
		{&engine.Error{Outcome: engine.NotApplied, Reason: engine.ReasonNotLeader},
			"-TRYAGAIN not transferred: this member does not lead, and no leader is known"},
		{context.DeadlineExceeded,
			"-UNKNOWNRESULT leadership may have been handed over or not: context deadline " +
				"exceeded"},
		{engine.ErrClosed, "-UNKNOWNRESULT leadership may have been handed over or not: engine " +
			"closed"},
	} {
		r.send(c, array("RAFT.TRANSFER", "9"))
		end(x.err)
		expect(t, x.err.Error(), w.take(), x.says+"\r\n")
	}
	for _, x := range [][2]string{
		{array("RAFT.TRANSFER", "two"), "-ERR 'two' is not a member id; see INFO raft\r\n"},
		{array("RAFT.TRANSFER", "0"), "-ERR '0' is not a member id; see INFO raft\r\n"},
		{array("RAFT.TRANSFER", "18446744073709551616"),
			"-ERR '18446744073709551616' is not a member id; see INFO raft\r\n"},
		{array("RAFT.TRANSFER", "+2"), "-ERR '+2' is not a member id; see INFO raft\r\n"},
		{array("RAFT.TRANSFER", ""), "-ERR '' is not a member id; see INFO raft\r\n"},
		{array("RAFT.TRANSFER", "-1"), "-ERR '-1' is not a member id; see INFO raft\r\n"},
		{array("RAFT.TRANSFER", "1", "2"), "-ERR wrong number of arguments for 'raft.transfer' " +
			"command\r\n"},
	} {
		r.send(c, x[0])
		expect(t, x[0], w.take(), x[1])
	}
}

// The client that asked may be gone when the answer comes.
func TestTransferOutlivesItsClient(t *testing.T) {
	r := newRig(t, nil)
	_, end := r.handing()
	c, w := r.connect()
	r.send(c, array("RAFT.TRANSFER"))
	c.gone()
	end(errors.New("whatever"))
	expect(t, "no answer", w.take(), "")
	c, w = r.connect()
	r.send(c, array("RAFT.TRANSFER"))
	end(nil)
	expect(t, "the next one", w.take(), "+OK\r\n")
}

func TestTransferIsForwarded(t *testing.T) {
	r := newRig(t, nil)
	r.follow("127.0.0.1:9000")
	c, w := r.connect()
	r.send(c, array("RAFT.TRANSFER", "1"))
	l := r.dialed[0]
	far := r.opens(l)
	expect(t, "forwarded", far.take(), array("RAFT.TRANSFER", "1"))
	r.status.Role, r.status.Leader, r.front.leadUntil = engine.Leader, 1, 0 // it worked
	feed(t, l, "+OK\r\n")
	expect(t, "reply", w.take(), "+OK\r\n")

	r.follow("127.0.0.1:9001")
	r.send(c, array("RAFT.TRANSFER", "1"))
	l = r.dialed[1]
	r.opens(l)
	l.lost(nil)
	expect(t, "a connection lost while it was under way", w.take(), "-"+unknownResult+"\r\n")

	r = newRig(t, func(c *Config) { c.Follower = Redirect })
	r.follow("127.0.0.1:9000")
	c, w = r.connect()
	r.send(c, array("RAFT.TRANSFER"))
	expect(t, "redirected", w.take(), "-MOVED 0 127.0.0.1:9000\r\n")
}

// A leader deposed whose loop hangs keeps its connections and answers nothing.
func TestRetiredForwarderIsGivenUp(t *testing.T) {
	r := newRig(t, nil)
	r.follow("127.0.0.1:9000")
	c, w := r.connect()
	r.send(c, array("SET", "k", "v"))
	l := r.dialed[0]
	r.opens(l)
	r.follow("127.0.0.1:9001")
	r.send(c, array("GET", "k"))
	r.front.tick()
	r.opens(r.dialed[1])
	expect(t, "the old leader may answer yet", w.take(), "")
	r.now += retiredMax
	r.front.finish()
	expect(t, "then the outcome is unknown", w.take(), "-"+unknownResult+"\r\n")
	if l.stop != nil || len(r.front.retired) != 0 {
		t.Fatal("the forwarder is kept")
	}
	feed(t, r.dialed[1], "$1\r\nv\r\n")
	expect(t, "the new leader answers the rest", w.take(), "$1\r\nv\r\n")
}
