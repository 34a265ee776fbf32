// Package raft is the consensus core: a step function over indices and terms.
//
// A [Core] is called by one goroutine with what happened (a message header, ticks, disk progress,
// proposals, reads) and appends what is to be done to the caller's [Effects], which the caller
// carries out in order before the next call. The core never sees an entry's bytes, a clock, a
// socket or a sequence number, starts no goroutine, and draws its random numbers from a seed, so
// that a run is repeated by repeating its calls.
//
// The caller's duties:
//
//  1. Carry out effects in order. A gated Send leaves only when the hard state of the newest Mutate
//     before it is durable; no other effect waits for the disk.
//  2. Report the own disk by Durable and DurableHard, in indices and terms of the present log: a
//     write that was overruled later must not count for what overruled it.
//  3. Deliver headers only of frames whose checksum is right, and carry out a Mutate from Frame
//     with exactly the entries of the Append being stepped.
//  4. After a frame with configuration entries, tell them by PutConfig in log order; at start
//     replay those of the log after Options.Config.
//  5. Give every start another seed.
//  6. Say by Compact, after it is done, that the log begins later, and step no snapshot that is not
//     whole and verified. A Restore is written in the order of the Mutates, and counts as one for
//     Durable: until it is durable, nothing from its First on is.
//  7. Stamp each message with the data directory that its connection has proved, and Forget a
//     member that speaks for another one than before.
//
// Where to read on: step.go (the table of handlers), election.go, append.go (follower), leading.go
// (leader), snapshot.go, reads.go, config.go, identity.go, probation.go.
package raft
