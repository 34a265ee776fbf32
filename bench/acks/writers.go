package acks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/bench/resp"
)

// writer writes unique keys, a batch at a time, and keeps the ledger. It
// goes to another server when one refuses, redirects or is gone; a refused
// key is not tried again, so that its absence can be checked.
type writer struct {
	check  *checker
	number int
	ledger ledger
	target int    // among the checker's addresses
	moved  string // where the last redirect pointed; "" goes by target
	conn   *resp.Conn
}

const (
	replyTimeout  = 2 * time.Second
	refusalPause  = 10 * time.Millisecond
	readBackBatch = 256
)

func (w *writer) key(n int) string { return fmt.Sprintf("%s:%d:%d", w.check.prefix, w.number, n) }

func value(key string) string { return "value of " + key }

// run writes until the context ends.
func (w *writer) run(ctx context.Context) {
	batch := make([]int, w.check.depth)
	for ctx.Err() == nil {
		if !w.connect() {
			bench.Sleep(ctx, refusalPause)
			continue
		}
		for i := range batch {
			batch[i] = w.ledger.issue()
			key := w.key(batch[i])
			w.conn.Add("SET", key, value(key))
		}
		if !w.send(batch) {
			bench.Sleep(ctx, refusalPause)
		}
	}
	w.drop()
}

// connect makes sure of a connection; false: none now, the next server is
// tried next time.
func (w *writer) connect() bool {
	if w.conn != nil {
		return true
	}
	address := w.moved
	if address == "" {
		address = w.check.addresses[w.target]
	}
	n, err := resp.Dial(address, time.Second)
	if err != nil {
		w.check.classes.add("no-connection")
		w.elsewhere()
		return false
	}
	w.conn = n
	return true
}

func (w *writer) drop() {
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}

// elsewhere goes on to the next server of the list.
func (w *writer) elsewhere() {
	w.drop()
	w.moved = ""
	w.target = (w.target + 1) % len(w.check.addresses)
}

// send sends a batch and books its answers; false when something went wrong.
func (w *writer) send(batch []int) bool {
	_ = w.conn.SetTimeout(replyTimeout)
	err := w.conn.Flush()
	acked, refusal := 0, ""
	for i := 0; i < len(batch); i++ {
		var r resp.Reply
		if err == nil {
			r, _, err = w.conn.Next()
		}
		var said *resp.ServerError
		switch {
		case err == nil && r.Stored():
			w.ledger.keys[batch[i]] = keyAcked
			acked++
		case errors.As(err, &said):
			err = nil
			w.ledger.keys[batch[i]] = outcomeOf(said.Class)
			w.check.classes.add(said.Class)
			refusal = said.Text
		case err == nil:
			w.ledger.keys[batch[i]] = keyUnknown
			w.check.classes.add("unexpected-reply")
		default:
			w.ledger.keys[batch[i]] = keyUnknown
			w.check.classes.add("connection-lost")
		}
	}
	if acked > 0 {
		w.check.gaps.success(time.Now())
	}
	if err != nil {
		w.elsewhere()
		return false
	}
	if refusal != "" {
		w.follow(refusal)
		return false
	}
	return true
}

// certain are the classes of errors after which a command was certainly not
// executed: clients send it again by themselves.
var certain = []string{"MOVED", "TRY", "TRYAGAIN", "CLUSTERDOWN", "BUSY", "LOADING", "READONLY",
	"MASTERDOWN", "NOCLUSTER", "MISCONF", "OOM"}

func outcomeOf(class string) uint8 {
	if slices.Contains(certain, class) {
		return keyRefused
	}
	return keyUnknown
}

// follow goes where a redirect points, else to the next server.
func (w *writer) follow(refusal string) {
	words := strings.Fields(refusal)
	w.elsewhere()
	if len(words) == 3 && words[0] == "MOVED" && !strings.HasPrefix(words[2], ":") {
		w.moved = words[2]
	}
}

// verify reads every key back and compares, until the context ends. One
// goroutine per writer.
func (w *writer) verify(ctx context.Context) (v verdict) {
	w.moved = ""
	for from := 0; from < len(w.ledger.keys) && ctx.Err() == nil; {
		if !w.connect() {
			bench.Sleep(ctx, refusalPause)
			continue
		}
		to := min(from+readBackBatch, len(w.ledger.keys))
		part, ok := w.verifyBatch(from, to)
		if !ok { // the whole batch again, elsewhere
			bench.Sleep(ctx, refusalPause)
			continue
		}
		v.add(part)
		from = to
	}
	w.drop()
	return v
}

func (w *writer) verifyBatch(from, to int) (v verdict, ok bool) {
	_ = w.conn.SetTimeout(replyTimeout)
	for n := from; n < to; n++ {
		w.conn.Add("GET", w.key(n))
	}
	err := w.conn.Flush()
	for n := from; n < to && err == nil; n++ {
		var r resp.Reply
		if r, _, err = w.conn.Next(); err != nil {
			break
		}
		if !r.Fetched() { // no answer to a GET: what follows is out of step
			err = resp.ErrProtocol
			break
		}
		key := w.key(n)
		v.judge(w.ledger.keys[n], key, r.Null, string(r.Text) == value(key))
	}
	var said *resp.ServerError
	switch {
	case errors.As(err, &said):
		w.follow(said.Text)
	case err != nil:
		w.elsewhere()
	}
	return v, err == nil
}

// verdict is what reading back showed.
type verdict struct {
	acked, unknown, refused int
	lost                    int // acknowledged, and not there
	wrong                   int // there with another value
	executed                int // refused as certainly not executed, and there
	late                    int // unknown, and there: allowed
	examples                []string
}

func (v *verdict) judge(state uint8, key string, missing, right bool) {
	fault := ""
	switch state {
	case keyAcked:
		v.acked++
		if missing {
			v.lost++
			fault = "lost " + key
		}
	case keyUnknown:
		v.unknown++
		if !missing {
			v.late++
		}
	case keyRefused:
		v.refused++
		if !missing {
			v.executed++
			fault = "refused but executed " + key
		}
	}
	if !missing && !right {
		v.wrong++
		fault = "wrong value of " + key
	}
	if fault != "" && len(v.examples) < examplesMax {
		v.examples = append(v.examples, fault)
	}
}

const examplesMax = 5

func (v *verdict) add(o verdict) {
	v.acked += o.acked
	v.unknown += o.unknown
	v.refused += o.refused
	v.lost += o.lost
	v.wrong += o.wrong
	v.executed += o.executed
	v.late += o.late
	v.examples = append(v.examples, o.examples...)
	v.examples = v.examples[:min(len(v.examples), examplesMax)]
}

func (v *verdict) bad() bool { return v.lost+v.wrong+v.executed > 0 }
