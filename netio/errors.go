package netio

import (
	"errors"
	"fmt"
	"syscall"
)

// Why a connection was closed, or an operation refused.
var (
	ErrClosed     = errors.New("netio: connection closed")
	ErrShutdown   = errors.New("netio: server is shutting down")
	ErrSlow       = errors.New("netio: the peer does not read what it asked for")
	ErrInbound    = errors.New("netio: too many bytes received and not consumed")
	ErrStalled    = errors.New("netio: the peer began something and did not finish it")
	ErrLinkClosed = errors.New("netio: link closed")
)

// ListenError says which address could not be listened on. Err is the system's error.
type ListenError struct {
	Addr string
	Err  error
}

// Error names the address and, when another process has the port, says so.
func (e *ListenError) Error() string {
	switch {
	case errors.Is(e.Err, syscall.EADDRINUSE):
		return fmt.Sprintf("netio: cannot listen on %s: the port is in use (another process "+
			"listens there)", e.Addr)
	case errors.Is(e.Err, syscall.EACCES):
		return fmt.Sprintf("netio: cannot listen on %s: not permitted (ports below 1024 need a "+
			"privilege)", e.Addr)
	case errors.Is(e.Err, syscall.EADDRNOTAVAIL):
		return fmt.Sprintf("netio: cannot listen on %s: this machine does not have that address",
			e.Addr)
	}
	return fmt.Sprintf("netio: cannot listen on %s: %v", e.Addr, e.Err)
}

// Unwrap gives the system's error.
func (e *ListenError) Unwrap() error { return e.Err }
