package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringraft/ringraft/cmd/raftd/server"
	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/netio/resp"
)

// tryAgain is how long raftd snapshot take waits when a member does the same for somebody else.
const tryAgain = 100 * time.Millisecond

// taken is a snapshot of a member, as raftd snapshot take prints it.
type taken struct {
	Member  string  `json:"member"`
	Index   uint64  `json:"index"`
	Term    uint64  `json:"term"`
	Bytes   int64   `json:"bytes"`
	Digest  string  `json:"digest"`
	File    string  `json:"file"` // on the member's machine
	Seconds float64 `json:"seconds"`
	Copy    string  `json:"copy,omitempty"`
}

func newTakeCommand() *cobra.Command {
	var to string
	var asJSON bool
	var who access
	addr, timeout := defaults().client, time.Hour
	cmd := &cobra.Command{
		Use:   "take",
		Short: "Have a running member take a snapshot, and copy it",
		Long: `Asks the member at --addr to take a snapshot of its keys, and waits until it is on
that member's disk. Any member will do, whether it leads or not; reads and writes go on.

With --to the snapshot is copied to FILE over the same connection, so this may run on
another machine. The copy is verified before it gets its name: until then it is
FILE.part, and a FILE that was there stays.`,
		Example: "  raftd snapshot take --addr 127.0.0.1:7379 --to backup.snapshot",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			ctx, err := who.with(ctx)
			if err != nil {
				return err
			}
			t, err := take(ctx, addr, to, newProgress(cmd.ErrOrStderr()))
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(t)
			}
			return t.print(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&addr, "addr", addr, "address for clients of the member that is asked")
	who.bind(cmd.Flags())
	cmd.Flags().StringVar(&to, "to", to, "file to copy the snapshot to")
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "give up after so long")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unexpected argument %q; see %s --help", args[0], cmd.CommandPath())
	}
	return nil
}

func (t *taken) print(w io.Writer) error {
	p := &printer{w: w}
	p.line("entries     up to %d, the last of term %d", t.Index, t.Term)
	p.line("file        %d bytes, digest %s, in %.1f s", t.Bytes, t.Digest, t.Seconds)
	p.line("member      %s: %s", t.Member, t.File)
	if t.Copy != "" {
		p.line("copy        %s: all of it was read", t.Copy)
	}
	return p.err
}

// take has a member take a snapshot, and copies it if there is somewhere to copy it to. When
// a newer one has taken its place before it could be copied, it begins anew.
func take(ctx context.Context, addr, to string, p *progress) (*taken, error) {
	c, err := dialMember(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer c.close()
	began := time.Now()
	for {
		t, err := c.take(ctx, to, p)
		var no *refusal
		if errors.As(err, &no) && strings.Contains(no.text, server.SnapshotGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		t.Seconds = time.Since(began).Seconds()
		return t, nil
	}
}

// take is one attempt.
func (c *caller) take(ctx context.Context, to string, p *progress) (*taken, error) {
	end := p.waits("taking a snapshot")
	_, err := c.patiently(ctx, "RAFT.SNAPSHOT", "TAKE")
	end()
	if err != nil {
		return nil, err
	}
	r, err := c.call(ctx, "RAFT.SNAPSHOT", "STATUS")
	if err != nil {
		return nil, err
	}
	t, err := readTaken(c.address, r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.address, err)
	}
	if to != "" {
		err = t.copy(ctx, c, to, p)
	}
	return t, err
}

// patiently asks again while the member does the same for somebody else.
func (c *caller) patiently(ctx context.Context, args ...string) (resp.Reply, error) {
	for {
		r, err := c.call(ctx, args...)
		var no *refusal
		if !errors.As(err, &no) || !strings.HasPrefix(no.text, "TRYAGAIN") &&
			!strings.HasSuffix(no.text, "already in progress") {
			return r, err
		}
		select {
		case <-time.After(tryAgain):
		case <-ctx.Done():
			return r, err
		}
	}
}

// readTaken reads the reply to RAFT.SNAPSHOT STATUS.
func readTaken(addr string, r resp.Reply) (*taken, error) {
	m, err := fields(r)
	if err != nil {
		return nil, err
	}
	t := &taken{Member: addr, File: m["raft_snapshot_file"], Digest: m["raft_snapshot_digest"]}
	if t.Digest == "" {
		return nil, errors.New("it does not say what its snapshot is: it may be of an " +
			"earlier release; update it")
	}
	t.Digest = strings.Repeat("0", max(0, 16-len(t.Digest))) + t.Digest // it may come as a number
	t.Index, err = strconv.ParseUint(m["raft_snapshot_index"], 10, 64)
	if err == nil {
		t.Term, err = strconv.ParseUint(m["raft_snapshot_term"], 10, 64)
	}
	if err == nil {
		t.Bytes, err = strconv.ParseInt(m["raft_snapshot_bytes"], 10, 64)
	}
	return t, err
}

// copy copies the snapshot. The file has its name when it is verified and durable.
func (t *taken) copy(ctx context.Context, c *caller, to string, p *progress) error {
	part := to + ".part"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = t.fetch(ctx, c, f, p)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = t.check(ctx, part)
	}
	if err == nil {
		err = os.Rename(part, to)
	}
	if err != nil {
		return errors.Join(err, os.Remove(part))
	}
	if t.Copy, err = filepath.Abs(to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(t.Copy))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// fetch writes all pieces of the snapshot's file.
func (t *taken) fetch(ctx context.Context, c *caller, w io.Writer, p *progress) error {
	defer p.end()
	index := strconv.FormatUint(t.Index, 10)
	for off := int64(0); off < t.Bytes; {
		r, err := c.patiently(ctx, "RAFT.SNAPSHOT", "FETCH", index, strconv.FormatInt(off, 10))
		if err != nil {
			return err
		}
		if r.Kind != resp.Bulk || r.Null || len(r.Body) == 0 {
			return fmt.Errorf("%s: the snapshot ends at %d of %d bytes", t.Member, off, t.Bytes)
		}
		if _, err := w.Write(r.Body); err != nil {
			return err
		}
		off += int64(len(r.Body))
		p.at("copying", off, t.Bytes)
	}
	return nil
}

// check verifies what came.
func (t *taken) check(ctx context.Context, file string) error {
	i, err := engine.VerifySnapshot(ctx, file)
	if errors.Is(err, engine.ErrBadSnapshot) {
		return fmt.Errorf("%w: %s sent what is no snapshot: look at its file with raftd snapshot "+
			"verify: %w", errBadSnapshot, t.Member, err)
	}
	if err != nil {
		return err
	}
	if i.Index != t.Index || i.Term != t.Term || fmt.Sprintf("%016x", i.Digest) != t.Digest {
		return fmt.Errorf("%w: %s sent the snapshot of entry %d with digest %016x, and had said "+
			"entry %d and digest %s", errBadSnapshot, t.Member, i.Index, i.Digest, t.Index,
			t.Digest)
	}
	return nil
}

// progress says on a terminal how far something is; elsewhere it says nothing.
type progress struct {
	w    io.Writer // nil: no terminal
	last time.Time
	said bool
}

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	if !ok {
		return &progress{}
	}
	st, err := f.Stat()
	if err != nil || st.Mode()&os.ModeCharDevice == 0 {
		return &progress{}
	}
	return &progress{w: f}
}

const progressEvery = 200 * time.Millisecond

// at says how many of all bytes are done.
func (p *progress) at(what string, done, of int64) {
	if p.w == nil || time.Since(p.last) < progressEvery && done < of {
		return
	}
	p.last, p.said = time.Now(), true
	fmt.Fprintf(p.w, "\r%s: %d of %d MiB, %d%%\x1b[K", what, done>>20, of>>20,
		100*done/max(1, of))
}

// end removes what was said.
func (p *progress) end() {
	if p.said {
		p.said = false
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// waits says for how long something takes already, until end is called.
func (p *progress) waits(what string) (end func()) {
	if p.w == nil {
		return func() {}
	}
	stop, stopped, began := make(chan struct{}), make(chan struct{}), time.Now()
	go func() {
		defer close(stopped)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.said = true
				fmt.Fprintf(p.w, "\r%s: %.1f s\x1b[K", what, time.Since(began).Seconds())
			case <-stop:
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
		p.end()
	}
}
