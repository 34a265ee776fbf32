package wire

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal/record"
)

// earlierFrames are the frames that the release in testdata sent: this file, run there
// with RINGRAFT_WRITE_OLD=1, wrote them. It uses nothing that came later.
const earlierFrames = "testdata/frames-2977094.txt"

// earlierMessages are one message of each type with all that its type carries, and one with
// the largest numbers.
func earlierMessages() []raft.Message {
	m := func(t raft.MessageType, rest raft.Message) raft.Message {
		rest.Type, rest.From, rest.To = t, 1, 300
		return rest
	}
	const most = raft.NumberMax - 1
	return []raft.Message{
		m(raft.Append, raft.Message{Term: 7, PrevIndex: 1000, PrevTerm: 6, EntryTerm: 7, Count: 3,
			Commit: 900}),
		m(raft.Append, raft.Message{Term: 7, PrevIndex: 1000, PrevTerm: 6, Commit: 1000}),
		m(raft.AppendAck, raft.Message{Term: 7, Match: 1003}),
		m(raft.AppendAck, raft.Message{Term: 7, Match: 0, Reject: true, PrevIndex: 1000,
			HintIndex: 40, HintTerm: 3}),
		m(raft.Heartbeat, raft.Message{Term: 7, Commit: 900, PrevIndex: 1000, Round: 12,
			HintIndex: 5}),
		m(raft.HeartbeatAck, raft.Message{Term: 7, Round: 12, HintIndex: 5}),
		m(raft.HeartbeatAck, raft.Message{Term: 7, Round: 12, Full: true}),
		m(raft.PreVote, raft.Message{Term: 8, PrevIndex: 1000, PrevTerm: 7, Force: true}),
		m(raft.PreVoteAck, raft.Message{Term: 8, LastResort: true}),
		m(raft.Vote, raft.Message{Term: 8, PrevIndex: 1000, PrevTerm: 7, Force: true}),
		m(raft.VoteAck, raft.Message{Term: 8, Reject: true}),
		m(raft.VoteAck, raft.Message{Term: 8, LastResort: true}),
		m(raft.TimeoutNow, raft.Message{Term: 8}),
		m(raft.Append, raft.Message{Term: most, PrevIndex: most - 3, PrevTerm: most,
			EntryTerm: most, Count: 3, Commit: most}),
	}
}

// earlierRun is the run of an append: a command, a no-op and a configuration.
func earlierRun(m *raft.Message) []byte {
	if m.Count == 0 {
		return nil
	}
	b := record.AppendRunHeader(nil, m.EntryTerm, m.PrevIndex+1)
	b = record.AppendCommand(b, []byte("data"))
	b = record.Append(b, &record.Entry{Kind: record.NoOp})
	return record.Append(b, &record.Entry{Kind: record.Config, Data: []byte("members")})
}

func earlierFrame(m *raft.Message) []byte {
	b, run := AppendFront(nil, m), earlierRun(m)
	if len(run) > 0 {
		b = append(AppendRunFront(b, len(run)), run...)
	}
	return b
}

// What an earlier release sends has the meaning that it had, and what it knows is sent to
// it in the same bytes.
func TestFramesOfAnEarlierRelease(t *testing.T) {
	if os.Getenv("RINGRAFT_WRITE_OLD") != "" {
		var b strings.Builder
		for _, m := range earlierMessages() {
			fmt.Fprintf(&b, "%s %x\n", m.Type, earlierFrame(&m))
		}
		if err := os.WriteFile(earlierFrames, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(earlierFrames)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	messages := earlierMessages()
	if len(lines) != len(messages) {
		t.Fatalf("%d frames, %d messages", len(lines), len(messages))
	}
	for i, line := range lines {
		name, digits, _ := strings.Cut(line, " ")
		frame, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		want, m := messages[i], raft.Message{}
		run, err := Parse(frame, &m)
		if err != nil || m != want || m.Type.String() != name ||
			string(run) != string(earlierRun(&want)) {
			t.Errorf("%s is read as %+v with a run of %d bytes, %v", line, m, len(run), err)
		}
		if b := earlierFrame(&want); string(b) != string(frame) {
			t.Errorf("%v is sent as %x, and was as %x", &want, b, frame)
		}
	}
}
