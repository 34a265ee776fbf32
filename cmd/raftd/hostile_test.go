package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sys/unix"

	"github.com/ringraft/ringraft/internal/loopback"
)

// Attacks on a cluster from the network, by somebody who has not its secret.
//
//	RINGRAFT_HOSTILE=1 go test -run Hostile -timeout 60m -v ./cmd/raftd
//
// is the full size, and RINGRAFT_HOSTILE=10s the same for a shorter time. The ordinary run takes
// seconds, and judges what does not depend on the machine.
var hostileFull = os.Getenv("RINGRAFT_HOSTILE") != ""

// hostileTime is how long an attack goes on.
func hostileTime(full time.Duration) time.Duration {
	switch most, err := time.ParseDuration(os.Getenv("RINGRAFT_HOSTILE")); {
	case err == nil:
		return min(full, most)
	case hostileFull:
		return full
	}
	return 2 * time.Second
}

// flood is what a process of its own sends to a group.
type flood struct {
	Group string
	Rate  int // datagrams a second
	For   time.Duration
	From  int      // sources: addresses 127.9.x.y, which lo has all
	Heard [][]byte // datagrams of the cluster
	Kind  string   // "replayed": as they are; else some of everything
}

// flooded is what came of it.
type flooded struct {
	Sent int
	CPU  float64 // of a core, by the process that sends, and the system for it
}

// floods sends, and prints what came of it.
func floods(load string) error {
	var f flood
	if err := json.Unmarshal([]byte(load), &f); err != nil {
		return err
	}
	group, err := netip.ParseAddrPort(f.Group)
	if err != nil {
		return err
	}
	var all []*sending
	for i := range f.From {
		s, err := newSending(group, [4]byte{127, 9, byte(i >> 8), byte(i + 1)})
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	runtime.LockOSThread()
	rng := rand.New(rand.NewPCG(1, 2))
	began, sent := time.Now(), 0
	for time.Since(began) < f.For {
		for due := int(time.Since(began).Seconds() * float64(f.Rate)); sent < due; {
			s := all[rng.IntN(len(all))]
			for i := range s.data {
				s.fill(i, &f, rng)
			}
			n, err := s.send()
			if err != nil {
				return err
			}
			sent += n
		}
		time.Sleep(300 * time.Microsecond)
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return err
	}
	spent := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	return json.NewEncoder(os.Stdout).Encode(flooded{sent,
		spent.Seconds() / time.Since(began).Seconds()})
}

// sending is a socket, and a batch for one call of the system.
type sending struct {
	fd   int
	data [32][1500]byte
	iov  [32]unix.Iovec
	head [32]struct {
		unix.Msghdr
		sent uint32
		_    [4]byte
	}
}

func newSending(group netip.AddrPort, from [4]byte) (*sending, error) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return nil, err
	}
	s := &sending{}
	if s.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, err
	}
	to := &unix.SockaddrInet4{Port: int(group.Port()), Addr: group.Addr().As4()}
	at := unix.IPMreqn{Ifindex: int32(lo.Index)}
	for _, err := range []error{unix.Bind(s.fd, &unix.SockaddrInet4{Addr: from}),
		unix.SetsockoptIPMreqn(s.fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &at),
		unix.Connect(s.fd, to)} {
		if err != nil {
			return nil, err
		}
	}
	for i := range s.data {
		s.iov[i].Base = &s.data[i][0]
		s.head[i].Iov, s.head[i].Iovlen = &s.iov[i], 1
	}
	return s, nil
}

// fill makes one datagram.
func (s *sending) fill(i int, f *flood, rng *rand.Rand) {
	b := s.data[i][:]
	n := copy(b, f.Heard[rng.IntN(len(f.Heard))])
	kind := 0
	if f.Kind != "replayed" {
		kind = rng.IntN(6)
	}
	switch kind {
	case 0: // replayed
	case 1: // forged: another sequence
		b[40+rng.IntN(4)] = byte(rng.Uint32())
	case 2: // forged: another sender, of a later start
		for k := 16; k < 33; k++ {
			b[k] = byte(rng.Uint32())
		}
	case 3: // foreign
		b[8+rng.IntN(8)] ^= byte(1 + rng.IntN(255))
	case 4: // a bit is changed
		b[rng.IntN(n)] ^= 1 << rng.IntN(8)
	case 5: // no datagram of this protocol, or of another size
		n = 1 + rng.IntN(len(b)-100)
		b[rng.IntN(min(n, 8))] ^= byte(1 + rng.IntN(255))
	}
	s.iov[i].SetLen(n)
}

func (s *sending) send() (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd),
		uintptr(unsafe.Pointer(&s.head[0])), uintptr(len(s.head)), 0, 0, 0)
	if errno != 0 {
		return 0, os.NewSyscallError("sendmmsg", errno)
	}
	return int(n), nil
}

// floodsGroup runs a flood to its end; any goroutine.
func floodsGroup(t *testing.T, f flood) (r flooded) {
	t.Helper()
	load, err := json.Marshal(f)
	if err != nil {
		t.Error(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), runAsClients+"=flood")
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(load)), os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil {
		t.Error(err)
	}
	return r
}

// listener is a socket in a group on lo that takes whatever comes.
func listener(t *testing.T, group string) *net.UDPConn {
	t.Helper()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.ListenMulticastUDP("udp4", lo,
		net.UDPAddrFromAddrPort(netip.MustParseAddrPort(group)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // the test may have closed it
	return c
}

// hear takes datagrams off a group for a while, at most some.
func hear(t *testing.T, group string, d time.Duration, most int) (list [][]byte) {
	t.Helper()
	c := listener(t, group)
	defer c.Close()
	if err := c.SetReadDeadline(time.Now().Add(d)); err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, 2000); len(list) < most; {
		n, err := c.Read(b)
		if err != nil {
			break
		}
		list = append(list, append([]byte(nil), b[:n]...))
	}
	return list
}

// cpu is the processor time that a process has taken.
func (p *process) cpu(t *testing.T) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields, ticks := strings.Fields(rest), 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// heardCluster is three members that have found each other on lo, and serve.
func heardCluster(t *testing.T, args ...string) (*byThemselves, string) {
	t.Helper()
	group := "239.255.79.42:" + port(freeAddress(t))
	if err := loopback.Multicast(netip.MustParseAddrPort(group)); err != nil {
		t.Skipf("there is no multicast on lo here: %v", err)
	}
	f := newByThemselves(t, append([]string{"--discover", group, "--interface", "lo", "--cluster",
		"test", "--secret-file", secret(t), "--bootstrap-expect", "3", "--election-timeout",
		"2s"}, args...)...)
	for i := range 3 {
		f.run(i)
	}
	f.are("1 voter, 2 voter, 3 voter")
	return f, group
}

// standing is what an attack must not change: who leads whom, in which term.
func (f *byThemselves) standing() (s string) {
	f.t.Helper()
	await(f.t, "a standing", func() bool {
		table, final := f.table()
		s = fmt.Sprintf("leader %d of", table.Leader)
		for _, m := range table.Members {
			s += fmt.Sprintf(" %d=%s %s", m.ID, m.Address, m.Kind)
		}
		return final
	})
	terms := map[uint64]bool{}
	for _, p := range f.all {
		terms[p.term(f.t)] = true
	}
	return fmt.Sprintf("%s, terms %v", s, terms)
}

// closedLoop has clients that wait for each answer write for a while, and returns how many writes a
// second there were, and how many failed.
func closedLoop(t *testing.T, ps []*process, d time.Duration, while func()) (rate float64,
	failed int64) {
	t.Helper()
	var good, bad atomic.Int64
	var all sync.WaitGroup
	stop := make(chan struct{})
	for i := range 6 {
		all.Go(func() {
			cl := connect(ps[i%len(ps)])
			defer cl.Close()
			tick := time.NewTicker(5 * time.Millisecond) // bounded: the processors are not full
			defer tick.Stop()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				if cl.Set(t.Context(), fmt.Sprint("load", i, n%100), n, 0).Err() == nil {
					good.Add(1)
				} else {
					bad.Add(1)
				}
			}
		})
	}
	began := time.Now()
	if while(); time.Since(began) < d {
		time.Sleep(d - time.Since(began))
	}
	took := time.Since(began)
	close(stop)
	all.Wait()
	return float64(good.Load()) / took.Seconds(), bad.Load()
}

// cores is what three processes took of one core while something was done.
func cores(t *testing.T, ps []*process, while func()) (each []float64, sum float64) {
	t.Helper()
	var before []time.Duration
	for _, p := range ps {
		before = append(before, p.cpu(t))
	}
	began := time.Now()
	while()
	took := time.Since(began)
	for i, p := range ps {
		each = append(each, (p.cpu(t)-before[i]).Seconds()/took.Seconds())
		sum += each[i]
	}
	return each, sum
}

// A hundred thousand datagrams a second that are replayed, forged, foreign, changed, or none, from
// one source and from many, change nothing of a cluster: no term, no leader, no member. They cost
// each member little of a processor, and its clients hardly anything.
func TestHostileDatagrams(t *testing.T) {
	f, group := heardCluster(t)
	ps := []*process{f.all[0], f.all[1], f.all[2]}
	heard := hear(t, group, 6*time.Second, 8)
	if len(heard) == 0 {
		t.Fatal("nothing was heard")
	}
	dead := "239.255.79.43:" + port(freeAddress(t))
	for range 3 {
		_ = listener(t, dead) // nobody reads
	}
	before := f.standing()
	d, rate := hostileTime(time.Minute), 100_000
	if !hostileFull {
		rate = 20_000
	}
	quiet, quietSum := cores(t, ps, func() { time.Sleep(d) })
	normal, _ := closedLoop(t, ps, d, func() {})
	t.Logf("quiet: %.3f of a core each, %.3f in all; %.0f writes a second", quiet, quietSum, normal)
	for _, sources := range []int{1, 250} {
		fl := flood{Group: group, Rate: rate, For: d, From: sources, Heard: heard}
		var r flooded
		each, sum := cores(t, ps, func() { r = floodsGroup(t, fl) })
		t.Logf("flood of %.0f/s from %d sources, which took %.2f of a core: %.3f each, %.3f in all",
			float64(r.Sent)/d.Seconds(), sources, r.CPU, each, sum)
		for i := range each {
			if more := each[i] - quiet[i]; more > 0.15 && hostileFull {
				t.Errorf("member %d took %.3f of a core more than without", i+1, more)
			}
		}
		served, failed := closedLoop(t, ps, d, func() { r = floodsGroup(t, fl) })
		t.Logf("meanwhile %.0f writes a second, %.2f of normal; %d failed; %.0f/s sent, with %.2f "+
			"of a core", served, served/normal, failed, float64(r.Sent)/d.Seconds(), r.CPU)
		if reached := float64(r.Sent) / d.Seconds(); hostileFull && reached < 0.9*float64(rate) {
			t.Errorf("%.0f datagrams a second were sent, not %d: this shows less", reached, rate)
		}
		fl.Group = dead
		control, _ := closedLoop(t, ps, d, func() { r = floodsGroup(t, fl) })
		t.Logf("the same flood where nobody reads: %.0f writes a second, %.2f of normal; %.0f/s "+
			"sent, with %.2f of a core", control, control/normal,
			float64(r.Sent)/d.Seconds(), r.CPU)
		if hostileFull && served < 0.8*min(normal, control) || failed > 0 {
			t.Errorf("%.0f writes a second, %d failed", served, failed)
		}
	}
	if after := f.standing(); after != before {
		t.Errorf("\nbefore: %s\nafter:  %s", before, after)
	}
}

// What the members of a cluster have said, through several of their starts, is said again by
// somebody who has recorded it, in another order and many times over, while members go and come
// back: they find the same cluster, with the same addresses, and nothing changes.
func TestHostileReplay(t *testing.T) {
	f, group := heardCluster(t)
	ps := []*process{f.all[0], f.all[1], f.all[2]}
	lead := awaitLeader(t, ps)
	connected := func() (all bool) {
		table, final := f.table()
		for _, m := range table.Members {
			final = final && m.Connected
		}
		return final
	}
	restart := func(k int) {
		i := (lead + 1 + k%2) % 3
		f.leaves(i)
		f.begin(f.all[i])
		await(t, "all are connected", connected)
	}
	before := f.standing()
	var heard [][]byte
	c, done := listener(t, group), make(chan struct{})
	go func() {
		defer close(done)
		for b := make([]byte, 2000); len(heard) < 4000; {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			heard = append(heard, append([]byte(nil), b[:n]...))
		}
	}()
	for k, end := 0, time.Now().Add(hostileTime(2*time.Minute)); time.Now().Before(end); k++ {
		restart(k) // something new: announcements are as frequent as they get
	}
	_ = c.Close() // ends the recording
	<-done
	if len(heard) < 3 {
		t.Fatalf("%d datagrams were heard", len(heard))
	}
	fl := flood{Group: group, Rate: 50_000, For: hostileTime(time.Minute), From: 250, Heard: heard,
		Kind: "replayed"}
	over, starts := make(chan flooded, 1), 0
	go func() { over <- floodsGroup(t, fl) }()
	for r := (flooded{}); r.Sent == 0; starts++ {
		restart(starts)
		select {
		case r = <-over:
			t.Logf("%d datagrams, %.0f/s of them, through %d starts", len(heard),
				float64(r.Sent)/fl.For.Seconds(), starts+1)
		default:
		}
		if t.Failed() {
			return
		}
	}
	if after := f.standing(); after != before {
		t.Errorf("\nbefore: %s\nafter:  %s", before, after)
	}
	write(t, f.all[lead], "after", "replay")
}

// wiretap keeps what passes over lo to and from some ports, by connection and direction.
type wiretap struct {
	mu   sync.Mutex
	said map[[2]uint16][]byte
	fd   int
	done chan struct{}
}

func tap(t *testing.T, ports ...string) *wiretap {
	t.Helper()
	const every = unix.ETH_P_IP>>8 | unix.ETH_P_IP&0xff<<8 // as the network has it
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, every)
	if errors.Is(err, unix.EPERM) {
		t.Skipf("what passes over lo cannot be read here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	second := unix.Timeval{Usec: 100_000}
	for _, err := range []error{
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: every, Ifindex: lo.Index}),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &second),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	w := &wiretap{said: map[[2]uint16][]byte{}, fd: fd, done: make(chan struct{})}
	wanted := map[uint16]bool{}
	for _, p := range ports {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			t.Fatal(err)
		}
		wanted[uint16(n)] = true
	}
	stop := make(chan struct{})
	go w.run(wanted, stop)
	t.Cleanup(func() {
		close(stop)
		<-w.done
		_ = unix.Close(fd)
	})
	return w
}

func (w *wiretap) run(wanted map[uint16]bool, stop chan struct{}) {
	defer close(w.done)
	for b := make([]byte, 1<<17); ; {
		select {
		case <-stop:
			return
		default:
		}
		n, _, err := unix.Recvfrom(w.fd, b, 0)
		if err != nil || n < 40 || b[0]>>4 != 4 || b[9] != unix.IPPROTO_TCP {
			continue
		}
		tcp := b[int(b[0]&15)*4 : n]
		from := uint16(tcp[0])<<8 | uint16(tcp[1])
		to := uint16(tcp[2])<<8 | uint16(tcp[3])
		if at := int(tcp[12]>>4) * 4; (wanted[from] || wanted[to]) && at < len(tcp) {
			w.mu.Lock()
			k := [2]uint16{from, to}
			w.said[k] = append(w.said[k], tcp[at:]...)
			w.mu.Unlock()
		}
	}
}

// has is whether a text was said, and how many bytes were in all.
func (w *wiretap) has(text string) (said bool, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.said {
		said = said || strings.Contains(string(b), text)
		bytes += len(b)
	}
	return said, bytes
}

// Two copies of a member's data directory are started elsewhere, with the secret, while the member
// itself runs: each says in words why it takes no part, serves nothing, and is told nothing of what
// was written since. Nothing that members say to each other is in the clear, on any port of theirs.
func TestHostileCopies(t *testing.T) {
	ps := prepareProcesses(t, "--election-timeout", "1s")
	files, _ := secretFiles(t, ps)
	var ports, clients []string
	for i, p := range ps {
		p.set("--secret-file", files[i])
		ports = append(ports, port(flagOfProcess(p, "--peer")))
		clients = append(clients, port(p.client))
	}
	members, asked := tap(t, ports...), tap(t, clients...)
	for _, p := range ps {
		p.start(t)
	}
	lead := awaitLeader(t, ps)
	const key, value = "key-on-the-wire", "value-on-the-wire"
	for _, p := range ps {
		write(t, p, key, value)
	}
	awaitValue(t, ps, key, value)
	awaitBound(t, ps)

	who := (lead + 1) % 3
	own := ps[who]
	own.terminate(t)
	var copies []*process
	for i := range 2 {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(flagOfProcess(own, "--data"))); err != nil {
			t.Fatal(err)
		}
		log, err := os.Create(fmt.Sprint(dir, ".log"))
		if err != nil {
			t.Fatal(err)
		}
		x := &process{args: slices.Clone(own.args), client: freeAddress(t), log: log}
		at := slices.Index(x.args, "--members") // they are known from the directory
		x.args = slices.Delete(x.args, at, at+2)
		x.set("--data", dir)
		x.set("--client", x.client)
		x.set("--peer", freeAddress(t))
		x.set("--http", freeAddress(t))
		copies = append(copies, x)
		t.Cleanup(func() {
			if x.kill(); t.Failed() {
				b, _ := os.ReadFile(log.Name()) // only to explain a failure
				t.Logf("copy %d:\n%s", i, b)
			}
		})
	}
	own.start(t)
	write(t, ps[lead], "since", "the-copy")
	awaitValue(t, ps, "since", "the-copy")
	for _, x := range copies {
		x.start(t)
	}
	for _, x := range copies {
		await(t, "words of a copy", func() bool {
			return x.says("older copy") || x.says("another data directory")
		})
		await(t, "/readyz of a copy", func() bool {
			status, says := x.ready()
			return status == 503 && says != ""
		})
		x.servesNothing(t, "since", key)
	}
	write(t, ps[lead], "after", "the-copies")
	awaitValue(t, ps, "after", "the-copies")
	for _, x := range copies {
		x.servesNothing(t, "after", "since")
	}
	if said, n := asked.has(value); !said {
		t.Errorf("the wiretap does not hear clients: %d bytes", n)
	}
	for _, text := range []string{key, value, "the-copy", "the-copies"} {
		if said, _ := members.has(text); said {
			t.Errorf("members say %q in the clear", text)
		}
	}
	_, n := members.has("")
	t.Logf("%d bytes between members, nothing in the clear", n)
	if n < 10_000 {
		t.Error("too few to mean anything")
	}
}

// servesNothing holds that a member answers no reads.
func (p *process) servesNothing(t *testing.T, keys ...string) {
	t.Helper()
	cl := connect(p)
	defer cl.Close()
	for _, k := range keys {
		if v, err := cl.Get(t.Context(), k).Result(); err == nil {
			t.Errorf("it serves %s: %q", k, v)
		}
	}
}

// garbage is what one connection of an attack does.
type garbage struct {
	port  string // a flag: of which port
	first string // said at once
	then  string // then, a byte of it a second, around and around; "": nothing
	limit time.Duration
}

// attacks are connections that say what nobody should, or as good as nothing. After limit, and what
// the sweep of connections and a busy machine take besides, each has been closed.
func attacks() []garbage {
	const hello = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
	return []garbage{
		{"--peer", "", "R", 5 * time.Second},
		{"--peer", "RRNOISE1" + strings.Repeat("x", 48), "", 5 * time.Second},
		{"--peer", "RRNOISE1", "zzzz", 5 * time.Second},
		{"--peer", "\xff\xff\xff\x7f\x00\x00\x00\x00" + strings.Repeat("q", 4096), "q",
			5 * time.Second},
		{"--client", "*1\r\n$4\r\n", "P", 10 * time.Second},
		{"--client", "*10\r\n$16384\r\n", "x", 10 * time.Second},
		{"--client", "*1048576\r\n", "$", 10 * time.Second},
		{"--client", "*2\r\n$3\r\nGET\r\n$536870912\r\n", "y", 10 * time.Second},
		{"--client", strings.Repeat("PING\r\n", 50), "", 10 * time.Second},
		{"--client", strings.Repeat("GET k\r\n", 100_000), "", 10 * time.Second},
		{"--tls-client", hello, "", 10 * time.Second},
		{"--tls-client", hello, "h", 10 * time.Second},
		{"--tls-client", "\x16\x03\x01\xff\xff" + strings.Repeat("a", 9000), "a", 10 * time.Second},
		{"--tls-client", "PING\r\n", "PING\r\n", 10 * time.Second},
		{"--http", "GET /metrics HTTP/1.1\r\nX: ", "x", 5 * time.Second},
		{"--http", "POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", "b",
			10 * time.Second},
	}
}

// Each port of a member is said garbage, by many connections at once, some of which take their time
// over it: memory does not grow by much, nobody is connected for longer than one may be who has
// not said who it is, and meanwhile members connect, clients are served, and the operator is
// answered.
func TestHostileBytes(t *testing.T) {
	s := newSite(t)
	ps := prepareProcesses(t, "--election-timeout", "2s", "--requirepass-file",
		secretFile(t, "password"))
	files, _ := secretFiles(t, ps)
	for i, p := range ps {
		tlsFlags := s.flags(freeAddress(t))
		for k := 0; k < len(tlsFlags); k += 2 {
			p.set(tlsFlags[k], tlsFlags[k+1])
		}
		p.set("--secret-file", files[i])
		p.set("--http", freeAddress(t))
		p.start(t)
	}
	logged := func(i int) *redis.Client {
		return redis.NewClient(&redis.Options{Addr: ps[i].client, Password: "password",
			MaxRetries: -1, PoolSize: 1})
	}
	serves := func(i int, key string) {
		t.Helper()
		cl := logged(i)
		defer cl.Close()
		await(t, "a write through member "+fmt.Sprint(i+1), func() bool {
			return cl.Set(t.Context(), key, "v", 0).Err() == nil
		})
	}
	for i := range ps {
		serves(i, "before")
	}
	victim := ps[0]
	before := victim.memory(t, "VmRSS")
	each, most, kinds := 4, 128<<10, attacks()
	if hostileFull {
		each, most = 300, 128<<10
	}
	began := time.Now()
	var all sync.WaitGroup
	var mu sync.Mutex
	open := map[string]int{} // by what they do: those that were closed too late
	places := make(chan struct{}, 2000)
	for k, g := range kinds {
		for range each {
			all.Go(func() {
				places <- struct{}{}
				defer func() { <-places }()
				took := g.play(flagOfProcess(victim, g.port))
				// Beyond the places for HTTP one waits before it is accepted.
				waits := g.port == "--http" && each*3 > httpMax
				if took > g.limit+10*time.Second && !waits {
					mu.Lock()
					open[fmt.Sprintf("%d %s %.20q: %v", k, g.port, g.first, took)]++
					mu.Unlock()
				}
			})
		}
	}
	half, halves := time.Duration(0), 0
	if hostileFull { // half handshakes in their thousands
		address := flagOfProcess(victim, "--peer")
		for at := time.Now(); halves < 5000; halves++ {
			if c, err := net.DialTimeout("tcp", address, time.Second); err == nil {
				_, _ = c.Write([]byte("RRNOISE1" + strings.Repeat("h", 48))) // it may be closed
				all.Go(func() {
					time.Sleep(5 * time.Second)
					_ = c.Close()
				})
			}
			half = time.Since(at)
		}
	}
	ps[1].kill() // it has to connect again, in the midst of that
	ps[1].start(t)
	serves(1, "during")
	serves(0, "during")
	await(t, "an answer to the operator", func() bool {
		status, _ := victim.ready()
		return status == 200
	})
	peak := victim.memory(t, "VmHWM")
	all.Wait()
	t.Logf("%d connections, and %d half handshakes in %v: %v; memory %d MiB before, %d MiB at most",
		each*len(kinds), halves, half.Round(time.Millisecond),
		time.Since(began).Round(time.Millisecond), before>>10, peak>>10)
	if peak-before > most {
		t.Errorf("memory has grown from %d to %d KiB", before, peak)
	}
	for what, n := range open {
		t.Errorf("%d were not closed in time: %s", n, what)
	}
	for i := range ps {
		serves(i, "after")
	}
	cl := logged(0)
	defer cl.Close()
	if n, err := cl.Exists(t.Context(), "smuggled").Result(); n != 0 || err != nil {
		t.Error(n, err)
	}
}

// play says it and returns how long it took until the other side closed the connection.
func (g *garbage) play(address string) time.Duration {
	began := time.Now()
	c, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return 0 // there is no place: that is no place taken
	}
	defer c.Close()
	end := began.Add(g.limit + 30*time.Second)
	closed := make(chan struct{})
	go func() {
		_ = c.SetWriteDeadline(end) // of a connection: it can be set
		_, err := c.Write([]byte(g.first))
		for i := 0; err == nil && g.then != ""; i++ {
			select {
			case <-closed:
				return
			case <-time.After(time.Second):
			}
			_, err = c.Write([]byte{g.then[i%len(g.then)]})
		}
	}()
	_ = c.SetReadDeadline(end)
	for b := make([]byte, 4096); err == nil; time.Sleep(time.Millisecond) { // it reads slowly, too
		_, err = c.Read(b)
	}
	close(closed)
	return time.Since(began)
}

// A web page makes a browser send commands to the port for clients, in the body of a request, by
// whatever way HTTP has to say where that ends: none is carried out.
func TestHostileWebPage(t *testing.T) {
	d := member(t, t.TempDir(), "--journal", "memory")
	const body = "*3\r\n$3\r\nSET\r\n$8\r\nsmuggled\r\n$1\r\nv\r\nSET smuggled v\r\n"
	for _, head := range []string{
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 54\r\n\r\n",
		"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n36\r\n",
		"GET / HTTP/1.1\r\nContent-Length: 54\r\nTransfer-Encoding: chunked\r\n\r\n",
		"GET /\r\nHost: a\r\n\r\n", "PUT /x HTTP/1.1\nHost: a\n\n", "HEAD /x HTTP/1.0\r\n",
		"OPTIONS * HTTP/1.1\r\n", "post / http/1.1\r\nhost: a\r\n\r\n",
		"CONNECT a:1 HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "DELETE / HTTP/1.1\r\nX: y\r\n\r\n"} {
		for _, step := range []int{len(head) + len(body), 7} {
			c, err := net.Dial("tcp", d.plan.client)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				for rest := head + body; rest != ""; {
					n := min(step, len(rest))
					if _, err := c.Write([]byte(rest[:n])); err != nil {
						return
					}
					rest = rest[n:]
				}
			}()
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Second)) // it can be set
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%q: the connection stays", head)
			}
			c.Close()
		}
	}
	if n, err := client(t, d, 2).Exists(t.Context(), "smuggled").Result(); n != 0 || err != nil {
		t.Errorf("a command was carried out: %d %v", n, err)
	}
}

// The port for operators has few places. They come back although requests have bodies that take
// their time, or answers that nobody takes.
func TestHostileOperators(t *testing.T) {
	d := member(t, t.TempDir(), "--journal", "memory")
	for i := range httpMax {
		c, err := net.Dial("tcp", d.plan.http)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		text := "POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\nbody"
		if i%2 == 0 {
			text = strings.Repeat("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 1000)
		}
		go func() { _, _ = c.Write([]byte(text)) }() // it is closed before its end
	}
	asks := &http.Client{Timeout: 40 * time.Second}
	began := time.Now()
	r, err := asks.Get("http://" + d.plan.http + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	t.Logf("answered after %v", time.Since(began).Round(time.Millisecond))
}
