package engine_test

import (
	"context"
	"encoding/gob"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"time"

	"github.com/ringraft/ringraft/engine"
)

// kept is a stock that can be written to a file and read again.
type kept struct{ stock }

// Snapshot copies the state, which is well for a small one. A large one hands over what
// Apply changes while it is written.
func (k *kept) Snapshot() (engine.View, error) {
	return &keptView{amount: maps.Clone(k.amount)}, nil
}

// Restore reads what a view has written, beside the state.
func (k *kept) Restore(r io.Reader) (install func(), err error) {
	var amount map[string]int64
	if err := gob.NewDecoder(r).Decode(&amount); err != nil {
		return nil, err
	}
	return func() { k.amount = amount }, nil
}

type keptView struct{ amount map[string]int64 }

func (v *keptView) WriteTo(w io.Writer) (n int64, err error) {
	c := &counted{w: w}
	err = gob.NewEncoder(c).Encode(v.amount)
	return c.n, err
}

func (v *keptView) Close() error { return nil }

// counted counts what is written.
type counted struct {
	w io.Writer
	n int64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// A state machine whose log does not grow for ever: it starts from a file.
func ExampleSnapshotter() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "stock")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	start := func() *engine.Engine {
		e, err := engine.New().Dir(dir).SnapshotAfter(64 << 20).
			StateMachine(&kept{stock{amount: make(map[string]int64)}}).Start(ctx)
		if err != nil {
			log.Fatal(err)
		}
		if err := e.Ready(ctx); err != nil {
			log.Fatal(err)
		}
		return e
	}
	e := start()
	fmt.Println(change(ctx, e, "apples", 5))
	info, err := e.Snapshot(ctx) // it takes them by itself, too
	if err != nil {
		log.Fatal(err)
	}
	e.Close()

	e = start()
	defer e.Close()
	fmt.Println(change(ctx, e, "apples", -2))
	fmt.Println(e.Status().Snapshot.Index == info.Index)
	// Output:
	// 5 <nil>
	// 3 <nil>
	// true
}
