// Package link connects one replica with the other members of its cluster and
// decides who may connect as whom.
//
// Each member dials every other one and sends on the connection it dialed;
// the frames of the others arrive on the connections that they dialed. So a
// connection has one writer and one reader, and needs no tie-break.
//
//	dialer: Peer                               acceptor: Inbox
//	  │  Hello: versions, cluster, from, to,      │
//	  │  directory, incarnation, limits, …        │
//	  ├──────────────────────────────────────────►│ admitted, or a Refusal
//	  │  Welcome: the same of its side, grant,    │
//	  │  why it refuses                           │
//	  │◄──────────────────────────────────────────┤
//	  │  appends within the grant, votes, acks,   │
//	  │  heartbeats                               │
//	  ├──────────────────────────────────────────►│ ring of frames ─► replica
//
// A connection without a hello, or without a welcome, is closed after a while;
// those without a hello are few, and take no member's place.
//
// Peers is the table of members: a member is dialed and may connect from Add
// until Remove. Three goroutines meet here, of which two are one when the
// stages are fused:
//
//	polling goroutine   Send and Flush; it takes the frames of the inboxes
//	the loop of Start   dialed connections; Drain
//	any netio loop      accepted connections
//
// What the methods of Peers and Peer may be called from is said at each; those
// that say nothing may be called from any goroutine.
package link
