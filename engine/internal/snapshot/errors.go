package snapshot

import (
	"errors"
	"fmt"

	"github.com/ringraft/ringraft/journal/device"
)

var (
	// ErrNotNext: the chunk is not the one that is wanted next; see Receiver.Next.
	ErrNotNext = errors.New("snapshot: another chunk is wanted next")
	// ErrNoSection: the snapshot does not have the section.
	ErrNoSection = errors.New("snapshot: it has no such section")
	// ErrEnded: the writer, receiver or section is not in use any more.
	ErrEnded = errors.New("snapshot: it has ended")
)

// DamageError: a file, or a chunk that was sent, is not what was written.
type DamageError struct {
	File   string // with its directory
	Offset int64  // of the chunk in it
	Cause  string // in words
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("snapshot: %s is damaged at offset %d: %s", e.File, e.Offset, e.Cause)
}

// UnsupportedError: a file is sound, and this program cannot read it.
type UnsupportedError struct {
	File string
	What string // it has, as a sentence
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("snapshot: %s cannot be read by this program: %s", e.File, e.What)
}

// ClusterError: a snapshot is of another cluster.
type ClusterError struct {
	File                 string
	Observed, Configured uint64
}

func (e *ClusterError) Error() string {
	return fmt.Sprintf("snapshot: %s is of cluster %016x, not of cluster %016x", e.File,
		e.Observed, e.Configured)
}

// cause is why bytes are not believed.
type cause string

func (c cause) Error() string { return string(c) }

const (
	causeNoChunk      cause = "no chunk begins here"
	causeCut          cause = "the file ends inside of a chunk"
	causeSum          cause = "checksum wrong"
	causePlace        cause = "the chunk belongs to another place"
	causeSnapshot     cause = "the chunk belongs to another snapshot"
	causeNonsense     cause = "the checksum is right, but no chunk is like this"
	causeContent      cause = "the chunk does not decompress to what its checksum says"
	causeOrder        cause = "no section can go on like this"
	causeNoHeader     cause = "no header"
	causeNoFooter     cause = "no footer: the file is cut, or something follows it"
	causeFooter       cause = "the footer speaks of other chunks"
	causeLength       cause = "the bytes are not one chunk"
	causeTooLong      cause = "the file is longer than was announced"
	causeAnnounced    cause = "the footer is not the one that was announced"
	causeAnnouncement cause = "no snapshot is like the one that was announced"
	causeName         cause = "the file's name has another index or term"
)

// unsupported is what a sound file has that this program cannot read.
type unsupported string

func (u unsupported) Error() string { return string(u) }

// explain says of an error what it means for a file, and where.
func (d *Dir) explain(doing, name string, off int64, err error) error {
	var c cause
	var u unsupported
	var other *ClusterError
	var known *DamageError
	switch {
	case errors.As(err, &known): // of a section's reader
		return err
	case errors.As(err, &c):
		return &DamageError{File: d.FS.Path(name), Offset: off, Cause: string(c)}
	case errors.As(err, &u):
		return &UnsupportedError{File: d.FS.Path(name), What: string(u)}
	case errors.As(err, &other):
		return &ClusterError{d.FS.Path(name), other.Observed, other.Configured}
	}
	return d.failed(doing, name, err)
}

// failed says what failed on the way to the disk; nil for nil.
func (d *Dir) failed(doing, name string, err error) error {
	if err == nil {
		return nil
	}
	what := "snapshot: " + doing + " " + d.FS.Path(name)
	if device.ShortageOf(err) != 0 {
		return device.AsShortage(what+" failed", err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
