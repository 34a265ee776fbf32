package engine

import (
	"time"

	"github.com/ringraft/ringraft/engine/internal/member"
)

// What can be changed while the engine runs. Any goroutine may call these methods; they do not
// wait.

// The bounds of Builder.SnapshotAfter, in bytes, and of Builder.KeepAlive.
const (
	SnapshotAfterMin = 64 << 10
	SnapshotAfterMax = 1 << 50
	KeepAliveMin     = 3 * time.Second
	KeepAliveMax     = 9 * time.Hour // the kernel counts to 32,767 s
)

// SetSnapshotAfter is Builder.SnapshotAfter from the next tick on. What is beyond the bounds is
// taken to be the bound; 0 is the default, and negative is never.
func (e *Engine) SetSnapshotAfter(bytes int64) {
	switch {
	case bytes == 0:
		bytes = defaultSnapshot
	case bytes > 0:
		bytes = min(max(bytes, SnapshotAfterMin), SnapshotAfterMax)
	}
	e.member.SetPace(snapshotsAfter(bytes))
}

// snapshotsAfter is when snapshots are taken, and how much of the log stays before one.
func snapshotsAfter(bytes int64) member.Pace {
	margin := int64(marginMax)
	if bytes > 0 {
		margin = min(bytes/4, marginMax)
	}
	return member.Pace{After: bytes, Margin: margin}
}

// SetMaxConnections is the first number of Builder.MaxConnections, for those that connect from now
// on; less than 1 is 1. Whoever is connected stays.
func (e *Engine) SetMaxConnections(n int) {
	for i := range e.listeners() {
		e.net.SetMax(i, max(n, 1))
	}
}

// SetKeepAlive is Builder.KeepAlive for connections that are accepted from now on. What is beyond
// the bounds is taken to be the bound.
func (e *Engine) SetKeepAlive(d time.Duration) {
	e.net.SetKeepAlive(min(max(d, KeepAliveMin), KeepAliveMax))
}
