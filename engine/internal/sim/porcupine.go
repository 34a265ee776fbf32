package sim

import (
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// step is one operation as the checker sees it.
type step struct {
	kind  uint8
	op    uint64
	value uint64
	known bool
}

// register and counter are one key's model: registers hold the number of the
// command that set them.
var model = porcupine.Model{
	Init: func() any { return uint64(0) },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(uint64), input.(step), output.(step)
		switch in.kind {
		case opSet:
			s = in.op
		case opIncr:
			s++
		}
		return !out.known || out.value == s, s
	},
	Equal: func(a, b any) bool { return a == b },
}

// porcupine checks the history once more, key by key, without the log as a
// witness: an oracle that knows nothing of indices.
func (j *judge) porcupine() {
	w := j.w
	if w.plan.Seed%porcupineEvery != 0 {
		return
	}
	byKey := make([][]porcupine.Operation, len(j.model))
	for i := range j.ops {
		o := &j.ops[i]
		if i == 0 || o.local || o.state == notApplied || o.kind == opGet && o.state != applied {
			continue
		}
		if o.kind != opGet && o.state != applied && o.appliedAt == 0 {
			continue // in no log: it never happened
		}
		e := porcupine.Operation{ClientId: o.client, Call: o.invoked, Return: o.returned,
			Input:  step{kind: o.kind, op: uint64(i)},
			Output: step{value: o.value, known: o.state == applied}}
		if o.state != applied {
			e.Return = o.tookEffect // no answer, but everybody could see it from then on
		}
		byKey[o.key] = append(byKey[o.key], e)
	}
	for k, h := range byKey {
		if crowded(h) {
			continue
		}
		w.checked++
		switch porcupine.CheckOperationsTimeout(model, h, 20*time.Second) {
		case porcupine.Illegal:
			w.fail("linearizable", "porcupine: the history of key %d is not", k)
		case porcupine.Unknown:
			w.fail("linearizable", "porcupine: no verdict on %d operations of key %d in time",
				len(h), k)
		}
	}
}

// crowded histories take the checker exponential time.
func crowded(h []porcupine.Operation) bool {
	var ends []int64
	for i := range h {
		ends = append(ends, h[i].Return)
	}
	slices.Sort(ends)
	calls := make([]int64, len(h))
	for i := range h {
		calls[i] = h[i].Call
	}
	slices.Sort(calls)
	open, k := 0, 0
	for _, c := range calls {
		for k < len(ends) && ends[k] < c {
			k++
			open--
		}
		if open++; open > 12 {
			return true
		}
	}
	return false
}

// porcupineEvery is the share of seeds that Porcupine checks; all are
// checked against the log.
const porcupineEvery = 8
