package main

import (
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/ringraft/ringraft/engine"
)

// finding is the flags by which members find each other, and who joins by itself.
type finding struct {
	cluster   string
	discover  string
	network   string
	expect    int
	admit     bool
	voters    int
	discovery engine.Discovery // what they mean
}

func (o *finding) bind(f *pflag.FlagSet) {
	f.StringVar(&o.discover, "discover", "",
		"multicast GROUP:PORT in which members announce themselves and hear each other, as "+
			"239.255.42.42:7382; an empty directory finds its cluster so; needs --interface, "+
			"--cluster and --secret-file")
	f.StringVar(&o.network, "interface", "",
		"network interface of --discover; --peer is on its address by default")
	f.StringVar(&o.cluster, "cluster", "",
		"name of the cluster, the same for all members; others are not heard, and not joined")
	f.IntVar(&o.expect, "bootstrap-expect", 0,
		"found a cluster of so many members, 2 to 7, when as many servers with empty "+
			"directories have heard each other by --join or --discover; the ids are given")
	f.BoolVar(&o.admit, "admit", false,
		"as the leader, admit servers that ask, as learners: those with --join or --discover; "+
			"give it to every member")
	f.IntVar(&o.voters, "voters", 0,
		"as the leader, promote learners that joined by themselves while there are fewer voters; "+
			"implies --admit; 0: raftd member promote does it")
}

// searches reports that an empty directory looks for its cluster.
func (o *options) searches() bool {
	return o.members == "" && (o.join != "" || o.expect != 0 || o.discover != "")
}

// resolveFinding checks the flags, and has this member listen on the interface on which it
// is heard, unless it is told where.
func (o *options) resolveFinding() error {
	switch {
	case o.expect != 0 && o.members != "":
		return usagef("--bootstrap-expect and --members: the founding members are listed, or " +
			"they find each other; give one of the two")
	case o.expect != 0 && o.typed("id"):
		return usagef("--bootstrap-expect and --id: the founding gives the ids; leave --id out")
	case o.expect != 0 && o.join == "" && o.discover == "":
		return usagef("--bootstrap-expect needs --join, with the addresses of all, or --discover")
	case o.expect != 0 && (o.expect < 2 || o.expect > 7):
		return usagef("--bootstrap-expect: %d; must be 2 to 7", o.expect)
	case o.voters < 0 || o.voters > 7:
		return usagef("--voters: %d; must be 0 to 7", o.voters)
	case o.expect != 0 && o.discover == "" && !o.typed("peer"):
		return usagef("--bootstrap-expect needs --peer, which no other member may have")
	case o.discover == "" && o.network != "":
		return usagef("--interface is of --discover, which is not given")
	case o.discover == "":
		return nil
	}
	for _, x := range []struct{ flag, value string }{{"interface", o.network},
		{"cluster", o.cluster}, {"secret-file", o.secretFile}} {
		if x.value == "" {
			return usagef("--discover needs --%s", x.flag)
		}
	}
	o.discovery = engine.Discovery{Group: o.discover, Interface: o.network}
	if !o.typed("peer") {
		host, err := o.discovery.Host()
		if err != nil {
			return usagef("--interface: %s: %v; or say with --peer where this member listens",
				o.network, err)
		}
		_, port, _ := net.SplitHostPort(o.peer)
		o.peer = net.JoinHostPort(host, port)
	}
	return nil
}

// find has a member find the others as the flags say. Without --id, one that looks for its
// cluster is given an id there.
func (p *plan) find(b *engine.Builder) {
	if !p.searches() || p.typed("id") {
		b.ID(p.id)
	}
	b.Name(p.cluster).Expect(p.expect).Discover(p.discovery)
	if p.admit || p.voters > 0 {
		b.AdmitLearners(p.voters)
	}
}

var (
	descHeard = desc("discovery_servers", "Servers that --discover has heard of lately.")
	descSent  = desc("discovery_sent_total", "Datagrams sent by --discover.")

	descDatagrams = desc("discovery_datagrams_total",
		"Datagrams that arrived for --discover, by what became of them.", "outcome")

	descBeats = desc("heartbeats_multicast_total",
		"Heartbeats sent in a datagram, to all members that hear --discover.")
	descAlone   = desc("heartbeats_alone_total", "Heartbeats sent over a connection to one member.")
	descHearing = desc("heartbeats_hearing_members",
		"Members that a leader leaves to datagrams for now: they have answered the last one.")
	descBeatsHeard = desc("heartbeats_heard_total",
		"Datagrams that were taken for a sign of life of the leader.")
	descUnbacked = desc("heartbeats_unbacked_total",
		"Datagrams of a leader that said what its connection has not.")
	descBeatsIn = desc("heartbeats_datagrams_total",
		"Datagrams with heartbeats that arrived, by what became of them.", "outcome")
)

// discovery collects what was heard; without --discover there is nothing.
func (c *collector) discovery(beats *engine.HeartbeatStatus,
	gauge func(*prometheus.Desc, float64, ...string),
	count func(*prometheus.Desc, uint64, ...string)) {
	if c.d.plan.discover == "" {
		return
	}
	s := c.d.engine.Discovery()
	gauge(descHeard, float64(len(s.Servers)))
	count(descSent, s.Sent)
	for outcome, n := range s.Arrived {
		count(descDatagrams, n, outcome)
	}
	for outcome, n := range s.Heartbeats {
		count(descBeatsIn, n, outcome)
	}
	count(descBeats, beats.Multicast)
	count(descAlone, beats.Alone)
	gauge(descHearing, float64(beats.Hearing))
	count(descBeatsHeard, beats.Heard)
	count(descUnbacked, beats.Refused)
}
