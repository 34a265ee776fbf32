package journal

import "github.com/ringraft/ringraft/journal/device"

// Shortage is something of the system's that there was not enough of.
type Shortage = device.Shortage

// The shortages. Each may be over in a moment, and nothing is lost by it.
const (
	NoSpace      = device.NoSpace      // the disk or the quota is full
	NoDescriptor = device.NoDescriptor // the process or the system has no file descriptor free
	NoMemory     = device.NoMemory     // the kernel has no memory for what it was asked
	TryAgain     = device.TryAgain     // the kernel asks to be asked again
)

// ShortageError: the next segment could not be made, or the directory not be
// opened or examined, for want of something that may be there in a moment. A
// journal that is open tries again by itself; see Journal.Space.
type ShortageError = device.ShortageError

// shortage is what an error tells that there is not enough of, 0 for nothing.
func shortage(err error) Shortage { return device.ShortageOf(err) }

// asShortage says of an error that passes what it is, and leaves any other.
func asShortage(what string, err error) error { return device.AsShortage("journal: "+what, err) }
