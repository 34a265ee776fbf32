package server

import "time"

// Clients that pipeline fill the lane, and the commands of a client that waits for each of its
// answers would stand behind hundreds of theirs. While there are such clients, those that pipeline
// share a window that is small, and still large enough for one group of the journal.
//
// The window alone is not enough. However small it is, those that pipeline come round so often that
// every processor is busy, on each member, and then each step of the other's command waits until
// one is free. So they rest between two windows, see pace.

const (
	// bulkMin is how many pending replies make a connection one that pipelines, for bulkTime.
	bulkMin  = 64
	bulkTime = int64(time.Second)
	// singleMax is how many commands one read brings of a client that waits for its answers. It
	// counts for singleTime.
	singleMax  = 4
	singleTime = int64(100 * time.Millisecond)
	// sharedMax and sharedBytes bound the pending commands of those that pipeline, while others
	// wait for each answer. A connection of another member, which carries many of them, has
	// sharedMax of its own.
	sharedMax   = 512
	sharedBytes = 256 << 10
	// betweenRests and betweenRestsBytes bound what they are given between two rests. Larger
	// windows with longer rests let through as much, and each delays the others by more.
	betweenRests      = 64
	betweenRestsBytes = 32 << 10
)

// bulkName is the name of a connection of another member that carries the commands of clients that
// pipeline. The others' commands come on a connection without a name, and are not slowed down. A
// leader of an earlier release takes it for a name and nothing more.
const bulkName = "pipelined"

// pipelining is what is known of how clients ask.
type pipelining struct {
	list    []*conn // that pipeline
	single  int64   // when a command came last of a client that waits for its answers
	inLane  int     // commands of those that pipeline
	last    int64   // when one of them was answered last
	given   int     // commands of theirs since the last rest
	bytes   int     // of those commands
	resting bool
	pace    pace
}

// asker says of a request in the lane what kind of client sent it.
type asker uint8

const (
	otherAsker  asker = iota
	singleAsker       // waits for each of its answers
	bulkAsker         // pipelines
)

// pipelines notes that a connection does.
func (f *front) pipelines(c *conn) {
	if c.bulkAt == 0 {
		if p := &f.pipelining; len(p.list) == 0 {
			p.pace.rest = max(p.pace.rest, restFirst)
		}
		f.pipelining.list = append(f.pipelining.list, c)
	}
	c.bulkAt = f.began
}

// forgetBulk forgets those that do not pipeline any more.
func (f *front) forgetBulk() {
	kept, now := f.pipelining.list[:0], f.now()
	for _, c := range f.pipelining.list {
		if c.closed || now-c.bulkAt > bulkTime {
			c.bulkAt = 0
			continue
		}
		kept = append(kept, c)
	}
	clear(f.pipelining.list[len(kept):])
	f.pipelining.list = kept
}

// shares reports whether the connection pipelines while others wait for each answer.
func (c *conn) shares() bool {
	f := c.front
	return c.bulkAt != 0 && f.pipelining.single != 0 && f.began-f.pipelining.single <= singleTime
}

// most is how many replies of the connection may be pending now.
func (c *conn) most() int {
	f, most := c.front, c.pendingMax()
	if c.queue.len() >= bulkMin && c.bulk == c.proxied {
		f.pipelines(c)
	}
	if !c.shares() {
		return most
	}
	share := min(sharedMax, sharedBytes/max(c.size, 1))
	if !c.proxied {
		share /= len(f.pipelining.list)
	}
	if share = max(1, share); c.queue.len() >= share {
		f.pipelines(c)
	}
	return min(most, share)
}

// noteSingle looks at what one read of a connection brought: so many commands that are pending.
func (c *conn) noteSingle(commands uint64) {
	if commands > 0 && commands <= singleMax && c.bulkAt == 0 && !c.proxied {
		c.front.pipelining.single = c.front.began
	}
}

// asks notes that a command of the connection is in the lane, and says whose it is.
func (c *conn) asks() asker {
	p := &c.front.pipelining
	switch {
	case c.bulkAt != 0:
		p.inLane++
		p.given++
		p.bytes += c.size
		return bulkAsker
	case !c.proxied && c.queue.len() <= singleMax:
		return singleAsker
	}
	return otherAsker
}

// answered learns from a request in the lane that was asked at a time and is answered now.
func (p *pipelining) answered(by asker, at, now int64) {
	switch {
	case by == bulkAsker:
		p.inLane--
		p.last = now
	case by == singleAsker && p.inLane == 0 && p.last < at:
		p.pace.alone(now - at)
	case by == singleAsker:
		p.pace.beside(now-at, now)
	}
}

// rests reports whether the connection has to wait until those that pipeline have rested.
func (c *conn) rests() bool {
	f := c.front
	p := &f.pipelining
	switch {
	case !c.shares():
		return false
	case p.resting:
		return true
	case p.given < betweenRests && p.bytes < betweenRestsBytes:
		return false
	}
	p.given, p.bytes = 0, 0
	if p.pace.rest == 0 {
		return false
	}
	p.resting = true
	f.after(time.Duration(p.pace.rest), f.rested)
	return true
}

// rested lets those that pipeline go on.
func (f *front) rested() {
	f.pipelining.resting = false
	f.finish()
}

// pace is how long those that pipeline rest between two windows. It grows while too many of the
// others' commands take several times as long as they take when nobody pipelines, and shrinks
// otherwise, down to nothing where there are processors enough.
type pace struct {
	rest  int64 // ns
	usual int64 // ns, the median while nobody pipelines; 0: not known yet

	began         int64 // when what follows was begun to be counted
	samples, slow int
}

const (
	restMin = int64(100 * time.Microsecond) // shorter: none
	restMax = int64(4 * time.Millisecond)
	// restFirst is for those that begin to pipeline: it is not known yet what that does.
	restFirst = int64(2 * time.Millisecond)

	paceEvery = int64(50 * time.Millisecond)
	// fewSamples are too few in 5 * paceEvery to slow others down for them, and to judge by sooner.
	fewSamples = 5
	// slowTimes the usual latency is slow. One command of slowShare may be.
	slowTimes = 3
	slowShare = 64
)

// alone is told the latency of a command beside which nobody pipelined.
func (p *pace) alone(took int64) {
	switch step := p.usual/32 + 1; {
	case p.usual == 0:
		p.usual = took
	case took > p.usual:
		p.usual += step
	default:
		p.usual -= step
	}
}

// beside is told the latency of one beside which others pipelined.
func (p *pace) beside(took, now int64) {
	p.samples++
	switch {
	case took > slowTimes*p.usual:
		p.slow++
	case took < p.usual: // what was usual when the processors were busy is not any more
		p.usual -= p.usual / 32
	}
	few := p.samples < fewSamples
	if d := now - p.began; d < paceEvery || few && d < 5*paceEvery {
		return
	}
	if !few && p.slow*slowShare > p.samples {
		p.rest = min(max(2*p.rest, 5*restMin), restMax)
	} else if p.rest -= p.rest / 8; p.rest < restMin {
		p.rest = 0
	}
	p.began, p.samples, p.slow = now, 0, 0
}
