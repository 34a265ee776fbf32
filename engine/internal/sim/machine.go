package sim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"

	"github.com/ringraft/ringraft/engine/internal/pipeline"
)

// machine is the state machine under test: registers and counters.
//
//	command  | operation u64 | kind u8 | key u16 | 0 … padding |
//	query    | operation u64 | key u16 |
//	reply    | index of the newest command applied u64 | value u64 |
type machine struct {
	host   *host
	values []uint64
	index  uint64
	digest uint64
}

const (
	opSet uint8 = iota
	opIncr
	opGet
)

const commandBytes = 11

func newMachine(h *host, keys int) *machine {
	return &machine{host: h, values: make([]uint64, 2*keys)}
}

// execute is a command's effect: registers take the operation's number,
// counters, the odd keys, count.
func execute(values []uint64, op uint64, kind uint8, key int) uint64 {
	if kind == opIncr {
		values[key]++
	} else {
		values[key] = op
	}
	return values[key]
}

// Apply implements pipeline.StateMachine.
func (m *machine) Apply(entries []pipeline.Entry, replies *pipeline.Replies) {
	m.host.seam()
	for i := range entries {
		e := &entries[i]
		le := binary.LittleEndian
		op, kind, key := le.Uint64(e.Data), e.Data[8], int(le.Uint16(e.Data[9:]))
		m.digest = mix(m.digest, xxhash.Sum64(e.Data))
		value := execute(m.values, op, kind, key)
		m.host.w.judge.applied(m, e.Index, op, kind, key)
		m.index = e.Index
		if replies.Wanted() {
			b := le.AppendUint64(replies.Begin(), e.Index)
			replies.End(le.AppendUint64(b, value))
		}
	}
}

// Snapshot implements pipeline.Viewer: a copy, which is written later.
//
//	| index u64 | digest u64 | values u64 … |
func (m *machine) Snapshot() (pipeline.View, error) {
	m.host.seam()
	if m.host.rng.chance(0.05) {
		return nil, errNoView
	}
	b := binary.LittleEndian.AppendUint64(nil, m.index)
	b = binary.LittleEndian.AppendUint64(b, m.digest)
	for _, v := range m.values {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return view{bytes.NewReader(b)}, nil
}

var errNoView = errors.New("no view for now")

type view struct{ *bytes.Reader }

// Close implements pipeline.View.
func (view) Close() error { return nil }

// Restore implements member.Restorer.
func (m *machine) Restore(r io.Reader) (install func(), err error) {
	b := make([]byte, 16+8*len(m.values)+1)
	n, err := io.ReadFull(r, b)
	if err != io.ErrUnexpectedEOF || n != len(b)-1 {
		return nil, fmt.Errorf("%d bytes, %w", n, err)
	}
	return func() {
		le := binary.LittleEndian
		m.index, m.digest = le.Uint64(b), le.Uint64(b[8:])
		for i := range m.values {
			m.values[i] = le.Uint64(b[16+8*i:])
		}
	}, nil
}

// Read implements pipeline.StateMachine.
func (m *machine) Read(query, dst []byte) []byte {
	m.host.seam()
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, m.index)
	return le.AppendUint64(dst, m.values[le.Uint16(query[8:])])
}
