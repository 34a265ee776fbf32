package engine

import "testing"

// inLoop runs f in the goroutine that polls a fused engine, and waits for it.
func inLoop(t *testing.T, e *Engine, f func()) {
	t.Helper()
	done := make(chan struct{})
	if err := e.net.Loops()[0].Do(func() { f(); close(done) }); err != nil {
		t.Fatal(err)
	}
	<-done
}

// The way to a member is unmade and made again while the cluster serves: the
// member receives nothing meanwhile, and has everything afterwards.
func TestAMemberIsDisconnectedAndConnectedAgain(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.add(1)
	lead := c.leader()
	e, third := c.engines[lead], (lead+1)%3
	id := uint64(third + 1)
	for i, other := range c.engines { // from both sides, or it would campaign
		if i != third {
			inLoop(t, other, func() { other.member.Disconnect(id); other.peers.Remove(id) })
		}
	}
	commands := func() uint64 { _, n := c.sms[third].state(); return n }
	until(t, "its connections to be closed", func() bool {
		for _, m := range c.engines[third].Status().Members {
			if m.ID != id && m.Connected {
				return false
			}
		}
		return true
	})
	before := commands()
	for range 100 {
		c.add(1)
	}
	if n := commands(); n != before {
		t.Errorf("%d commands reached a member that is disconnected", n-before)
	}
	if s := e.Status(); s.Role != Leader || len(s.Members) != 2 {
		t.Errorf("%v knows %d members", s.Role, len(s.Members))
	}
	for i, other := range c.engines {
		if i != third {
			inLoop(t, other, func() { other.member.Connect(id) })
		}
	}
	until(t, "it has everything", func() bool { sum, _ := c.sms[third].state(); return sum == 101 })
}
