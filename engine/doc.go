// Package engine is a Raft engine whose data path is a Disruptor-style ring
// pipeline over an O_DIRECT journal. This page is the map: where one command
// goes, and who owns it on the way.
//
//	LEADER                                                       owner
//	1 bytes arrive, limits checked                               netio loop
//	2 command encoded into a batch of the loop's lane            pipeline.Lane            copy 1
//	3 claim: first, count, term; the batch enters the window     replica
//	4 cut where the slot says, append to the term's list         pipeline.Append, ziplist copy 2
//	5a frame: header + the store's bytes, one writev             peer.Actor → link.Peer
//	5b group of mutations into aligned blocks, one write         pipeline.Journal         copy 3
//	6 durable sequence → durable index; acks arrive as frames    replica (durable.go)
//	7 quorum of positions → commit → ready                       raft.Core
//	8 entries applied in index order, replies to the lanes       pipeline.Apply
//	9 replies leave in request order, one write per connection   front end, in the loop
//
//	FOLLOWER
//	1 frame assembled in its ring, checksum verified             netio loop               copy 1
//	2 header to the core: reject, duplicate or mutate            replica → raft.Core
//	3 cut, and append to the store (bytes already encoded)       pipeline.Append          copy 2
//	4 journal batch; durable index                               pipeline.Journal         copy 3
//	5 gated ack: match = min(durable, verified)                  replica → link.Peer
//	6 the leader's commit, at most verified → ready → apply      pipeline.Apply
//
// Two number lines tie it together: sequences count mutations and only grow;
// indices count log entries and may fall back, never below commit.
//
//	sequence line   claimed ──► stored ──► durable
//	index line      commit ──► applied
//
// Rooms: raft decides (pure, no bytes), replica drives, pipeline moves bytes,
// peer replicates, link connects the members and says who may connect as whom,
// wire is what replicas say to each other. With threads fused every stage is
// polled by the network loop and one more goroutine writes; threaded gives
// loops, pipeline, apply and writer goroutines of their own.
package engine
