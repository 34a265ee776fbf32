package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/netio"
	"github.com/ringraft/ringraft/netio/secure"
)

// ErrNotFounded: who was asked belongs to a cluster that has no members yet.
var ErrNotFounded = errors.New("its cluster is not founded yet")

// Question is what a server says of itself that is in no cluster and asks which there is.
type Question struct {
	ID        uint64         // that it is to have there; 0: it has no wish
	Address   string         // where members are to reach it
	Directory raft.Directory // that it is going to have; zero: it does not know yet
	Meeting   *wire.Meeting  // what it says besides; nil: nothing
	Keys      *secure.Keys   // that it proves to have, in a session; nil: it speaks in plain text
}

// Ask asks the server that listens for members at an address which cluster it belongs to.
// It returns its answer, with the cluster and the configuration that the other one follows;
// with ErrNotFounded, without. It waits until ctx ends, and calls nobody back.
func Ask(ctx context.Context, address string, q Question) (w Welcome, err error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return w, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	stream := io.ReadWriter(c)
	if q.Keys != nil {
		stream, err = secure.Client(c, q.Keys)
	}
	if err == nil {
		w, err = ask(stream, Hello{Version: wire.Version, Versions: Versions{wire.VersionMin,
			wire.VersionMax}, From: q.ID, Address: q.Address, Directory: q.Directory,
			Meeting: q.Meeting})
	}
	switch {
	case ctx.Err() != nil:
		return w, fmt.Errorf("%s does not answer: %w", address, ctx.Err())
	case bySecret(err):
		return w, fmt.Errorf("%s refuses: %w", address, err)
	case err != nil:
		return w, fmt.Errorf("%s does not answer as a member: %w", address, err)
	case w.Cluster != 0 && len(w.Configuration) > 0:
		return w, nil // in whatever words it says that this is all
	case w.Refused == (&Refusal{Reason: Asked}).Error():
		return w, fmt.Errorf("%s: %w", address, ErrNotFounded)
	}
	return w, fmt.Errorf("%s refuses: %s", address, w.Refused)
}

// ask says hello and reads the answer.
func ask(c io.ReadWriter, h Hello) (w Welcome, err error) {
	b, err := h.encode()
	if err == nil {
		_, err = c.Write(netio.AppendFrame(nil, 0, b))
	}
	if err != nil {
		return w, err
	}
	header := make([]byte, netio.FrameHeaderSize)
	if _, err := io.ReadFull(c, header); err != nil {
		return w, err
	}
	n := binary.LittleEndian.Uint32(header)
	if n == 0 || n > answerMax {
		return w, fmt.Errorf("%w: %d", netio.ErrFrameLength, n)
	}
	frame := append(netio.AppendFrameHeader(nil), make([]byte, n)...)
	if _, err := io.ReadFull(c, frame[netio.FrameHeaderSize:]); err != nil {
		return w, err
	}
	if netio.SealFrame(frame, 0); !bytes.Equal(frame[:netio.FrameHeaderSize], header) {
		return w, netio.ErrFrameChecksum
	}
	return decodeWelcome(frame[netio.FrameHeaderSize:])
}
