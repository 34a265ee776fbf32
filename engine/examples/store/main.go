// Command store is a replicated map of strings that is asked over HTTP.
// docs/embedding.md goes through it.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ringraft/ringraft/engine"
)

// store is the state machine. One goroutine at a time calls its methods.
type store struct{ values map[string]string }

// put is the command that gives a key a value: the key's length as a varint, key, value.
func put(key string, value []byte) []byte {
	b := binary.AppendUvarint(nil, uint64(len(key)))
	return append(append(b, key...), value...)
}

// Apply executes committed commands. What is none changes nothing, on every member alike.
func (s *store) Apply(entries []engine.Entry, replies *engine.Replies) {
	for _, e := range entries {
		n, size := binary.Uvarint(e.Data)
		if size > 0 && n <= uint64(len(e.Data)-size) {
			rest := e.Data[size:]
			s.values[string(rest[:n])] = string(rest[n:]) // copies: Data is the engine's
		}
		if replies.Wanted() {
			replies.End(append(replies.Begin(), "stored"...))
		}
	}
}

// Read answers with 1 and the value of a key, or with 0.
func (s *store) Read(key, dst []byte) []byte {
	value, ok := s.values[string(key)]
	if !ok {
		return append(dst, 0)
	}
	return append(append(dst, 1), value...)
}

// Snapshot gives a view of the state, so that the log before it may go.
func (s *store) Snapshot() (engine.View, error) { return view{maps.Clone(s.values)}, nil }

// Restore reads what a view has written.
func (s *store) Restore(r io.Reader) (install func(), err error) {
	values := make(map[string]string)
	if err := gob.NewDecoder(r).Decode(&values); err != nil {
		return nil, err
	}
	return func() { s.values = values }, nil
}

type view struct{ values map[string]string }

func (v view) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v.values); err != nil {
		return 0, err
	}
	return b.WriteTo(w)
}

func (v view) Close() error { return nil }

// front answers HTTP.
type front struct{ e *engine.Engine }

func (f front) put(w http.ResponseWriter, r *http.Request) {
	value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	reply, err := f.e.Propose(r.Context(), put(r.PathValue("key"), value))
	if err != nil {
		f.fail(w, r, err)
		return
	}
	fmt.Fprintf(w, "%s\n", reply)
}

func (f front) get(w http.ResponseWriter, r *http.Request) {
	answer, err := f.e.Read(r.Context(), []byte(r.PathValue("key")))
	switch {
	case err != nil:
		f.fail(w, r, err)
	case answer[0] == 0:
		http.NotFound(w, r)
	default:
		fmt.Fprintf(w, "%s\n", answer[1:])
	}
}

// fail says what is certain.
func (f front) fail(w http.ResponseWriter, r *http.Request, err error) {
	var failed *engine.Error
	switch {
	case errors.As(err, &failed) && failed.Reason == engine.ReasonNotLeader &&
		failed.LeaderAddress != "":
		there := "http://" + failed.LeaderAddress + r.URL.EscapedPath()
		http.Redirect(w, r, there, http.StatusTemporaryRedirect)
	case errors.Is(err, engine.ErrUnknown):
		http.Error(w, "it may have been done: "+err.Error(), http.StatusGatewayTimeout)
	default: // certainly not done
		http.Error(w, "try again: "+err.Error(), http.StatusServiceUnavailable)
	}
}

// ready says whether this member has what the leader had when it was asked.
func (f front) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	if err := f.e.Ready(ctx); err != nil {
		s := f.e.Status()
		http.Error(w, "not ready: "+s.Unready(), http.StatusServiceUnavailable)
		return
	}
	leading, leader, _ := f.e.Leadership()
	fmt.Fprintf(w, "ready; member %d leads, this one: %t\n", leader, leading)
}

// parseMembers reads 1=HOST:PORT,2=HOST:PORT,…
func parseMembers(list string) (members []engine.Member, err error) {
	for _, m := range strings.Split(list, ",") {
		id, address, _ := strings.Cut(m, "=")
		n, err := strconv.ParseUint(id, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not ID=HOST:PORT", m)
		}
		members = append(members, engine.Member{ID: n, Address: address})
	}
	return members, nil
}

func main() {
	id := flag.Uint64("id", 1, "this member")
	dir := flag.String("dir", "data", "its directory")
	address := flag.String("http", "127.0.0.1:8001", "where clients reach it")
	list := flag.String("members", "1=127.0.0.1:7001", "all members, ID=HOST:PORT,…")
	flag.Parse()
	if err := run(*id, *dir, *address, *list); err != nil {
		log.Fatal(err)
	}
}

func run(id uint64, dir, address, list string) error {
	members, err := parseMembers(list)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	e, err := engine.New().ID(id).Dir(dir).Members(members...).Advertise(address).
		StateMachine(&store{make(map[string]string)}).Logger(slog.Default()).Start(ctx)
	if err != nil {
		return err
	}
	f, mux := front{e}, http.NewServeMux()
	mux.HandleFunc("PUT /{key}", f.put)
	mux.HandleFunc("GET /{key}", f.get)
	mux.HandleFunc("GET /{$}", f.ready)
	server := &http.Server{Addr: address, Handler: mux}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()

	select {
	case <-ctx.Done(): // told to stop
	case <-e.Done(): // the engine stopped by itself: e.Err() says why
	case err = <-failed:
	}
	end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	closed := e.Shutdown(end) // requests that wait are answered
	return errors.Join(err, e.Err(), closed, server.Shutdown(end))
}
