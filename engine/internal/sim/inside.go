package sim

// On real threads the owner of a lane runs beside the member that takes from it. So a
// client may use its lane within a turn: between two stages, between the looks of one
// stage at the lanes, in the middle of apply. A seam is such a point; what happens at
// one is what would have happened if the owner had run just then.

// visit is what a client does at seams, a call or a few at each.
type visit struct {
	client *client
	lane   *clientLane
	left   int // requests
	wait   int // seams until the next call
}

// seamsApart is up to how many seams lie between two calls of a visit. A turn that has
// something to do has some dozens.
const seamsApart = 24

// visit has a client use its lane at the next seams.
func (h *host) visit(c *client, l *clientLane, requests int) {
	w := h.w
	h.visits = append(h.visits, visit{client: c, lane: l, left: requests,
		wait: w.owners.n(seamsApart)})
	c.visits = true
	h.wake(w.plan.Gap)
}

// seam is called where a turn touches what lies outside of the core.
func (h *host) seam() {
	if !h.inside || h.calling {
		return
	}
	h.calling = true // what an owner does is no seam
	for i := 0; i < len(h.visits); i++ {
		v := &h.visits[i]
		if v.wait > 0 {
			v.wait--
		} else if h.call(v) {
			v.client.visits = false
			h.visits = append(h.visits[:i], h.visits[i+1:]...)
			i--
		}
	}
	h.calling = false
}

// call is an owner's turn at a seam; true when its visit has ended.
func (h *host) call(v *visit) (ended bool) {
	r := &h.w.owners
	v.wait = r.n(seamsApart)
	if r.chance(0.2) {
		v.lane.drain()
	}
	for range 1 + r.n(3) {
		if v.left == 0 || !v.client.one(h, v.lane) {
			v.left = 0
			break
		}
		v.left--
	}
	if v.left == 0 || r.chance(0.7) {
		v.lane.lane.Flush()
		h.w.hit(FlushedInTurn)
	}
	return v.left == 0
}

// leave ends the visits of a process that has ended.
func (h *host) leave() {
	for i := range h.visits {
		h.visits[i].client.visits = false
	}
	h.visits, h.inside, h.calling = nil, false, false
}

// seams are the points at which the stages say how far they have come.
type seams struct{ host *host }

func (s seams) Claimed(int64, int64)   { s.host.seam() }
func (s seams) Durable(int64, int64)   { s.host.seam() }
func (s seams) Committed(int64, int64) { s.host.seam() }
func (s seams) Applied(int64)          { s.host.seam() }
