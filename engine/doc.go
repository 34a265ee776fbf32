// Package engine is a Raft engine whose data path is a Disruptor-style ring
// pipeline over an O_DIRECT journal.
//
// # Use
//
// A program embeds one member of a cluster. It brings a StateMachine, to which
// committed commands are applied, and starts an Engine with what New returns:
//
//	e, err := engine.New().ID(1).Dir("data").Members(…).StateMachine(sm).Start(ctx)
//	err = e.Ready(ctx)                        // a leader is known
//	reply, err := e.Propose(ctx, command)     // a write
//	answer, err := e.Read(ctx, query)         // a linearizable read
//	err = e.Shutdown(ctx)                     // leadership is handed over, then Close
//
// Builder checks nothing before Start, whose *ConfigError names the method to change. The page
// docs/embedding.md goes from there to a cluster of three processes.
//
// Propose and Read wait for their answer. A Lane does not: it takes many requests
// from one goroutine and allocates nothing for them. Builder.Serve registers a front
// end whose connections live on the engine's own network loops, each with a lane of
// its own.
//
// A StateMachine that is a Snapshotter too lets the log before a snapshot go. One that is a
// DiskMachine keeps its state on disk itself, and a start goes on from there.
//
// A request was applied, certainly was not, or may have been: Outcome, and Error for
// the last two.
//
// Members come and go while the cluster runs. Builder.Join makes an empty directory one of
// a cluster that there is, Engine.AddMember and the like change who belongs to it, and
// Engine.Membership says who does; Engine.Changed tells of each change, of the leader's, too.
// Those that share a secret, Builder.SecretFile, take nobody else for a member, and what they
// say to each other is encrypted.
//
// # The way of one command
//
// What follows is the map of the inside: where a command goes, by which functions,
// and where its bytes are copied. Lane, Engine and StateMachine are of this package.
// The rooms inside are raft, which decides and never sees a byte; replica, which
// calls it and carries out what it decides; pipeline, which moves bytes; peer, which
// replicates to one member; wire, what members say to each other; link, which
// connects them and knows who may connect as whom; and member, all of these
// assembled. Beneath them are ziplist, the log in memory, journal, ring and netio.
//
//	LEADER
//	1  bytes arrive, a front end finds a command     netio.Conn.receive → its Handler.Data
//	2  it is encoded into the lane's open batch      Lane.Write, pipeline.Lane.Write       copy 1
//	   batches are handed over, the engine woken     Lane.Flush, runner.wake
//	3  a batch is taken and proposed to the core     replica.Replica.takeWrites → claim
//	   the core answers with an effect: append it    raft.Core.Propose
//	   which is carried out: a slot is claimed       replica.outbox.carry → Replica.mutate
//	   and the batch waits in the reply window       Replica.fromLane, pipeline.Notices.Run
//	4  the store cuts where the slot says, appends   pipeline.Append.Poll,
//	                                                 ziplist.Store.Append                  copy 2
//	5a out of the store into frames, one writev      peer.Actor.Poll →
//	                                                 link.Peer.Send → netio.Conn.Writev
//	5b into blocks of the journal's open group       pipeline.Journal.Poll,
//	                                                 journal.Journal.Append                copy 3
//	   one write for all that gathered               journal.Journal.Poll
//	6  durable here: the sequence, then the index    replica.Replica.takeDurable →
//	                                                 raft.Core.Durable
//	   or there: acknowledgements come as frames     netio.Frames.Data → replica.Replica.step →
//	                                                 raft.Core.Step
//	7  a quorum has it: commit, an effect again      raft.Core.advance →
//	                                                 replica.Replica.publishReady
//	8  entries are applied in the order of indices   pipeline.Apply.Poll → StateMachine.Apply
//	                                                 → Replies.End                         reply 1
//	   replies go to the lanes that wait for them    pipeline.Lane.complete                reply 2
//	9  the lane's owner is notified, takes them      pipeline.Apply.notify → loopLane.notify,
//	                                                 Lane.Next
//	   a front end puts them in request order        its Env.OnCompletions                 reply 3
//	   and writes each connection once               netio.Conn.Write
//
//	FOLLOWER
//	1  a frame gathers in its inbox, is verified     netio.Frames.Data                     copy 1
//	2  its header goes to the core, which rejects    replica.Replica.takeFrames → step →
//	   it, knows it already, or appends it           raft.Core.Step
//	3  carried out: claim, cut, append               replica.Replica.mutate → fromFrame,
//	                                                 pipeline.Append.Poll                  copy 2
//	4  journal                                       pipeline.Journal.Poll                 copy 3
//	5  when it is durable, an acknowledgement:       replica.Replica.takeDurable →
//	   min(durable, verified)                        raft.Core.Durable → link.Peer.Send
//	6  the leader's commit, at most verified:        replica.Replica.publishReady →
//	   apply                                         pipeline.Apply.Poll → StateMachine.Apply
//
//	A READ
//	1  it waits in the lane's ring of reads          Lane.Read, Lane.Flush
//	2  it gets the next round of heartbeats          replica.Replica.takeReads →
//	                                                 raft.Core.Read
//	3  a quorum has answered the round               raft.Core.Step, then Notices.Confirm
//	4  answered when its index is applied            pipeline.Apply.answerReads →
//	                                                 StateMachine.Read
//	-  or refused when the leader is deposed first   replica.Replica.dropReads →
//	                                                 pipeline.Notices.RefuseReads
//
//	A VOTE
//	1  another member asks for it                    replica.Replica.step → raft.Core.Step
//	2  term and vote are a mutation of their own     replica.outbox.carry → Replica.mutate
//	3  the answer waits for it                       replica.Replica.send, gate.hold
//	4  state file, then batch: durable               pipeline.Journal.Poll,
//	                                                 journal.Journal.Poll
//	5  the answer leaves                             replica.Replica.takeDurable
//
// A reply is copied three times: into the buffer of Replies, by the state machine; into
// the lane's ring of replies; into the connection's output, by a front end. A read is
// answered into a buffer of apply's instead of the first. A reply that comes before an
// earlier one of its connection is kept, and copied once more. What the socket does not
// take is copied by netio. A command that a follower forwarded goes through a front end
// on both members. Whoever uses a lane without a front end reads the second copy.
//
// Three things that the table does not show:
//
//   - Step 3 is a loop through the core. Nothing is claimed when a batch is taken: the
//     core is asked, and the claim happens while its effect is carried out. When no
//     slot is free the effects wait, and the core is not asked again before they are
//     out.
//   - With threads fused, steps 3 to 9 are done in one call stack of the network loop,
//     over as many turns as disks and members take: netio.Loop.answer → Engine.pollLoop →
//     runner.poll → member.Member.Poll → replica.Replica.Poll. That calls each stage's
//     Poll, the last of them pipeline.Apply.Poll → pipeline.Apply.notify → the front end's
//     completions. So a front end answers, and flushes new commands, inside the replica's
//     poll, which takes them in its next round. Only writes to the disk that are not quick
//     have a goroutine of their own. With threads threaded, replica and apply have one each.
//     Then link.Peer.Send copies a frame for the loop that owns the connection, and
//     loopLane.notify wakes the loop that owns the lane.
//   - After a start the store is empty. Recovery (Engine.open, journal.Open,
//     replica.Recovered) hands on terms and indices alone; the entries come back from
//     disk when apply asks for them, once a leader has reported that they are committed:
//     pipeline.Apply.read → member.journalRead.Fetch → journal.Reader.ReadOn.
//
// Two number lines tie it together: sequences count mutations, changes of the log or
// of term and vote, and only grow; indices count log entries and may fall back, never
// below commit.
//
//	sequence line   claimed ──► stored ──► durable
//	index line      commit ──► applied
package engine
