package kv

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"

	"github.com/cespare/xxhash/v2"
)

// StreamError: bytes that Restore was given are no view of a state.
type StreamError struct {
	Offset  int64 // about where
	Problem string
}

func (e *StreamError) Error() string {
	return fmt.Sprintf("kv: snapshot, byte %d: %s", e.Offset, e.Problem)
}

// Restore reads what a View wrote, all of r, into a state of its own, and compares its pairs with
// the digest. It reads ahead of what it needs, on a goroutine of its own, which has ended when
// Restore returns: to unpack and verify what comes takes time, too. It touches nothing that Apply
// and Read do, so they go on meanwhile, on another goroutine. The goroutine that applies commands
// calls install, which takes microseconds; the state before is then that of no one but an open
// view.
//
// The error is a *StreamError, or has that of r in it.
func (m *Machine) Restore(r io.Reader) (install func(), err error) {
	ahead := readInFront(r)
	defer ahead.stop()
	d := decoder{r: bufio.NewReaderSize(ahead, readAhead)}
	d.fresh.reset()
	if err := d.state(); err != nil {
		return nil, err
	}
	return func() {
		defer m.lockView().unlock()
		m.pairs.adopt(d.fresh.content)
		m.applied = d.applied
		m.publish()
	}, nil
}

const (
	readAhead = 256 << 10
	// readStep is the most memory in bytes that is taken because a length says so. More is taken
	// as the bytes come.
	readStep = 1 << 20
	// presizeMost is the most pairs that a table has room for before they come, and presizePart
	// the part of the pairs that must have come before there is room for all of them.
	presizeMost = 4096
	presizePart = 16
)

// decoder reads a state.
type decoder struct {
	r       *bufio.Reader
	at      int64
	fresh   pairs
	applied uint64
	count   uint64
	sum     digest
	record  [recordHeader]byte
}

func (d *decoder) state() error {
	if err := d.header(); err != nil {
		return err
	}
	d.fresh.table = make(map[uint64]ref, min(d.count, presizeMost))
	for i := range d.count {
		if i >= presizeMost && i == d.count/presizePart && i == uint64(d.fresh.count()) {
			d.makeRoom()
		}
		if err := d.pair(); err != nil {
			return err
		}
	}
	if _, err := d.r.ReadByte(); err == nil {
		return d.bad("bytes behind the last of %d pairs", d.count)
	} else if !errors.Is(err, io.EOF) {
		return d.failed(err)
	}
	if n := d.fresh.count(); uint64(n) != d.count || d.fresh.sum != d.sum {
		return d.bad("%d different keys with digest %v; the header says %d with %v", n, d.fresh.sum,
			d.count, d.sum)
	}
	return nil
}

// makeRoom makes the table large enough for all pairs, now that enough of them have come to believe
// the header: a table that grows again and again moves each pair several times.
func (d *decoder) makeRoom() {
	table := make(map[uint64]ref, d.count)
	maps.Copy(table, d.fresh.table)
	d.fresh.table = table
}

func (d *decoder) header() error {
	h := make([]byte, headerBytes)
	if err := d.fill(h); err != nil {
		return err
	}
	d.at = 0
	number := binary.LittleEndian.Uint64
	switch sum := number(h[headerBytes-8:]); {
	case string(h[:8]) != streamMagic:
		return d.bad("not a snapshot of raftd's table")
	case sum != xxhash.Sum64(h[:headerBytes-8]):
		return d.bad("the header does not fit its checksum")
	}
	if v := binary.LittleEndian.Uint32(h[8:]); v != streamVersion {
		return d.bad("version %d; this raftd reads version %d", v, streamVersion)
	}
	if z := binary.LittleEndian.Uint32(h[12:]); z != 0 {
		return d.bad("%#x where version %d has zero", z, streamVersion)
	}
	d.at = headerBytes
	d.applied, d.count = number(h[16:]), number(h[24:])
	d.sum = digest{low: number(h[32:]), high: number(h[40:])}
	return nil
}

func (d *decoder) pair() error {
	if err := d.fill(d.record[:]); err != nil {
		return err
	}
	k, v := binary.LittleEndian.Uint32(d.record[:]), binary.LittleEndian.Uint32(d.record[4:])
	switch {
	case k > keyMax:
		return d.bad("a key of %d bytes; at most %d", k, keyMax)
	case v > MaxValue:
		return d.bad("a value of %d bytes; at most %d", v, MaxValue)
	case k > readStep || v >= largeMin:
		return d.long(int(k), int(v))
	}
	n := pairHeader + int(k)
	p := &d.fresh
	is := p.newPair(nil, n+int(v))
	is.setKeyLen(int(k))
	if err := d.fill(is.buf[pairHeader : n+int(v)]); err != nil {
		return err
	}
	p.putHead(is, int(v))
	p.takeIn(is, xxhash.Sum64(is.buf[n:n+int(v)]))
	p.enter(is, p.find(is.key()))
	return nil
}

// long reads a pair with a key or value of which not all is read at once.
func (d *decoder) long(keyLen, size int) error {
	var key []byte
	for rest := keyLen; rest > 0; {
		n := min(rest, readStep)
		key = append(key, make([]byte, n)...)
		if err := d.fill(key[len(key)-n:]); err != nil {
			return err
		}
		rest -= n
	}
	if size < largeMin {
		v := make([]byte, size)
		if err := d.fill(v); err != nil {
			return err
		}
		d.fresh.putSmall(key, v, 0, d.fresh.find(key))
		return nil
	}
	l := &large{size: size}
	l.hash.Reset()
	for rest := size; rest > 0; {
		chunk := make([]byte, min(rest, readStep))
		if err := d.fill(chunk); err != nil {
			return err
		}
		l.write(chunk)
		l.chunks = append(l.chunks, chunk)
		rest -= len(chunk)
	}
	d.fresh.putLarge(key, l, d.fresh.find(key))
	return nil
}

// fill reads as many bytes as b has.
func (d *decoder) fill(b []byte) error {
	n, err := io.ReadFull(d.r, b)
	d.at += int64(n)
	if err == nil {
		return nil
	}
	return d.failed(err)
}

func (d *decoder) failed(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return d.bad("it ends in the middle")
	}
	return fmt.Errorf("kv: snapshot, byte %d: %w", d.at, err)
}

func (d *decoder) bad(format string, args ...any) error {
	return &StreamError{Offset: d.at, Problem: fmt.Sprintf(format, args...)}
}
