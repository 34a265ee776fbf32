// Package netio is the house's only way to TCP: loops that serve accepted and outgoing connections,
// frames between replicas, bounded buffers, and links that stay up. It stands on gnet and hides it.
//
// # A loop
//
// A loop is one goroutine in epoll_wait. All callbacks of its connections and its Poll run there,
// one at a time, so what belongs to a loop needs no lock:
//
//	        ┌─ socket events of one epoll batch ──────────┐
//	epoll ─►│ Handler.Data, Handler.Data, Handler.Closed … │─► doorbell ─► epoll ─► Poll
//	        └───────────────────────────────────────────────┘
//
// gnet has no hook for the end of a batch. The doorbell is one: an eventfd in the loop's own epoll
// set. The first event of a batch and Wake ring it, unless it is ringing already; its readiness
// queues up behind the sockets that were ready before, so Poll runs after all events of the batch,
// and a Wake from inside Poll lets every ready socket be served first. Ringing and answering are
// one write and one read of eight bytes (0.33 µs together where a socket pair took 0.70), without
// allocation; gnet's own task queue costs two allocations a task and, being drained in one go,
// starves the sockets when a task queues itself again.
//
// # Bounds
//
// A connection whose handler cannot keep up is paused: it is not read from, the kernel's buffer
// fills, and TCP slows the peer down. gnet cannot do that; see pause.go.
//
// What is received and not consumed is bounded by bytes: InboundMax and what Expect announced.
// Commands of 64 KiB and more take room of InboundLarge, which all connections share; who finds
// none is not read from until there is. Bytes that stay unconsumed for InboundPatience without
// progress close the connection, unless it is paused.
//
// What is written and not sent is bounded by time: while bytes wait and the peer's host
// acknowledges none for OutboundPatience, the connection is closed. So an answer of any size
// reaches a peer that reads it. Who writes looks at Outbound, or has itself told by NotifyBelow.
// Bytes given with a Holder are sent from where they lie. gnet's own output buffer is never used:
// it copies, has no bound, and does not say when it is empty. The loop has a second epoll set for
// sockets that were full, see sockets.
//
// # Sealed bytes
//
// A Securer shakes hands on a goroutine before a loop gets the connection. Its Session then stands
// between socket and handler, in the loop: see Session for why all bounds hold as they do without.
//
// # Bytes
//
// Bytes given to Handler.Data belong to the loop and are valid during the call. Bytes given to
// Write are the caller's again when it returns; those of a Part with a Holder when that is
// released.
package netio
