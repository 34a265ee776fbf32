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
	return d.openAs(id.Name(), &Info{ID: id, Cluster: d.Cluster})
}

// OpenFile opens a snapshot that has any name and is of any cluster, as a copy that
// somebody keeps. Otherwise it is as Open.
func (d *Dir) OpenFile(name string) (*Reader, error) { return d.openAs(name, nil) }

// openAs opens a file that is to be of the wanted snapshot; nil: of any.
func (d *Dir) openAs(name string, want *Info) (*Reader, error) {
	f, _, err := d.open(name, false)
	if err != nil {
		return nil, d.failed("opening", name, err)
	}
	r := &Reader{dir: d, name: name, file: f}
	if off, err := r.begin(want); err != nil {
		return nil, errors.Join(d.explain("reading", name, off, err), f.Close())
	}
	return r, nil
}

// begin reads both ends, and returns where an error is.
func (r *Reader) begin(want *Info) (int64, error) {
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
	if want == nil {
		want = &Info{ID: h.id, Cluster: h.cluster}
	}
	if err := h.check(want); err != nil {
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
	if foot.id != h.id || c.snapshot != r.snapshot {
		return end, causeSnapshot
	}
	r.sections = foot.sections
	r.info = Info{ID: h.id, Cluster: h.cluster, Digest: foot.digest, Bytes: size,
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

// Has reports whether there is a section.
func (r *Reader) Has(k Kind) bool { return slices.Contains(r.Kinds(), k) }

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

// ReadAt reads bytes of the file as they are, without verifying them: whoever has all of
// it verifies that. off and the length of b are multiples of a block. Less than all of b
// comes with io.EOF, at the end of the file.
func (r *Reader) ReadAt(b []byte, off int64) (n int, err error) {
	for n < len(b) && off < r.info.Bytes {
		k := int(min(int64(len(b)-n), ChunkBytes, r.info.Bytes-off))
		p, err := r.window.load(off, k)
		if err == nil {
			err = r.dir.pace(k)
		}
		if err != nil {
			return n, r.dir.explain("reading", r.name, off, err)
		}
		n, off = n+copy(b[n:], p), off+int64(k)
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
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
