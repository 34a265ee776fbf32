package replica

import "github.com/ringraft/ringraft/engine/internal/pipeline"

// Close is the last turn: requests still in lanes are refused, requests in
// the log without an answer are unknown, unconfirmed reads are refused. The
// caller owns every stage by now; nothing polls any more.
func (r *Replica) Close() { r.shut(pipeline.Closing) }

// Fail is Close after the journal failed for good: nothing that is gated
// leaves, and no request is answered as certainly not applied that may have
// been.
func (r *Replica) Fail() { r.shut(pipeline.Poisoned) }

func (r *Replica) shut(why pipeline.Reason) {
	lanes := r.cfg.Lanes()
	for i, l := range lanes {
		l.Shut()
		for {
			r.cfg.Apply.Poll() // makes room for notices, answers what is ready
			b := pipeline.WriteBatch{}
			if i < len(r.lanes.table) && r.lanes.table[i].held.Count > 0 {
				b, r.lanes.table[i].held.Count = r.lanes.table[i].held, 0
			} else if !l.TakeWrites(&b) {
				break
			}
			r.notices.Refuse(&b, why)
			r.notices.Publish()
			l.ReleaseWrites(b.Pos)
		}
		if upto, ok := l.TakeReads(); ok {
			r.notices.Reads(l, upto, 0, why)
		}
	}
	r.notices.Close(why)
	r.notices.Publish()
	r.cfg.Apply.Poll()
}
