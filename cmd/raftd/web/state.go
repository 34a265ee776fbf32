package web

// State is how one member is, as /live.json has it. Names of fields are the script's, too: a test
// holds one against the other. Counts are since the start; who wants rates divides what they grew
// by what Uptime did. Identities are decimal digits, since a script's numbers end at 2^53.
type State struct {
	Page   string `json:"page"`   // changes when the page itself does
	Time   int64  `json:"time"`   // of the member's clock: ms since 1970
	Uptime int64  `json:"uptime"` // ms since the start

	Cluster     string `json:"cluster"`
	ID          string `json:"id"`
	Incarnation uint64 `json:"incarnation"` // grows with every start
	Version     string `json:"version"`
	Role        string `json:"role"`
	Witness     bool   `json:"witness"`
	Leader      string `json:"leader"` // a witness that leads, too; "": none is known
	Term        uint64 `json:"term"`

	Problems []string `json:"problems"` // what is wrong, in words

	Log      Log      `json:"log"`
	Ring     Ring     `json:"ring"`
	Members  []Member `json:"members"` // this one first
	Stages   []Stage  `json:"stages"`
	Work     Work     `json:"work"`
	Journal  Journal  `json:"journal"`
	Snapshot Snapshot `json:"snapshot"`
	Data     Data     `json:"data"`
}

// Log is the line of indices: how far this member has come on it.
type Log struct {
	First        uint64 `json:"first"`         // the oldest entry that is kept
	Last         uint64 `json:"last"`          // appended
	Durable      uint64 `json:"durable"`       // in the journal
	Commit       uint64 `json:"commit"`        // known to be committed
	Applied      uint64 `json:"applied"`       // to the state machine
	LeaderCommit uint64 `json:"leader_commit"` // as the leader told last; 0: it has not
}

// Ring is the line of sequences: how far mutations of the log have come in this process.
type Ring struct {
	Slots   int    `json:"slots"`
	Claimed uint64 `json:"claimed"`
	Stored  uint64 `json:"stored"`
	Durable uint64 `json:"durable"`
}

// Member is one as this member sees it.
type Member struct {
	ID        string `json:"id"`
	Kind      string `json:"kind"` // "voter", "learner", "leaving" or "outside"
	Witness   bool   `json:"witness"`
	Address   string `json:"address"` // for members
	Client    string `json:"client"`  // for clients; "": it is not known
	Connected bool   `json:"connected"`
	Error     string `json:"error"` // why it is not, or is not fed
	Known     bool   `json:"known"` // the three that follow are: this one leads, or it is this one
	Match     uint64 `json:"match"` // the newest entry in its journal
	Lag       uint64 `json:"lag"`   // entries that it has not acknowledged
	LagTime   int64  `json:"lag_time"`
	LagBytes  uint64 `json:"lag_bytes"`
	Mode      string `json:"mode"` // how it is fed: "probe", "stream" or "snapshot"
	Sent      uint64 `json:"sent"` // bytes of the log
	Restarts  uint64 `json:"restarts"`
}

// Stage is what batches proposed here took since the state before, in microseconds.
type Stage struct {
	Name  string  `json:"name"`  // "queue", "journal", "commit" or "total"
	Count uint64  `json:"count"` // of batches; 0: the times are of nothing
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

// Work counts what was done here.
type Work struct {
	Commands  uint64 `json:"commands"`  // of clients, reads and refusals too
	Applied   uint64 `json:"applied"`   // commands of the log
	Reads     uint64 `json:"reads"`     // answered here
	Forwarded uint64 `json:"forwarded"` // to the leader
	Elections uint64 `json:"elections"` // won
	Applies   uint64 `json:"applies"`   // calls of the state machine
	ApplyTime int64  `json:"apply_time"`
}

// Journal is how the disk does. Times are in microseconds.
type Journal struct {
	Mode      string `json:"mode"`
	Durable   bool   `json:"durable"` // what is acknowledged survives a power cut
	Writes    uint64 `json:"writes"`
	Bytes     uint64 `json:"bytes"`
	WriteTime int64  `json:"write_time"` // of all writes together
	WriteAge  int64  `json:"write_age"`  // of the one in flight; 0: there is none
	Shortage  string `json:"shortage"`   // why there is no room for the next segment
}

// Snapshot is the newest one. Index 0: there is none.
type Snapshot struct {
	Index    uint64 `json:"index"`
	Bytes    int64  `json:"bytes"`
	Age      int64  `json:"age"` // seconds
	Underway bool   `json:"underway"`
	Log      int64  `json:"log"` // bytes of log behind it
}

// Data is what the member holds, and for whom.
type Data struct {
	Keys        int64 `json:"keys"`
	Bytes       int64 `json:"bytes"` // of keys and values, estimated
	Store       int64 `json:"store"` // bytes of the log in memory
	Clients     int   `json:"clients"`
	ClientBytes int64 `json:"client_bytes"`
}
