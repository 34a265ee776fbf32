package secure

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/flynn/noise"
)

const (
	magic     = "RRNOISE1"
	noiseSize = 32 + tagSize // of both messages: a public key, and the tag of an empty payload
	firstSize = len(magic) + noiseSize
	// secondSize is the size of an answer that goes on; the others end with their code.
	secondSize = len(magic) + 1 + noiseSize

	tagSize    = 16
	headSize   = 2
	rekeyEvery = 1 << 16 // records

	// RecordMax is the longest record behind its length, and plainMax what it carries. As long as
	// that, a record costs a hundredth more than its bytes, and stays in the caches of the
	// processor between being opened and being read.
	RecordMax = 16<<10 + tagSize
	plainMax  = RecordMax - tagSize
)

// Codes of the answer to a first message.
const (
	codeOK = iota
	codeNoSecret
	codeOtherKey
)

// Why a connection came to nothing, for errors.Is. The texts are for operators; the first three
// are the same on both sides.
var (
	// ErrPlain: the dialer has no secret, and the acceptor has one.
	ErrPlain = errors.New("a member without a secret dialed one that has the cluster's: " +
		"give every member the same (raftd: --secret-file)")
	// ErrNoSecret: the dialer has a secret, and the acceptor has none, or says so.
	ErrNoSecret = errors.New("a member with a secret dialed one that has none: " +
		"give every member the same (raftd: --secret-file)")
	// ErrOtherSecret: the dialer's key is none that the acceptor accepts, or so that one says.
	ErrOtherSecret = errors.New("the secrets of two members differ: give every member the same " +
		"(raftd: --secret-file), and both while it is changed")
	// ErrRepeated: the first message was sent before.
	ErrRepeated = errors.New("its first message was sent before, perhaps by another")
	// ErrHandshake: what the other side says is no part of a handshake.
	ErrHandshake = errors.New("it does not speak as a member with a secret")
	// ErrRecord: a record was changed, repeated or left out on its way.
	ErrRecord = errors.New("a record was changed on its way")
	// ErrRecordLength: a record has a length that none has.
	ErrRecordLength = errors.New("the length of a record is not acceptable")
)

var suite = noise.NewCipherSuite(noise.DH25519, noise.CipherAESGCM, noise.HashSHA256)

// prologue binds a handshake to this use of the secret, and to this version of it.
var prologue = []byte("ringraft link 1 " + magic)

// handshake begins one; random is nil but in tests.
func (k *key) handshake(initiator bool, random io.Reader) (*noise.HandshakeState, error) {
	return noise.NewHandshakeState(noise.Config{CipherSuite: suite, Pattern: noise.HandshakeNN,
		Initiator: initiator, Prologue: prologue, PresharedKey: k.link[:], Random: random})
}

// initiate begins a handshake: the first message, and what is needed for the second.
func initiate(k *key, random io.Reader) (hs *noise.HandshakeState, first []byte, err error) {
	if hs, err = k.handshake(true, random); err == nil {
		first, _, _, err = hs.WriteMessage([]byte(magic), nil)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("secure: beginning a handshake: %w", err)
	}
	return hs, first, nil
}

// conclude reads the answer to a first message, of which b are the bytes so far. Nil and no
// error: more has to come.
func conclude(hs *noise.HandshakeState, b []byte) (*session, error) {
	if n := min(len(b), len(magic)); string(b[:n]) != magic[:n] {
		return nil, ErrHandshake
	}
	if len(b) <= len(magic) {
		return nil, nil
	}
	switch b[len(magic)] {
	case codeOK:
	case codeNoSecret:
		return nil, ErrNoSecret
	case codeOtherKey:
		return nil, ErrOtherSecret
	default:
		return nil, ErrHandshake
	}
	if len(b) < secondSize {
		return nil, nil
	}
	_, send, receive, err := hs.ReadMessage(nil, b[len(magic)+1:secondSize])
	if err != nil {
		return nil, ErrHandshake
	}
	return newSession(send, receive), nil
}

// answer reads a first message, of firstSize bytes, with each key. It returns the one that was
// meant and the state of its handshake; ErrOtherSecret for none.
func (ks *Keys) answer(first []byte, random io.Reader) (*key, *noise.HandshakeState, error) {
	for i := range ks.list {
		hs, err := ks.list[i].handshake(false, random)
		if err != nil {
			return nil, nil, fmt.Errorf("secure: answering a handshake: %w", err)
		}
		if _, _, _, err = hs.ReadMessage(nil, first[len(magic):firstSize]); err == nil {
			return &ks.list[i], hs, nil
		}
	}
	return nil, nil, ErrOtherSecret
}

// accept makes the second message, and the session.
func accept(hs *noise.HandshakeState) (*session, []byte, error) {
	second, receive, send, err := hs.WriteMessage(append([]byte(magic), codeOK), nil)
	if err != nil {
		return nil, nil, fmt.Errorf("secure: answering a handshake: %w", err)
	}
	return newSession(send, receive), second, nil
}

// session is the records of a connection, in both directions.
type session struct{ send, receive half }

func newSession(send, receive *noise.CipherState) *session {
	s := &session{}
	s.send.rekeyed(send.UnsafeKey())
	s.receive.rekeyed(receive.UnsafeKey())
	return s
}

// half is one direction. It does what noise.CipherState does, which allocates a nonce for each
// record.
type half struct {
	aead   cipher.AEAD
	number uint64 // of the next record
	nonce  [12]byte
}

func (h *half) rekeyed(key [32]byte) {
	block, err := aes.NewCipher(key[:])
	if err == nil {
		h.aead, err = cipher.NewGCM(block)
	}
	if err != nil {
		panic(fmt.Sprintf("secure: AES-256-GCM: %v", err)) // for keys of other lengths
	}
}

// next counts a record that was sealed or opened.
func (h *half) next() {
	if h.number++; h.number%rekeyEvery == 0 {
		var zeros, key [32]byte
		binary.BigEndian.PutUint64(h.nonce[4:], math.MaxUint64)
		copy(key[:], h.aead.Seal(nil, h.nonce[:], zeros[:], nil))
		h.rekeyed(key)
	}
}

// seal makes a record of what stands in out behind at and the room for its length.
func (h *half) seal(out []byte, at int) []byte {
	body := at + headSize
	binary.LittleEndian.PutUint16(out[at:], uint16(len(out)-body+tagSize))
	binary.BigEndian.PutUint64(h.nonce[4:], h.number)
	out = h.aead.Seal(out[:body], h.nonce[:], out[body:], nil)
	h.next()
	return out
}

// open appends to dst what a record carries, of which sealed is all behind its length. Both may be
// the same memory.
func (h *half) open(dst, sealed []byte) ([]byte, error) {
	binary.BigEndian.PutUint64(h.nonce[4:], h.number)
	out, err := h.aead.Open(dst, h.nonce[:], sealed, nil)
	if err != nil {
		return nil, ErrRecord
	}
	h.next()
	return out, nil
}

// recordLength reads the length of the record that b begins with; 0: more has to come.
func recordLength(b []byte) (int, error) {
	if len(b) < headSize {
		return 0, nil
	}
	n := int(binary.LittleEndian.Uint16(b))
	if n <= tagSize || n > RecordMax {
		return 0, ErrRecordLength
	}
	return n, nil
}

// records seals what slices hold, one behind the other, until at least enough bytes are in out.
// It returns what is left of bs.
func (h *half) records(out []byte, bs [][]byte, from, enough int) (sealed []byte, rest [][]byte,
	at int) {
	begun := -1 // where the record begins that is not sealed yet
	for len(bs) > 0 && (begun >= 0 || len(out) < enough) {
		if begun < 0 {
			begun = len(out)
			out = append(out, make([]byte, headSize)...)
		}
		b := bs[0][from:]
		took := min(len(b), plainMax-(len(out)-begun-headSize))
		out = append(out, b[:took]...)
		if from += took; took == len(b) {
			bs, from = bs[1:], 0
		}
		if len(out)-begun-headSize == plainMax {
			out, begun = h.seal(slices.Grow(out, tagSize), begun), -1
		}
	}
	if begun >= 0 && len(out) > begun+headSize {
		out = h.seal(slices.Grow(out, tagSize), begun)
	} else if begun >= 0 {
		out = out[:begun] // the slices were empty
	}
	return out, bs, from
}
