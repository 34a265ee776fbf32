package engine_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/ringraft/ringraft/engine"
)

// account is a state machine that keeps itself in a file: an amount, to which each command
// adds one.
type account struct {
	file     string
	mu       sync.Mutex // Sync runs beside Apply
	now      balance
	executed int // commands, by this process
}

// balance is an account in its file, and in a snapshot. All of it changes together.
type balance struct {
	Applied uint64 // the file: it has the effect of all entries up to here
	Index   uint64 // of the newest command among them
	Amount  int64
}

// Open reads the file, if there is one.
func (a *account) Open() (applied uint64, err error) {
	data, err := os.ReadFile(a.file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err == nil {
		err = gob.NewDecoder(bytes.NewReader(data)).Decode(&a.now)
	}
	return a.now.Applied, err
}

// Apply executes commands, and remembers which was the newest.
func (a *account) Apply(entries []engine.Entry, replies *engine.Replies) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range entries {
		n, _ := strconv.ParseInt(string(e.Data), 10, 64) // what is no number adds nothing
		a.now.Amount += n
		a.now.Index = e.Index
		a.executed++
		if replies.Wanted() {
			replies.End(strconv.AppendInt(replies.Begin(), a.now.Amount, 10))
		}
	}
}

func (a *account) Read(_, dst []byte) []byte { return strconv.AppendInt(dst, a.now.Amount, 10) }

// Sync writes a file beside the one that is there, syncs it and gives it its name. A state
// that is large would be in a database, and each call of Apply be a transaction.
func (a *account) Sync(applied uint64) error {
	a.mu.Lock()
	now := a.now
	a.mu.Unlock()
	now.Applied = max(now.Index, applied)
	f, err := os.Create(a.file + ".new")
	if err != nil {
		return err
	}
	err = gob.NewEncoder(f).Encode(now)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), a.file); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(a.file))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Snapshot is for members that lack what the log no longer has.
func (a *account) Snapshot() (engine.View, error) {
	return accountView{balance{Index: a.now.Index, Amount: a.now.Amount}}, nil
}

// Restore reads what a view has written.
func (a *account) Restore(r io.Reader) (install func(), err error) {
	var b balance
	if err := gob.NewDecoder(r).Decode(&b); err != nil {
		return nil, err
	}
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.now = b
	}, nil
}

type accountView struct{ balance }

func (v accountView) WriteTo(w io.Writer) (n int64, err error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v.balance); err != nil {
		return 0, err
	}
	return b.WriteTo(w)
}

func (accountView) Close() error { return nil }

// A state machine that keeps its state on disk: a start goes on from there, and neither
// reads a snapshot nor applies again what the file has.
func ExampleDiskMachine() {
	dir, err := os.MkdirTemp("", "ringraft-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	start := func() (*engine.Engine, *account) {
		a := &account{file: filepath.Join(dir, "account")}
		e, err := engine.New().Dir(dir).StateMachine(a).Start(ctx)
		if err != nil {
			log.Fatal(err)
		}
		if err := e.Ready(ctx); err != nil {
			log.Fatal(err)
		}
		return e, a
	}
	add := func(e *engine.Engine, n string) {
		reply, err := e.Propose(ctx, []byte(n))
		fmt.Printf("%s makes %s, %v\n", n, reply, err)
	}
	e, _ := start()
	add(e, "5")
	add(e, "7")
	e.Close() // which syncs

	e, a := start()
	add(e, "-2")
	e.Close()
	fmt.Println(a.executed, "command executed since")
	// Output:
	// 5 makes 5, <nil>
	// 7 makes 12, <nil>
	// -2 makes 10, <nil>
	// 1 command executed since
}
