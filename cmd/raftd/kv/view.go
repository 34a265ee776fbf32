package kv

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/engine"
)

// ViewBudget is the most memory in bytes that a view may take, unless SetViewBudget says another.
const ViewBudget = 256 << 20

const (
	// turnMost is how many pairs a writer looks at while it has the lock, at most. When commands
	// wait for it, it looks at one, and another one for turnShare commands since its last turn: so
	// commands that come without a pause lose a tenth of their time, and the view gets on.
	turnMost  = 256
	turnShare = 16
	// Who wants the lock asks so often before it is put to sleep: commands for about as long as a
	// turn may take, since to be woken takes far longer, and the writer for as long as a short
	// call of Apply, since to wake it takes longer than a command. The writer yields between.
	commandAsks = 4096
	writerAsks  = 128
	// spareBlocks is how many blocks are kept for the next pairs that are handed over.
	spareBlocks = 8
)

// Errors of views. Each leaves the state as it is; a later view may succeed.
var (
	ErrViewOpen     = errors.New("kv: another view is not closed, or is being written")
	ErrViewClosed   = errors.New("kv: the view is closed")
	ErrViewWritten  = errors.New("kv: the view was written before")
	ErrViewTooLarge = errors.New("kv: too much changed before the view was written")
	ErrViewsSpent   = errors.New("kv: too many views in a row were given up")
)

// View is the state as it was between two calls of Apply, which go on while it is written. It has
// a number, greater than that of the view before. Each pair has the number of the newest view that
// has it or must not have it, and wanted are those with another one:
//
//   - The writer walks over the table in short turns. It copies the pairs that are wanted and gives
//     them its number.
//   - Before a command changes or deletes a pair that is wanted, it hands a copy to the view and
//     gives the pair the number. A new pair has the number.
//   - FLUSHALL leaves the whole table to the view, which shares it with nobody any more.
//
// So each pair that was there at the beginning is written once: as it was, in no order. A turn may
// end anywhere, since a Go map may change while a loop is in its body: the loop gives each key that
// is not deleted once, also when the map grows meanwhile. Count and digest are compared in the end.
//
// Large values are not copied but referred to: their bytes do not change. Commands never
// wait for the writer's io.Writer, only for the lock, which the writer gives up when they want it.
//
// Alternatives: a table of many maps that is handed over a map at a time copies all neighbours of
// a key that changes, which under uniform writes is the whole table. A persistent tree, which
// copies in O(1), makes each command slower at all times; see docs/raftd.md.
type View struct {
	machine *Machine
	number  uint32
	applied uint64
	pairs   int // of the state
	sum     digest

	memory atomic.Int64 // see Memory
	wants  atomic.Bool  // commands wait for mu

	mu      sync.Mutex // of all below, of the content, and of the pairs in it
	content *content
	handed  []*block // by commands; the last has room
	spare   []*block
	since   int   // commands since the writer's last turn
	kept    int64 // of memory: what FLUSHALL left to the view
	passed  int   // pairs written or handed over, and their digest
	done    digest
	err     error // why it was given up
	started bool  // WriteTo was called
	writing bool  // and has not returned
	stopped bool  // no pair is wanted any more
	closed  bool
}

// Snapshot returns a view of the state after the last Apply. It takes microseconds, and is called
// by the goroutine that calls Apply. There is one view at a time: ErrViewOpen is returned until
// the one before is closed and its WriteTo has returned.
func (m *Machine) Snapshot() (engine.View, error) {
	next := m.pairs.number%viewMax + 1
	if next == m.pairs.passed.Load() { // some pair may have that number already
		return nil, ErrViewsSpent
	}
	v := &View{machine: m, number: next, applied: m.applied, pairs: m.pairs.count(),
		sum: m.pairs.sum, content: m.pairs.content}
	if !m.view.CompareAndSwap(nil, v) {
		return nil, ErrViewOpen
	}
	m.pairs.number, m.pairs.view = next, v
	m.viewWait.Store(0)
	return v, nil
}

// ViewWait is the longest time that a call of Apply or Read has waited for the newest view to let
// go of the state; 0 before there was one. Any goroutine may call it.
func (m *Machine) ViewWait() time.Duration { return time.Duration(m.viewWait.Load()) }

// SetViewBudget sets the most memory in bytes that a view may take. Any goroutine may call it.
func (m *Machine) SetViewBudget(bytes int64) { m.viewBudget.Store(bytes) }

// ViewMemory is the memory in bytes that the view takes that is not closed: what commands have
// changed since and what is not yet written of it. What FLUSHALL has left to the view is in it, and
// does not count for the budget: no memory is taken for it. Any goroutine may call it.
func (m *Machine) ViewMemory() int64 {
	n := m.pairs.pins.viewed.Load()
	if v := m.view.Load(); v != nil {
		n += v.memory.Load()
	}
	return n
}

// lockView gives the calling goroutine, which applies commands, the table while a view is open.
func (m *Machine) lockView() *View {
	v := m.pairs.view
	if v == nil {
		return nil
	}
	v.wants.Store(true)
	if v.mu.TryLock() {
		return m.locked(v)
	}
	began := time.Now()
	v.lockSoon()
	if wait := int64(time.Since(began)); wait > m.viewWait.Load() {
		m.viewWait.Store(wait)
	}
	return m.locked(v)
}

// lockSoon takes the lock for commands.
func (v *View) lockSoon() {
	for range commandAsks {
		if v.mu.TryLock() {
			return
		}
	}
	v.mu.Lock()
}

func (m *Machine) locked(v *View) *View {
	v.wants.Store(false)
	m.pairs.dropFailedView()
	return v
}

// count says how many commands are applied with the lock.
func (v *View) count(commands int) {
	if v != nil {
		v.since += commands
	}
}

// unlock is the end of what began with lockView.
func (v *View) unlock() {
	if v != nil {
		v.mu.Unlock()
	}
}

// take copies a pair that is about to change. The caller applies commands and has the lock.
func (v *View) take(p pair) {
	last := len(v.handed) - 1
	grown := last < 0 || v.handed[last].full()
	if grown {
		v.handed = append(v.handed, v.newBlock())
		last++
	}
	b := v.handed[last]
	before := b.memory
	v.add(b, p)
	if n := b.memory - before; n > 0 || grown {
		v.memory.Add(n)
		v.checkBudget()
	}
}

func (v *View) newBlock() *block {
	b := (*block)(nil)
	if n := len(v.spare); n > 0 {
		b, v.spare = v.spare[n-1], v.spare[:n-1]
	} else {
		b = newBlock()
	}
	v.memory.Add(b.memory)
	return b
}

// add adds a pair that is wanted to a block.
func (v *View) add(b *block, p pair) {
	v.passed++
	v.done.add(p.hash())
	val := v.content.valueOf(p)
	if val.large != nil {
		v.machine.pairs.pins.hold(val.large)
	}
	b.add(p.key(), val)
}

// checkBudget gives the view up when it takes too much memory. The lock is held.
func (v *View) checkBudget() {
	used := v.memory.Load() + v.machine.pairs.pins.viewed.Load()
	if budget := v.machine.viewBudget.Load(); used > budget {
		v.stop(fmt.Errorf("%w: %d bytes wait to be written, which is over the limit of %d",
			ErrViewTooLarge, used, budget))
	}
}

// keep takes over the content, which commands leave to the view: they hand over nothing any more,
// so the budget is not looked at again. The lock is held.
func (v *View) keep(memory int64) {
	v.kept = memory
	v.memory.Add(memory)
}

// WriteTo writes the view in the form that Restore reads, once, and returns the bytes written. Any
// goroutine may call it. w gets up to 64 KiB at once, and more of large keys and values.
func (v *View) WriteTo(w io.Writer) (int64, error) {
	c, err := v.begin()
	if err != nil {
		return 0, err
	}
	out := &counter{w: w}
	err = v.write(c, out)
	v.end(err)
	return out.n, err
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

func (v *View) begin() (*content, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.started:
		return nil, ErrViewWritten
	case v.stopped:
		return nil, v.err
	}
	v.started, v.writing = true, true
	return v.content, nil
}

func (v *View) end(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.writing = false
	v.stop(err)
	v.settle()
}

// write walks over the table. When it does not have the lock it touches neither the table nor the
// loop over it, and when it has it again it first looks whether the view is still wanted.
func (v *View) write(c *content, w io.Writer) error {
	if _, err := w.Write(v.header()); err != nil {
		return err
	}
	b := newBlock()
	defer v.letGo(b)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.stopped {
		return v.err
	}
	turn, least := 0, 1
	for p := range c.all {
		if p.view() != v.number {
			v.add(b, p)
			p.setView(v.number)
		}
		turn++
		if turn < turnMost && (turn < least || !v.wants.Load()) && !b.enough() {
			continue
		}
		if err := v.pause(b, w); err != nil {
			return err
		}
		turn, least, v.since = 0, 1+v.since/turnShare, 0
	}
	c.passed.Store(v.number)
	return v.finish(b, w)
}

// pause lets commands have the lock and writes what has come together meanwhile. What was handed
// over goes first: it takes memory.
func (v *View) pause(b *block, w io.Writer) error {
	v.mu.Unlock()
	v.lockAfterCommands()
	if err := v.drain(w, false); err != nil {
		return err
	}
	if b.enough() {
		if err := v.drop(b, w); err != nil {
			return err
		}
	}
	return v.err
}

// lockAfterCommands takes the lock when no command waits for it.
func (v *View) lockAfterCommands() {
	for range writerAsks {
		if !v.wants.Load() && v.mu.TryLock() {
			return
		}
		runtime.Gosched()
	}
	v.mu.Lock()
}

// drop writes a block without the lock, and empties it.
func (v *View) drop(b *block, w io.Writer) error {
	v.mu.Unlock()
	err := b.writeTo(w)
	v.letGo(b)
	v.mu.Lock()
	return err
}

// drain writes the blocks that were handed over: all, or those that are full.
func (v *View) drain(w io.Writer, all bool) error {
	for v.err == nil {
		n := len(v.handed)
		if n > 0 && !all && !v.handed[n-1].full() {
			n--
		}
		if n == 0 {
			return nil
		}
		blocks := v.handed[:n:n]
		v.handed = append([]*block(nil), v.handed[n:]...)
		if err := v.writeHanded(blocks, w); err != nil {
			return err
		}
	}
	return v.err
}

// writeHanded writes blocks without the lock.
func (v *View) writeHanded(blocks []*block, w io.Writer) (err error) {
	v.mu.Unlock()
	for _, b := range blocks {
		if err == nil {
			err = b.writeTo(w)
		}
		v.release(b)
	}
	v.mu.Lock()
	if room := spareBlocks - len(v.spare); room > 0 && !v.stopped {
		v.spare = append(v.spare, blocks[:min(room, len(blocks))]...)
	}
	return err
}

// finish writes the rest, and compares what was written with what there was.
func (v *View) finish(b *block, w io.Writer) error {
	if err := v.drop(b, w); err != nil {
		return err
	}
	if err := v.drain(w, true); err != nil {
		return err
	}
	if v.passed != v.pairs || v.done != v.sum {
		return fmt.Errorf("kv: the view wrote %d pairs with digest %v, the state had %d with %v",
			v.passed, v.done, v.pairs, v.sum)
	}
	return nil
}

// release gives up a block that was handed over. It is empty then.
func (v *View) release(b *block) {
	v.memory.Add(-b.memory)
	v.letGo(b)
}

func (v *View) letGo(b *block) {
	for _, r := range b.refs {
		if r.large != nil {
			v.machine.pairs.pins.letGo(r.large)
		}
	}
	b.empty()
}

// Close gives the view up, if it is not yet written, and frees its memory. It does not wait: a
// WriteTo that runs returns ErrViewClosed when its io.Writer has returned. Any goroutine may call
// it, more than once.
func (v *View) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	v.stop(ErrViewClosed)
	v.settle()
	return nil
}

// stop ends the view, for a reason or because it is written. The lock is held.
func (v *View) stop(err error) {
	if v.stopped {
		return
	}
	v.stopped, v.err = true, err
	for _, b := range v.handed {
		v.release(b)
	}
	v.handed, v.spare = nil, nil
	v.settle()
}

// settle frees what nobody uses any more. The lock is held.
func (v *View) settle() {
	if v.writing {
		return
	}
	if v.stopped {
		v.content = nil
		v.memory.Add(-v.kept)
		v.kept = 0
	}
	if v.closed {
		v.machine.view.CompareAndSwap(v, nil)
	}
}
