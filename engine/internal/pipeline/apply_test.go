package pipeline

import (
	"errors"
	"syscall"
	"testing"

	"github.com/ringraft/ringraft/ziplist"
)

// unreadable is a journal that cannot be read.
type unreadable struct{}

var errUnreadable = errors.New("cannot be read")

func (unreadable) Fetch(uint64)                       {}
func (unreadable) Result() (ziplist.Run, error, bool) { return ziplist.Run{}, errUnreadable, true }

type noMachine struct{}

func (noMachine) Apply([]Entry, *Replies)   {}
func (noMachine) Read(_, dst []byte) []byte { return dst }

type noTiming struct{}

func (noTiming) Applied(int64) {}

// Apply stops at entries that cannot be read. With threads of their own, the
// replica's goroutine learns of it while apply's goroutine goes on polling.
func TestApplyFailsBesideItsReader(t *testing.T) {
	store := ziplist.New(ziplist.Config{BudgetBytes: 1 << 20}, 9) // holds nothing before 9
	a := NewApply(store, noMachine{}, func() []*Lane { return nil }, unreadable{}, noTiming{})
	a.Ready().Store(8)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 100 {
			a.Poll()
		}
	}()
	for a.Err() == nil {
		select {
		case <-done:
			if a.Err() == nil {
				t.Fatal("it does not say that it failed")
			}
		default:
		}
	}
	<-done
	if err := a.Err(); !errors.Is(err, errUnreadable) {
		t.Fatal(err)
	}
	if a.Applied().Load() != 0 {
		t.Fatal("applied what it could not read")
	}
}

// Replies of one call above 4 GiB: their ends did not fit 32 bits, and apply panicked.
// The memory is not touched.
func TestRepliesAboveFourGiB(t *testing.T) {
	huge, err := syscall.Mmap(-1, 0, 5<<30, syscall.PROT_NONE,
		syscall.MAP_PRIVATE|syscall.MAP_ANON|syscall.MAP_NORESERVE)
	if err != nil {
		t.Skip(err)
	}
	defer syscall.Munmap(huge)
	r := Replies{buf: huge[:0]}
	for _, upto := range []int{1, 4<<30 + 5, 5 << 30} {
		r.End(r.Begin()[:upto])
	}
	for i, want := range []int{1, 4<<30 + 4, 1<<30 - 5} {
		if n := len(r.reply(i)); n != want {
			t.Errorf("reply %d has %d bytes, want %d", i, n, want)
		}
	}
}
