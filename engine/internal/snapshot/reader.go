package snapshot

import (
	"errors"
	"io"
	"slices"

	"github.com/ringraft/ringraft/journal/device"
)

// Reader is an open snapshot. It is used by one goroutine.
type Reader struct {
	dir      *Dir
	name     string
	file     device.File
	info     Info
	sections []section
	snapshot uint64
	window   *window // of ReadChunk
}

// Open opens a whole snapshot and verifies its header, its footer and the
// configuration; the rest is verified as it is read. Errors: *DamageError,
// *UnsupportedError, *ClusterError, *device.ShortageError, or what the file system
// says, as fs.ErrNotExist.
func (d *Dir) Open(id ID) (*Reader, error) {
	name := id.Name()
	f, _, err := d.open(name, false)
	if err != nil {
		return nil, d.failed("opening", name, err)
	}
	r := &Reader{dir: d, name: name, file: f}
	if off, err := r.begin(id); err != nil {
		return nil, errors.Join(d.explain("reading", name, off, err), f.Close())
	}
	return r, nil
}

// begin reads both ends, and returns where an error is.
func (r *Reader) begin(id ID) (int64, error) {
	size, err := r.file.Size()
	if err != nil {
		return 0, err
	}
	r.window = newWindow(r.file, size)
	b, err := r.window.load(0, block)
	if err != nil {
		return 0, err
	}
	h, c, err := parseHead(b)
	if err != nil {
		return 0, err
	}
	if err := h.check(&Info{ID: id, Cluster: r.dir.Cluster}); err != nil {
		return 0, err
	}
	r.snapshot = c.snapshot
	end := r.window.size - block
	if b, err = r.window.load(end, block); err == causeCut {
		return end, causeNoFooter
	} else if err != nil {
		return end, err
	}
	foot, c, err := parseFoot(b, size)
	if err != nil {
		return end, err
	}
	if foot.id != id || c.snapshot != r.snapshot {
		return end, causeSnapshot
	}
	r.sections = foot.sections
	r.info = Info{ID: id, Cluster: h.cluster, Digest: foot.digest, Bytes: size,
		Chunks: foot.chunks, Created: h.created}
	return end, r.first()
}

// first looks for sections that are unknown, and reads the configuration.
func (r *Reader) first() error {
	for _, s := range r.sections {
		if err := s.kind.known(); err != nil {
			return err
		}
	}
	s, err := r.Section(Configuration)
	if err == ErrNoSection {
		return nil
	}
	if err == nil {
		r.info.Configuration, err = io.ReadAll(s)
	}
	return err
}

// Info describes the snapshot. Its Configuration is the reader's.
func (r *Reader) Info() Info { return r.info }

// Kinds lists the sections there are.
func (r *Reader) Kinds() []Kind {
	kinds := make([]Kind, 0, len(r.sections))
	for _, s := range r.sections {
		kinds = append(kinds, s.kind)
	}
	return kinds
}

// Close closes the file.
func (r *Reader) Close() error { return r.dir.failed("closing", r.name, r.file.Close()) }

// Verify reads all of the file and returns nil when it is what was written; else
// the errors of Open, or that of Dir.Pace.
func (r *Reader) Verify() error {
	k, w := &walk{want: r.info}, newWindow(r.file, r.info.Bytes)
	for !k.whole {
		off := k.tally.next.Offset
		b, err := w.chunk(off)
		if err == nil {
			err = k.take(b)
		}
		if err == nil {
			err = r.dir.pace(len(b))
		}
		if err != nil {
			return r.dir.explain("reading", r.name, off, err)
		}
	}
	return nil
}

// ReadChunk returns the chunk at a place as it is to be sent, verified but not
// decompressed. It is valid until the next call; at.After(len) is the place of the
// next one. The first place is Place{}, and Info.Chunks are all. Any place may be
// asked for, as another member says it: a *DamageError says that no chunk is
// there.
func (r *Reader) ReadChunk(at Place) ([]byte, error) {
	b, err := r.window.chunk(at.Offset)
	if err == nil {
		var c chunk
		if c, err = parse(b, at); err == nil && c.snapshot != r.snapshot {
			err = causeSnapshot
		}
	}
	if err == nil {
		err = r.dir.pace(len(b))
	}
	if err != nil {
		return nil, r.dir.explain("reading", r.name, at.Offset, err)
	}
	return b, nil
}

// Section returns the bytes of a section, each chunk verified before any of it is
// given. An error of its Read is one of Open's, or Dir.Pace's. Several may be read
// at a time; each has memory of two chunks. ErrNoSection: there is none.
func (r *Reader) Section(k Kind) (io.Reader, error) {
	i := slices.IndexFunc(r.sections, func(s section) bool { return s.kind == k })
	if i < 0 {
		return nil, ErrNoSection
	}
	s := r.sections[i]
	return &sectionReader{reader: r, section: s, next: s.first, left: s.bytes,
		window: newWindow(r.file, r.info.Bytes),
		buf:    make([]byte, min(pieceBytes, s.bytes))}, nil
}

type sectionReader struct {
	reader  *Reader
	section section
	window  *window
	next    Place
	left    int64 // raw bytes of pieces not read
	buf     []byte
	piece   []byte // what is left of the present one
	err     error
}

// Read implements io.Reader.
func (s *sectionReader) Read(b []byte) (n int, err error) {
	for len(s.piece) == 0 && len(b) > 0 {
		if s.err != nil {
			return 0, s.err
		}
		if s.left == 0 {
			return 0, io.EOF
		}
		off := s.next.Offset
		if err := s.read(); err != nil {
			s.piece, s.err = nil, s.reader.dir.explain("reading", s.reader.name, off, err)
		}
	}
	n = copy(b, s.piece)
	s.piece = s.piece[n:]
	return n, nil
}

// read reads the next piece.
func (s *sectionReader) read() error {
	b, err := s.window.chunk(s.next.Offset)
	if err != nil {
		return err
	}
	c, err := parse(b, s.next)
	if err != nil {
		return err
	}
	switch {
	case c.snapshot != s.reader.snapshot:
		return causeSnapshot
	case c.kind != s.section.kind || int64(c.raw) != min(pieceBytes, s.left):
		return causeFooter
	}
	raw, err := c.open(s.buf)
	if err != nil {
		return err
	}
	s.piece, s.left, s.next = raw, s.left-int64(c.raw), s.next.After(len(b))
	return s.reader.dir.pace(len(b))
}
