package device

import (
	"errors"
	"syscall"
)

// Shortage is something of the system's that there was not enough of.
type Shortage uint8

// The shortages. Each may be over in a moment, and nothing is lost by it.
const (
	NoSpace      Shortage = iota + 1 // the disk or the quota is full
	NoDescriptor                     // the process or the system has no file descriptor free
	NoMemory                         // the kernel has no memory for what it was asked
	TryAgain                         // the kernel asks to be asked again
)

// ShortageError: something could not be done for want of what may be there in a
// moment.
type ShortageError struct {
	Of   Shortage
	What string // that failed, as a sentence that begins with the package's name
	Err  error  // the system's, with the file
}

func (e *ShortageError) Error() string {
	return e.What + ": " + e.Advice() + ": " + e.Err.Error()
}

// Unwrap is the system's error.
func (e *ShortageError) Unwrap() error { return e.Err }

// Advice says what is short, and what to do.
func (e *ShortageError) Advice() string {
	switch {
	case e.Of == NoSpace:
		return "the disk is full: free some space"
	case e.Of == NoDescriptor && errors.Is(e.Err, syscall.ENFILE):
		return "the system has no file descriptor free: raise fs.file-max or close files"
	case e.Of == NoDescriptor:
		return "no file descriptor is free: raise RLIMIT_NOFILE (ulimit -n) or close connections"
	case e.Of == NoMemory:
		return "the kernel has no memory for it: free some"
	}
	return "the kernel asks to try again"
}

// shortages are the system's errors that pass.
var shortages = map[Shortage][]error{
	NoSpace:      {syscall.ENOSPC, syscall.EDQUOT},
	NoDescriptor: {syscall.EMFILE, syscall.ENFILE},
	NoMemory:     {syscall.ENOMEM, syscall.ENOBUFS},
	TryAgain:     {syscall.EAGAIN, syscall.EINTR, syscall.EBUSY},
}

// ShortageOf is what an error tells that there is not enough of, 0 for nothing.
func ShortageOf(err error) Shortage {
	for s := NoSpace; s <= TryAgain; s++ {
		for _, e := range shortages[s] {
			if errors.Is(err, e) {
				return s
			}
		}
	}
	return 0
}

// AsShortage says of an error that passes what it is, and leaves any other. what
// failed, as in ShortageError.What.
func AsShortage(what string, err error) error {
	var known *ShortageError
	if s := ShortageOf(err); s != 0 && !errors.As(err, &known) {
		return &ShortageError{Of: s, What: what, Err: err}
	}
	return err
}
