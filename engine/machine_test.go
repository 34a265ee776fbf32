package engine

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringraft/ringraft/engine/internal/pipeline"
	"github.com/ringraft/ringraft/journal"
)

// odd is a state machine that does as each command says.
type odd struct{ kept []byte }

func (s *odd) Apply(entries []Entry, r *Replies) {
	for _, e := range entries {
		switch string(e.Data) {
		case "none":
		case "two":
			r.End(append(r.Begin(), "first"...))
			r.End(append(r.Begin(), "second"...))
		case "short":
			r.End(append(r.Begin(), "well"...))
			r.End(r.Begin()[:1])
		case "foreign":
			r.End(append(r.Begin(), "well"...))
			r.End([]byte("of somebody else"))
		case "panic":
			panic("no such command")
		case "kept":
			s.kept = append(make([]byte, 0, 64), "kept"...)
			r.End(s.kept)
		default:
			r.End(append(r.Begin(), e.Data...))
		}
	}
}

func (s *odd) Read(query, dst []byte) []byte {
	switch string(query) {
	case "panic":
		panic("no such query")
	case "kept":
		return s.kept
	}
	return append(dst, query...)
}

// turn carries commands and queries that were added to a lane to their answers.
func (p *lanePath) turn(t *testing.T) (answers []Completion) {
	t.Helper()
	p.lane.Flush()
	if upto, ok := p.inner.TakeReads(); ok {
		p.notices.Reads(p.inner, upto, 1, pipeline.None)
		p.notices.Confirm(1, 0)
		p.notices.Publish()
	}
	if p.inner.HasWrites() {
		p.commit(t)
	}
	p.apply.Poll()
	for c, ok := p.lane.Next(); ok; c, ok = p.lane.Next() {
		c.Reply = bytes.Clone(c.Reply)
		answers = append(answers, c)
	}
	p.lane.Release()
	return answers
}

// Replies were given to the commands in their order, however many there were: one too
// few, and a command got the reply of the next. Now the machine's word counts no more.
func TestRepliesAreCounted(t *testing.T) {
	for command, says := range map[string]string{
		"none":    "Apply of entries 2 to 4: 2 replies for 3 commands",
		"two":     "Apply of entries 2 to 4: 4 replies for 3 commands",
		"short":   "another slice than Begin returned",
		"foreign": "another slice than Begin returned",
		"panic":   "Apply of entries 2 to 4: panic: no such command",
	} {
		p := newLanePath(&odd{})
		write := func(cmd string) uint64 {
			n, err := p.lane.Write([]byte(cmd))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		write("a")
		if a := p.turn(t); len(a) != 1 || a[0].Outcome != Applied || string(a[0].Reply) != "a" {
			t.Fatalf("%+v", a)
		}
		write("b")
		write(command)
		write("c")
		if a := p.turn(t); len(a) != 0 {
			t.Errorf("%s: answered by %+v", command, a)
		}
		var broken *pipeline.MachineError
		if err := p.apply.Err(); !errors.As(err, &broken) || !strings.Contains(err.Error(), says) ||
			broken.First != 2 || broken.Last != 4 {
			t.Errorf("%s: %v", command, err)
		}
		if command == "panic" && !bytes.Contains(broken.Stack, []byte("machine_test.go")) {
			t.Errorf("the stack does not say where: %s", broken.Stack)
		}
		for range 2 {
			if _, err := p.lane.Read([]byte("q"), 0); err != nil {
				t.Fatal(err)
			}
			if _, err := p.lane.ReadLocal([]byte("q")); err != nil {
				t.Fatal(err)
			}
		}
		for _, a := range p.turn(t) { // the state may be anything
			if a.Outcome != NotApplied || a.Reason != ReasonMachineFailed {
				t.Errorf("%s: a read is answered by %+v", command, a)
			}
		}
		write("d")
		p.turn(t)
		p.notices.Close(pipeline.Poisoned)
		p.notices.Publish()
		unknown := p.turn(t)
		for _, a := range unknown {
			if a.Outcome != Unknown || a.Reason != ReasonMachineFailed {
				t.Errorf("%s: at the end %+v", command, a)
			}
		}
		if len(unknown) != 4 || p.lane.Outstanding() != 0 {
			t.Errorf("%s: %d answers at the end, %d outstanding", command, len(unknown),
				p.lane.Outstanding())
		}
	}
}

// A command whose place another leader's took is answered once, though the state
// machine fails at that very entry.
func TestASupersededCommandIsAnsweredOnce(t *testing.T) {
	p := newLanePath(&odd{})
	if _, err := p.lane.Write([]byte("panic")); err != nil {
		t.Fatal(err)
	}
	p.lane.Flush()
	var b pipeline.WriteBatch
	if !p.inner.TakeWrites(&b) {
		t.Fatal("the lane gave no batch")
	}
	p.notices.Run(&b, p.next, 7) // it was of term 7, what is there is of term 1
	p.notices.Publish()
	p.put(t, b.Count, p.inner.At(b.Off, int(b.Len)))
	p.inner.ReleaseWrites(b.Pos)
	p.apply.Poll()
	p.notices.Close(pipeline.Poisoned)
	p.notices.Publish()
	a := p.turn(t)
	if len(a) != 1 || a[0].Outcome != NotApplied || a[0].Reason != ReasonSuperseded {
		t.Errorf("%+v", a)
	}
	if p.apply.Err() == nil {
		t.Error("the machine did not fail")
	}
}

// A read that panics gets an answer, and those behind it do.
func TestAReadPanics(t *testing.T) {
	p := newLanePath(&odd{})
	for _, q := range []string{"a", "panic", "b"} {
		if _, err := p.lane.Read([]byte(q), 0); err != nil {
			t.Fatal(err)
		}
	}
	a := p.turn(t)
	if len(a) != 3 || a[0].Outcome != Applied || a[1].Outcome != NotApplied ||
		a[2].Reason != ReasonMachineFailed {
		t.Errorf("%+v", a)
	}
	if err := p.apply.Err(); err == nil ||
		err.Error() != "state machine: Read after entry 0: panic: no such query" {
		t.Error(err)
	}
}

// What a state machine keeps is not written to, though it was handed out as a reply.
func TestWhatTheMachineKeepsIsItsOwn(t *testing.T) {
	sm := &odd{}
	p := newLanePath(sm)
	for _, cmd := range []string{"kept", "x", "y"} {
		if _, err := p.lane.Write([]byte(cmd)); err != nil {
			t.Fatal(err)
		}
		p.turn(t)
	}
	for _, q := range []string{"kept", "z"} {
		if _, err := p.lane.Read([]byte(q), 0); err != nil {
			t.Fatal(err)
		}
		p.turn(t)
	}
	if string(sm.kept) != "kept" || p.apply.Err() != nil {
		t.Errorf("%q is kept now; %v", sm.kept, p.apply.Err())
	}
}

// logLines keeps what an engine logs.
type logLines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A state machine that fails takes its engine with it, in words, and nothing hangs.
func TestABrokenMachineEndsItsEngine(t *testing.T) {
	for _, threads := range []Threads{Fused, Threaded} {
		for _, x := range []struct {
			call    string
			command string
			outcome Outcome
		}{{"Apply", "none", Unknown}, {"Apply", "two", Unknown}, {"Apply", "panic", Unknown},
			{"Read", "panic", NotApplied}} {
			lines := &logLines{}
			e, err := New().Journal(journal.Memory).StateMachine(&odd{}).Threads(threads).
				Logger(slog.New(slog.NewTextHandler(lines, nil))).Start(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			if err := e.Ready(ctx); err != nil {
				t.Fatal(err)
			}
			if r, err := e.Propose(ctx, []byte("a")); err != nil || string(r) != "a" {
				t.Fatal(r, err)
			}
			call := e.Propose
			if x.call == "Read" {
				call = e.Read
			}
			var failed *Error
			_, err = call(ctx, []byte(x.command))
			if !errors.As(err, &failed) || failed.Outcome != x.outcome ||
				failed.Reason != ReasonMachineFailed {
				t.Errorf("%v %s %s: %v", threads, x.call, x.command, err)
			}
			select {
			case <-e.Done():
			case <-ctx.Done():
				t.Fatal("it lives on")
			}
			cancel()
			var broken *MachineError
			err = e.Err()
			if !errors.As(err, &broken) || broken.Call != x.call || broken.Last == 0 ||
				!strings.Contains(err.Error(), "member 1 stops: state machine: ") {
				t.Errorf("%v %s %s: %v", threads, x.call, x.command, err)
			}
			if x.command == "panic" && !strings.Contains(lines.String(), "machine_test.go") {
				t.Errorf("the log does not say where it panicked: %s", lines)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
