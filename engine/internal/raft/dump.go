package raft

import "fmt"

// String is one line for people.
func (c *Core) String() string {
	return fmt.Sprintf("%d: %s leader %d term %d vote %d log %d-%d/%d durable %d verified %d "+
		"commit %d", c.id, c.role, c.leader, c.hard.Term, c.hard.Vote, c.log.first, c.log.last,
		c.log.lastTerm(), c.durable, c.verified, c.commit)
}

// Dump is the whole state, for the last words of a panic.
func (c *Core) Dump() string {
	b := fmt.Sprintf("%s\n  terms %v\n  durable hard %v\n", c, c.log.runs, c.durableHard)
	b += fmt.Sprintf("  election %+v granted %b refused %b last resort %b\n",
		c.election, c.granted, c.refused, c.lastResort)
	b += fmt.Sprintf("  leading %+v round %d transfer %+v probation %+v\n",
		c.leading, c.round, c.transfer, c.probation)
	b += fmt.Sprintf("  directory %x refused %t\n", c.directory, c.Refused())
	for _, conf := range c.configs {
		b += fmt.Sprintf("  configuration %+v\n", conf)
	}
	for i := range c.n {
		b += fmt.Sprintf("  member %s\n", &c.members[i])
	}
	b += fmt.Sprintf("  counters %+v\n", c.counters)
	return b
}

// check panics with the whole state when an invariant is broken: going on would be worse.
func (c *Core) check(ok bool, what string) {
	if !ok {
		panic("raft: " + what + "\n" + c.Dump())
	}
}
