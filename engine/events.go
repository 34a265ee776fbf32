package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/ringraft/ringraft/engine/internal/link"
	"github.com/ringraft/ringraft/engine/internal/member"
	"github.com/ringraft/ringraft/engine/internal/peer"
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
	case member.HandingOverFull:
		e.log.Warn(fmt.Sprintf("the disk is full: handing leadership to member %d", ev.Member))
	case member.MajorityFull:
		e.log.Error("the disks of too many members are full: writes are refused, reads go on")
	case member.MajorityHasRoom:
		e.log.Info("a majority's disks have room again, or another member leads")
	case member.DiskHasRoom:
		e.log.Info("the journal has room again: writes are taken")
	case member.SnapshotTaken:
		e.log.Info("took a snapshot", "index", ev.Have, "bytes", ev.Size, "took", age)
	case member.SnapshotFailed:
		e.log.Warn("no snapshot was taken; it is tried again", "err", ev.Err)
	case member.ProbationEnded:
		e.log.Info("probation ended: what the journal had lost is here again")
	case member.Unfounded:
		e.log.Info("not founded yet: " + ev.Err.Error())
	case member.Founded:
		e.log.Info("the cluster is founded", "members", membersOf(&e.membership))
	case member.Binding:
		e.log.Info("all members are bound to the data directories that they have")
	case member.NotThis:
		e.log.Error(ev.Err.Error())
	default:
		e.logMember(ev, age)
	}
}

// logMember logs what concerns the other members, and carries out what follows.
func (e *Engine) logMember(ev member.Event, age time.Duration) {
	stands := fmt.Sprintf("stands at %d of %d for %v", ev.Have, ev.Of, age)
	switch ev.Kind {
	case member.Unreachable:
		e.log.Warn(fmt.Sprintf("member %d cannot be reached for %v", ev.Member, age),
			"address", e.address(ev.Member), "err", reason(ev.Err))
	case member.Unfed:
		if errors.As(ev.Err, new(peer.Unfit)) {
			return // MemberUnfit has said so
		}
		e.log.Warn(fmt.Sprintf("member %d is connected and not fed: its log %s", ev.Member,
			stands), "err", reason(ev.Err))
	case member.MemberWell:
		e.log.Info(fmt.Sprintf("member %d is well again after %v", ev.Member, age))
	case member.Behind:
		if p := e.peers.Find(ev.Member); p != nil && ev.Err == nil && p.Complaint() != "" {
			ev.Err = errors.New(p.Complaint())
		}
		e.log.Warn(fmt.Sprintf("this member is not fed by leader %d: its log %s", ev.Member,
			stands), "err", reason(ev.Err))
	case member.NotBehind:
		e.log.Info(fmt.Sprintf("this member is fed again after %v", age))
	case member.MemberUnfit:
		e.log.Warn(fmt.Sprintf("member %d cannot be fed: %v: %s", ev.Member, ev.Unfit,
			link.Larger(ev.Member, ev.Unfit.Bytes)))
		if p := e.peers.Find(ev.Member); p != nil {
			p.Refuse(ev.Unfit)
		}
	case member.MemberFits:
		if p := e.peers.Find(ev.Member); p != nil {
			p.Refuse(peer.Unfit{})
		}
	case member.SnapshotSent:
		e.log.Info(fmt.Sprintf("gave member %d a snapshot", ev.Member), "index", ev.Have,
			"took", age)
	case member.SnapshotInstalled:
		e.log.Info(fmt.Sprintf("goes on from a snapshot of member %d", ev.Member), "index", ev.Have)
	case member.SnapshotRefused:
		e.log.Warn(fmt.Sprintf("cannot take the snapshot that member %d offers; it is tried again",
			ev.Member), "index", ev.Have, "err", reason(ev.Err))
	case member.Admitted, member.SelfPromoted, member.Silent:
		e.logAdmission(ev, age)
	case member.NotAMember:
		e.log.Warn("this member was removed from the cluster: it keeps still, and can be stopped",
			"because", ev.Err)
	case member.MemberAgain:
		e.log.Info("this is a member of the cluster again")
	case member.Preferred:
		e.log.Info(fmt.Sprintf("handing leadership to member %d, of higher priority", ev.Member))
	case member.WitnessLeads:
		e.log.Warn("this witness has entries that no full member may have: it leads, and takes " +
			"nothing, until a full member has them")
	case member.BeyondWitness:
		e.log.Error(ev.Err.Error(), "member", ev.Member)
	case member.WithinWitness:
		e.log.Info("this witness can bring every full member up to date again")
	case member.CommandLimit:
		e.logLimit(ev.Member, ev.Bytes)
	}
}

// logLimit says whose limit holds when members differ.
func (e *Engine) logLimit(id uint64, bytes int) {
	const same = "give every member the same MaxCommand (raftd: --max-value)"
	switch own := e.b.maxCommand; id {
	case 0:
		e.log.Info("all members take commands of the same length", "bytes", bytes)
	case e.b.id:
		e.log.Warn(fmt.Sprintf("this member takes commands of %d bytes, others longer ones: "+
			"the cluster takes no longer ones than this member; %s", own, same))
	default:
		e.log.Warn(fmt.Sprintf("commands above %d bytes are refused although this member takes "+
			"%d: member %d takes no longer ones; %s", bytes, own, id, same))
	}
}

// address is where a member is dialed.
func (e *Engine) address(id uint64) string {
	if p := e.peers.Find(id); p != nil {
		return p.Address()
	}
	return ""
}

// reason is an error in words, also when there is none.
func reason(err error) string {
	if err == nil {
		return "not known"
	}
	return err.Error()
}
