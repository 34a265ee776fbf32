package snapshot

import (
	"errors"
	"io/fs"

	"github.com/ringraft/ringraft/journal/device"
)

// Receiver is a snapshot that comes from another member, a chunk after the other.
// What has come stays when the process ends, and is verified again by the next
// Receive. It is used by one goroutine. Its memory is three chunks.
type Receiver struct {
	dir  *Dir
	sink *sink
	walk *walk
	buf  []byte // for chunks that come unaligned
	err  error
}

// Receive begins or goes on to receive a snapshot that another member announced.
// It goes on if the same snapshot, by index, term, digest and length, was begun:
// also from another member. What was begun of any other is removed. Errors:
// *ClusterError, *DamageError if no snapshot is like that, *device.ShortageError,
// that of Dir.Pace, or what the file system says; what was begun stays.
func (d *Dir) Receive(announced Info) (*Receiver, error) {
	if err := announced.check(d); err != nil {
		return nil, d.explain("receiving", announced.Name(), 0, err)
	}
	name := announced.partName()
	if err := d.removeOthers(name); err != nil {
		return nil, err
	}
	r := &Receiver{dir: d, walk: &walk{want: announced}, buf: device.Aligned(ChunkBytes, block)}
	if err := r.resume(name); err != nil {
		return nil, err
	}
	if r.sink != nil {
		return r, nil
	}
	var err error
	r.walk = &walk{want: announced}
	if r.sink, err = d.create(name); err != nil {
		return nil, err
	}
	return r, nil
}

// check says whether a snapshot may be like that.
func (i *Info) check(d *Dir) error {
	if i.Cluster != d.Cluster {
		return &ClusterError{Observed: i.Cluster, Configured: d.Cluster}
	}
	if i.Index == 0 || i.Bytes < 2*block || i.Bytes > fileMost || i.Bytes%block != 0 {
		return causeAnnouncement
	}
	return nil
}

// removeOthers removes what was begun of other snapshots.
func (d *Dir) removeOthers(name string) error {
	names, err := d.names()
	if err != nil {
		return err
	}
	var gone []string
	for _, n := range names {
		if _, ok := parseName(n, receivingPrefix, 4); ok && n != name {
			gone = append(gone, n)
		}
	}
	return d.remove(gone)
}

// resume opens what was begun and takes its chunks as if they came now. There is
// no sink when nothing was begun, or it is not to be used.
func (r *Receiver) resume(name string) error {
	f, buffered, err := r.dir.open(name, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return r.dir.failed("opening", name, err)
	}
	s := &sink{dir: r.dir, name: name, file: f, buffered: buffered}
	usable, err := r.retake(s)
	if err != nil || !usable {
		return errors.Join(err, s.close())
	}
	r.sink = s
	return nil
}

// retake takes the chunks that are there, up to the first that is not sound: that
// one is wanted again, whatever follows it.
func (r *Receiver) retake(s *sink) (usable bool, err error) {
	size, err := s.file.Size()
	if err != nil {
		return false, r.dir.failed("reading", s.name, err)
	}
	if size > r.walk.want.Bytes {
		return false, nil
	}
	w := newWindow(s.file, size)
	for !r.walk.whole {
		off := r.walk.tally.next.Offset
		b, err := w.chunk(off)
		var c cause
		if err != nil && !errors.As(err, &c) {
			return false, nil // what cannot be read is received again, into another file
		}
		if err == nil {
			err = r.walk.take(b)
		}
		if errors.As(err, &c) {
			break
		}
		if err == nil {
			err = r.dir.pace(len(b))
		}
		if err != nil {
			return false, r.dir.explain("reading", s.name, off, err)
		}
	}
	return true, nil
}

// Next is the place of the chunk that is wanted; false: all have come, and Finish
// is next.
func (r *Receiver) Next() (Place, bool) { return r.walk.tally.next, !r.walk.whole }

// Chunk takes the chunk that is wanted, as ReadChunk returned it; b is the
// caller's again. Errors: ErrNotNext for one of another place, *DamageError for one
// that is not what was sent, and then the same is wanted still (if it is so again
// and again, the sender stores the same content in another way: Discard, and
// begin anew); *UnsupportedError;
// *device.ShortageError, or what the file system says, and then the receiver has ended
// and what was received is gone: it may be what the disk has no room for; Dir.Pace's
// error, and then it has ended and what came is left to the next Receive, unless the
// error is a shortage.
func (r *Receiver) Chunk(at Place, b []byte) error {
	if r.err != nil {
		return r.err
	}
	next, ok := r.Next()
	if !ok || at != next {
		return ErrNotNext
	}
	if len(b) > len(r.buf) {
		return r.dir.explain("receiving", r.sink.name, at.Offset, causeLength)
	}
	own := r.buf[:copy(r.buf, b)]
	if err := r.walk.take(own); err != nil {
		return r.dir.explain("receiving", r.sink.name, at.Offset, err)
	}
	if err := r.sink.put(own, at.Offset); err != nil {
		r.err = r.sink.drop(err)
		return r.err
	}
	if err := r.dir.failed("writing", r.sink.name, r.dir.pace(len(own))); err != nil {
		if device.ShortageOf(err) != 0 {
			r.err = r.sink.drop(err)
		} else {
			r.err = errors.Join(err, r.sink.close())
		}
	}
	return r.err
}

// Finish makes the snapshot durable when all chunks have come; ErrNotNext if they
// have not. Errors are those of Writer.Commit.
func (r *Receiver) Finish() (Info, error) {
	if r.err != nil {
		return Info{}, r.err
	}
	if !r.walk.whole {
		return Info{}, ErrNotNext
	}
	r.err = ErrEnded
	if err := r.sink.publish(r.walk.want.ID); err != nil {
		r.err = err
		return Info{}, err
	}
	return r.walk.info(), nil
}

// Close ends the receiver and leaves what has come to the next Receive.
func (r *Receiver) Close() error {
	if r.err != nil {
		return nil
	}
	r.err = ErrEnded
	return r.sink.close()
}

// Discard ends the receiver and removes what has come.
func (r *Receiver) Discard() error {
	if r.err != nil {
		return nil
	}
	r.err = ErrEnded
	return r.sink.drop(nil)
}
