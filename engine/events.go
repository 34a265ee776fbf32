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
		e.log.Error("the disk is full: writes are refused, reads go on", "err", ev.Err)
	case member.HandingOverFull:
		e.log.Warn(fmt.Sprintf("the disk is full: handing leadership to member %d", ev.Member))
	case member.MajorityFull:
		e.log.Error("the disks of too many members are full: writes are refused, reads go on")
	case member.MajorityHasRoom:
		e.log.Info("a majority's disks have room again, or another member leads")
	case member.DiskHasRoom:
		e.log.Info("the disk has room again: writes are taken")
	case member.ProbationEnded:
		e.log.Info("probation ended: what the journal had lost is here again")
	}
}
