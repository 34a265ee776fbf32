package engine

import (
	"fmt"
	"time"

	"github.com/ringraft/ringraft/engine/internal/member"
)

// logEvent logs an event of the member, in words for the operator.
func (e *Engine) logEvent(ev member.Event) {
	age := ev.Age.Round(time.Millisecond)
	hangs := fmt.Sprintf("the disk has not finished a write for %v: ", age)
	switch ev.Kind {
	case member.NotCampaigning:
		e.log.Warn(hangs + "no campaigns meanwhile")
	case member.HandingOver:
		e.log.Warn(fmt.Sprintf("%shanding leadership to member %d", hangs, ev.Member))
	case member.LeadingOn:
		e.log.Warn(hangs+"leading on", "err", ev.Err)
	case member.SteppedDown:
		e.log.Warn(hangs + "nobody took over, stepping down")
	case member.DiskBack:
		e.log.Info(fmt.Sprintf("the disk writes again after %v", age))
	case member.DiskFull:
		e.log.Error("the journal cannot make its next segment: "+
			"writes are refused, reads go on, and it is tried again", "err", ev.Err)
	case member.DiskHasRoom:
		e.log.Info("the journal has room again: writes are taken")
	case member.ProbationEnded:
		e.log.Info("probation ended: what the journal had lost is here again")
	}
}
