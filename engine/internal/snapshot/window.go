package snapshot

import "github.com/ringraft/ringraft/journal/device"

// window is a part of a file in memory, aligned as it is in the file.
type window struct {
	file device.File
	size int64
	buf  []byte
	off  int64 // of buf in the file
	n    int   // bytes read
}

// newWindow looks at the whole blocks of a file of size bytes.
func newWindow(file device.File, size int64) *window {
	size &^= block - 1
	most := int(min(ChunkBytes, max(size, block)))
	return &window{file: file, size: size, buf: device.Aligned(most, block)}
}

// load returns n bytes of the file from off on, and reads ahead. They are valid
// until the next call. Multiples of a block, at most a chunk; else a cause.
func (w *window) load(off int64, n int) ([]byte, error) {
	if off < 0 || off%block != 0 || off > w.size-int64(n) {
		return nil, causeCut
	}
	if off < w.off || off+int64(n) > w.off+int64(w.n) {
		kept := 0
		if off >= w.off && off < w.off+int64(w.n) {
			kept = copy(w.buf, w.buf[off-w.off:w.n])
		}
		w.off, w.n = off, kept
		all := int(min(int64(len(w.buf)), w.size-off))
		if err := w.file.ReadAt(w.buf[kept:all], off+int64(kept)); err != nil {
			return nil, err
		}
		w.n = all
	}
	at := int(off - w.off)
	return w.buf[at : at+n], nil
}

// chunk returns the chunk that begins at off, not verified, as load does.
func (w *window) chunk(off int64) ([]byte, error) {
	b, err := w.load(off, block)
	if err != nil {
		return nil, err
	}
	n, err := measure(b)
	if err != nil {
		return nil, err
	}
	return w.load(off, n)
}
