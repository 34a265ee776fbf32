package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/ringraft/ringraft/journal/device"
)

// The state file holds four copies of one record, each at the start of its
// own block:
//
//	  0 magic u64 | 8 sequence | 16 cluster | 24 replica | 32 incarnation
//	 40 term | 48 vote | 56 first live ordinal | 64 last ordinal opened
//	 72 sealed: ordinal | 80 position | 88 number
//	 96 segment bytes | 104 block bytes | 112 flags (1: probation, 2: damaged)
//	120 directory id, two u64 | 136 snapshot: index | 144 term | 152 digest
//	160 restored: batch number | 168–247 zeros | 248 checksum of 0–247
//
// A record of version 2 ends behind its flags, 120 checksum of 0–119, and knows
// no more. It is read, and the next change writes a record of version 3. A
// record whose zeros are none holds what only a later version knows, and is
// refused: to write it anew would lose that.
//
// A change is written to copies 0 and 1, then to 2 and 3, so that two good
// copies of one sequence exist at every moment. Opening needs two that agree,
// whatever their versions, and mends the others, one at a time, before anything
// else is written: a change begun over a half-written one could otherwise lose
// both.
// Sizes are of the directory, not of the configuration: whoever opens it later
// with other wishes or in another mode finds the same blocks. Probation stays
// until it is settled, however often the process restarts.
// It is the authority for identity, incarnation, term and vote, and for where
// the log begins: the snapshot, the first live segment and the newest batch that
// a restored snapshot replaced change together. It also knows which segments
// must exist and which seal must be found, so that what is lost at the very end
// is missed.
const (
	stateName    = "state"
	stateNew     = "state.new"
	stateMagic2  = 0x3245544154535252 // "RRSTATE2"
	stateMagic   = 0x3345544154535252 // "RRSTATE3"
	stateBytes   = 256
	stateSum2    = 120 // where the checksum stands in version 2
	stateUnknown = 168 // where the zeros begin
	stateSum     = 248
	blockMax     = 64 << 10
	stateCopies  = 4
)

type state struct {
	sequence    uint64
	id          Identity
	incarnation uint64
	hard        Hard
	live, last  uint64 // ordinals
	sealed      location
	segment     int64 // bytes of each segment file
	block       int
	probation   bool
	damaged     bool
	directory   [2]uint64 // 0, 0: none
	snapshot    Mark
	restored    uint64 // entries of batches up to this number do not count; see Batch.Restore
}

// location is where a batch lies.
type location struct{ ordinal, position, number uint64 }

func (s *state) encode(b []byte) {
	le := binary.LittleEndian
	flags := uint64(0)
	if s.probation {
		flags |= 1
	}
	if s.damaged {
		flags |= 2
	}
	for i, v := range [...]uint64{stateMagic, s.sequence, s.id.Cluster, s.id.Replica, s.incarnation,
		s.hard.Term, s.hard.Vote, s.live, s.last, s.sealed.ordinal, s.sealed.position,
		s.sealed.number, uint64(s.segment), uint64(s.block), flags, s.directory[0], s.directory[1],
		s.snapshot.Index, s.snapshot.Term, s.snapshot.Digest, s.restored} {
		le.PutUint64(b[8*i:], v)
	}
	clear(b[stateUnknown:stateSum])
	le.PutUint64(b[stateSum:], xxhash.Sum64(b[:stateSum]))
}

// decodeState reads a record of either version; ok is false for anything else.
func decodeState(b []byte) (s state, ok bool) {
	u := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	switch {
	case stateVersion(b) == 0 || laterState(b):
		return s, false
	case stateVersion(b) == 3:
		s.directory = [2]uint64{u(15), u(16)}
		s.snapshot = Mark{Index: u(17), Term: u(18), Digest: u(19)}
		s.restored = u(20)
	}
	s.sequence, s.id, s.incarnation = u(1), Identity{u(2), u(3)}, u(4)
	s.hard, s.live, s.last = Hard{u(5), u(6)}, u(7), u(8)
	s.sealed = location{u(9), u(10), u(11)}
	s.segment, s.block = int64(u(12)), int(u(13))
	s.probation, s.damaged = u(14)&1 != 0, u(14)&2 != 0
	return s, true
}

// stateVersion is the version of a record whose checksum is right, 0 for other
// bytes.
func stateVersion(b []byte) int {
	le := binary.LittleEndian
	sum := func(at int) bool { return le.Uint64(b[at:]) == xxhash.Sum64(b[:at]) }
	switch magic := le.Uint64(b); {
	case magic == stateMagic && sum(stateSum):
		return 3
	case magic == stateMagic2 && sum(stateSum2):
		return 2
	}
	return 0
}

// laterState reports that a record holds what this version does not know.
func laterState(b []byte) bool {
	return stateVersion(b) == 3 && slices.ContainsFunc(b[stateUnknown:stateSum],
		func(c byte) bool { return c != 0 })
}

// chosen is what the copies of the state file amount to.
type chosen struct {
	state state
	seen  uint64 // highest sequence in any copy; none up to it is used again
	bad   []int  // copies to mend
}

// errLater: the newest record may be one that cannot be read whole.
var errLater = fmt.Errorf("%w: it holds what only a later version knows: use that", ErrState)

// chooseState picks the record that two copies agree on, the newest if there
// are several. During a change the old pair or the new one is whole. Two pairs
// of one sequence that differ cannot be: a copied disk, or a second writer.
func chooseState(copies [][]byte) (c chosen, err error) {
	var records [stateCopies]state
	var ok [stateCopies]bool
	readable, agreed := 0, false
	for i, b := range copies {
		if laterState(b) {
			return c, errLater
		}
		if records[i], ok[i] = decodeState(b); ok[i] {
			readable++
			c.seen = max(c.seen, records[i].sequence)
		}
	}
	for i := range records {
		for k := range i {
			switch {
			case !ok[i] || !ok[k] || records[i] != records[k]:
			case !agreed || records[i].sequence > c.state.sequence:
				c.state, agreed = records[i], true
			case records[i].sequence == c.state.sequence && records[i] != c.state:
				return c, fmt.Errorf("%w: two records of sequence %d differ", ErrState,
					records[i].sequence)
			}
		}
	}
	if !agreed {
		return c, fmt.Errorf("%w: no two of its %d copies agree (%d readable)", ErrState,
			len(copies), readable)
	}
	for i := range records {
		if !ok[i] || records[i] != c.state {
			c.bad = append(c.bad, i)
		}
	}
	return c, nil
}

// sane reports whether a directory can have such sizes, segments and snapshot.
func (s *state) sane() bool {
	return s.live >= 1 && s.live-1 <= s.last && s.block >= blockDefault && s.block <= blockMax &&
		s.segment >= int64(s.block) && s.segment%int64(s.block) == 0 &&
		(s.snapshot == Mark{} || s.snapshot.possible())
}

// readState reads the state file; missing tells that there is none. The
// copies lie one block apart, and the block is what the record itself says.
func readState(fs device.FS) (s chosen, missing bool, err error) {
	names, err := fs.List()
	if err != nil {
		return s, false, err
	}
	if !slices.Contains(names, stateName) {
		return s, true, nil
	}
	f, err := fs.Open(stateName, device.Flags{})
	if err != nil {
		return s, false, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return s, false, err
	}
	for block := blockDefault; block <= blockMax; block *= 2 {
		copies, short := readCopies(f, size, block)
		if short != nil {
			return s, false, short // what it says is not known, which is no damage
		}
		c, wrong := chooseState(copies)
		if errors.Is(wrong, errLater) {
			return s, false, fmt.Errorf("%s: %w", fs.Path(stateName), wrong)
		}
		if wrong == nil && c.state.block == block && c.state.sane() {
			return c, false, nil
		}
		if err == nil {
			err = wrong
		}
	}
	if err == nil {
		err = fmt.Errorf("%w: its numbers make no sense", ErrState)
	}
	return s, false, fmt.Errorf("%s: %w: this replica no longer knows how it voted; restore the "+
		"file, or remove "+
		"the directory and join anew under a new id", fs.Path(stateName), err)
}

// readCopies reads the four places of the record. An unreadable copy is a bad
// copy; the error is a shortage that kept one from being read.
func readCopies(f device.File, size int64, block int) (copies [][]byte, short error) {
	copies = make([][]byte, stateCopies)
	for i := range copies {
		copies[i] = make([]byte, stateBytes)
		off := int64(i * block)
		if off+stateBytes > size {
			continue
		}
		if err := f.ReadAt(copies[i], off); shortage(err) != 0 {
			return nil, err
		} else if err != nil {
			clear(copies[i])
		}
	}
	return copies, nil
}

// createState writes the first state file under another name, so that a
// directory has either a whole one or none.
func createState(fs device.FS, flags device.Flags, s *state) error {
	const tmp = stateNew
	f, err := fs.Create(tmp, flags)
	if err != nil {
		return err
	}
	b := device.Aligned(stateCopies*s.block, s.block)
	for i := range stateCopies {
		s.encode(b[i*s.block:])
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
