package link

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/engine/internal/peer"
	"github.com/ringraft/ringraft/netio"
	"github.com/ringraft/ringraft/netio/secure"
)

// keysOf are keys of secrets that tests know.
func keysOf(t *testing.T, names ...string) *secure.Keys {
	t.Helper()
	var secrets [][]byte
	for _, n := range names {
		s := sha256.Sum256([]byte(n))
		secrets = append(secrets, s[:])
	}
	ks, err := secure.NewKeys(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return ks
}

// pairWith is two members that dial each other, with keys or without.
func pairWith(t *testing.T, across bool, keys, others *secure.Keys) (b bell, one, two *rig,
	toTwo, toOne *Peer) {
	t.Helper()
	b = make(bell, 1)
	one = newRigWith(t, 1, across, b, func(c *Config) { c.Keys = keys })
	two = newRigWith(t, 2, across, b, func(c *Config) { c.Keys = others })
	toTwo, toOne = one.peers.Add(2, two.address()), two.peers.Add(1, one.address())
	one.peers.Start(one.loop())
	two.peers.Start(two.loop())
	return b, one, two, toTwo, toOne
}

// Frames of any length arrive as they do in plain text, and in both directions.
func TestFramesThroughASecret(t *testing.T) {
	modes(t, func(t *testing.T, across bool) {
		_, one, two, toTwo, toOne := pairWith(t, across, keysOf(t, "x", "y"), keysOf(t, "y", "x"))
		one.awaitConnected(toTwo)
		two.awaitConnected(toOne)
		long := strings.Repeat("0123456789", 30_000)
		one.send(toTwo, "first", long, "last")
		two.awaitFrame("last")
		if got := strings.Join(two.frames(), "|"); got != "first|"+long+"|last" {
			t.Errorf("%d bytes arrived", len(got))
		}
		two.send(toOne, "back")
		one.awaitFrame("back")
		if err := one.peers.Locked(); err != nil {
			t.Error(err)
		}
	})
}

// Who has another secret, or none where there is one, is refused in words on both sides, learns
// nothing, and is heard by nobody.
func TestSecretsThatDiffer(t *testing.T) {
	for _, x := range []struct {
		name     string
		one, two *secure.Keys
		oneDials error // what both sides say when member 1 dials
		twoDials error
	}{
		{"another", keysOf(t, "x"), keysOf(t, "y"), secure.ErrOtherSecret, secure.ErrOtherSecret},
		{"none", keysOf(t, "x"), nil, secure.ErrNoSecret, secure.ErrPlain},
	} {
		t.Run(x.name, func(t *testing.T) {
			b, one, two, toTwo, toOne := pairWith(t, false, x.one, x.two)
			for _, r := range []*rig{one, two} {
				other, dialed := 3-r.peers.cfg.Self, x.oneDials
				if r == two {
					dialed = x.twoDials
				}
				r.awaitLine("refused by member")
				r.awaitLine("refused a connection")
				if r.count(dialed.Error()) == 0 {
					t.Errorf("member %d does not say: %v", r.peers.cfg.Self, dialed)
				}
				b.until(t, "words", func() bool {
					err := r.peers.Locked()
					return errors.Is(err, dialed)
				})
				p := r.peers.Find(other)
				if p.Connected() || p.Advertised() != "" || p.Session() != (peer.Session{}) {
					t.Error("something is known of the other one")
				}
			}
			if one.inboxes() != 0 || two.inboxes() != 0 || toTwo.Connected() || toOne.Connected() {
				t.Error("they are connected")
			}
		})
	}
}

// What a member without a secret is answered says why, and nothing of the cluster.
func TestThePlainAreToldNothing(t *testing.T) {
	b := make(bell, 1)
	r := newRigWith(t, 1, false, b, func(c *Config) {
		c.Keys = keysOf(t, "x")
		c.Configuration = func() []byte { return []byte("configuration") }
	})
	r.peers.Add(2, "127.0.0.1:1")
	for _, h := range []Hello{helloFrom2(), {From: 9, Version: 2, Address: "127.0.0.1:1"}} {
		c := call(t, r)
		w := c.greet(h)
		c.awaitEnd()
		if w.Refused != secure.ErrPlain.Error() {
			t.Errorf("it says %q", w.Refused)
		}
		if w.Cluster != 0 || w.From != 0 || w.Advertised != "" || w.Configuration != nil ||
			w.Incarnation != 0 || w.Nonce != 0 || w.Address != "" {
			t.Errorf("it tells %+v", w)
		}
	}
	if r.inboxes() != 0 {
		t.Error("somebody was admitted")
	}
}

// Keys are replaced while frames go on: connections stay while their keys are in force, and are
// made again with the new one when they are not.
func TestKeysAreReplaced(t *testing.T) {
	modes(t, func(t *testing.T, across bool) {
		old, both, turned, fresh := keysOf(t, "old"), keysOf(t, "old", "new"),
			keysOf(t, "new", "old"), keysOf(t, "new")
		b, one, two, toTwo, toOne := pairWith(t, across, old, old)
		one.awaitConnected(toTwo)
		two.awaitConnected(toOne)
		first, _ := toTwo.State()
		for i, ks := range []*secure.Keys{both, turned} {
			one.peers.SetKeys(ks)
			two.peers.SetKeys(ks)
			text := string(rune('a' + i))
			one.send(toTwo, text)
			two.awaitFrame(text)
		}
		if now, _ := toTwo.State(); now != first {
			t.Error("a connection was made again whose key is in force")
		}
		one.peers.SetKeys(fresh)
		b.until(t, "a new connection", func() bool {
			now, _ := toTwo.State()
			return now != first && now != 0
		})
		one.send(toTwo, "with the new key")
		two.awaitFrame("with the new key")
		b.until(t, "another one back", toOne.Connected)
		two.peers.SetKeys(fresh)
		two.awaitConnected(toOne)
		two.send(toOne, "back")
		one.awaitFrame("back")
		one.peers.mu.Lock()
		defer one.peers.mu.Unlock()
		if key := toTwo.channel.Key(); key != fresh.Names()[0] {
			t.Errorf("the connection has key %s", key)
		}
	})
}

// A server that asks proves itself, too.
func TestAskWithASecret(t *testing.T) {
	b := make(bell, 1)
	with := newRigWith(t, 1, false, b, func(c *Config) {
		c.Keys = keysOf(t, "x", "y")
		c.Configuration = func() []byte { return []byte("configuration") }
	})
	without := newRig(t, 2, false, b)
	ctx, cancel := context.WithTimeout(context.Background(), waitMax)
	defer cancel()
	ask := func(r *rig, ks *secure.Keys) (uint64, string, error) {
		q := asks(9)
		q.Keys = ks
		w, err := Ask(ctx, r.address(), q)
		return w.Cluster, string(w.Configuration), err
	}
	id, c, err := ask(with, keysOf(t, "y"))
	if err != nil || id != cluster || c != "configuration" {
		t.Error(id, c, err)
	}
	if _, _, err := ask(with, keysOf(t, "z")); !errors.Is(err, secure.ErrOtherSecret) {
		t.Error(err)
	}
	if _, _, err := ask(with, nil); err == nil ||
		!strings.Contains(err.Error(), secure.ErrPlain.Error()) {
		t.Error(err)
	}
	if _, _, err := ask(without, keysOf(t, "y")); !errors.Is(err, secure.ErrNoSecret) {
		t.Error(err)
	}
}

// A connection whose records are changed on their way ends, and its inbox with it.
func TestAChangedRecordEndsTheConnection(t *testing.T) {
	b := make(bell, 1)
	ks := keysOf(t, "x")
	r := newRigWith(t, 1, false, b, func(c *Config) { c.Keys = ks })
	r.peers.Add(2, "127.0.0.1:1")
	c := call(t, r)
	s, err := secure.Client(c, ks)
	if err != nil {
		t.Fatal(err)
	}
	if w, err := ask(s, helloFrom2()); err != nil || w.Refused != "" {
		t.Fatal(w.Refused, err)
	}
	if _, err := s.Write(netio.AppendFrame(nil, 0, []byte("whole"))); err != nil {
		t.Fatal(err)
	}
	r.awaitFrame("whole")
	if _, err := c.Write([]byte("\x12\x00what nobody sealed")); err != nil {
		t.Fatal(err)
	}
	b.until(t, "the end", func() bool {
		all := r.endings()
		return len(all) == 1 && errors.Is(all[0], secure.ErrRecord)
	})
	r.awaitLine("a member sends what is not taken")
}
