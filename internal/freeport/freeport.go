// Package freeport finds loopback addresses for servers that are started by
// name: several processes of one test or one benchmark, which must know each
// other's addresses before any of them listens.
//
// Asking the kernel for a port and giving it back does not do: it comes from the
// range that outgoing connections take theirs from, and one of them, or another
// process asking the same, may have it before the server does. Here ports come from
// below that range, in blocks. A process owns a block for as long as it runs, by listening
// on the block's first port, and gives no port twice until it has given all.
package freeport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
)

const (
	lowest    = 10_000
	perBlock  = 50
	ephemeral = 32_768 // where Linux begins to take outgoing ports, unless told otherwise
)

// ErrNone says that no port is left.
var ErrNone = errors.New("freeport: no free loopback port below those of outgoing connections")

var owned struct {
	sync.Mutex
	guard net.Listener // holds the block against other processes
	first int          // the guard's port
	next  int          // counts what was given
}

// Addresses returns n loopback addresses, host and port, on which nobody listens
// and which no other caller of this package is given. Any goroutine may call it.
func Addresses(n int) ([]string, error) {
	owned.Lock()
	defer owned.Unlock()
	if owned.guard == nil {
		if err := own(ceiling()); err != nil {
			return nil, err
		}
	}
	list := make([]string, 0, n)
	for tried := 0; len(list) < n; tried++ {
		if tried == perBlock-1 { // each once: none twice in one answer
			return nil, fmt.Errorf("%w: %d of %d found", ErrNone, len(list), n)
		}
		port := owned.first + 1 + owned.next%(perBlock-1)
		owned.next++
		if l, err := listen(port); err == nil {
			_ = l.Close()
			list = append(list, address(port))
		}
	}
	return list, nil
}

// own takes a block, starting at a random one, so that processes started
// together rarely try the same.
func own(ceiling int) error {
	blocks := (ceiling - lowest) / perBlock
	if blocks <= 0 {
		return fmt.Errorf("%w: those begin at %d", ErrNone, ceiling)
	}
	at := rand.IntN(blocks)
	for i := range blocks {
		first := lowest + (at+i)%blocks*perBlock
		if l, err := listen(first); err == nil {
			owned.guard, owned.first = l, first
			return nil
		}
	}
	return ErrNone
}

// ceiling is the first port that outgoing connections may take.
func ceiling() int {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return ephemeral
	}
	var low int
	if _, err := fmt.Sscan(string(text), &low); err != nil || low <= lowest {
		return ephemeral
	}
	return low
}

func listen(port int) (net.Listener, error) { return net.Listen("tcp", address(port)) }

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
