package acks

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ringraft/ringraft/bench"
	"github.com/ringraft/ringraft/bench/resp"
	"github.com/ringraft/ringraft/internal/freeport"
)

// processes are members of a cluster that this process started, and only
// those: they are ended by the handle they were started with.
type processes struct {
	raftd   string
	journal string
	dir     string
	members []*member
}

// member is one raftd process and where it listens.
type member struct {
	id           int
	client, peer string
	cmd          *exec.Cmd
	done         chan struct{} // closed when the process has ended
}

const (
	memberCount  = 3
	logTailBytes = 2000
)

// newProcesses chooses ports and a directory, which close removes.
func newProcesses(raftd, journal, parent string) (*processes, error) {
	dir, err := os.MkdirTemp(parent, "raftbench-demo-")
	if err != nil {
		return nil, err
	}
	ports, err := freeport.Addresses(2 * memberCount)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	p := &processes{raftd: raftd, journal: journal, dir: dir}
	for i := range memberCount {
		p.members = append(p.members, &member{id: i + 1, client: ports[2*i], peer: ports[2*i+1]})
	}
	return p, nil
}

func (p *processes) addresses() (list []string) {
	for _, m := range p.members {
		list = append(list, m.client)
	}
	return list
}

// start starts a member; the kernel ends it should this process be killed.
func (p *processes) start(m *member) error {
	var members []string
	for _, o := range p.members {
		members = append(members, strconv.Itoa(o.id)+"="+o.peer)
	}
	log, err := os.OpenFile(p.logOf(m), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	id := strconv.Itoa(m.id)
	m.cmd = exec.Command(p.raftd, "--id", id, "--data", filepath.Join(p.dir, id),
		"--client", m.client, "--peer", m.peer, "--http", "",
		"--members", strings.Join(members, ","), "--journal", p.journal)
	m.cmd.Stdout, m.cmd.Stderr = log, log
	m.cmd.SysProcAttr = endWithParent()
	if err = m.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.raftd, err)
	}
	m.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(m.cmd, m.done)
	return nil
}

// kill ends a member at once and waits until it is gone.
func (m *member) kill() {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Kill()
	<-m.done
	m.cmd = nil
}

func (m *member) ended() bool {
	if m.cmd == nil {
		return true
	}
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

func (p *processes) logOf(m *member) string {
	return filepath.Join(p.dir, fmt.Sprintf("%d.log", m.id))
}

// logTails is the end of what each member printed.
func (p *processes) logTails() string {
	var b strings.Builder
	for _, m := range p.members {
		text, _ := os.ReadFile(p.logOf(m))
		text = text[max(0, len(text)-logTailBytes):]
		fmt.Fprintf(&b, "--- member %d\n%s\n", m.id, strings.TrimSpace(string(text)))
	}
	return b.String()
}

// close ends all members and removes their directory.
func (p *processes) close() {
	for _, m := range p.members {
		m.kill()
	}
	_ = os.RemoveAll(p.dir)
}

// leader waits until a member other than not says that it leads.
func (p *processes) leader(ctx context.Context, not *member) (*member, error) {
	for {
		for _, m := range p.members {
			if m == not {
				continue
			}
			if m.ended() {
				return nil, fmt.Errorf("member %d ended by itself", m.id)
			}
			if m.leads() {
				return m, nil
			}
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("no leader: %w", ctx.Err())
		}
		bench.Sleep(ctx, agreePoll)
	}
}

func (m *member) leads() bool {
	n, err := resp.Dial(m.client, time.Second)
	if err != nil {
		return false
	}
	defer n.Close()
	i, err := n.Info(time.Second, "raft")
	return err == nil && i["raft_role"] == "leader"
}
