package engine_test

import (
	"fmt"
	"strconv"

	"github.com/ringraft/ringraft/engine"
)

// sum is a state machine: numbers, added up.
type sum struct{ total int64 }

func (s *sum) Apply(entries []engine.Entry, replies *engine.Replies) {
	for _, e := range entries {
		n, _ := strconv.ParseInt(string(e.Data), 10, 64) // what is no number adds nothing
		s.total += n
		if replies.Wanted() {
			replies.End(strconv.AppendInt(replies.Begin(), s.total, 10))
		}
	}
}

func (s *sum) Read(_, dst []byte) []byte { return strconv.AppendInt(dst, s.total, 10) }

// A state machine is tested without an engine: the same commands, in calls of Apply of any
// size, make the same state. The zero value of Replies wants none.
func ExampleReplies() {
	commands := []engine.Entry{
		{Index: 2, Data: []byte("5")},
		{Index: 3, Data: []byte("not a number")},
		{Index: 7, Data: []byte("-7")}, // indices grow, and have gaps
	}
	together, single := new(sum), new(sum)
	together.Apply(commands, new(engine.Replies))
	for i := range commands {
		single.Apply(commands[i:i+1], new(engine.Replies))
	}
	fmt.Printf("%s %s\n", together.Read(nil, nil), single.Read(nil, nil))
	// Output: -2 -2
}
