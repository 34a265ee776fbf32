package engine

import (
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/founding"
	"github.com/ringraft/ringraft/engine/internal/link"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/journal"
)

// FuzzMeeting has a server that founds a cluster by number hear anything: as one that is asked, and
// as one that asks. What it remembers is bounded, what it answers fits, and it promises no list
// but one that has it and as many others as it was told.
func FuzzMeeting(f *testing.F) {
	add := func(m *wire.Meeting) {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, "127.0.0.1:1", uint64(2))
	}
	others := []*wire.Founder{{DirectoryHigh: 1, DirectoryLow: 1, Address: "127.0.0.1:9"},
		{DirectoryHigh: 3, DirectoryLow: 3, Address: "127.0.0.1:3"}}
	add(&wire.Meeting{Name: "a", Expects: 3, Heard: others})
	add(&wire.Meeting{Name: "b", Expects: 2, Wanted: 7, Admit: true, Why: "no", Admitted: 4})
	list := config.New(0, []config.Member{
		{ID: 1, Address: "127.0.0.1:9", Directory: raft.Directory{1, 1}},
		{ID: 2, Address: "127.0.0.1:1", Directory: raft.Directory{2, 2}},
		{ID: 3, Address: "127.0.0.1:3", Directory: raft.Directory{3, 3}}})
	add(&wire.Meeting{Name: "a", Expects: 3, Promised: list.Encode()})
	f.Fuzz(func(t *testing.T, b []byte, address string, directory uint64) {
		var m wire.Meeting
		if proto.Unmarshal(b, &m) != nil || !utf8.ValidString(address) {
			return // no hello has it
		}
		e := &Engine{b: Builder{mode: journal.Memory, name: "a", expect: 3}}
		self := founding.Candidate{Directory: raft.Directory{1, 1}, Address: "127.0.0.1:9"}
		s := &search{e: e, self: self, wake: make(chan struct{}, 1),
			gathering: founding.NewGathering(self, "a", 3, nil)}
		h := link.Hello{Address: address, Directory: raft.Directory{directory, directory},
			Meeting: &m}
		for i := range 3 * joinMax {
			h.Directory[1] += uint64(i)
			s.answer(&h)
			r := reply{address: address, Welcome: link.Welcome{Hello: h}, err: link.ErrNotFounded}
			promised, err := s.gather([]reply{r})
			if err != nil {
				t.Fatal(err)
			}
			if promised != nil {
				c, err := config.Decode(promised)
				if err != nil || len(c.Voters) != 3 || founding.Named(&c, self.Directory) == 0 {
					t.Fatalf("promised %+v, %v", c, err)
				}
			}
		}
		answer, err := proto.Marshal(s.meeting())
		if n := len(s.gathering.Others()); n > config.MembersMax || len(s.callers) > joinMax ||
			len(answer) > 60<<10 || err != nil {
			t.Fatalf("%d others, %d callers, %d bytes, %v", n, len(s.callers), len(answer), err)
		}
	})
}
