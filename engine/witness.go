package engine

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/member"
	"github.com/ringraft/ringraft/engine/internal/pipeline"
)

const (
	// defaultWitnessLog is how much log a witness keeps for full members that are behind.
	defaultWitnessLog = 16 << 30
	witnessLogMin     = 64 << 10
)

var (
	// ErrWitness: this member is a witness, which has no state: it answers no query, takes no
	// snapshot that holds one, and leadership is not handed to it.
	ErrWitness = errors.New("ringraft: this member is a witness, which has no state; " +
		"ask a full member")
	// ErrKind: a member is a witness, and is to be a full member, or the other way round. What
	// it is stays so: remove it, and add it with an empty directory.
	ErrKind = member.ErrKind
	// ErrTooManyWitnesses: there would be too few full voters. They are never fewer than the
	// witnesses among the voters, and more than they when a witness is added.
	ErrTooManyWitnesses = member.ErrTooManyWitnesses
	// ErrToWitness: leadership is not handed to a witness.
	ErrToWitness = member.ErrWitness
)

// Witness makes this member a witness: it votes and keeps the log, so that two full members
// and a witness survive the loss of any one of the three, and it has no state machine.
// StateMachine need not be given, and is not used. Its disk needs room for the log, its
// memory for the newest of it; docs/raft.md says what it can do and what not.
//
// The list of Members says it too, or AddMember; what they say and this has to agree, and
// stays so for as long as the member is one.
func (b *Builder) Witness() *Builder { b.witness = true; return b }

// WitnessLog is how many bytes of log a witness keeps before its newest snapshot for full
// members that are behind, 16 GiB by default and when it is 0; at least 64 KiB and at most 1
// PiB. A full member that lacks more can be brought up to date by another full member alone,
// which Status.BeyondWitness says.
func (b *Builder) WitnessLog(bytes int64) *Builder { b.witnessLog = bytes; return b }

// checkWitness refuses lists with too many witnesses, and one that has this member as what
// it is not.
func (b *Builder) checkWitness() error {
	if n := b.witnessLog; n != 0 && (n < witnessLogMin || n > SnapshotAfterMax) {
		return &ConfigError{"WitnessLog", fmt.Sprintf("%d bytes; must be 0, which is 16 GiB, or "+
			"%d to %d", n, witnessLogMin, SnapshotAfterMax)}
	}
	if len(b.members) == 0 {
		return nil
	}
	witnesses := 0
	for _, m := range b.members {
		if m.Witness {
			witnesses++
		}
	}
	if full := len(b.members) - witnesses; full <= witnesses {
		return &ConfigError{"Members", fmt.Sprintf("%d full members and %d witnesses; more full "+
			"members than witnesses are needed", full, witnesses)}
	}
	given := configOf(b.cluster, b.members)
	return b.checkKind(&given)
}

// checkKind holds what this member is started as against what a configuration says.
func (b *Builder) checkKind(c *config.Config) error {
	m, ok := c.Find(b.id)
	if !ok || m.Witness == b.witness {
		return nil
	}
	return &ConfigError{"Witness", (&member.KindError{Member: b.id, Witness: m.Witness}).Error()}
}

// stateMachine is what the member drives: that of the builder, or none.
func (e *Engine) stateMachine() pipeline.StateMachine {
	if e.b.witness {
		return member.Witness{}
	}
	return e.asMachine(e.b.machine)
}

// witnessLog is Builder.WitnessLog.
func (e *Engine) witnessLog() int64 { return cmp.Or(e.b.witnessLog, defaultWitnessLog) }

// isWitness says whether a member is a witness, and whether that is known. Any goroutine.
func (e *Engine) isWitness(id uint64) (witness, known bool) {
	m, known := e.listed().Find(id)
	return m.Witness, known
}
