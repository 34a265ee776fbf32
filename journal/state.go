package journal

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/ringraft/ringraft/journal/device"
)

// The state file holds four copies of one record, each at the start of its
// own block:
//
//	 0 magic u64 | 8 sequence | 16 cluster | 24 replica | 32 incarnation
//	40 term | 48 vote | 56 first live ordinal | 64 last ordinal opened
//	72 sealed: ordinal | 80 position | 88 number | 96 checksum of 0–95
//
// A change is written to copies 0 and 1, then to 2 and 3, so that two good
// copies of one sequence exist at every moment. Opening needs two that agree.
// It is the authority for identity, incarnation, term and vote, and it knows
// which segments must exist and which seal must be found, so that what is
// lost at the very end is missed.
const (
	stateName   = "state"
	stateMagic  = 0x3145544154535252 // "RRSTATE1"
	stateBytes  = 104
	stateCopies = 4
)

type state struct {
	sequence    uint64
	id          Identity
	incarnation uint64
	hard        Hard
	live, last  uint64 // ordinals
	sealed      mark
}

// mark is where a batch lies.
type mark struct{ ordinal, position, number uint64 }

func (s *state) encode(b []byte) {
	le := binary.LittleEndian
	for i, v := range [...]uint64{stateMagic, s.sequence, s.id.Cluster, s.id.Replica, s.incarnation, s.hard.Term,
		s.hard.Vote, s.live, s.last, s.sealed.ordinal, s.sealed.position, s.sealed.number} {
		le.PutUint64(b[8*i:], v)
	}
	le.PutUint64(b[96:], xxhash.Sum64(b[:96]))
}

func decodeState(b []byte) (s state, ok bool) {
	u := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	if u(0) != stateMagic || u(12) != xxhash.Sum64(b[:96]) {
		return s, false
	}
	return state{sequence: u(1), id: Identity{u(2), u(3)}, incarnation: u(4), hard: Hard{u(5), u(6)}, live: u(7),
		last: u(8), sealed: mark{u(9), u(10), u(11)}}, true
}

// chooseState picks the record that two copies agree on, the newest if there
// are several. During a change the old pair or the new one is whole.
func chooseState(copies [][]byte) (state, error) {
	var found []state
	for _, b := range copies {
		if s, ok := decodeState(b); ok {
			found = append(found, s)
		}
	}
	best, agreed := state{}, false
	for i, s := range found {
		for _, t := range found[i+1:] {
			if s.sequence != t.sequence {
				continue
			}
			if s != t {
				return state{}, fmt.Errorf("%w: two records of sequence %d differ", ErrState, s.sequence)
			}
			if !agreed || s.sequence > best.sequence {
				best, agreed = s, true
			}
		}
	}
	if !agreed {
		return state{}, fmt.Errorf("%w: no two of its %d copies agree (%d readable)", ErrState, len(copies), len(found))
	}
	// A change that a crash cut short may have left one copy of a higher
	// sequence. It does not count, but its number must not be used again.
	for _, s := range found {
		best.sequence = max(best.sequence, s.sequence)
	}
	return best, nil
}

// readState reads the state file; missing tells that there is none.
func readState(fs device.FS, block int) (s state, missing bool, err error) {
	names, err := fs.List()
	if err != nil {
		return s, false, err
	}
	missing = true
	for _, n := range names {
		missing = missing && n != stateName
	}
	if missing {
		return s, true, nil
	}
	f, err := fs.Open(stateName, device.Flags{})
	if err != nil {
		return s, false, err
	}
	defer f.Close()
	copies := make([][]byte, stateCopies)
	size, err := f.Size()
	if err != nil {
		return s, false, err
	}
	for i := range copies {
		copies[i] = make([]byte, stateBytes)
		if off := int64(i * block); off+stateBytes <= size {
			if err := f.ReadAt(copies[i], off); err != nil {
				clear(copies[i]) // an unreadable copy is a bad copy
			}
		}
	}
	s, err = chooseState(copies)
	if err != nil {
		err = fmt.Errorf("%s: %w", fs.Path(stateName), err)
	}
	return s, false, err
}

// createState writes the first state file under another name, so that a
// directory has either a whole one or none.
func createState(fs device.FS, flags device.Flags, block int, s *state) error {
	const tmp = stateName + ".new"
	f, err := fs.Create(tmp, flags)
	if err != nil {
		return err
	}
	b := device.Aligned(stateCopies*block, block)
	for i := range stateCopies {
		s.encode(b[i*block:])
	}
	if err := f.WriteAt(b, 0); err != nil {
		f.Close() // the write's error is the one to tell
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close() // likewise
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := fs.Rename(tmp, stateName); err != nil {
		return err
	}
	return fs.SyncDir()
}
