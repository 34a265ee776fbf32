package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.yaml.in/yaml/v2"
	"golang.org/x/sys/unix"
)

// Three raftd as pods of docs/deploy/kubernetes.yaml: the program that the Dockerfile builds, alone
// in a root that cannot be written, without root's rights, with the environment, volumes, probes
// and preStop of the manifest, in network namespaces of their own. They start at once, find each
// other by names of a headless service, and are then replaced one after the other under load, each
// by a pod with another address. It needs root and iproute2, and leaves no namespace.
func TestPodsAreReplacedUnderLoad(t *testing.T) {
	if os.Getenv("RINGRAFT_NETNS") == "" {
		t.Skip("RINGRAFT_NETNS is not set: it makes network namespaces")
	}
	p := newPods(t)
	for id := 1; id <= 3; id++ {
		p.create(id)
	}
	for id := 1; id <= 3; id++ {
		p.becomesReady(id)
	}
	c := redis.NewClient(&redis.Options{MaxRetries: 1, PoolSize: 8, ReadTimeout: 3 * time.Second,
		Password: p.password, Dialer: p.dialService})
	s := &steady{t: t, client: c}
	defer c.Close()
	s.begin(8)
	defer s.end()
	more := func() {
		from := s.count.Load()
		await(t, "commands", func() bool { return s.count.Load() >= from+500 })
	}
	more()
	for id := 3; id >= 1; id-- { // as the controller of a StatefulSet does it
		p.remove(id)
		p.create(id)
		p.becomesReady(id)
		more()
	}
	s.end()
	waited, stood := s.waited()
	t.Logf("%d commands of 8 clients while three pods were replaced; %d errors that a retry did "+
		"not cure; 99 %% of them took at most %v, the longest %v; this process itself stood "+
		"still for %v at most", s.count.Load(), len(s.failed), s.quantile(0.99), waited, stood)
	for _, err := range s.failed[:min(5, len(s.failed))] {
		t.Error(err)
	}
	if waited > time.Second {
		t.Errorf("a command took %v", waited)
	}
}

// pods are those of a StatefulSet, what makes them, and who asks for their names.
type pods struct {
	*network
	dir, program, password string
	container              container
	grace                  time.Duration

	mu    sync.Mutex
	names map[string]net.IP // in the headless service
	ready map[int]bool      // in the service for clients
	count int               // of pods so far
	all   map[int]*process
}

func newPods(t *testing.T) *pods {
	var set *manifest
	for _, text := range regexp.MustCompile(`(?m)^---$`).Split(deployed(t, "kubernetes.yaml"), -1) {
		m := &manifest{}
		if err := yaml.Unmarshal([]byte(text), m); err != nil {
			t.Fatal(err)
		}
		if m.Kind == "StatefulSet" {
			set = m
		}
	}
	p := &pods{network: newNetwork(t, 3), dir: t.TempDir(), names: map[string]net.IP{},
		ready: map[int]bool{}, all: map[int]*process{}, password: "a-password"}
	p.container = set.Spec.Template.Spec.Containers[0]
	p.grace = time.Duration(set.Spec.Template.Spec.Grace) * time.Second
	p.build()
	t.Cleanup(func() {
		for id, pod := range p.all {
			pod.kill()
			if t.Failed() {
				b, _ := os.ReadFile(pod.log.Name()) // only to explain a failure
				t.Logf("pod %d:\n%s", id, b[max(0, len(b)-3000):])
			}
		}
	})
	// The volume of a Secret: root's, readable by the fsGroup.
	made := secret(t)
	b, err := os.ReadFile(made)
	p.must(err)
	p.must(os.MkdirAll(filepath.Join(p.dir, "secret"), 0o755))
	for name, text := range map[string]string{"cluster.secret": string(b), "password": p.password} {
		file := filepath.Join(p.dir, "secret", name)
		p.must(os.WriteFile(file, []byte(text), 0o440))
		p.must(os.Chmod(file, 0o440))
		p.must(os.Chown(file, 0, podUser))
	}
	p.must(os.WriteFile(filepath.Join(p.dir, "resolv.conf"), []byte("nameserver 10.77.0.100\n"+
		"search default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"),
		0o644))
	p.inside(func() error {
		conn, err := net.ListenPacket("udp", "10.77.0.100:53")
		if err == nil {
			t.Cleanup(func() { conn.Close() })
			go p.answer(conn)
		}
		return err
	})
	return p
}

// podUser is the user, the group and the fsGroup of the manifest.
const podUser = 65532

func (p *pods) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// build makes the program with the line of the Dockerfile that does.
func (p *pods) build() {
	m := regexp.MustCompile(`RUN CGO_ENABLED=0 go build (.*) -o /out/raftd (\S+)`).
		FindStringSubmatch(deployed(p.t, "Dockerfile"))
	if m == nil {
		p.t.Fatal("the Dockerfile builds nothing")
	}
	p.program = filepath.Join(p.dir, "raftd")
	cmd := exec.Command("sh", "-c", "go build "+m[1]+" -o "+p.program+" "+m[2])
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("%v: %s", err, out)
	}
}

// inside does something in the namespace of the bridge: sockets stay where they were made.
func (p *pods) inside(do func() error) {
	p.t.Helper()
	p.must(p.tryInside(do))
}

func (p *pods) tryInside(do func() error) (err error) {
	runtime.LockOSThread() // and not unlocked when it cannot go back: the thread ends
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer own.Close()
	other, err := os.Open("/run/netns/" + p.space(-1))
	if err != nil {
		return err
	}
	defer other.Close()
	if err = unix.Setns(int(other.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	err = do()
	if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, back)
	}
	runtime.UnlockOSThread()
	return err
}

func (p *pods) dial(ctx context.Context, address string) (c net.Conn, err error) {
	err = p.tryInside(func() (err error) {
		c, err = (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp4", address)
		return err
	})
	return c, err
}

// dialService connects to any pod that is ready, as the service for clients does.
func (p *pods) dialService(ctx context.Context, _, _ string) (net.Conn, error) {
	p.mu.Lock()
	var list []string
	for id := range p.ready {
		list = append(list, p.at(id)+":7379")
	}
	p.mu.Unlock()
	if len(list) == 0 {
		return nil, errors.New("no pod is ready")
	}
	return p.dial(ctx, list[rand.IntN(len(list))])
}

// at is the address of a pod now; the caller holds mu.
func (p *pods) at(id int) string { return p.names[podName(id)+".raftd"].String() }

func podName(id int) string { return "raftd-" + strconv.Itoa(id) }

// create starts a pod, with an address that none had before, and its volume.
func (p *pods) create(id int) {
	p.t.Helper()
	p.mu.Lock()
	p.count++
	address := fmt.Sprintf("10.77.0.%d", 100+p.count)
	p.names[podName(id)+".raftd"] = net.ParseIP(address)
	p.mu.Unlock()
	p.ip("-n", p.space(id-1), "addr", "flush", "dev", "eth0")
	p.ip("-n", p.space(id-1), "addr", "add", address+"/24", "dev", "eth0")
	pod := p.all[id]
	if pod == nil {
		name := filepath.Join(p.dir, podName(id))
		for _, dir := range []string{"/image/data", "/image/secret", "/image/etc", "/image/proc",
			"/data"} {
			p.must(os.MkdirAll(name+dir, 0o755))
		}
		for _, file := range []string{"/image/raftd", "/image/etc/resolv.conf"} {
			p.must(os.WriteFile(name+file, nil, 0o755))
		}
		p.must(os.Chown(name+"/data", 0, podUser)) // as fsGroup has it
		p.must(os.Chmod(name+"/data", 0o775|os.ModeSetgid))
		log, err := os.Create(name + "/log")
		p.must(err)
		pod = &process{program: "ip", args: p.inPod(id), log: log}
		p.all[id] = pod
	}
	pod.start(p.t)
}

// inPod is what runs the image's program, with arguments, in a pod.
func (p *pods) inPod(id int, args ...string) []string {
	const script = `set -e; r=$1/image; d=$2; shift 2
mount --bind $r $r
mount --bind $r/../data $r/data; mount --bind $d/secret $r/secret
mount --bind $d/resolv.conf $r/etc/resolv.conf; mount --bind $d/raftd $r/raftd
mount -t proc proc $r/proc; mount -o remount,bind,ro $r
exec setpriv --no-new-privs chroot --userspec=65532:65532 --groups=65532 $r /raftd "$@"`
	list := []string{"netns", "exec", p.space(id - 1), "env", "-i", "PATH=" + os.Getenv("PATH")}
	for _, e := range p.container.Env {
		value := strings.ReplaceAll(e.Value, "$(POD_NAME)", podName(id))
		switch e.Name {
		case "POD_NAME":
			value = podName(id)
		case "RAFTD_ID":
			value = strconv.Itoa(id)
		}
		list = append(list, e.Name+"="+value)
	}
	list = append(list, "unshare", "--mount", "sh", "-c", script, "sh",
		filepath.Join(p.dir, podName(id)), p.dir)
	return append(list, args...)
}

// becomesReady waits until the readiness probe says so: then the pod gets clients.
func (p *pods) becomesReady(id int) {
	p.t.Helper()
	await(p.t, podName(id)+" ready", func() bool { return p.probes(id) == http.StatusOK })
	if out, err := exec.Command("ip", p.inPod(id, "probe")...).CombinedOutput(); err != nil {
		p.t.Errorf("raftd probe in pod %d: %v: %s", id, err, out)
	}
	p.mu.Lock()
	p.ready[id] = true
	p.mu.Unlock()
}

func (p *pods) probes(id int) (status int) {
	p.mu.Lock()
	address := p.at(id)
	p.mu.Unlock()
	transport := &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return p.dial(ctx, address)
		}}
	ask, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet,
		"http://"+address+":7381"+p.container.ReadinessProbe.HTTPGet.Path, nil)
	p.must(err)
	answer, err := transport.RoundTrip(ask)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, answer.Body) // the status says it
	answer.Body.Close()
	return answer.StatusCode
}

// remove ends a pod: it gets no new clients, preStop runs, then it is sent SIGTERM.
func (p *pods) remove(id int) {
	p.t.Helper()
	p.mu.Lock()
	delete(p.ready, id)
	p.mu.Unlock()
	began := time.Now()
	words := p.container.Lifecycle.PreStop.Exec.Command
	out, err := exec.Command("ip", p.inPod(id, words[1:]...)...).CombinedOutput()
	if err != nil {
		p.t.Errorf("preStop of pod %d: %v: %s", id, err, out)
	}
	pod := p.all[id]
	p.must(pod.cmd.Process.Signal(syscall.SIGTERM))
	if err := pod.cmd.Wait(); err != nil {
		p.t.Fatalf("pod %d: %v", id, err)
	}
	took := time.Since(began)
	p.t.Logf("pod %d ended after %v; preStop: %s", id, took, strings.TrimSpace(string(out)))
	if took > p.grace {
		p.t.Errorf("the grace period is %v", p.grace)
	}
}

// answer is the DNS: names of pods have an address of IPv4, and others are not there.
func (p *pods) answer(conn net.PacketConn) {
	b := make([]byte, 512)
	for {
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return // it is closed
		}
		if n < 17 {
			continue
		}
		var labels []string
		at := 12
		for at < n && b[at] != 0 && at+1+int(b[at]) < n {
			labels = append(labels, string(b[at+1:at+1+int(b[at])]))
			at += 1 + int(b[at])
		}
		if at+5 > n {
			continue
		}
		name, found := strings.CutSuffix(strings.Join(labels, "."), ".default.svc.cluster.local")
		p.mu.Lock()
		ip := p.names[name].To4()
		p.mu.Unlock()
		reply := append([]byte(nil), b[:at+5]...) // with the question, and nothing else
		reply[2], reply[3] = 0x84|b[2]&1, 0x80    // an answer, with authority
		clear(reply[6:12])
		switch {
		case !found || ip == nil:
			reply[3] |= 3 // no such name
		case binary.BigEndian.Uint16(b[at+1:]) == 1: // A; there is no AAAA
			reply[7] = 1
			reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4)
			reply = append(reply, ip...)
		}
		_, _ = conn.WriteTo(reply, from) // or it is asked again
	}
}
