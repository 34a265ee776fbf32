package engine

import (
	"fmt"
	"time"
)

// HangError: a write to the journal did not return, so the engine closed itself.
// The files and the lock of the directory stay with the process until it ends.
type HangError struct {
	Dir string        // the data directory
	Age time.Duration // of the write when the engine gave up
}

// Error names the directory and the age.
func (e *HangError) Error() string {
	return fmt.Sprintf("a write to %s has not returned for %v: the disk hangs",
		e.Dir, e.Age.Round(time.Millisecond))
}

// watchHang gives up on a disk that hangs for too long. It runs beside the
// polling goroutine, which may be the one that hangs.
func (e *Engine) watchHang() {
	if age := e.member.Watch(e.clock()); e.b.giveUp > 0 && age >= e.b.giveUp {
		e.fail(&HangError{e.b.dir, age})
	}
}

// hangs reports that the polling goroutine, asked to stop, has to be given up:
// it may be the one that writes. It has at least a second for its last turn.
func (e *Engine) hangs(waited time.Duration) bool {
	limit := e.b.giveUp
	if limit == 0 {
		limit = defaultGiveUp
	}
	return waited >= time.Second && e.journal.WriteAge(e.clock()) >= limit
}

// abandon closes what does not depend on the disk. A loop that hangs in a
// write cannot close its connections; listeners are closed all the same.
func (e *Engine) abandon(hang *HangError) error {
	if hang == nil {
		hang = &HangError{e.b.dir, e.journal.WriteAge(e.clock())}
	}
	if err := e.closeNet(time.Second); err != nil {
		e.log.Warn("connections stay open until the process ends", "err", err)
	}
	return hang
}
