package snapshot

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/s2"

	"github.com/ringraft/ringraft/journal/device"
)

// Header says what a snapshot is of.
type Header struct {
	ID
	Created       int64  // nanoseconds since 1970; the caller's clock
	Configuration []byte // as of Index; at most one chunk
}

// Writer takes a snapshot: a section after the other, in the order of their kinds,
// then Commit. It is used by one goroutine. Its memory is two chunks and 40 bytes
// for each section. After an error its file is gone, and every call returns that
// error.
type Writer struct {
	dir     *Dir
	head    Header
	sink    *sink
	tally   tally
	plain   []byte // the piece being filled, behind room for its header
	packed  []byte // the same
	fill    int
	section *sectionWriter // nil before the first
	err     error
}

// Create begins to take a snapshot. Errors: *device.ShortageError, or what the
// file system says; then nothing is left behind.
func (d *Dir) Create(h Header) (*Writer, error) {
	if h.Index == 0 || len(h.Configuration) > pieceBytes {
		return nil, fmt.Errorf("snapshot: none is of index %d with a configuration of %d bytes",
			h.Index, len(h.Configuration))
	}
	s, err := d.create(takingPrefix + h.text())
	if err != nil {
		return nil, err
	}
	h.Configuration = slices.Clone(h.Configuration)
	w := &Writer{dir: d, head: h, sink: s, plain: device.Borrow(ChunkBytes, block),
		packed: device.Borrow(chunkHeader+s2.MaxEncodedLen(pieceBytes), block)}
	if err := w.begin(); err != nil {
		return nil, err
	}
	return w, nil
}

// begin writes the header and the configuration.
func (w *Writer) begin() error {
	h := head{cluster: w.dir.Cluster, id: w.head.ID, created: w.head.Created}
	payload := h.append(w.plain[chunkHeader:chunkHeader])
	w.tally.begin(w.head.ID, payload, block)
	if err := w.write(kindHeader, len(payload), Place{}); err != nil {
		return err
	}
	if w.head.Configuration == nil {
		return nil
	}
	w.section = &sectionWriter{w, Configuration}
	_, err := w.section.Write(w.head.Configuration)
	return err
}

// write writes the chunk whose n bytes are in plain, as they are.
func (w *Writer) write(k Kind, n int, at Place) error {
	c := chunk{kind: k, at: at, raw: n, snapshot: w.tally.snapshot,
		content: xxhash.Sum64(w.plain[chunkHeader : chunkHeader+n])}
	return w.fail(w.sink.write(c.encode(w.plain, n), at.Offset))
}

// fail ends the writer, unless err is nil.
func (w *Writer) fail(err error) error {
	if err != nil {
		w.over(w.sink.drop(err))
	}
	return w.err
}

// over ends the writer, whose calls return err from now on.
func (w *Writer) over(err error) {
	w.err = err
	device.GiveBack(w.plain, block)
	device.GiveBack(w.packed, block)
	w.plain, w.packed = nil, nil
}

type sectionWriter struct {
	writer *Writer
	kind   Kind
}

// Section begins a section and ends the one before. What is returned is written
// to until then; bytes written are the caller's again. The configuration comes
// from the Header.
func (w *Writer) Section(k Kind) (io.Writer, error) {
	if err := w.end(); err != nil {
		return nil, err
	}
	n := len(w.tally.sections)
	if k <= Configuration || k == kindFooter || n == sectionsMost ||
		n > 0 && k <= w.tally.sections[n-1].kind {
		return nil, w.fail(fmt.Errorf("snapshot: no section %d can follow the %d there are",
			uint16(k), n))
	}
	w.section = &sectionWriter{w, k}
	return w.section, nil
}

// Write implements io.Writer.
func (s *sectionWriter) Write(b []byte) (n int, err error) {
	w := s.writer
	if w.err != nil {
		return 0, w.err
	}
	if w.section != s {
		return 0, ErrEnded
	}
	for len(b) > 0 {
		if w.fill == pieceBytes {
			if err := w.piece(); err != nil {
				return n, err
			}
		}
		k := copy(w.plain[chunkHeader+w.fill:chunkHeader+pieceBytes], b)
		w.fill, n, b = w.fill+k, n+k, b[k:]
	}
	return n, nil
}

// end writes the last piece of the section, if one has begun.
func (w *Writer) end() error {
	if w.err != nil || w.section == nil {
		return w.err
	}
	err := w.piece()
	w.section = nil
	return err
}

// piece writes what plain is filled with.
func (w *Writer) piece() error {
	at, raw := w.tally.next, w.plain[chunkHeader:chunkHeader+w.fill]
	c := chunk{kind: w.section.kind, at: at, raw: w.fill, snapshot: w.tally.snapshot,
		content: xxhash.Sum64(raw)}
	b, n := w.plain, w.fill
	packed := len(s2.Encode(w.packed[chunkHeader:], raw))
	if roundUp(chunkHeader+packed) < roundUp(chunkHeader+n) {
		c.flags, b, n = flagS2, w.packed, packed
	}
	b = c.encode(b, n)
	w.fill = 0
	if err := w.tally.add(&c, len(b)); err != nil {
		return w.fail(err)
	}
	return w.fail(w.sink.write(b, at.Offset))
}

// Commit ends the snapshot and makes it durable. Errors: *device.ShortageError, or
// what the file system says. After any, the file is gone, unless the directory
// could not be synced: then it is whole and may be gone after the next start.
func (w *Writer) Commit() (Info, error) {
	if err := w.end(); err != nil {
		return Info{}, err
	}
	foot := w.tally.footer(w.plain[chunkHeader:chunkHeader])
	if err := w.write(kindFooter, len(foot), w.tally.next); err != nil {
		return Info{}, err
	}
	if err := w.sink.publish(w.head.ID); err != nil {
		w.over(err)
		return Info{}, err
	}
	w.over(ErrEnded)
	return Info{ID: w.head.ID, Cluster: w.dir.Cluster, Digest: w.tally.fold.Sum64(),
		Bytes: w.tally.next.Offset + block, Chunks: w.tally.next.Chunk + 1,
		Created: w.head.Created, Configuration: w.head.Configuration}, nil
}

// Rewrite takes what another snapshot holds over into this directory: with the cluster
// of the directory, and the configuration given. Index, term, time of creation and all
// other sections stay. Each chunk is verified before it is used. Errors are those of
// Writer and of Reader.Section; after any but that of Commit's last step nothing is left
// behind.
func (d *Dir) Rewrite(from *Reader, configuration []byte) (Info, error) {
	w, err := d.Create(Header{ID: from.info.ID, Created: from.info.Created,
		Configuration: configuration})
	if err != nil {
		return Info{}, err
	}
	for _, k := range from.Kinds() {
		if k == Configuration {
			continue
		}
		if err := w.take(from, k); err != nil {
			return Info{}, errors.Join(err, w.Abort())
		}
	}
	return w.Commit()
}

// take writes a section of another snapshot.
func (w *Writer) take(from *Reader, k Kind) error {
	r, err := from.Section(k)
	if err != nil {
		return err
	}
	section, err := w.Section(k)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(section, r, make([]byte, pieceBytes))
	return err
}

// Abort ends the writer and removes its file, unless it has ended already.
func (w *Writer) Abort() error {
	if w.err != nil {
		return nil
	}
	w.over(ErrEnded)
	return w.sink.drop(nil)
}
