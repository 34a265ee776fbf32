package kv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/cespare/xxhash/v2"

	"github.com/ringraft/ringraft/engine"
)

// state is a copy of all keys and values.
func state(m *Machine) map[string]string {
	all := map[string]string{}
	for is := range m.pairs.all {
		k, v := string(is.key()), m.pairs.valueOf(is)
		all[k] = string(v.small)
		if v.large != nil {
			all[k] = string(bytes.Join(v.large.parts(nil, 0, v.large.size), nil))
		}
	}
	return all
}

func apply(m *Machine, commands ...[]byte) {
	entries := make([]engine.Entry, len(commands))
	for i, c := range commands {
		entries[i] = engine.Entry{Index: m.applied + uint64(i) + 1, Data: c}
	}
	m.Apply(entries, &engine.Replies{})
}

func snapshot(t *testing.T, m *Machine) *View {
	t.Helper()
	v, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return v.(*View)
}

// stream is what a view of m writes when nothing happens meanwhile.
func stream(t *testing.T, m *Machine) []byte {
	t.Helper()
	v, out := snapshot(t, m), bytes.Buffer{}
	if n, err := v.WriteTo(&out); err != nil || n != int64(out.Len()) {
		t.Fatalf("wrote %d bytes of %d: %v", n, out.Len(), err)
	}
	if err := v.Close(); err != nil || m.ViewMemory() != 0 {
		t.Fatalf("%v, %d bytes", err, m.ViewMemory())
	}
	return out.Bytes()
}

func restored(t *testing.T, stream []byte) *Machine {
	t.Helper()
	m := New()
	install, err := m.Restore(bytes.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	install()
	checkBooks(t, &m.pairs)
	return m
}

func checkStream(t *testing.T, stream []byte, want map[string]string) {
	t.Helper()
	got := state(restored(t, stream))
	if maps.Equal(got, want) {
		return
	}
	for k, v := range want {
		if w, ok := got[k]; !ok || w != v {
			t.Errorf("%.40s: %v, %.40q; want %.40q", k, ok, w, v)
			break
		}
	}
	t.Fatalf("%d keys of %d", len(got), len(want))
}

// gate is a writer that waits before each Write until it is let.
type gate struct {
	bytes.Buffer
	arrived chan struct{} // one for each Write that waits
	pass    chan struct{} // one lets one Write pass; closed: all
	err     error         // of each Write
}

func newGate() *gate {
	return &gate{arrived: make(chan struct{}, 1<<16), pass: make(chan struct{})}
}

func (g *gate) Write(b []byte) (int, error) {
	g.arrived <- struct{}{}
	<-g.pass
	if g.err != nil {
		return 0, g.err
	}
	return g.Buffer.Write(b)
}

// start writes a view into the gate, in a goroutine, and returns when its first Write waits.
func (g *gate) start(v *View) (done chan error) {
	done = make(chan error, 1)
	go func() {
		_, err := v.WriteTo(g)
		done <- err
	}()
	<-g.arrived
	return done
}

// step lets one Write pass and returns when the next one waits, or with done.
func (g *gate) step(done chan error) (ended bool, err error) {
	g.pass <- struct{}{}
	select {
	case <-g.arrived:
		return false, nil
	case err = <-done:
		return true, err
	}
}

// randomCommand is one of few keys or many, so that all kinds of pairs meet all kinds of changes.
func randomCommand(r *rand.Rand, keys int) []byte {
	key := func() []byte {
		k := fmt.Appendf(nil, "key%d", r.IntN(keys))
		if k[len(k)-1] == '7' && r.IntN(2) == 0 {
			k = append(k, bytes.Repeat(k, copyMax/4)...)
		}
		return k
	}
	value := func() []byte {
		n := r.IntN(100)
		if r.IntN(10) == 0 {
			n = r.IntN(3 * largeMin)
		}
		return bytes.Repeat([]byte{byte('a' + r.IntN(26))}, n)
	}
	switch r.IntN(9) {
	case 0, 1, 2:
		return AppendSet(nil, 0, key(), value())
	case 3:
		return Append(nil, OpMSet, key(), value(), key(), value())
	case 4:
		return AppendIncrBy(nil, fmt.Appendf(nil, "n%d", r.IntN(keys/4+1)), 1)
	case 5:
		return Append(nil, OpDel, key(), key())
	case 6:
		return AppendKey(nil, OpGetDel, key())
	}
	return AppendAppend(nil, 10*largeMin, key(), value())
}

// A view has the state of its opening, whatever is applied before it is written and meanwhile.
func TestViewsAgainstModel(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 8))
		m, keys := New(), 200<<(2*(seed%3))
		change := func(n int) {
			for range n {
				if r.IntN(20*keys) == 0 {
					apply(m, Append(nil, OpFlushAll))
				}
				apply(m, randomCommand(r, keys), randomCommand(r, keys))
			}
		}
		for range 6 {
			change(r.IntN(2 * keys))
			v, g, want := snapshot(t, m), newGate(), state(m)
			change(r.IntN(keys))
			done := g.start(v)
			ended, err := false, error(nil)
			for !ended {
				change(r.IntN(1 + keys/100))
				if r.IntN(100) == 0 {
					v.Close()
				}
				ended, err = g.step(done)
			}
			switch {
			case err == nil:
				checkStream(t, g.Bytes(), want)
			case !errors.Is(err, ErrViewClosed):
				t.Fatal(err)
			}
			v.Close()
			if m.ViewMemory() != 0 {
				t.Fatalf("%d bytes are left", m.ViewMemory())
			}
			checkBooks(t, &m.pairs)
		}
	}
}

// The same with a writer that waits for nothing, beside commands and queries.
func TestViewsBesideCommands(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 8))
	m, keys := New(), 20000
	for i := range keys {
		apply(m, AppendSet(nil, 0, fmt.Appendf(nil, "key%d", i), b("value")))
	}
	for range 8 {
		v, want, out := snapshot(t, m), state(m), bytes.Buffer{}
		done := make(chan error, 1)
		go func() {
			_, err := v.WriteTo(&out)
			done <- err
		}()
		for running := true; running; {
			apply(m, randomCommand(r, keys), randomCommand(r, keys), randomCommand(r, keys))
			ask(m, AppendKey(nil, OpGet, fmt.Appendf(nil, "key%d", r.IntN(keys))))
			select {
			case err := <-done:
				if running = false; err != nil {
					t.Fatal(err)
				}
			default:
			}
		}
		v.Close()
		checkStream(t, out.Bytes(), want)
	}
	checkBooks(t, &m.pairs)
}

// filled is a machine whose view is written in many blocks.
func filled(keys int) *Machine {
	m := New()
	for i := range keys {
		apply(m, AppendSet(nil, 0, fmt.Appendf(nil, "key%d", i), bytes.Repeat(b("v"), 100)))
	}
	return m
}

// Each change comes before the view is written, and in another run when a part of it is.
func TestChangesWhileAViewIsOpen(t *testing.T) {
	const keys = 3000
	each := func(command func(key []byte) []byte) func(m *Machine) {
		return func(m *Machine) {
			for i := range keys {
				apply(m, command(fmt.Appendf(nil, "key%d", i)))
			}
		}
	}
	for name, change := range map[string]func(m *Machine){
		"nothing": func(*Machine) {},
		"flushall": func(m *Machine) {
			apply(m, Append(nil, OpFlushAll), AppendSet(nil, 0, b("key1"), b("new")))
		},
		"growth": func(m *Machine) {
			for i := range 30 * keys {
				apply(m, AppendSet(nil, 0, fmt.Appendf(nil, "new%d", i), b("v")))
			}
		},
		"overwrite": each(func(k []byte) []byte { return AppendSet(nil, 0, k, b("w")) }),
		"longer": each(func(k []byte) []byte {
			return AppendSet(nil, 0, k, bytes.Repeat(b("w"), 1000))
		}),
		"large": each(func(k []byte) []byte {
			return AppendSet(nil, 0, k, bytes.Repeat(b("w"), largeMin))
		}),
		"append": each(func(k []byte) []byte { return AppendAppend(nil, 1<<20, k, b("w")) }),
		"delete": each(func(k []byte) []byte { return AppendKey(nil, OpDel, k) }),
		"delete and set": each(func(k []byte) []byte {
			return Append(nil, OpMSet, k, b("a"), append(k, 'x'), b("b"), k, b("c"))
		}),
		"restore": func(m *Machine) {
			other := filled(10)
			v, _ := other.Snapshot()
			var out bytes.Buffer
			v.WriteTo(&out)
			install, err := m.Restore(&out)
			if err != nil {
				panic(err)
			}
			install()
			for i := range 20 {
				apply(m, AppendSet(nil, 0, fmt.Appendf(nil, "key%d", i), b("w")))
			}
		},
	} {
		for _, early := range []bool{true, false} {
			m := filled(keys)
			v, g, want := snapshot(t, m), newGate(), state(m)
			if early {
				change(m)
			}
			done := g.start(v)
			if !early {
				if ended, err := g.step(done); ended {
					t.Fatalf("%s: all in one block: %v", name, err)
				}
				change(m)
			}
			close(g.pass)
			if err := <-done; err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			v.Close()
			checkStream(t, g.Bytes(), want)
			checkBooks(t, &m.pairs)
			if m.ViewMemory() != 0 {
				t.Fatalf("%s: %d bytes are left", name, m.ViewMemory())
			}
			stream(t, m) // and what is there now
		}
	}
}

func TestOneViewAtATime(t *testing.T) {
	m := filled(10)
	refused := func(when string) {
		t.Helper()
		if _, err := m.Snapshot(); !errors.Is(err, ErrViewOpen) {
			t.Fatalf("%s: %v", when, err)
		}
	}
	v := snapshot(t, m)
	refused("open")
	v.Close()
	v.Close()
	if _, err := v.WriteTo(io.Discard); !errors.Is(err, ErrViewClosed) {
		t.Fatalf("closed: %v", err)
	}
	v = snapshot(t, m)
	g := newGate()
	done := g.start(v)
	refused("being written")
	if _, err := v.WriteTo(io.Discard); !errors.Is(err, ErrViewWritten) {
		t.Fatalf("written twice: %v", err)
	}
	v.Close()
	refused("closed, but its writer has not returned")
	close(g.pass)
	if err := <-done; !errors.Is(err, ErrViewClosed) {
		t.Fatalf("closed while written: %v", err)
	}
	v = snapshot(t, m)
	if _, err := v.WriteTo(io.Discard); err != nil {
		t.Fatal(err)
	}
	refused("written, not closed")
	v.Close()
	stream(t, m)
}

// A view that takes too much is given up at once; commands go on, and the next view is whole.
func TestViewsAreGivenUpOverBudget(t *testing.T) {
	for name, command := range map[string]func(key []byte) []byte{
		"small": func(k []byte) []byte { return AppendSet(nil, 0, k, b("w")) },
		"large": func(k []byte) []byte { return AppendKey(nil, OpDel, append(k, "large"...)) },
		"keys": func(k []byte) []byte {
			return AppendKey(nil, OpDel, bytes.Repeat(k, copyMax/4))
		},
	} {
		m := filled(5000)
		for i := range 50 {
			k := fmt.Appendf(nil, "key%d", i)
			apply(m, AppendSet(nil, 0, append(k, "large"...), bytes.Repeat(b("v"), 10*largeMin)),
				AppendSet(nil, 0, bytes.Repeat(k, copyMax/4), b("v")))
		}
		const budget = 3 * blockBytes
		m.SetViewBudget(budget)
		v, g := snapshot(t, m), newGate()
		done := g.start(v)
		i, most := 0, int64(0)
		for ; i < 5000 && !v.stopped; i++ {
			apply(m, command(fmt.Appendf(nil, "key%d", i)))
			most = max(most, m.ViewMemory())
		}
		if i == 5000 || most > budget || most < blockBytes || m.ViewMemory() != 0 {
			t.Errorf("%s: after %d changes: most %d bytes, now %d", name, i, most, m.ViewMemory())
		}
		close(g.pass)
		if err := <-done; !errors.Is(err, ErrViewTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
		v.Close()
		checkStream(t, stream(t, m), state(m))
	}
}

// What ends a view frees what was handed over, whoever has it.
func TestEndedViewsFreeTheirMemory(t *testing.T) {
	broken := errors.New("broken disk")
	for name, end := range map[string]func(v *View, g *gate, done chan error) error{
		"close before": func(v *View, _ *gate, _ chan error) error { return v.Close() },
		"close in the middle": func(v *View, g *gate, done chan error) error {
			v.Close()
			close(g.pass)
			return <-done
		},
		"writer": func(v *View, g *gate, done chan error) error {
			g.err = broken
			close(g.pass)
			defer v.Close()
			return <-done
		},
	} {
		m := filled(5000)
		apply(m, AppendSet(nil, 0, b("large"), make([]byte, 1<<20)))
		v, g, done := snapshot(t, m), newGate(), chan error(nil)
		if name != "close before" {
			done = g.start(v)
		}
		for i := range 5000 {
			apply(m, AppendSet(nil, 0, fmt.Appendf(nil, "key%d", i), b("w")))
		}
		apply(m, AppendKey(nil, OpDel, b("large")))
		if got := m.ViewMemory(); got < 1<<20+5000*100 || got > 2<<20+5000*100 {
			t.Fatalf("%s: %d bytes", name, got)
		}
		err := end(v, g, done)
		if name == "close in the middle" && !errors.Is(err, ErrViewClosed) ||
			name == "writer" && !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
		if m.ViewMemory() != 0 {
			t.Errorf("%s: %d bytes are left", name, m.ViewMemory())
		}
		apply(m, AppendSet(nil, 0, b("key1"), b("x")))
		if m.pairs.view != nil {
			t.Errorf("%s: commands still lock", name)
		}
	}
}

// After Close the writer touches the table no more: commands do not lock it any longer.
func TestClosedViewsWalkNoFurther(t *testing.T) {
	m := filled(5000)
	v, g := snapshot(t, m), newGate()
	done := g.start(v)
	if ended, err := g.step(done); ended {
		t.Fatal(err)
	}
	v.Close()
	passed := v.passed
	close(g.pass)
	if err := <-done; !errors.Is(err, ErrViewClosed) || v.passed != passed || passed == 5000 {
		t.Errorf("%v; %d pairs when it was closed, %d in the end", err, passed, v.passed)
	}
}

// What was not written as it was is not called a snapshot.
func TestViewsCompareWhatTheyWrote(t *testing.T) {
	for name, change := range map[string]func(v *View){
		"pairs":  func(v *View) { v.pairs++ },
		"digest": func(v *View) { v.sum.add(1) },
	} {
		v := snapshot(t, filled(10))
		change(v)
		if _, err := v.WriteTo(io.Discard); err == nil {
			t.Errorf("other %s are not found", name)
		}
	}
}

// A table that FLUSHALL leaves to a view is counted, and no reason to give the view up.
func TestFlushedTablesAreTheViews(t *testing.T) {
	m := filled(1000)
	memory, want := m.Memory(), state(m)
	m.SetViewBudget(blockBytes)
	v := snapshot(t, m)
	apply(m, Append(nil, OpFlushAll), AppendSet(nil, 0, b("key1"), b("w")))
	if m.ViewMemory() != memory || m.pairs.view != nil {
		t.Errorf("%d bytes of %d; commands lock: %v", m.ViewMemory(), memory, m.pairs.view != nil)
	}
	var out bytes.Buffer
	if _, err := v.WriteTo(&out); err != nil || m.ViewMemory() != 0 {
		t.Fatalf("%v; %d bytes when it is written", err, m.ViewMemory())
	}
	v.Close()
	checkStream(t, out.Bytes(), want)
}

// Large values are not copied: neither by the view nor by the commands that change them.
func TestViewsShareLargeValues(t *testing.T) {
	const n, size = 32, 1 << 20
	m := New()
	for i := range n {
		apply(m, AppendSet(nil, 0, fmt.Appendf(nil, "key%d", i), make([]byte, size)))
	}
	v := snapshot(t, m)
	before := allocated()
	apply(m, AppendKey(nil, OpDel, b("key0")), AppendAppend(nil, 2*size, b("key1"), b("tail")),
		AppendSet(nil, 0, b("key2"), b("small")))
	if got := m.ViewMemory(); got < 2*size || got > 2*size+size/4 || m.Retained() != 0 {
		t.Errorf("the view has %d bytes, replies %d", got, m.Retained())
	}
	for i := 3; i < 10; i++ { // appended to, then deleted: only then it counts
		apply(m, AppendAppend(nil, 2*size, fmt.Appendf(nil, "key%d", i), b("tail")))
	}
	if got := m.ViewMemory(); got > 2*size+size/4 {
		t.Errorf("%d bytes with values that are in the table", got)
	}
	apply(m, AppendKey(nil, OpDel, b("key3")))
	if got := m.ViewMemory(); got < 3*size {
		t.Errorf("%d bytes with three values that are not", got)
	}
	// APPEND made room of half a value eight times.
	if written, err := v.WriteTo(io.Discard); err != nil || written < n*size {
		t.Fatal(written, err)
	}
	if got := allocated() - before; got > 8*size/2+size {
		t.Errorf("allocated %d bytes", got)
	}
	v.Close()
	if m.ViewMemory() != 0 || m.Pins() != 0 {
		t.Errorf("%d bytes, %d pins", m.ViewMemory(), m.Pins())
	}
	checkBooks(t, &m.pairs)
}

func allocated() uint64 {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.TotalAlloc
}

// A number that some pair may have is not given to a view: that pair would be missing in it.
func TestViewNumbers(t *testing.T) {
	m := filled(3)
	m.pairs.number = viewMax - 2
	m.pairs.passed.Store(viewMax - 2)
	for i := range 10 {
		apply(m, AppendSet(nil, 0, fmt.Appendf(nil, "key%d", i), b("w")))
		checkStream(t, stream(t, m), state(m))
	}
	m.pairs.number = viewMax - 3 // as if so many views had been given up
	for range int(m.pairs.passed.Load()) + 2 {
		v, err := m.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		v.Close()
	}
	if _, err := m.Snapshot(); !errors.Is(err, ErrViewsSpent) {
		t.Fatal(err)
	}
	apply(m, Append(nil, OpFlushAll))
	checkStream(t, stream(t, m), nil)
	apply(m, Append(nil, OpFlushAll))
	m.pairs.number = m.pairs.passed.Load() - 1
	if _, err := m.Snapshot(); !errors.Is(err, ErrViewsSpent) {
		t.Fatal("a new table forgets which numbers its pairs may have:", err)
	}
}

func TestRestore(t *testing.T) {
	log := randomLog(9, 3000)
	one, two := New(), New()
	one.Apply(log, &engine.Replies{})
	for i := range log {
		two.Apply(log[i:i+1], &engine.Replies{})
	}
	a, c := stream(t, one), stream(t, two)
	if !bytes.Equal(a[:headerBytes], c[:headerBytes]) || len(a) != len(c) {
		t.Fatal("members with the same state write other headers")
	}
	m := filled(100)
	install, err := m.Restore(bytes.NewReader(a))
	if err != nil || m.Keys() != 100 {
		t.Fatalf("%v, %d keys before it is installed", err, m.Keys())
	}
	apply(m, AppendSet(nil, 0, b("large"), make([]byte, largeMin)))
	reply := m.Read(AppendKey(nil, OpGet, b("large")), nil)
	install()
	if m.Retained() != largeMin {
		t.Errorf("%d bytes retained of the state before", m.Retained())
	}
	whole(m, reply)
	if x, y := ask(m, Append(nil, OpDigest)), ask(one, Append(nil, OpDigest)); x != y {
		t.Errorf("digest and applied index %q, want %q", x, y)
	}
	if m.Keys() != one.Keys() || m.Memory() == 0 {
		t.Errorf("%d keys, %d bytes", m.Keys(), m.Memory())
	}
	for _, e := range randomLog(10, 3000) { // it works on
		if x, y := do(m, e.Data), do(one, e.Data); x != y {
			t.Fatalf("answered %q and %q", x, y)
		}
	}
	checkBooks(t, &m.pairs)
	if m.Pins() != 0 || m.Retained() != 0 {
		t.Errorf("%d pins, %d bytes retained", m.Pins(), m.Retained())
	}
}

func TestStreamFormat(t *testing.T) {
	m := New()
	apply(m, AppendSet(nil, 0, b("k"), b("value")))
	got := stream(t, m)
	const one = "\x01\x00\x00\x00\x00\x00\x00\x00"
	want := "raftd kv" + one + one + one
	if string(got[:32]) != want {
		t.Errorf("header %q", got[:32])
	}
	const rest = "ad141b93a568ff7a4dd2403dbf1b528f" + "ff257c547ee166b5" +
		"01000000" + "05000000" + "6b" + "76616c7565"
	if s := fmt.Sprintf("%x", got[32:]); s != rest {
		t.Errorf("digest, checksum and pair %s", s)
	}
}

// sealed gives a header the checksum that fits it.
func sealed(stream []byte) []byte {
	stream = bytes.Clone(stream)
	binary.LittleEndian.PutUint64(stream[headerBytes-8:], xxhash.Sum64(stream[:headerBytes-8]))
	return stream
}

func TestRestoreRefusesWhatIsNoState(t *testing.T) {
	m := New()
	apply(m, AppendSet(nil, 0, b("k"), b("value")), AppendSet(nil, 0, b("l"), make([]byte, 5000)))
	good := stream(t, m)
	set := func(at int, v ...byte) []byte {
		s := bytes.Clone(good)
		copy(s[at:], v)
		return s
	}
	huge := []byte{0xff, 0xff, 0xff, 0xff}
	for name, c := range map[string]struct {
		stream []byte
		says   string
	}{
		"nothing":        {nil, "ends"},
		"another file":   {set(0, 'R'), "not a snapshot"},
		"checksum":       {set(20, 9), "checksum"},
		"version":        {sealed(set(8, 2)), "version 2"},
		"reserved":       {sealed(set(12, 2)), "has zero"},
		"fewer pairs":    {sealed(set(24, 1)), "behind the last"},
		"more pairs":     {sealed(set(24, 3)), "ends"},
		"far more pairs": {sealed(set(24, 0, 0, 0, 0, 0, 1)), "ends"},
		"digest":         {sealed(set(32, good[32]+1)), "with digest"},
		"long key":       {set(headerBytes, huge...), "a key of 4294967295 bytes"},
		"long value":     {set(headerBytes+4, huge...), "a value of 4294967295 bytes"},
		"cut off":        {good[:len(good)-1], "ends"},
		"cut in a head":  {good[:headerBytes+3], "ends"},
		"trailing":       {append(bytes.Clone(good), 0), "behind the last"},
		"a changed byte": {set(len(good)-1, good[len(good)-1]+1), "with digest"},
	} {
		_, err := New().Restore(bytes.NewReader(c.stream))
		var e *StreamError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := errors.New("broken link")
	r := io.MultiReader(bytes.NewReader(good[:100]), failing{broken})
	if _, err := New().Restore(r); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := New().Restore(io.MultiReader(bytes.NewReader(good), failing{broken})); err == nil {
		t.Error("an error in place of the end is taken for it")
	}
}

// A key that is there twice, and in the digest, too.
func TestRestoreRefusesAKeyTwice(t *testing.T) {
	for _, key := range []string{"k", strings.Repeat("k", readStep+1)} {
		for _, value := range []string{"value", strings.Repeat("v", largeMin)} {
			m := New()
			apply(m, AppendSet(nil, 0, b(key), b(value)))
			s := stream(t, m)
			s = append(s, s[headerBytes:]...)
			twice := m.pairs.sum
			twice.add(pairHash(b(key), xxhash.Sum64String(value)))
			binary.LittleEndian.PutUint64(s[24:], 2)
			binary.LittleEndian.PutUint64(s[32:], twice.low)
			binary.LittleEndian.PutUint64(s[40:], twice.high)
			_, err := New().Restore(bytes.NewReader(sealed(s)))
			if err == nil || !strings.Contains(err.Error(), "1 different keys") {
				t.Error(len(key), len(value), err)
			}
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// Lengths alone take no memory.
func TestRestoreTakesNoMemoryForLengths(t *testing.T) {
	m := New()
	apply(m, AppendSet(nil, 0, b("k"), b("v")))
	good := stream(t, m)
	for name, record := range map[string][]uint32{
		"key":   {keyMax, 1},
		"value": {1, MaxValue},
		"both":  {keyMax, MaxValue},
	} {
		s := bytes.Clone(good)
		binary.LittleEndian.PutUint64(s[24:], 1<<40)
		binary.LittleEndian.PutUint32(s[headerBytes:], record[0])
		binary.LittleEndian.PutUint32(s[headerBytes+4:], record[1])
		s = sealed(s)
		before := allocated()
		if _, err := New().Restore(bytes.NewReader(s)); err == nil {
			t.Fatalf("%s: taken", name)
		}
		if got := allocated() - before; got > 4*readStep {
			t.Errorf("%s: %d bytes for %d", name, got, len(s))
		}
	}
}

// over tells when it is read after its end.
type over struct {
	io.Reader
	ended atomic.Bool
	late  atomic.Int64
}

func (o *over) Read(b []byte) (int, error) {
	n, err := o.Reader.Read(b)
	if o.ended.Load() {
		o.late.Add(1)
	}
	return n, err
}

// A stream that is refused early is not read any more when Restore has returned, though it was read
// in front.
func TestRestoreEndsItsReading(t *testing.T) {
	for range 20 {
		endless := &over{Reader: iotest.OneByteReader(zeros{})}
		if _, err := New().Restore(endless); err == nil {
			t.Fatal("zeros are taken for a state")
		}
		endless.ended.Store(true)
		runtime.Gosched()
		if n := endless.late.Load(); n != 0 {
			t.Fatalf("read %d times after its end", n)
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
