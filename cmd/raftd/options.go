package main

import (
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/ringraft/ringraft/cmd/raftd/server"
	"github.com/ringraft/ringraft/cmd/raftd/settings"
	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/journal"
)

// options are the flags as typed.
type options struct {
	id        uint64
	data      string
	client    string
	advertise string
	peer      string
	http      string
	members   string
	join      string
	journal   string
	pipeline  string
	threads   string
	follower  string
	logLevel  string
	maxValue  int
	heartbeat time.Duration
	election  time.Duration
	stall     time.Duration
	giveUp    time.Duration
	keepAlive time.Duration
	clients   int
	snapshot  int64
	witness   bool
	keepLog   int64
	httpOpen  bool
	insecure  bool
	userOptions
	tlsOptions
	finding

	secretFile string

	settings *settings.Set          // where the values come from; nil: all are flags
	typed    func(flag string) bool // it has a value from the command line or another source
}

// plan is what the options mean.
type plan struct {
	*options
	members  []engine.Member
	join     []string // addresses of members
	journal  journal.Mode
	pipeline engine.Pipeline
	threads  engine.Threads
	follower server.Follower
	level    slog.Level
}

// usageError is a mistake on the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

func defaults() *options {
	return &options{id: 1, data: "raftd-data", client: "127.0.0.1:7379", peer: "127.0.0.1:7380",
		http: "127.0.0.1:7381", journal: "direct", pipeline: "parallel", threads: "fused",
		follower: "proxy", logLevel: "info", maxValue: 16 << 20, heartbeat: 50 * time.Millisecond,
		election: 250 * time.Millisecond, giveUp: 20 * time.Second,
		keepAlive: time.Minute, clients: 16384, snapshot: 256 << 20, keepLog: 16 << 30}
}

func (o *options) bind(f *pflag.FlagSet) {
	f.SortFlags, o.typed = false, f.Changed
	f.Uint64Var(&o.id, "id", o.id, "this member's id; never changes for a data directory")
	f.StringVar(&o.data, "data", o.data, "data directory; created when missing")
	f.StringVar(&o.client, "client", o.client, "address for Redis clients")
	f.StringVar(&o.peer, "peer", o.peer, "address for the other members")
	f.StringVar(&o.http, "http", o.http,
		"address for the live page, /metrics, /healthz, /readyz and /debug/pprof; empty: none")
	f.BoolVar(&o.httpOpen, "http-open", o.httpOpen,
		"allow --http an address other than loopback: whoever reaches it sees the page, metrics "+
			"and health, in plain text, and no profiles")
	f.StringVar(&o.members, "members", o.members,
		"founding members as ID=HOST:PORT,…, the same list for each, a witness as "+
			"ID=HOST:PORT/witness; a directory that belongs to a cluster keeps its own")
	f.StringVar(&o.join, "join", o.join,
		"addresses for members, as HOST:PORT,…, of a cluster to join: this member then waits to "+
			"be added by raftd member add, or with --admit there is a member at once, also "+
			"without --id; a name may stand for several addresses; needs --peer, not --members")
	f.BoolVar(&o.witness, "witness", o.witness,
		"this member votes and keeps the log, and has no keys: with two others it survives the "+
			"loss of any one; --members or raftd member add say it too")
	f.Int64Var(&o.keepLog, "witness-log", o.keepLog,
		"bytes of log that a witness keeps for other members that are behind")
	o.finding.bind(f)
	f.StringVar(&o.advertise, "advertise", o.advertise,
		"address told to clients and members in place of --client, when that is not reachable "+
			"from elsewhere")
	f.StringVar(&o.journal, "journal", o.journal,
		"direct | direct-fdatasync | buffered-fdatasync | buffered-dsync, which are durable; "+
			"buffered-nosync | memory, which lose data")
	f.StringVar(&o.pipeline, "pipeline", o.pipeline,
		"parallel: replicate beside the own disk write | serial: after it")
	f.StringVar(&o.threads, "threads", o.threads,
		"fused: one loop does all, best on few cores | threaded")
	f.StringVar(&o.follower, "follower", o.follower,
		"what a member that does not lead does with data commands: proxy to the leader | "+
			"redirect with -MOVED")
	settings.BytesVar(f, &o.maxValue, "max-value",
		"longest value in bytes; the least of the members' counts for all")
	settings.BytesVar(f, &o.snapshot, "snapshot-after",
		"bytes of log after which the keys are written to a file and the log before that goes; "+
			"-1: only when asked for")
	f.DurationVar(&o.heartbeat, "heartbeat", o.heartbeat, "interval of the leader's heartbeats")
	f.DurationVar(&o.election, "election-timeout", o.election,
		"shortest time without a leader before a member campaigns; the real one is random up to "+
			"twice this")
	f.DurationVar(&o.stall, "stall-limit", o.stall,
		"age of a journal write after which a leader hands leadership over; "+
			"0: one election timeout")
	f.DurationVar(&o.giveUp, "give-up", o.giveUp,
		"age of a journal write after which the process gives up, with status 1; 0: never")
	f.DurationVar(&o.keepAlive, "tcp-keepalive", o.keepAlive,
		"a connection is closed when the other host answers no probe for so long; at least 3s")
	f.IntVar(&o.clients, "maxclients", o.clients,
		"clients connected at once; fewer if the limit of open files leaves no more")
	f.StringVar(&o.logLevel, "log-level", o.logLevel, "debug | info | warn | error")
	f.StringVar(&o.secretFile, "secret-file", o.secretFile,
		"file with the secret that the members share, which raftd secret new makes; read again at "+
			"SIGHUP; without it they speak in plain text")
	f.BoolVar(&o.insecure, "insecure", o.insecure,
		"allow addresses other than loopback where nobody has to say who he is")
	o.userOptions.bind(f)
	o.tlsOptions.bind(f)
	o.bindForms(f)
}

// bindForms says of some flags which values they take, and of which form.
func (o *options) bindForms(f *pflag.FlagSet) {
	settings.Directory(f, "data")
	settings.Table(f, "members")
	settings.List(f, "join")
	settings.Choices(f, "journal", journal.Modes()...)
	settings.Choices(f, "pipeline", "parallel", "serial")
	settings.Choices(f, "threads", "fused", "threaded")
	settings.Choices(f, "follower", "proxy", "redirect")
	settings.Choices(f, "log-level", "debug", "info", "warn", "error")
}

// maxCommandLimit is the largest command that the engine takes.
const maxCommandLimit = 32 << 20

// resolve checks the options and says what they mean.
func (o *options) resolve() (*plan, error) {
	p := &plan{options: o}
	var err error
	if p.journal, err = journal.ParseMode(o.journal); err != nil {
		return nil, usagef("--journal: %v", err)
	}
	if p.pipeline, err = engine.ParsePipeline(o.pipeline); err != nil {
		return nil, usagef("--pipeline: %q is neither parallel nor serial", o.pipeline)
	}
	if p.threads, err = engine.ParseThreads(o.threads); err != nil {
		return nil, usagef("--threads: %q is neither fused nor threaded", o.threads)
	}
	switch o.follower {
	case "proxy":
		p.follower = server.Proxy
	case "redirect":
		p.follower = server.Redirect
	default:
		return nil, usagef("--follower: %q is neither proxy nor redirect", o.follower)
	}
	if err = p.level.UnmarshalText([]byte(o.logLevel)); err != nil {
		return nil, usagef("--log-level: %q is none of debug, info, warn, error", o.logLevel)
	}
	if o.id == 0 {
		return nil, usagef("--id: must not be 0")
	}
	if o.maxValue < 1 || o.maxValue > maxCommandLimit-server.CommandRoom {
		return nil, usagef("--max-value: %d bytes; must be 1 to %d", o.maxValue,
			maxCommandLimit-server.CommandRoom)
	}
	if o.snapshot == 0 {
		return nil, usagef("--snapshot-after: 0; must be -1, or at least 65536 bytes")
	}
	if o.clients < 1 {
		return nil, usagef("--maxclients: %d; must be at least 1", o.clients)
	}
	if o.keepAlive < 3*time.Second {
		return nil, usagef("--tcp-keepalive: %v; must be at least 3s", o.keepAlive)
	}
	if p.members, err = parseMembers(o.members); err != nil {
		return nil, err
	}
	if p.join, err = o.parseJoin(); err != nil {
		return nil, err
	}
	if err = o.resolveFinding(); err != nil {
		return nil, err
	}
	if err = o.checkOwn(p.members); err != nil {
		return nil, err
	}
	if err = o.userOptions.read(); err != nil {
		return nil, err
	}
	if err = o.tlsOptions.read(); err != nil {
		return nil, err
	}
	if err = p.checkForward(); err != nil {
		return nil, err
	}
	if err = o.checkTLSAddress(); err != nil {
		return nil, err
	}
	return p, o.checkAddresses()
}

// checkOwn makes sure that this member is among the founders; without a list it is the only one,
// unless its directory knows others.
func (o *options) checkOwn(members []engine.Member) error {
	for _, m := range members {
		if m.ID == o.id {
			return nil
		}
	}
	if len(members) == 0 {
		return nil
	}
	return usagef("--members has no member %d; add %d=%s, or give another --id", o.id, o.id, o.peer)
}

func parseMembers(s string) ([]engine.Member, error) {
	if s == "" {
		return nil, nil
	}
	var members []engine.Member
	for part := range strings.SplitSeq(s, ",") {
		id, address, found := strings.Cut(strings.TrimSpace(part), "=")
		n, err := strconv.ParseUint(id, 10, 64)
		if !found || err != nil || n == 0 {
			return nil, usagef("--members: %q is not ID=HOST:PORT", part)
		}
		address, kind, special := strings.Cut(address, "/")
		if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
			return nil, usagef("--members: %q is not ID=HOST:PORT", part)
		}
		if special && kind != "witness" {
			return nil, usagef("--members: %q; what may follow an address is /witness", part)
		}
		members = append(members, engine.Member{ID: n, Address: address, Witness: special})
	}
	return members, nil
}

// parseJoin reads --join. What the members are to be told has to be typed: its default is
// that of another member.
func (o *options) parseJoin() (list []string, err error) {
	if o.join == "" {
		return nil, nil
	}
	if o.members != "" {
		return nil, usagef("--join and --members: a new member joins a cluster, founding members " +
			"begin one; give one of the two")
	}
	if !o.typed("peer") && o.discover == "" {
		return nil, usagef("--join needs --peer, which no other member may have")
	}
	for part := range strings.SplitSeq(o.join, ",") {
		address := strings.TrimSpace(part)
		if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
			return nil, usagef("--join: %q is not HOST:PORT", part)
		}
		list = append(list, address)
	}
	return list, nil
}

// checkAddresses refuses addresses that other machines can reach where nobody has to say who he is:
// clients by a password or a certificate, members by their secret.
func (o *options) checkAddresses() error {
	for _, a := range []struct{ flag, address string }{{"--client", o.client}, {"--peer", o.peer},
		{"--http", o.http}} {
		if a.address == "" && a.flag == "--http" {
			continue
		}
		tcp, err := net.ResolveTCPAddr("tcp", a.address)
		if err != nil {
			return usagef("%s: %q is not HOST:PORT: %v", a.flag, a.address, err)
		}
		switch {
		case o.insecure, tcp.IP.IsLoopback(), a.flag == "--client" && o.locked(),
			a.flag == "--peer" && o.secretFile != "", a.flag == "--http" && o.httpOpen:
			continue
		case a.flag == "--peer":
			return usagef("--peer %s can be reached from other machines, and the members have no "+
				"secret: make one with raftd secret new FILE and give it to all of them with "+
				"--secret-file, or type --insecure if the network is yours alone", a.address)
		}
		if a.flag == "--client" {
			return o.openToAll(a.flag, a.address)
		}
		return usagef("%s %s can be reached from other machines, and that port has no "+
			"authentication; use a loopback address, or type --http-open if everybody who "+
			"reaches it may see metrics and health", a.flag, a.address)
	}
	if o.advertise == "" {
		o.advertise = o.client
		if tcp, err := net.ResolveTCPAddr("tcp", o.client); err == nil && tcp.IP.IsUnspecified() ||
			strings.HasPrefix(o.client, ":") {
			return usagef("--client %s names no machine; say with --advertise HOST:PORT how "+
				"clients reach it", o.client)
		}
	}
	if _, port, err := net.SplitHostPort(o.advertise); err != nil || port == "" {
		return usagef("--advertise: %q is not HOST:PORT", o.advertise)
	}
	return nil
}
