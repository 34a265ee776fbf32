package link

import (
	"google.golang.org/protobuf/proto"

	"github.com/ringraft/ringraft/engine/internal/hints"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/wire"
)

const (
	// helloMax bounds the first frame of a connection, in both directions.
	helloMax = 4 << 10
	// answerMax bounds the answer to a hello that asks: a configuration is in it.
	answerMax = 64 << 10
)

// Hello is what a member says of itself and of whom it looks for: the first
// frame of the side that dialed. Behind netio's frame header it is the protobuf
// message wire.Hello, fields in the order of their numbers, zeros left out:
//
//	08 version │ 10 cluster │ 18 from │ 20 to │ 28 incarnation │ 32 n advertised
//	48 command max │ 50 run max │ 80 01 version min │ 88 01 version max
//	90 01 features │ 99 01 directory, high 64 bits │ a1 01 low
//	aa 01 n address │ b8 01 began in term │ c0 01 with an entry of term │ c8 01 index
//	d1 01 nonce │ d8 01 witness │ c2 02 n meeting
//
// Those from command max on came later: an earlier release leaves them out and
// skips them. One of cluster 0 only asks which cluster the other belongs to.
type Hello struct {
	Version     uint32 // of the protocol; wire.Version
	Versions    Versions
	Features    uint64         // bits of wire.FeatureDirectories and the like
	Directory   raft.Directory // of From; zero: an earlier release
	Cluster     uint64
	From        uint64         // member that sends it
	To          uint64         // member that it is meant for
	Incarnation uint64         // of From: grows with every start of its directory
	Advertised  string         // where clients reach From; "" when they do not
	Address     string         // where members reach From; "": it does not say
	Nonce       uint64         // drawn when Incarnation began; 0: it does not say
	Began       hints.Position // what Directory held when Incarnation began; zero: it does not say
	CommandMax  uint64         // bytes of the longest command that From takes; 0: it does not say
	RunMax      uint64         // bytes of records in one append that From can write; 0: the same
	Witness     bool           // From has no state machine
	// Meeting is what one that asks, and who answers it, say besides; nil: nothing.
	Meeting *wire.Meeting
}

// life is the start of the data directory that says it.
func (h *Hello) life() hints.Life {
	return hints.Life{Directory: h.Directory, Incarnation: h.Incarnation, Nonce: h.Nonce,
		Began: h.Began}
}

// Versions are those of the protocol that a member speaks; zero: Hello.Version alone.
type Versions struct{ Min, Max uint32 }

// common reports whether two members speak a version in common.
func (h *Hello) common(o *Hello) bool {
	a, b := h.versions(), o.versions()
	return a.Min <= b.Max && b.Min <= a.Max
}

func (h *Hello) versions() Versions {
	if h.Versions == (Versions{}) {
		return Versions{h.Version, h.Version}
	}
	return h.Versions
}

// Welcome answers a Hello: the acceptor's side of it, and whether it takes the
// connection. Behind the frame header it is the message wire.Welcome:
//
//	the fields of a Hello │ 38 grant │ 42 n refused │ b2 01 n configuration
type Welcome struct {
	Hello
	Grant   uint64 // bytes of append frames that the dialer may have in flight
	Refused string // why the connection is refused, for the operator; "" when taken
	// Configuration is the one that From follows, as a configuration entry holds it: for a
	// Hello that asks. Nil: it follows none.
	Configuration []byte
}

func (h *Hello) encode() ([]byte, error) {
	return proto.Marshal(&wire.Hello{Version: h.Version, Cluster: h.Cluster, From: h.From, To: h.To,
		Incarnation: h.Incarnation, Advertised: h.Advertised, CommandMax: h.CommandMax,
		RunMax: h.RunMax, VersionMin: h.Versions.Min, VersionMax: h.Versions.Max,
		Features: h.Features, DirectoryHigh: h.Directory[0], DirectoryLow: h.Directory[1],
		Address: h.Address, BeganTerm: h.Began.Term, BeganEntryTerm: h.Began.Entry,
		BeganIndex: h.Began.Index, Nonce: h.Nonce, Witness: h.Witness,
		Meeting: h.Meeting})
}

// decodeHello copies what it keeps of b.
func decodeHello(b []byte) (Hello, error) {
	var m wire.Hello
	if err := proto.Unmarshal(b, &m); err != nil {
		return Hello{}, err
	}
	return Hello{Version: m.Version, Cluster: m.Cluster, From: m.From, To: m.To,
		Incarnation: m.Incarnation, Advertised: m.Advertised, CommandMax: m.CommandMax,
		RunMax: m.RunMax, Versions: Versions{m.VersionMin, m.VersionMax}, Features: m.Features,
		Directory: raft.Directory{m.DirectoryHigh, m.DirectoryLow}, Address: m.Address,
		Nonce: m.Nonce, Witness: m.Witness, Meeting: m.Meeting,
		Began: hints.Position{Term: m.BeganTerm, Entry: m.BeganEntryTerm, Index: m.BeganIndex}}, nil
}

func (w *Welcome) encode() ([]byte, error) {
	return proto.Marshal(&wire.Welcome{Version: w.Version, Cluster: w.Cluster, From: w.From,
		To: w.To, Incarnation: w.Incarnation, Advertised: w.Advertised, Grant: w.Grant,
		Refused: w.Refused, CommandMax: w.CommandMax, RunMax: w.RunMax,
		VersionMin: w.Versions.Min, VersionMax: w.Versions.Max, Features: w.Features,
		DirectoryHigh: w.Directory[0], DirectoryLow: w.Directory[1],
		Address: w.Address, Configuration: w.Configuration, BeganTerm: w.Began.Term,
		BeganEntryTerm: w.Began.Entry, BeganIndex: w.Began.Index, Nonce: w.Nonce,
		Witness: w.Witness, Meeting: w.Meeting})
}

// decodeWelcome copies what it keeps of b.
func decodeWelcome(b []byte) (Welcome, error) {
	var m wire.Welcome
	if err := proto.Unmarshal(b, &m); err != nil {
		return Welcome{}, err
	}
	h := Hello{Version: m.Version, Cluster: m.Cluster, From: m.From, To: m.To,
		Incarnation: m.Incarnation, Advertised: m.Advertised, CommandMax: m.CommandMax,
		RunMax: m.RunMax, Versions: Versions{m.VersionMin, m.VersionMax}, Features: m.Features,
		Directory: raft.Directory{m.DirectoryHigh, m.DirectoryLow}, Address: m.Address,
		Nonce: m.Nonce, Witness: m.Witness, Meeting: m.Meeting,
		Began: hints.Position{Term: m.BeganTerm, Entry: m.BeganEntryTerm, Index: m.BeganIndex}}
	return Welcome{Hello: h, Grant: m.Grant, Refused: m.Refused,
		Configuration: m.Configuration}, nil
}
