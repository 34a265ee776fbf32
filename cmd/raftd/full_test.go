package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ringraft/ringraft/cmd/raftd/kv"
	"github.com/ringraft/ringraft/engine"
)

// small are three raftd processes, each on a file system of its own of 32 MiB.
type small struct {
	t     *testing.T
	ps    []*process
	disks []string
	acked []string // keys
	n     int
}

func newSmall(t *testing.T) *small {
	s := &small{t: t, ps: prepareProcesses(t, "--max-value", "65536")}
	var members []engine.Member
	for i, p := range s.ps {
		peer := flagOfProcess(p, "--peer")
		members = append(members, engine.Member{ID: uint64(i + 1), Address: peer})
	}
	images := t.TempDir()
	for i, p := range s.ps {
		disk := mounted(t, filepath.Join(images, fmt.Sprint(i)), 32<<20)
		t.Cleanup(p.kill) // before its disk goes
		data := filepath.Join(disk, "data")
		e, err := engine.New().ID(uint64(i + 1)).Dir(data).SegmentBytes(2 << 20).
			Members(members...).MaxCommand(64 << 10).StateMachine(kv.New()).
			Start(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		for k, arg := range p.args {
			if arg == "--data" {
				p.args[k+1] = data
			}
		}
		s.disks = append(s.disks, disk)
		p.start(t)
	}
	return s
}

func flagOfProcess(p *process, flag string) string {
	for k, arg := range p.args {
		if arg == flag {
			return p.args[k+1]
		}
	}
	return ""
}

var termLine = regexp.MustCompile(`raft_current_term:(\d+)`)

// leader is who leads in the newest term, -1 if nobody does, and that term.
func (s *small) leader() (leader int, term uint64) {
	leader = -1
	for i, p := range s.ps {
		cl := connect(p)
		info, err := cl.Info(context.Background(), "raft").Result()
		_ = cl.Close() // one question each
		m := termLine.FindStringSubmatch(info)
		if err != nil || m == nil {
			continue
		}
		t, err := strconv.ParseUint(m[1], 10, 64)
		if err != nil {
			s.t.Fatal(err)
		}
		if t > term || t == term && leader < 0 {
			term, leader = t, -1
			if strings.Contains(info, "raft_role:leader\r\n") {
				leader = i
			}
		}
	}
	return leader, term
}

// writes sets keys through one member until done says so, and returns what the errors
// were, in the order in which they were first seen, and how many.
func (s *small) writes(through int, done func(err error) bool) (errs []string, refused int) {
	s.t.Helper()
	cl := connect(s.ps[through])
	defer cl.Close()
	for start := time.Now(); ; s.n++ {
		key := fmt.Sprintf("k%d", s.n)
		err := cl.Set(context.Background(), key, strings.Repeat(key[:1], 4000), 0).Err()
		if err == nil {
			s.acked = append(s.acked, key)
		} else {
			refused++
			if len(errs) == 0 || errs[len(errs)-1] != err.Error() {
				errs = append(errs, err.Error())
			}
		}
		if done(err) {
			return errs, refused
		}
		if time.Since(start) > 30*time.Second {
			s.t.Fatalf("not within 30 s; errors %q", errs)
		}
	}
}

// TestJRN10FullDiskHandsOver: the leader's disk is full, and leadership moves to a member
// that has room, where writes go on. When the next one's is full too, no majority has
// room: writes are refused, reads go on. When all are full nobody takes over from
// anybody: terms stay as they are.
func TestJRN10FullDiskHandsOver(t *testing.T) {
	if testing.Short() {
		t.Skip("elections come before a member that is slowed down hands over")
	}
	s := newSmall(t)
	acknowledged := func(err error) bool { return err == nil }
	s.writes(0, acknowledged)
	first, _ := s.leader()
	ballast := func(i int) string { return filepath.Join(s.disks[i], "ballast") }
	full := map[int]bool{}
	noSpace := func(err error) bool {
		return err != nil && strings.HasPrefix(err.Error(), "MISCONF no space left")
	}
	for len(full) < 2 {
		old, term := s.leader()
		if full[old] || old < 0 {
			t.Fatalf("member %d leads", old+1)
		}
		fill(t, ballast(old))
		full[old] = true
		var moved time.Time
		began, now := time.Now(), old
		errs, refused := s.writes((old+1)%3, func(err error) bool {
			if s.n%16 == 0 || err != nil {
				if l, _ := s.leader(); l >= 0 && l != old && moved.IsZero() {
					moved, now = time.Now(), l
				}
			}
			return !moved.IsZero() && (len(full) == 1 && err == nil ||
				len(full) == 2 && noSpace(err))
		})
		_, after := s.leader()
		t.Logf("member %d, whose disk is full, led term %d; member %d leads term %d, %v after it "+
			"was filled; %d writes were refused: %q", old+1, term, now+1, after,
			moved.Sub(began).Round(time.Millisecond), refused, errs)
		if !strings.Contains(s.log(old), fmt.Sprintf(
			"the disk is full: handing leadership to member %d", now+1)) {
			t.Errorf("member %d does not say that it handed over", old+1)
		}
	}
	for i := range s.ps {
		if !full[i] {
			fill(t, ballast(i))
		}
	}
	s.writes(first, noSpace)
	old, term := s.leader()
	if old < 0 {
		t.Fatal("nobody leads")
	}
	reads := 0
	const long = 4 * time.Second // sixteen election timeouts
	for start := time.Now(); time.Since(start) < long; reads++ {
		cl := connect(s.ps[reads%3])
		v, err := cl.Get(context.Background(), s.acked[0]).Result()
		_ = cl.Close() // one question each
		if err != nil || len(v) != 4000 {
			t.Fatalf("on full disks a read is answered by %.20q %v", v, err)
		}
	}
	if l, now := s.leader(); l != old || now != term {
		t.Errorf("all disks are full: member %d led term %d, now member %d leads term %d", old+1,
			term, l+1, now)
	}
	for i := range s.ps {
		if err := os.Remove(ballast(i)); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	space := time.Now()
	s.writes(0, acknowledged)
	t.Logf("all full: %d reads, term %d throughout; a write is taken %v after there was room",
		reads, term, time.Since(space).Round(time.Millisecond))
	for i, p := range s.ps {
		if err := p.cmd.Process.Signal(syscall.Signal(0)); err != nil {
			t.Errorf("member %d ended: %v", i+1, err)
		}
	}
	cl := connect(s.ps[0])
	defer cl.Close()
	for _, key := range s.acked {
		if v, err := cl.Get(context.Background(), key).Result(); err != nil && err != redis.Nil ||
			len(v) != 4000 {
			t.Fatalf("acknowledged key %s is %.20q %v", key, v, err)
		}
	}
	t.Logf("%d acknowledged writes, each there", len(s.acked))
}

func (s *small) log(i int) string {
	b, err := os.ReadFile(s.ps[i].log.Name())
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}
