package replica

import (
	"fmt"
	"strings"

	"github.com/ringraft/ringraft/engine/internal/raft"
)

// deliver brings a message in the words in which one would be printed:
//
//	2 Append term 1 prev 3/1 entries 4-5 of 1 commit 3
func (w *world) deliver(f []string) {
	m := raft.Message{From: number(f[0]), To: 1, Type: messageType(f[1])}
	over, short := m.From, false
	for i := 2; i < len(f); i++ {
		next := func() string { i++; return f[i] }
		switch f[i] {
		case "term":
			m.Term = number(next())
		case "prev", "last":
			m.PrevIndex, m.PrevTerm = pair(next())
		case "entries":
			from, to, _ := strings.Cut(next(), "-")
			m.Count = uint32(number(to) - number(from) + 1)
			if from := number(from); from != m.PrevIndex+1 {
				panic(fmt.Sprintf("entries from %d do not follow %d", from, m.PrevIndex))
			}
			next() // of
			m.EntryTerm = number(next())
		case "commit":
			m.Commit = number(next())
		case "match":
			m.Match = number(next())
		case "round":
			m.Round = number(next())
			if m.Type == raft.HeartbeatAck || m.Type == raft.PreVoteAck {
				m.Round += w.round
			}
		case "hint":
			m.HintIndex, m.HintTerm = pair(next())
		case "reject":
			m.Reject = true
		case "force":
			m.Force = true
		case "grant":
		case "over":
			over = number(next())
		case "short":
			short = true
		default:
			panic("no such field: " + f[i])
		}
	}
	w.frame(&m, over, short)
}

// pair is an index and, behind a slash, its term.
func pair(s string) (index, term uint64) {
	i, t, both := strings.Cut(s, "/")
	if both {
		term = number(t)
	}
	return number(i), term
}

func messageType(s string) raft.MessageType {
	for t := raft.Append; t <= raft.TimeoutNow; t++ {
		if t.String() == s {
			return t
		}
	}
	panic("no such message: " + s)
}
