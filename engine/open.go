package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/founding"
	"github.com/ringraft/ringraft/engine/internal/member"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/ziplist"
)

// runBytes is what a run of entries may have beside its longest command: a
// frame of an actor's, or a batch of a lane's.
const runBytes = 300 << 10

// open recovers the journal and decides who the members are: those that the
// directory records, or, in a fresh one, those that the builder was given. One that joins
// a cluster asks its members which that is.
func (e *Engine) open(ctx context.Context) error {
	known, ok, err := e.identity()
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	if err = e.begin(ctx, known, ok); err != nil {
		return err
	}
	own, _ := e.membership.Find(e.b.id) // it is in the list
	e.home = own.Address
	identity := journal.Identity{Cluster: e.membership.Cluster, Replica: e.b.id}
	switch {
	case ok && e.b.cluster != 0 && e.b.cluster != known.Cluster:
		return &ConfigError{"Cluster", fmt.Sprintf("%d; %s belongs to cluster %d: "+
			"give that, none, or another directory", e.b.cluster, e.b.dir, known.Cluster)}
	case ok:
		identity.Cluster = known.Cluster
	case e.b.witness && len(e.b.members) == 0 && !e.b.searches():
		return &ConfigError{"Witness", "no cluster has a witness alone: give Members or Join"}
	case e.found.cluster != 0:
		identity.Cluster = e.found.cluster
	}
	nobody := config.Config{Cluster: identity.Cluster} // before the cluster is founded
	if e.joins = e.found.cluster != 0; e.joins {
		nobody = e.waiting(identity.Cluster)
	}
	j, rec, err := journal.Open(journal.Config{Dir: e.b.dir, Mode: e.b.mode, Identity: identity,
		Directory: e.found.directory, SegmentBytes: e.b.segment, Metadata: nobody.Encode(),
		Damaged: true, HangMax: e.b.giveUp, FS: e.b.files})
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	e.journal, e.recovery = j, *rec
	if e.joins {
		e.recovery.Metadata = nobody.Encode()
	}
	if err = cmp.Or(e.forgetCandidate(), e.restore(identity.Cluster)); err == nil {
		err = e.adopt(identity.Cluster)
	}
	if err != nil {
		return errors.Join(err, j.Close())
	}
	return nil
}

// begin finds out which id this member has, and who founds its cluster, if that is not
// founded yet: those that the builder was given, or that it has found.
func (e *Engine) begin(ctx context.Context, known journal.Identity, ok bool) (err error) {
	switch {
	case !ok && e.b.searches():
		e.found, err = e.look(ctx)
	case ok && e.b.id == 0:
		e.b.id = known.Replica
	}
	if err != nil {
		return err
	}
	if e.found.directory == (raft.Directory{}) {
		e.found.directory = drawDirectory()
	}
	if e.found.pledged != nil {
		if e.membership, err = config.Decode(e.found.pledged); err != nil {
			return fmt.Errorf("engine: %s: %w", e.b.dir, err)
		}
		e.b.id = founding.Named(&e.membership, e.found.directory)
		return nil
	}
	if e.found.cluster != 0 {
		e.b.id = e.found.id
	}
	given := e.b.members
	if len(given) == 0 {
		given = []Member{{ID: e.b.id, Address: cmp.Or(e.b.listen, "127.0.0.1:0")}}
	}
	e.membership = configOf(e.b.cluster, given)
	return nil
}

// identity is that of the directory; false when there is none yet.
func (e *Engine) identity() (id journal.Identity, ok bool, err error) {
	if e.b.mode == journal.Memory {
		return id, false, nil
	}
	if err := unfinished(e.b.dir); err != nil {
		return id, false, fmt.Errorf("%s: %w", e.b.dir, err)
	}
	return journal.ReadIdentity(e.b.dir)
}

// adopt checks what was recovered against what the builder was given.
func (e *Engine) adopt(cluster uint64) error {
	if err := e.adoptSizes(); err != nil {
		return err
	}
	given := e.membership
	own, index, err := e.recorded()
	if err != nil {
		return fmt.Errorf("engine: %s: %w", e.b.dir, err)
	}
	if err := e.b.checkKind(&own); err != nil {
		return err
	}
	known := len(own.Voters) > 0
	promised, err := e.promised()
	if err != nil {
		return err
	}
	unmarked := e.b.searches() && promised == nil && e.recovery.Fresh &&
		len(e.recovery.Metadata) == 0
	if e.joins = e.joins || waits(&own) || unmarked; unmarked { // it ended in its first start
		own = e.waiting(cluster)
		e.recovery.Metadata = own.Encode()
	}
	if known || e.joins {
		e.membership = own
	}
	if e.joins && e.b.listen != "" {
		e.membership = e.waiting(cluster)
	}
	if known {
		e.compareMembers(&given, index)
	}
	if err := e.adoptFounding(&given, promised, cluster, known); err != nil {
		return err
	}
	if c := &e.membership; known && len(c.Voters) == 1 && c.Votes(e.b.id) && !c.Joint() {
		if err := refuseAlone(e.b.dir, &e.recovery); err != nil {
			return fmt.Errorf("engine: %w", err)
		}
	}
	if m, ok := e.membership.Find(e.b.id); ok {
		e.home = m.Address
	}
	e.reportDamage()
	return e.journal.SetMetadata(e.recovery.Metadata)
}

// adoptSizes holds the sizes given against those of the directory.
func (e *Engine) adoptSizes() error {
	rec := &e.recovery
	// What is in the log has to be sent on, whatever is proposed from now on.
	if e.longest = e.b.maxCommand; rec.Largest > runBytes {
		e.longest = max(e.longest, rec.Largest)
	}
	if most := e.b.maxCommand + runBytes; most > e.journal.Largest() {
		return &ConfigError{"MaxCommand", fmt.Sprintf(
			"%d bytes; with what is written beside it, it does not fit "+
				"a segment of the journal in %s, which takes %d",
			e.b.maxCommand, e.b.dir, e.journal.Largest())}
	}
	if own := e.journal.SegmentBytes(); e.b.segment != 0 && e.b.segment != own {
		return &ConfigError{"SegmentBytes", fmt.Sprintf(
			"%d; the segments of %s have %d bytes: give that, or none", e.b.segment, e.b.dir, own)}
	}
	return nil
}

// adoptFounding takes over how far the founding of the cluster has come, which a
// directory that joins has no part in.
func (e *Engine) adoptFounding(given *config.Config, promised []byte, cluster uint64,
	known bool) (err error) {
	if e.pledged = promised; known {
		e.pledged = nil
	}
	if !known && promised != nil { // it keeps to what it has promised
		if e.membership, err = config.Decode(promised); err != nil {
			return fmt.Errorf("engine: %s: %w", e.b.dir, err)
		}
		if err := e.b.checkKind(&e.membership); err != nil {
			return err
		}
		e.compareMembers(given, 0)
	}
	if e.joins {
		return nil
	}
	if err := e.checkUnfounded(cluster, known || promised != nil); err != nil {
		return err
	}
	if known && e.b.searches() {
		e.log.Info("the data directory belongs to a cluster already: nobody is asked for one",
			"dir", e.b.dir, "cluster", fmt.Sprintf("%016x", e.membership.Cluster))
	}
	e.founder = founding.New(e.b.id, e.recovery.Directory, e.membership, promised, known)
	return nil
}

// checkUnfounded refuses to go on with a directory that was made for another cluster than
// it would found now, unless it is given a list: it may have been made to join one.
func (e *Engine) checkUnfounded(cluster uint64, settled bool) error {
	const remove = "remove the directory, which holds nothing"
	switch {
	case settled:
	case e.b.searches():
		return &ConfigError{"Join", fmt.Sprintf("%s was made for a new cluster, which is not "+
			"founded yet: %s, or leave Join, Expect and Discover out", e.b.dir, remove)}
	case len(e.b.members) == 0 && e.membership.Cluster != cluster:
		return &ConfigError{"Members", fmt.Sprintf("none given, and %s was made for cluster "+
			"%016x, to found it or to join it: give Members or Join as then, or %s",
			e.b.dir, cluster, remove)}
	}
	return nil
}

// recorded is the configuration that a directory records, and the index of its entry: the
// newest of its log, or of its snapshot; if damage has left neither, what its metadata
// say. One without voters: its cluster is not founded yet, or it has heard of none.
func (e *Engine) recorded() (c config.Config, index uint64, err error) {
	rec, data := &e.recovery, e.recovery.Metadata
	switch n := len(rec.Configs); {
	case n > 0:
		index, data = rec.Configs[n-1].Index, rec.Configs[n-1].Data
	case e.from.Info.Index > 0:
		index, data = e.from.Configuration.Index, e.from.Configuration.Data
	}
	c, err = config.Decode(data)
	if rec.Fresh && !waits(&c) {
		c = config.Config{}
	}
	return c, index, err
}

// compareMembers says that a list of members is not what the directory says, which is as
// it should be when the members have changed since the cluster was founded, and warns of
// an address to listen on that is not what the other members dial.
func (e *Engine) compareMembers(given *config.Config, index uint64) {
	own := &e.membership
	want, have := membersOf(given), membersOf(own)
	if len(e.b.members) > 0 && !slices.Equal(want, have) {
		level, why := slog.LevelWarn, "the data directory's own members are used; "+
			"the members given are ignored"
		if index > 1 {
			level, why = slog.LevelInfo, "the members have changed since the cluster was founded"
		}
		e.log.Log(context.Background(), level, why, "dir", e.b.dir, "members", have,
			"given", want)
	}
	m, ok := own.Find(e.b.id)
	if ok && len(have) > 1 && e.b.listen != "" && elsewhere(e.b.listen, m.Address) {
		e.log.Warn("the other members dial this one where it does not listen",
			"dir", e.b.dir, "dialed", m.Address, "listens", e.b.listen)
	}
}

// refuseAlone returns why a member without others does not start: there is no
// copy of what its journal has lost.
func refuseAlone(dir string, rec *journal.Recovery) error {
	switch {
	case len(rec.Lost) > 0:
		return &journal.DamageError{Dir: dir, Ranges: rec.Lost}
	case rec.Damaged:
		return fmt.Errorf("%s: the journal lacks entries that were committed, and there is "+
			"no other member to say what they were; restore the directory from a copy", dir)
	case rec.Probation:
		return fmt.Errorf("%s: the last batch of the journal has rotted, and there is no other "+
			"member to say what stood in it; restore the directory from a copy", dir)
	}
	return nil
}

// reportDamage logs what the journal has lost.
func (e *Engine) reportDamage() {
	rec, dir := &e.recovery, e.b.dir
	for _, lost := range rec.Lost {
		e.log.Error("the journal is damaged: "+
			"the vote decides no election until a leader has filled it in",
			"dir", dir, "entries", lost.Entries(),
			"file", lost.File, "offset", lost.Offset, "cause", lost.Cause)
	}
	if len(rec.Aside) > 0 {
		e.log.Warn("segment files are kept aside, since they hold batches that the log lacks: "+
			"raftd journal verify says which; leave them until this member is whole again, "+
			"then move them away", "dir", dir, "files", rec.Aside)
	}
	switch {
	case rec.Probation:
		e.log.Warn("the last batch of the journal had rotted: "+
			"the vote decides no election until a leader has filled it in", "dir", dir)
	case rec.Damaged && len(rec.Lost) == 0:
		e.log.Warn("the journal lacks entries that were there: "+
			"the vote decides no election until a leader has filled it in", "dir", dir)
	}
}

// assemble builds the member over the recovered state.
func (e *Engine) assemble() error {
	e.run.init(e)
	e.openNotes()
	e.peers = e.newPeers()
	first, err := e.firstConfiguration()
	if err != nil {
		return fmt.Errorf("engine: %s: %w", e.b.dir, err)
	}
	m, err := member.Build(member.Config{
		ID: e.b.id, Members: first, Founding: member.Founding{Founder: e.founder,
			Founders: e.founders(), Promise: e.promise, OnFounded: e.founded,
			Bind: true},
		Seed:  uint64(time.Now().UnixNano()) ^ e.b.id<<48,
		Times: e.b.times(), Sizes: member.Sizes{Slots: e.b.slots, CommandMax: e.b.maxCommand},
		Journal: e.journal, Machine: e.stateMachine(), Lanes: e.lanes.all,
		Link: e.newLink, Unlink: e.peers.Remove,
		Snapshots: e.snapshots(), WitnessLog: e.witnessLog(), From: e.from,
		Admission: member.Admission{Open: e.b.admitting.open, Voters: e.b.admitting.voters},
		Group:     e.announcer.group(e.membership.Cluster),
		Start:     e.startJob, Fused: e.b.threads == Fused, Serial: e.b.pipeline == Serial,
		Store: ziplist.Config{BudgetBytes: e.b.memory, Codec: e.b.codec,
			Background: new(ziplist.Pace).Take},
		OnRole: e.roleChanged, OnMembers: e.recordMembers, OnConfig: decodeConfiguration,
		OnEvent: e.logEvent, Timing: e.timing, Clock: e.clock,
	}, &e.recovery)
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	e.member = m
	e.journal.OnDone(e.run.wake)
	if len(e.membership.Voters) == 1 && !e.founder.Founded() {
		return e.bootstrap()
	}
	return m.Begin(e.clock())
}

// firstConfiguration is the one that the core begins with, those of the log follow: of
// the snapshot, or of a log that has lost its own to damage.
func (e *Engine) firstConfiguration() (raft.Configuration, error) {
	switch {
	case e.from.Info.Index > 0:
		return decodeConfiguration(e.from.Configuration.Index, e.from.Configuration.Data)
	case e.joins || !e.founder.Founded() || len(e.recovery.Configs) > 0:
		return raft.Configuration{}, nil
	}
	return e.membership.Raft(0), nil
}

// founders is with whom a member connects whose log does not say who the members are.
func (e *Engine) founders() []config.Member {
	if e.joins {
		return e.found.members
	}
	return e.membership.Members()
}

// startJob runs a job of the member's on a goroutine of its own.
func (e *Engine) startJob(job member.Job) {
	e.jobs.Add(1)
	go func() {
		defer e.jobs.Done()
		job.Work()
		job.Done()
		e.run.wake()
		e.run.apply.Unpark()
	}()
}

func decodeConfiguration(index uint64, data []byte) (raft.Configuration, error) {
	c, err := config.Decode(data)
	if err == nil && len(c.Voters) == 0 {
		err = errors.New("engine: a configuration without members")
	}
	return c.Raft(index), err
}

// bootstrap founds a cluster of one and waits until its first entry is durable: a
// member that crashes before has founded nothing.
func (e *Engine) bootstrap() error {
	if err := e.member.Begin(e.clock()); err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	woken := make(chan struct{}, 1)
	e.journal.OnDone(func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	for e.journal.Durable() == 0 {
		if _, more := e.member.Poll(e.clock()); more || e.journal.Durable() > 0 {
			continue
		}
		if err := e.journal.Err(); err != nil {
			return fmt.Errorf("engine: first entry: %w", err)
		}
		<-woken
	}
	e.journal.OnDone(e.run.wake)
	return nil
}
