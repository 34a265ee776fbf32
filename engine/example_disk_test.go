package engine_test

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ringraft/ringraft/engine"
)

// stored is a stock that keeps itself in a file.
type stored struct {
	stock
	file     string
	mu       sync.Mutex // Sync runs beside Apply
	index    uint64     // of the newest command that is in it
	executed int        // commands, by this process
}

// image is a stock in the file, and in a snapshot. All of it changes together.
type image struct {
	Applied uint64 // the file: it has the effect of all entries up to here
	Index   uint64 // of the newest command among them
	Amount  map[string]int64
}

// Open reads the file, if there is one.
func (s *stored) Open() (applied uint64, err error) {
	f, err := os.Open(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var i image
	if err := gob.NewDecoder(f).Decode(&i); err != nil {
		return 0, fmt.Errorf("%s: %w", s.file, err)
	}
	s.index, s.amount = i.Index, i.Amount
	return i.Applied, nil
}

// Apply executes commands, and remembers which was the newest.
func (s *stored) Apply(entries []engine.Entry, replies *engine.Replies) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stock.Apply(entries, replies)
	s.index = entries[len(entries)-1].Index
	s.executed += len(entries)
}

// Sync writes a file beside the one that is there, syncs it and gives it its name. A state
// that is large would be in a database, and each call of Apply be a transaction.
func (s *stored) Sync(applied uint64) error {
	s.mu.Lock()
	i := image{max(s.index, applied), s.index, maps.Clone(s.amount)}
	s.mu.Unlock()
	f, err := os.Create(s.file + ".new")
	if err != nil {
		return err
	}
	err = gob.NewEncoder(f).Encode(i)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), s.file); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(s.file))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Snapshot is for members that lack what the log no longer has.
func (s *stored) Snapshot() (engine.View, error) {
	return storedView{image{Index: s.index, Amount: maps.Clone(s.amount)}}, nil
}

// Restore reads what a view has written.
func (s *stored) Restore(r io.Reader) (install func(), err error) {
	var i image
	if err := gob.NewDecoder(r).Decode(&i); err != nil {
		return nil, err
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.index, s.amount = i.Index, i.Amount
	}, nil
}

type storedView struct{ image }

func (v storedView) WriteTo(w io.Writer) (n int64, err error) {
	c := &counted{w: w}
	err = gob.NewEncoder(c).Encode(v.image)
	return c.n, err
}

func (storedView) Close() error { return nil }

// A state machine that keeps its state on disk: a start goes on from there, and neither
// reads a snapshot nor applies again what the file has.
func ExampleDiskMachine() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "stock")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	start := func() (*engine.Engine, *stored) {
		s := &stored{stock: stock{make(map[string]int64)}, file: filepath.Join(dir, "stock")}
		e, err := engine.New().Dir(dir).StateMachine(s).Start(ctx)
		if err != nil {
			log.Fatal(err)
		}
		if err := e.Ready(ctx); err != nil {
			log.Fatal(err)
		}
		return e, s
	}
	e, _ := start()
	fmt.Println(change(ctx, e, "apples", 5))
	fmt.Println(change(ctx, e, "pears", 7))
	e.Close() // which syncs

	e, s := start()
	fmt.Println(change(ctx, e, "apples", -2))
	e.Close()
	fmt.Println(s.executed, "command executed since")
	// Output:
	// 5 <nil>
	// 7 <nil>
	// 3 <nil>
	// 1 command executed since
}
