package server

import "time"

// Clients that pipeline fill the lane, and the commands of a client that waits for each of its
// answers would stand behind hundreds of theirs. While there are such clients, those that pipeline
// share a window that is small, and still large enough for one group of the journal.

const (
	// bulkMin is how many pending replies make a connection one that pipelines, for bulkTime.
	bulkMin  = 64
	bulkTime = int64(time.Second)
	// singleMax is how many commands one read brings of a client that waits for its answers. It
	// counts for singleTime.
	singleMax  = 4
	singleTime = int64(100 * time.Millisecond)
	// sharedMax and sharedBytes bound the pending commands of those that pipeline, while others
	// wait for each answer. A connection of another member, which carries many clients, has
	// sharedMax of its own.
	sharedMax   = 512
	sharedBytes = 256 << 10
)

// pipelining is what is known of how clients ask.
type pipelining struct {
	list   []*conn // that pipeline
	single int64   // when a command came last of a client that waits for its answers
}

// pipelines notes that a connection does.
func (f *front) pipelines(c *conn) {
	if c.bulkAt == 0 {
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

// most is how many replies of the connection may be pending now.
func (c *conn) most() int {
	f, most := c.front, c.pendingMax()
	if c.queue.len() >= bulkMin {
		f.pipelines(c)
	}
	if c.bulkAt == 0 || f.pipelining.single == 0 || f.began-f.pipelining.single > singleTime {
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
