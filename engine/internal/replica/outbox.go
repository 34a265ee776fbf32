package replica

import (
	"errors"
	"fmt"

	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/engine/internal/raft"
)

// input is what a call of the core is made with beside what its effects say:
// where the entries lie that it appends, or the state of a snapshot. At most one is set.
type input struct {
	batch  pipeline.WriteBatch // of Propose
	frame  frame               // of Step, when it is an append
	config []byte              // the data of a configuration entry
	state  *State              // of the snapshot being stepped
}

// outbox calls the core and carries out the effects of the call, in order, as
// far as slots are free. Effects that find no slot wait.
//
//  1. The core is not called while effects wait, but by follow.
//  2. The input of a call is kept exactly as long as effects of it wait, and
//     so is what it points to: a frame's bytes are given back to its ring only
//     when none do.
//  3. No effect waits for more input than the outbox holds.
type outbox struct {
	effects raft.Effects
	at      int // effects carried out
	input   input

	// mutate publishes a mutation that appends what the input says, or restores what it
	// says; false: no slot is free. effect carries out every other effect.
	mutate func(*raft.Effect, *input) bool
	effect func(*raft.Effect)
}

// effectsMax bounds the effects that may wait.
const effectsMax = 256

// pending reports that effects wait for a slot.
func (o *outbox) pending() bool { return o.at < len(o.effects.List) }

// call has f call the core and carries out the effects. It does nothing, and
// says so by false, while effects of an earlier call wait.
func (o *outbox) call(in input, f func(*raft.Effects)) bool {
	if o.pending() {
		return false
	}
	if !in.empty() {
		o.input = in
	}
	f(&o.effects)
	o.carry()
	return true
}

// follow is call for what the core must learn even while effects wait: its
// effects line up behind them. They may append nothing, for the input is that
// of the earlier call.
func (o *outbox) follow(f func(*raft.Effects)) {
	behind := len(o.effects.List)
	f(&o.effects)
	for i := range o.effects.List[behind:] {
		e := &o.effects.List[behind+i]
		if e.Kind == raft.Mutate && needsInput(e.Source) || e.Kind == raft.Restore {
			panic(fmt.Sprintf("replica: outbox: %s follows a call, without an input of its own", e))
		}
	}
	o.carry()
}

// carry carries out what waits, as far as slots are free.
func (o *outbox) carry() {
	for o.pending() {
		e := &o.effects.List[o.at]
		if e.Kind != raft.Mutate && e.Kind != raft.Restore {
			o.effect(e)
		} else if !o.mutate(e, &o.input) {
			return
		}
		o.at++
	}
	o.effects.Reset()
	o.at = 0
	if !o.input.empty() { // most calls have none, and it is large
		o.input = input{}
	}
}

func needsInput(s raft.Source) bool {
	return s == raft.Proposals || s == raft.Frame || s == raft.Config
}

// holds reports that the input says where the entries of a source lie.
func (in *input) holds(s raft.Source) bool {
	switch s {
	case raft.Proposals:
		return in.batch.Lane != nil
	case raft.Frame:
		return in.frame.source != nil
	case raft.Config:
		return in.config != nil
	}
	return true
}

func (in *input) empty() bool {
	return in.batch.Lane == nil && in.frame.source == nil && in.config == nil && in.state == nil
}

// check holds the outbox against its numbered invariants, between two calls.
func (o *outbox) check() error {
	if n := len(o.effects.List); n > effectsMax {
		return fmt.Errorf("bounded: %d effects wait for a slot", n-o.at)
	}
	in := &o.input
	if !o.pending() {
		if !in.empty() {
			return errors.New("outbox: an input outlives its effects")
		}
		return nil
	}
	if s := in.frame.source; s != nil && s.mark.pos == 0 {
		return errors.New("outbox: a frame was given back while its effects wait")
	}
	for i := range o.effects.List[o.at:] {
		e := &o.effects.List[o.at+i]
		if e.Kind == raft.Mutate && !in.holds(e.Source) ||
			e.Kind == raft.Restore && in.state == nil {
			return fmt.Errorf("outbox: %s waits, and what it appends is not known", e)
		}
	}
	return nil
}
