package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ringraft/ringraft/netio/resp"
)

// tokenBytes is how long each value is that a pipeliner appends.
const tokenBytes = 8

// pipeliner is a client that mixes pipelines of any length with single commands, on
// connections to any member. On each it appends numbered tokens to a key of that connection.
type pipeliner struct {
	t    *testing.T
	id   int
	rng  *rand.Rand
	ps   func() []*process
	stop *atomic.Bool

	runs []*piped
	done atomic.Int64
}

// piped is one connection and what came of its commands, in order.
type piped struct {
	key      string
	commands []pipedCommand
}

type pipedCommand struct {
	kind  byte // a: append, g: get, i: incr, p: ping
	token int
	reply string // of a value or an integer: that; else empty
	err   string
	known bool // there was a reply
}

func (p *pipeliner) run() {
	for n := 0; !p.stop.Load(); n++ {
		list := p.ps()
		at := list[p.rng.IntN(len(list))]
		c, err := net.DialTimeout("tcp", at.client, time.Second)
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		x := &piped{key: fmt.Sprintf("p%d:%d", p.id, n)}
		p.runs = append(p.runs, x)
		p.talk(c, x)
		_ = c.Close() // it has ended, or another one is wanted
	}
}

// talk uses a connection until it fails, or for some seconds.
func (p *pipeliner) talk(c net.Conn, x *piped) {
	r := bufio.NewReaderSize(c, 64<<10)
	end := time.Now().Add(time.Duration(1+p.rng.IntN(6)) * time.Second)
	for token := 0; !p.stop.Load() && time.Now().Before(end); {
		many := 1
		if p.rng.IntN(3) == 0 {
			many = 1 + p.rng.IntN(300)
		}
		var out []byte
		first := len(x.commands)
		for range many {
			cmd := pipedCommand{kind: "aaaaggip"[p.rng.IntN(8)], token: token}
			switch cmd.kind {
			case 'a':
				out = resp.AppendBulkStrings(out, "APPEND", x.key, fmt.Sprintf("%07d,", token))
			case 'g':
				out = resp.AppendBulkStrings(out, "GET", x.key)
			case 'i':
				out = resp.AppendBulkStrings(out, "INCR", "shared")
			case 'p':
				out = resp.AppendBulkStrings(out, "PING")
			}
			token++
			x.commands = append(x.commands, cmd)
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second)) // a failure shows below
		go func() { _, _ = c.Write(out) }()                 // replies may fill up meanwhile
		for i := first; i < len(x.commands); i++ {
			if err := x.commands[i].read(r); err != nil {
				if errors.Is(err, syscall.ETIMEDOUT) || isTimeout(err) {
					p.t.Logf("%s: no reply to command %d of %d in 10 s", x.key, i, len(x.commands))
				}
				return
			}
			p.done.Add(1)
		}
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// read reads one reply.
func (x *pipedCommand) read(r *bufio.Reader) error {
	line, err := r.ReadString('\n')
	if err != nil {
		return err
	}
	line = strings.TrimSuffix(line, "\r\n")
	switch line[0] {
	case '-':
		x.err = line[1:]
	case '$':
		n, err := strconv.Atoi(line[1:])
		if err != nil {
			return err
		}
		if n >= 0 {
			b := make([]byte, n+2)
			if _, err := io.ReadFull(r, b); err != nil {
				return err
			}
			x.reply = string(b[:n])
		}
	default:
		x.reply = line[1:]
	}
	x.known = true
	return nil
}

// tokens are those of a value.
func tokens(value string) (list []int, err error) {
	for len(value) > 0 {
		if len(value) < tokenBytes {
			return nil, fmt.Errorf("rest %q", value)
		}
		n, err := strconv.Atoi(value[:tokenBytes-1])
		if err != nil {
			return nil, err
		}
		list = append(list, n)
		value = value[tokenBytes:]
	}
	return list, nil
}

// judge holds what a connection was told against what its key has in the end.
func (x *piped) judge(final string) error {
	list, err := tokens(final)
	if err != nil {
		return err
	}
	at := map[int]int{}
	for i, n := range list {
		if i > 0 && n <= list[i-1] {
			return fmt.Errorf("token %d behind %d", n, list[i-1])
		}
		at[n] = i
	}
	acked, counted := 0, 0 // bytes that must be there by now; the newest count
	for i, c := range x.commands {
		place, there := at[c.token]
		switch {
		case c.kind == 'a' && c.err == "" && c.known:
			if !there || strconv.Itoa((place+1)*tokenBytes) != c.reply {
				return fmt.Errorf("command %d: token %d, acknowledged with length %s, is there "+
					"%v, at %d", i, c.token, c.reply, there, place)
			}
			acked = (place + 1) * tokenBytes
		case c.kind == 'a' && c.known && !strings.HasPrefix(c.err, "UNKNOWNRESULT"):
			if there {
				return fmt.Errorf("command %d: token %d is there; it was said: %s", i, c.token,
					c.err)
			}
			if !certainlyNot(errors.New(c.err)) {
				return fmt.Errorf("command %d: %s", i, c.err)
			}
		case c.kind == 'g' && c.err == "" && c.known:
			if len(c.reply) < acked || !strings.HasPrefix(final, c.reply) {
				return fmt.Errorf("command %d: read %d bytes, %d were acknowledged", i,
					len(c.reply), acked)
			}
			if had, err := tokens(c.reply); err != nil || len(had) > 0 &&
				had[len(had)-1] > c.token {
				return fmt.Errorf("command %d, %d, reads token %d: %v", i, c.token,
					had[len(had)-1], err)
			}
		case c.kind == 'i' && c.err == "" && c.known:
			n, err := strconv.Atoi(c.reply)
			if err != nil || n <= counted {
				return fmt.Errorf("command %d: counted %q behind %d", i, c.reply, counted)
			}
			counted = n
		}
	}
	return nil
}

// TestMixedPipelinesWhileLeadersGo has clients mix pipelines and single commands on connections to
// all members, while leaders are killed, stopped, ended and replaced. Each key must have what
// its connection was told, in the order of its commands.
func TestMixedPipelinesWhileLeadersGo(t *testing.T) {
	f := newFleet(t)
	var stop atomic.Bool
	var wg sync.WaitGroup
	clients := make([]*pipeliner, 6)
	for i := range clients {
		clients[i] = &pipeliner{t: t, id: i, rng: rand.New(rand.NewPCG(uint64(i), 77)), ps: f.list,
			stop: &stop}
		wg.Go(clients[i].run)
	}
	sum := func() (n int64) {
		for _, c := range clients {
			n += c.done.Load()
		}
		return n
	}
	rng := rand.New(rand.NewPCG(numberOf(t, "RAFTD_PIPELINES_SEED", 1), 78))
	for range numberOf(t, "RAFTD_PIPELINES_STEPS", 6) {
		from := sum()
		await(t, "commands", func() bool { return sum() >= from+2000 })
		id := 1 + rng.IntN(3)
		if rng.IntN(3) > 0 {
			id = f.leader()
		}
		p := f.all[id]
		switch rng.IntN(4) {
		case 0:
			p.kill()
			p.start(t)
		case 1:
			_ = p.cmd.Process.Signal(syscall.SIGSTOP) // it lives
			time.Sleep(time.Duration(rng.IntN(2500)) * time.Millisecond)
			_ = p.cmd.Process.Signal(syscall.SIGCONT) // it lives
		case 2:
			f.restart(id)
		case 3:
			cl := connect(p)
			_ = cl.Do(context.Background(), "RAFT.TRANSFER").Err() // or it was refused
			_ = cl.Close()                                         // one question
		}
	}
	stop.Store(true)
	wg.Wait()
	f.leader()
	cl := connect(f.all[1])
	defer cl.Close()
	counts := map[string]bool{}
	kinds := map[string]int{}
	for _, c := range clients {
		for _, x := range c.runs {
			final := ""
			await(t, "a read", func() bool {
				v, err := cl.Do(context.Background(), "GETRANGE", x.key, "0", "-1").Text()
				final = v
				return err == nil
			})
			if err := x.judge(final); err != nil {
				t.Errorf("%s: %v", x.key, err)
			}
			for _, cmd := range x.commands {
				if cmd.kind == 'i' && cmd.known && cmd.err == "" {
					if counts[cmd.reply] {
						t.Errorf("%s: counted %s twice", x.key, cmd.reply)
					}
					counts[cmd.reply] = true
				}
				word, _, _ := strings.Cut(cmd.err, " ")
				if !cmd.known {
					word = "no reply"
				}
				kinds[word]++
			}
		}
	}
	t.Logf("%d commands, by error %v", sum(), kinds)
}
