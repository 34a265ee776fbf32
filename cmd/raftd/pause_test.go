package main

import (
	"context"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
)

// leads finds the member that says it leads, or none.
func (c *chaos) leads() int {
	for i, p := range c.ps {
		cl := connect(p)
		info, err := cl.Info(context.Background(), "raft").Result()
		_ = cl.Close() // one question each
		if err == nil && strings.Contains(info, "raft_role:leader\r\n") {
			return i
		}
	}
	return -1
}

// TestPausedAtRandom stops raftd processes (SIGSTOP), the leader more often than not, until the
// others have served for a while, and lets them go on: a leader that does not know that it was
// deposed must not answer a read, and what it had taken must come about or be unknown, never be
// said to have happened. Every other time leadership is handed over right after.
func TestPausedAtRandom(t *testing.T) {
	for _, threads := range []string{"fused", "threaded"} {
		t.Run(threads, func(t *testing.T) {
			pauses := 6
			if testing.Short() {
				pauses = 3
			}
			c := &chaos{t: t, ps: startProcesses(t, "--threads", threads)}
			c.load()
			rng := rand.New(rand.NewPCG(uint64(pauses), 4))
			c.progress(100)
			for k := range pauses {
				victim := c.leads()
				if victim < 0 || k%4 == 3 {
					victim = rng.IntN(3)
				}
				p := c.ps[victim].cmd.Process
				if err := p.Signal(syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
				c.progress(50)
				if err := p.Signal(syscall.SIGCONT); err != nil {
					t.Fatal(err)
				}
				c.progress(50)
				if k%2 == 1 {
					c.handTo(victim+1, (victim+1)%3)
				}
			}
			c.verify(pauses, "pauses")
		})
	}
}
