package link

import (
	"fmt"

	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/engine/internal/wire"
)

// Reason says what is wrong with a Hello.
type Reason uint8

// Reasons, in the order in which they are looked for; those of secrets come before a hello.
const (
	_            Reason = iota
	OtherVersion        // it speaks no version of the protocol that is spoken here
	OtherCluster        // it belongs to another cluster
	OtherMember         // it looks for another member
	OwnID               // it has this member's id
	Asked               // it only asks
	NotMember           // it is no member, and does not say where it is reached
	Crowded             // nor a member is it, and there are too many of those
	Outdated            // its member was started again since
	TooSmall            // it cannot take an entry of the log
	OlderCopy           // its data directory was put back to what it was before
	OtherKind           // it is a witness, and is to be a full member, or the other way round
	NeedsSecret         // it speaks in plain text, and this member has a secret
	NoSecret            // it has a secret, and this member has none
	OtherSecret         // its secret is none of those that are accepted here
	Repeated            // its first message was sent before
)

// Refusal is why a connection is not taken: a Hello that does not name a member
// of this cluster as it is now. Its text travels to the one refused and is meant
// for the operator, on both sides.
type Refusal struct {
	Reason  Reason
	Hello   Hello      // as it came
	Cluster uint64     // of the member that refuses
	Member  uint64     // that refuses
	Unfit   peer.Unfit // TooSmall: the entry
	Older   error      // OlderCopy: an *hints.OlderCopyError
}

// Larger says what to do about a member that takes too little.
func Larger(member uint64, bytes int) string {
	return fmt.Sprintf("start member %d with MaxCommand (raftd: --max-value) of at least %d, "+
		"the same on every member", member, bytes)
}

// otherKind says what to do about a member that is not what the configuration has it as.
func otherKind(h *Hello) string {
	if h.Witness {
		return fmt.Sprintf("member %d was started as a witness, and is a full member by the "+
			"configuration: start it without Witness (raftd: --witness)", h.From)
	}
	return fmt.Sprintf("member %d was started as a full member, and is a witness by the "+
		"configuration: start it with Witness (raftd: --witness)", h.From)
}

// ofKind reports that a member is what the configuration has it as, if that names it.
func (t *Peers) ofKind(h *Hello) bool {
	if t.cfg.Kind == nil {
		return true
	}
	witness, known := t.cfg.Kind(h.From)
	return !known || witness == h.Witness
}

// String is the versions in words.
func (v Versions) String() string {
	if v.Min == v.Max {
		return fmt.Sprintf("%d", v.Min)
	}
	return fmt.Sprintf("%d to %d", v.Min, v.Max)
}

func (r *Refusal) Error() string {
	h := &r.Hello
	switch r.Reason {
	case OtherVersion:
		return fmt.Sprintf("protocol version %s, this member speaks %s", h.versions(),
			Versions{wire.VersionMin, wire.VersionMax})
	case OtherCluster:
		if r.Cluster == 0 {
			return "this server belongs to no cluster yet: it asks the others for one"
		}
		return fmt.Sprintf("cluster %016x, this member belongs to %016x: "+
			"were both given the same members?", h.Cluster, r.Cluster)
	case OtherMember:
		return fmt.Sprintf("looking for member %d, this is member %d: "+
			"check the addresses of the members", h.To, r.Member)
	case OwnID:
		return fmt.Sprintf("member %d is this member: two replicas were given one id", h.From)
	case Asked:
		return "not admitted: it only asked which cluster this is"
	case Crowded:
		return fmt.Sprintf("member %d is not in the configuration, and %d others that are not "+
			"are connected: stop those that were removed", h.From, provisionalMax)
	case NotMember:
		return fmt.Sprintf("member %d is not in the configuration", h.From)
	case Outdated:
		return fmt.Sprintf("member %d started again since (incarnation %d is over)", h.From,
			h.Incarnation)
	case TooSmall:
		return fmt.Sprintf("%s: %s", r.Unfit.Error(), Larger(h.From, r.Unfit.Bytes))
	case OlderCopy:
		return fmt.Sprintf("member %d: %v", h.From, r.Older)
	case OtherKind:
		return otherKind(h)
	case NeedsSecret, NoSecret, OtherSecret, Repeated:
		return secretErrors[r.Reason].Error()
	}
	panic(fmt.Sprintf("link: refusal for reason %d", r.Reason))
}
