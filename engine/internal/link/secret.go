package link

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/netio"
	"github.com/ringraft/ringraft/netio/secure"
)

// With a secret every connection between members begins with a handshake of package secure, and
// what is said on it travels in its records, the hello first. Without one the bytes are as they
// were before there were secrets. A member has a secret or has none for as long as it runs: what
// comes in the other form is refused.

// writer is where frames are written: a connection, or its channel.
type writer interface {
	Write([]byte) error
	Writev([][]byte) error
}

// errOldSecret ends a connection whose key is not accepted any more.
var errOldSecret = errors.New("link: the secret that the connection was made with is not " +
	"accepted any more")

// secretErrors are the reasons for which there is not even a hello.
var secretErrors = map[Reason]error{NeedsSecret: secure.ErrPlain, NoSecret: secure.ErrNoSecret,
	OtherSecret: secure.ErrOtherSecret, Repeated: secure.ErrRepeated}

// bySecret reports that a connection ended because the two sides' secrets differ, or one of them
// has none.
func bySecret(err error) bool {
	return errors.Is(err, secure.ErrPlain) || errors.Is(err, secure.ErrNoSecret) ||
		errors.Is(err, secure.ErrOtherSecret)
}

// refusedBySecret is the error behind a refusal in words; nil: it is about something else.
func refusedBySecret(words string) error {
	for _, err := range secretErrors {
		if err.Error() == words {
			return err
		}
	}
	return nil
}

func badRecord(err error) bool {
	return errors.Is(err, secure.ErrRecord) || errors.Is(err, secure.ErrRecordLength)
}

// SetKeys puts other keys in force. Connections stay that were made with one of them. The others
// are closed, and made again with the first of them; what was written to them is still sent.
// Config.Keys must have been given.
func (t *Peers) SetKeys(ks *secure.Keys) {
	t.gate.SetKeys(ks) // before it is asked: who is admitted from now on is asked by admit
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.All() {
		if p.inbox != nil && !t.gate.Accepts(p.inbox.channel) {
			p.inbox.close(errOldSecret)
		}
	}
	if t.loop != nil {
		_ = t.loop.Do(t.dropOldKeys) // refused when everything is being closed
	}
}

// Keys are those in force; nil: members speak in plain text.
func (t *Peers) Keys() *secure.Keys {
	if t.gate == nil {
		return nil
	}
	return t.gate.Keys()
}

// dropOldKeys closes the dialed connections whose keys are not in force; loop.
func (t *Peers) dropOldKeys() {
	for _, p := range t.All() {
		if p.channel != nil && !t.gate.Accepts(p.channel) {
			p.opened.Close(errOldSecret)
		}
	}
}

// Locked says by which secrets this member and every other one cannot speak, nil when one of them
// is connected or nothing is known.
func (t *Peers) Locked() (why error) {
	for _, p := range t.All() {
		if p.Connected() {
			return nil
		}
		if e := p.locked.Load(); e != nil && why == nil {
			why = fmt.Errorf("member %d at %s: %w", p.id, p.address, *e)
		}
	}
	return why
}

// lock notes why the two cannot speak; nil: it is for something else. Loop.
func (p *Peer) lock(why error) {
	if why != nil {
		p.locked.Store(&why)
	}
}

// refusePlain answers a member without a secret in words that it understands, and tells nothing
// else; loop.
func (in *Inbox) refusePlain() {
	w := Welcome{Hello: Hello{Version: wire.Version,
		Versions: Versions{wire.VersionMin, wire.VersionMax}},
		Refused: (&Refusal{Reason: NeedsSecret}).Error()}
	if b, err := w.encode(); err == nil {
		_ = in.conn.Write(netio.AppendFrame(nil, 0, b)) // it is closed for another reason anyway
	}
}

// tellSecret logs that a connection was refused before its hello, now and then.
func (t *Peers) tellSecret(err error, from net.Addr) {
	for reason, why := range secretErrors {
		if errors.Is(err, why) && t.refusals.due(reason, 0, from, time.Now()) {
			t.cfg.Logger.Warn("refused a connection", "from", from.String(), "why", why.Error())
		}
	}
}
