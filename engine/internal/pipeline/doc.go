// Package pipeline moves the bytes of a member: requests in, entries to store
// and disk, replies out. It never asks which role the member has.
//
//	owner ──► Lane ──► (replica claims a Slot) ──► Append ──► Journal ──► disk
//	            ▲                                    │
//	            │                                    ▼ store
//	            └──────── completions ◄── Apply ◄── entries up to Ready
//	                                        ▲
//	                              Notices ──┘ from the replica
//
// A Lane is the queue of one producer's requests, with its completions. The
// replica claims a Slot for each batch of writes. Append, the first stage, puts
// the slot's entries into the entry store; Journal hands stored slots to the
// journal. Apply follows the cursor Ready instead of the ring, feeds the state
// machine from the store and completes requests. What it must know beside the
// entries, which runs were claimed, which reads are confirmed and what is
// refused, comes as Notices.
//
//	lane.go          for the lane's owner
//	lane_replica.go  for the replica
//	lane_apply.go    for apply
//	append.go, journal.go, apply.go   the stages
//	notices.go, window.go             from claim to reply
//
// Each value has one writer at a time; types and methods say whose goroutine
// may call them. Nothing here blocks or reads a clock.
package pipeline
