package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ringraft/ringraft/cmd/raftd/kv"
	"github.com/ringraft/ringraft/cmd/raftd/server"
	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/journal"
)

// logMemory bounds the log entries that are kept in memory for members that are behind.
const logMemory = 64 << 20

// startLimit bounds how long a member without a journal waits for the others of its list. A server
// that looks for its cluster waits without a limit: it may be the first, and the others come when
// they come.
var startLimit = 10 * time.Minute

// run is a member's life, from options to the last signal.
func run(o *options, out io.Writer) error {
	p, err := o.resolve()
	if err != nil {
		return err
	}
	setProcessors(p)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	defer signal.Stop(signals)

	reread := hangups(p)

	d, err := startUnlessTold(p)
	if errors.Is(err, errToldToStop) {
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Info(
			"stopping before this member has started", "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	if reread != nil {
		go d.reread(reread)
	}
	d.announce(out)
	d.notifyStarted()
	go d.keepMemoryLimit()
	select {
	case s := <-signals:
		d.log.Info("stopping", "signal", s.String())
		d.stopping.Store(true)
		d.notify("STOPPING=1")
		go func() {
			<-signals
			fmt.Fprintln(os.Stderr, "raftd: second signal: exiting at once")
			os.Exit(1)
		}()
		return d.stop()
	case <-d.engine.Done():
		d.closeHTTP()
		if err := d.engine.Err(); err != nil {
			return err
		}
		return errors.New("the engine closed itself without saying why")
	}
}

// setProcessors gives each goroutine that blocks in the kernel (network loops in epoll, the
// journal's writer) a processor to lose, and two to work with. The runtime takes a blocked
// processor back only after some time.
func setProcessors(p *plan) {
	if os.Getenv("GOMAXPROCS") != "" {
		return
	}
	blocking := 2
	if p.threads == engine.Threaded {
		blocking = 3
	}
	if n := blocking + 2; n > runtime.GOMAXPROCS(0) {
		runtime.GOMAXPROCS(n)
	}
}

// daemon is a running member.
type daemon struct {
	plan    *plan
	log     *slog.Logger
	level   slog.LevelVar // of log
	live    live
	machine *kv.Machine
	server  *server.Server
	engine  *engine.Engine
	http    *httpServer
	began   time.Time
	places  int // for clients

	notifier *notifier
	stopping atomic.Bool
}

// errToldToStop: a signal came before the member had started, which ends as one that has.
var errToldToStop = errors.New("a signal came")

// startUnlessTold starts a member. A signal ends the start where it waits for others.
func startUnlessTold(p *plan) (*daemon, error) {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	d, err := start(ctx, p)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = fmt.Errorf("%w: %w", errToldToStop, err)
	}
	return d, err
}

func start(ctx context.Context, p *plan) (*daemon, error) {
	d, err := prepare(p)
	if err != nil {
		return nil, err
	}
	if d.places < p.clients {
		d.log.Warn("the limit of open files leaves fewer places for clients than --maxclients",
			"places", d.places)
	}
	web, err := listenHTTP(p.http)
	if err != nil {
		return nil, fmt.Errorf("--http %s: %w", p.http, err)
	}
	d.http = web
	web.serve(d) // whoever looks sees what it waits for
	_, known, err := journal.ReadIdentity(p.data)
	if (err != nil || !known) && !p.searches() {
		limited, cancel := context.WithTimeout(ctx, startLimit)
		defer cancel()
		ctx = limited
	} // else what is there is read for as long as that takes
	if d.engine, err = d.builder().Start(ctx); err != nil {
		web.close()
		return nil, err
	}
	d.live.engine.Store(d.engine)
	return d, nil
}

// prepare makes a member that takes no socket, lock or file yet.
func prepare(p *plan) (*daemon, error) {
	d := &daemon{plan: p, began: time.Now(), machine: kv.New()}
	d.level.Set(p.level)
	d.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: &d.level}))
	limit, err := descriptorLimit()
	if err != nil {
		return nil, err
	}
	if d.places, err = clientPlaces(p.clients, limit); err != nil {
		return nil, err
	}
	d.server = server.New(server.Config{Follower: p.follower, MaxValue: p.maxValue,
		MaxClients: d.places, Client: p.client, Machine: d.machine, Warnings: p.warnings(),
		Logger: d.log, Hold: server.HoldTime(p.election), Settings: d.settings(),
		File: p.file(), Users: p.users, Forward: p.forward, ForwardTLS: p.tlsDialer})
	return d, nil
}

// builder is what the engine is started with.
func (d *daemon) builder() *engine.Builder {
	p := d.plan
	b := engine.New().Dir(p.data).Listen(p.peer).Members(p.members...).
		Join(p.join...).Journal(p.journal).
		Pipeline(p.pipeline).Threads(p.threads).StateMachine(d.machine).Advertise(p.advertise).
		Serve(p.client, d.server.Serve).
		MaxConnections(d.places, server.MemberPlaces, server.MaxClientsReached).
		Heartbeat(p.heartbeat).ElectionTimeout(p.election).
		StallLimit(p.stall).GiveUp(p.giveUp).KeepAlive(p.keepAlive).
		MaxCommand(p.maxValue + server.CommandRoom).Memory(logMemory).
		SnapshotAfter(p.snapshot).SecretFile(p.secretFile).Logger(d.log)
	p.find(b)
	if p.witness {
		b.Witness().WitnessLog(p.keepLog)
	}
	if p.tlsServer != nil {
		b.Secure(p.tlsClient, p.tlsServer)
	}
	return b
}

// warnings are printed at each start and in INFO.
func (p *plan) warnings() (list []string) {
	if !p.journal.Durable() {
		list = append(list, fmt.Sprintf("journal %s is NOT durable: acknowledged writes can be "+
			"lost when this machine stops; for measurements and tests only", p.journal))
	}
	if p.insecure && !p.locked() {
		list = append(list, "--insecure: there is no authentication; everybody who reaches "+
			"these addresses can read and write")
	} else if p.insecure {
		list = append(list, "--insecure: the ports for members and for HTTP have no authentication")
	}
	if p.inClear() {
		list = append(list, fmt.Sprintf("--client %s: passwords and keys cross the network in "+
			"plain text; give clients --tls-client", p.client))
	}
	if p.exposed() {
		list = append(list, fmt.Sprintf("--peer %s: members speak in plain text, and everybody "+
			"who reaches it can be one; --secret-file prevents that", p.peer))
	}
	return list
}

// announce prints what somebody who just started it wants to see.
func (d *daemon) announce(out io.Writer) {
	p, st := d.plan, d.engine.Status()
	durable := "every acknowledged write is on disk on a majority"
	if !st.JournalDurable {
		durable = "NOT durable"
	}
	nodes := 0
	for i := range st.Members {
		if st.Members[i].Kind != engine.Outside {
			nodes++
		}
	}
	if st.Joining {
		announceJoining(out, &st)
	} else {
		fmt.Fprintf(out, "raftd member %d of cluster %016x, %d member(s)\n", st.ID, st.Cluster,
			nodes)
	}
	if st.Witness {
		fmt.Fprintf(out, "  witness   it votes and keeps the log, and has no keys\n")
	}
	fmt.Fprintf(out, "  clients   %s      try: redis-cli -p %s\n", p.client, port(p.client))
	if p.tlsServer != nil {
		fmt.Fprintf(out, "  with TLS  %s      try: redis-cli -p %s --tls\n", p.tlsClient,
			port(p.tlsClient))
	}
	fmt.Fprintf(out, "  members   %s, %s\n", p.peer, secretLine(&st))
	if p.http != "" {
		fmt.Fprintf(out, "  http      http://%s/  /metrics  /readyz  /healthz%s\n", p.http,
			profiles(p.http))
	}
	fmt.Fprintf(out, "  data      %s, incarnation %d\n", p.data, st.Incarnation)
	fmt.Fprintf(out, "  journal   %s: %s\n", st.Journal, durable)
	fmt.Fprintf(out, "  pipeline  %s, threads %s, GOMAXPROCS %d, not the leader: %s\n",
		st.Pipeline, st.Threads, runtime.GOMAXPROCS(0), p.follower)
	fmt.Fprintf(out, "  memory    %s\n", d.memoryLine())
	fmt.Fprintf(out, "  disk      %s\n", d.diskLine())
	for _, w := range p.warnings() {
		fmt.Fprintf(out, "  WARNING   %s\n", w)
	}
}

// announceJoining says what a member waits for that has joined.
func announceJoining(out io.Writer, st *engine.Status) {
	fmt.Fprintf(out, "raftd member %d joins cluster %016x\n", st.ID, st.Cluster)
	what, verb := "added", "add"
	switch {
	case st.Admitted:
		fmt.Fprintf(out, "  admitted  as a learner: it is sent the keys\n")
		return
	case st.Refused:
		what, verb = "put in the place of its old data directory", "replace"
	}
	fmt.Fprintf(out, "  waits     to be %s: raftd member %s %d=%s --addr HOST:PORT of a "+
		"member, for clients\n", what, verb, st.ID, st.Members[0].Address)
}

func size(n int64) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%.4g MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d bytes", n)
}

// Times of a clean stop.
const (
	transferLimit = 3 * time.Second
	drainLimit    = 2 * time.Second
)

// stop hands leadership over, lets commands under way finish, and closes.
func (d *daemon) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), transferLimit)
	defer cancel()
	if st := d.engine.Status(); st.Role == engine.Leader && !st.Witness &&
		othersVote(&st) {
		if err := d.engine.Transfer(ctx, 0); err != nil {
			d.log.Warn("leadership was not handed over; the others will elect", "err", err)
		}
	}
	d.drain()
	d.closeHTTP()
	if err := d.engine.Close(); err != nil {
		return fmt.Errorf("closing: %w", err)
	}
	return d.engine.Err()
}

// othersVote reports that there is somebody to hand leadership to.
func othersVote(st *engine.Status) bool {
	return slices.ContainsFunc(st.Members, func(m engine.MemberStatus) bool {
		return m.ID != st.ID && m.Kind == engine.Voter && !m.Witness
	})
}

// drain sends clients elsewhere: nobody new comes in, what was asked is answered, and then they are
// disconnected. A member that led waits until the others have heard what became of the commands
// that they forwarded. What is cut off instead may have been carried out.
func (d *daemon) drain() {
	if err := d.engine.StopServing(); err != nil {
		d.log.Warn("closing the port for clients", "err", err)
	}
	d.server.Finish()
	deadline := time.NewTimer(drainLimit)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if st := d.engine.Status(); st.Applied >= st.Commit && d.server.Idle() && d.ended() {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			clients, members := d.server.Left()
			d.log.Warn("not all that was asked is answered: the rest is cut off",
				"clients", clients, "members", members)
			return
		case <-d.engine.Done():
			return
		}
	}
}

// ended reports whether nobody is connected whom a gentle end has to wait for: no client, and of a
// member that does not lead no other member either.
func (d *daemon) ended() bool {
	leading, _, _ := d.engine.Leadership()
	clients, members := d.server.Left()
	return clients == 0 && (leading || members == 0)
}

func (d *daemon) closeHTTP() { d.http.close() }

// explain turns an error into one line that says what to do, where the error itself does not.
func explain(err error) string {
	var config *engine.ConfigError
	var hang *engine.HangError
	var listen *engine.ListenError
	var placed *placedError
	switch {
	case errors.As(err, &placed):
		return placed.settings.Explain(explain(placed.err))
	case errors.As(err, &hang):
		return fmt.Sprintf("%v; look after the device, then start raftd again (--give-up says "+
			"how long to wait)", err)
	case errors.As(err, &listen):
		_, why, _ := strings.Cut(err.Error(), listen.Option)
		text := flagOf(listen.Option) + why + "; choose another address"
		if errors.Is(err, syscall.EADDRINUSE) {
			text += ", or stop that process"
		}
		return text
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Sprintf("%v; choose another with --client, --peer or --http, or stop that "+
			"process", err)
	case errors.Is(err, journal.ErrLocked):
		return fmt.Sprintf("%v; stop that raftd, or choose another --data", err)
	case errors.Is(err, journal.ErrNoDirect):
		return fmt.Sprintf("%v (--journal), or choose another file system for --data", err)
	case errors.As(err, &config):
		return fmt.Sprintf("%s: %s; see raftd --help", flagOf(config.Option), config.Problem)
	case errors.Is(err, os.ErrPermission):
		return fmt.Sprintf("%v; check who owns the --data directory, and that ports are above 1023",
			err)
	}
	return err.Error()
}

// flagOf is the flag that gives an option of the engine, or the option itself where
// none does.
func flagOf(option string) string {
	flag, ok := map[string]string{"ID": "id", "Dir": "data", "Serve": "client",
		"Advertise": "advertise", "Listen": "peer", "Members": "members", "Join": "join",
		"Journal": "journal", "Secure": "tls-client",
		"Discover": "discover", "Expect": "bootstrap-expect", "AdmitLearners": "voters",
		"Name":     "cluster",
		"Pipeline": "pipeline", "Threads": "threads", "MaxCommand": "max-value",
		"Heartbeat": "heartbeat", "ElectionTimeout": "election-timeout",
		"StallLimit": "stall-limit", "GiveUp": "give-up", "KeepAlive": "tcp-keepalive",
		"SnapshotAfter": "snapshot-after", "SecretFile": "secret-file",
		"Witness": "witness", "WitnessLog": "witness-log"}[option]
	if !ok {
		return option
	}
	return "--" + flag
}
