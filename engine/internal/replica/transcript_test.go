package replica

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal/device"
	"github.com/ringraft/ringraft/ziplist"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the transcripts' outputs with what happens now")

// TestTranscripts runs the scripts of testdata. A block is commands, a line
// "----", and what they print, up to an empty line; lines that start with # are
// for the reader. Member 1 is the one that is looked at; all that it does
// without the script is done after each command. Indices count entries, slots
// count mutations: the founding configuration is entry 1 and slot 1.
//
//	cluster N [slots N] [cells N] [segment BLOCKS] [retry TICKS] [serial]
//	                              member 1 of N, just founded
//	lead                          it is elected, by member 2, and its no-op committed; silent
//	write LANE N · read LANE [after REQUEST] · readlocal LANE
//	add LANE write|read           a request that leaves its lane with the lane's next one
//	flushed-within-a-turn LANE    a read and a write, between the turn's looks at the two
//	durable [SLOT]                the disk writes until the slot is durable, or everything
//	deliver ID TYPE FIELD …       a message from member ID, in the words in which it would
//	                              be printed; short: its run lacks an entry; over ID: by
//	                              the link of another
//	tick N                        N ticks; of heartbeats, those of the last one are printed
//	apply stop|go                 the state machine takes its time, or not
//	journal NAME                  the journal answers NAME, which is apply or a member's actor
//	disk full|free                for another segment
//	link ID down|up|restarted     the member's connection; restarted: up, and it was started again
//	campaign · transfer ID · stepdown · close · fail
//	restart                       power goes and comes back: what was not durable is lost
//	answers                       the lanes take theirs
//	show [window]                 about the member, or of what waits for answers
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) { runTranscript(t, file) })
	}
}

func runTranscript(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	w := &world{t: t}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		all.WriteString(line + "\n")
		if line == "----" {
			if w.failed != nil {
				w.say("FAILURE %v", w.failed)
			}
			for _, line := range w.lines {
				all.WriteString(strings.TrimRight(line, " ") + "\n")
			}
			w.lines = nil
			for i+1 < len(lines) && lines[i+1] != "" {
				i++
			}
			continue
		}
		if f := strings.Fields(line); len(f) > 0 && f[0] != "#" {
			w.command(f)
		}
	}
	if got := all.String(); *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got != string(text) {
		t.Errorf("%s says otherwise now (accept it by -rewrite):\n%s", file,
			firstDifference(got, string(text)))
	}
	if w.failed != nil {
		t.Error(w.failed)
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d\n  now  %s\n  then %s", i+1, g[i], w[i])
		}
	}
	return "one ends early"
}

func number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		panic("not a number: " + s)
	}
	return n
}

// command carries out one line and lets the member do what it then can.
func (w *world) command(f []string) {
	switch f[0] {
	case "cluster":
		w.cluster(f[1:])
		return
	case "lead":
		w.lead()
		return
	case "answers":
		w.answers()
		return
	case "show":
		w.show(len(f) > 1)
		return
	case "add":
		w.request(f[1:])
		return
	case "close", "fail":
		w.shut(f[0])
		return
	case "write", "read", "readlocal":
		w.requests(f)
	case "flushed-within-a-turn":
		w.r.Turn(w.now, Frames|Ticks|Reads)
		w.request([]string{f[1], "read"})
		w.request([]string{f[1], "write"})
		w.lanes[lane(f[1])].Flush()
		w.r.Turn(w.now, Writes)
	case "durable":
		w.write(f[1:])
	case "deliver":
		w.deliver(f[1:])
	case "tick":
		w.tick(int(number(f[1])))
	case "restart":
		w.start()
	case "journal":
		w.fetch(f[1])
	default:
		w.change(f)
	}
	w.settle()
}

// change is what the member meets, or is asked for.
func (w *world) change(f []string) {
	switch f[0] {
	case "apply":
		w.stands = f[1] == "stop"
	case "disk":
		w.files.full = f[1] == "full"
	case "link":
		w.connect(w.links[number(f[1])], f[2])
	case "campaign":
		w.r.Campaign()
	case "transfer":
		if err := w.r.Transfer(number(f[1])); err != nil {
			w.say("%v", err)
		}
	case "stepdown":
		if !w.r.StepDown() {
			w.say("leads on")
		}
	default:
		panic("no such command: " + f[0])
	}
}

func (w *world) cluster(f []string) {
	lines := w.lines
	*w = world{t: w.t, members: int(number(f[0])), slots: 64, cells: 64, segment: 1 << 20,
		retry: 100 * rigTick, files: &directory{Memory: device.NewMemory()}, now: 1}
	for i := 1; i < len(f); i++ {
		if f[i] == "serial" {
			w.serial = true
			continue
		}
		n := int(number(f[i+1]))
		switch f[i] {
		case "slots":
			w.slots = n
		case "cells":
			w.cells = n
		case "retry":
			w.retry = int64(n) * rigTick
		case "segment":
			w.segment = int64(n) * device.Block
		default:
			panic("no such option: " + f[i])
		}
		i++
	}
	w.start()
	w.settle()
	w.write(nil)
	w.lines = lines
}

func (w *world) lead() {
	before := w.lines
	w.r.Campaign()
	w.settle()
	w.write(nil)
	m := raft.Message{Type: raft.VoteAck, From: 2, To: 1, Term: w.core.Hard().Term}
	if w.members > 1 {
		w.frame(&m, 2, false)
		w.settle()
	}
	w.write(nil)
	for id := uint64(2); id <= uint64(w.members); id++ {
		ack := raft.Message{Type: raft.AppendAck, From: id, To: 1, Term: m.Term,
			Match: w.core.Last()}
		w.frame(&ack, id, false)
	}
	w.settle()
	if role, _, _ := w.r.Role(); role != raft.Leader || w.core.Commit() != w.core.Last() {
		w.t.Fatal("it does not lead: ", w.core)
	}
	w.lines = before
}

func lane(s string) int { return int(number(strings.TrimPrefix(s, "lane"))) }

// request adds a request to a lane, which keeps it until it is flushed.
func (w *world) request(f []string) {
	l := w.lanes[lane(f[0])]
	var err error
	switch f[1] {
	case "write":
		w.written++
		_, err = l.Write(fmt.Appendf(nil, "w%d", w.written))
	case "read":
		after := uint64(0)
		if len(f) > 2 {
			after = number(f[3])
		}
		_, err = l.Read([]byte("q"), after)
	case "readlocal":
		_, err = l.ReadLocal([]byte("q"))
	default:
		panic("no such request: " + f[1])
	}
	if err != nil {
		w.say("%v", err)
	}
}

func (w *world) requests(f []string) {
	n := 1
	if f[0] == "write" {
		n = int(number(f[2]))
	}
	for range n {
		w.request(append([]string{f[1], f[0]}, f[2:]...))
	}
	w.lanes[lane(f[1])].Flush()
	w.settle()
}

// write has the disk write until a slot is durable, or everything is.
func (w *world) write(f []string) {
	upto := ^uint64(0)
	if len(f) > 0 {
		upto = number(f[0])
	}
	for w.journal.Durable() < upto {
		if !w.disk.write() {
			if len(f) > 0 {
				w.say("nothing is left to write")
			}
			return
		}
		w.settle()
	}
}

func (w *world) tick(n int) {
	for i := range n {
		w.hidden = raft.Heartbeat
		if i == n-1 {
			w.hidden = 0
		}
		w.now += rigTick
		w.settle()
	}
}

func (w *world) fetch(name string) {
	c := w.reads[name]
	if c.asked == 0 {
		w.say("nothing was asked for")
		return
	}
	r, err := c.reader.ReadOn(c.asked, 1<<16)
	w.must(err)
	w.say("read entries %d-%d of term %d", r.First, r.First+uint64(r.Count)-1, r.Term)
	c.run = &ziplist.Run{Term: r.Term, First: r.First, Count: r.Count, Records: r.Records}
}

func (w *world) connect(l *wireTap, how string) {
	switch how {
	case "down":
		l.connection, w.downs = 0, w.downs+1
	case "restarted":
		l.incarnation++
		fallthrough
	case "up":
		l.connection = w.downs + 1
	default:
		panic("no such state of a link: " + how)
	}
}

func (w *world) shut(verb string) {
	if verb == "close" {
		w.r.Close()
	} else {
		w.r.Fail()
	}
}

func (w *world) show(window bool) {
	a := w.r.cfg.Apply
	if window {
		w.say("%s", a)
		return
	}
	s := w.r.Stats()
	role, leader, term := w.r.Role()
	w.say("%s leader %d term %d", role, leader, term)
	w.say("log to %d, stored %d, durable %d; commit %d, ready %d, applied %d", w.core.Last(),
		w.r.stored.index(), w.r.DurableIndex(), w.r.commit, a.Ready().Load(), a.Applied().Load())
	w.say("%d of %d slots free; effects wait: %t; messages wait for the disk: %d", w.r.ring.Free(),
		w.r.ring.Cap(), w.r.out.pending(), len(w.r.gate.messages))
	w.say("frames %d, bad %d; refused %d", s.Frames, s.BadFrames, s.Refused)
}
