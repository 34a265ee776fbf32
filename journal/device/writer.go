package device

import (
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// Writer is the production device: one goroutine that blocks in writes so
// that nobody else has to. Handing it a group costs a wake-up only when it
// sleeps.
type Writer struct {
	jobs   chan job
	tag    atomic.Uint64
	failed atomic.Pointer[error]
	onDone atomic.Pointer[func()]
	ended  sync.WaitGroup
}

type job struct {
	ops []Op
	tag uint64
}

// NewWriter starts the writer.
func NewWriter() *Writer {
	w := &Writer{jobs: make(chan job, 2)}
	w.ended.Add(1)
	go w.loop()
	return w
}

func (w *Writer) loop() {
	defer w.ended.Done()
	for j := range w.jobs {
		w.run(j.ops, j.tag)
		if f := w.onDone.Load(); f != nil {
			(*f)()
		}
	}
}

func (w *Writer) run(ops []Op, tag uint64) {
	if w.failed.Load() != nil {
		return // never retried
	}
	if err := Run(ops); err != nil {
		first := err // only here, so that a good write allocates nothing
		w.failed.CompareAndSwap(nil, &first)
		return
	}
	w.tag.Store(tag)
}

// Submit implements Device.
func (w *Writer) Submit(ops []Op, tag uint64) { w.jobs <- job{ops, tag} }

// Inline implements Device.
func (w *Writer) Inline(ops []Op, tag uint64) time.Duration {
	start := time.Now()
	w.run(ops, tag)
	return time.Since(start)
}

// Done implements Device.
func (w *Writer) Done() (uint64, error) {
	if p := w.failed.Load(); p != nil {
		return w.tag.Load(), *p
	}
	return w.tag.Load(), nil
}

// OnDone implements Device.
func (w *Writer) OnDone(f func()) { w.onDone.Store(&f) }

// Close ends the goroutine after what is queued.
func (w *Writer) Close() {
	close(w.jobs)
	w.ended.Wait()
}

func aligned(n, align int) []byte {
	b := make([]byte, n+align)
	skip := (align - int(uintptr(unsafe.Pointer(&b[0]))&uintptr(align-1))) & (align - 1)
	return b[skip : skip+n : skip+n]
}
