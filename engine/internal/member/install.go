package member

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/replica"
	"github.com/ringraft/ringraft/engine/internal/snapshot"
	"github.com/ringraft/ringraft/engine/internal/wire"
)

// A snapshot comes from the leader, a chunk after the other, into a file. When it is
// whole, synced and verified its state is read beside the one in use. Only then is the
// core asked whether it takes the log's place.
//
//	nothing ─offer─► opening ─► filling ─all there─► loading ─► loaded ─► nothing
//	                  │ it is whole already ───────────►│         │
//	                  └───────── refused in words ◄─────┴─────────┘
//
// What came stays in the file: another leader's offer of the same snapshot, or a process
// that is started again, goes on where it ended. All but nothing and loaded are times in
// which a task has the file.
type receiving struct {
	task  task
	stage receipt
	info  snapshot.Info // being received
	err   error         // of the task

	receiver *snapshot.Receiver // the task's while it is busy
	expected snapshot.Place     // the next chunk, behind those in the file and in the queue
	queue    []arrival
	damaged  int // chunks in a row

	configuration []byte        // what a witness makes its file of
	made          snapshot.Info // the file, as it is here

	state  replica.State // loaded
	config raft.Configuration

	offered snapshot.Info
	brought []byte // the configuration beside the newest offer; of no bytes: it is to a full member
	from    uint64 // the leader that offered it last, 0: none
	term    uint64
	round   uint64
	asked   bool  // it waits for the answer to its offer
	fresh   bool  // since the last poll
	heard   int64 // when it offered it last
	refused string
	retryAt int64
}

// receipt is how far a snapshot has come.
type receipt uint8

const (
	nothing receipt = iota
	opening         // what is there is looked for, and verified
	filling         // chunks are taken
	loading         // the file is finished, and its state is read
	loaded          // the state is there
)

// arrival is a chunk that was not written yet.
type arrival struct {
	at   snapshot.Place
	data []byte
}

const (
	// queueMax bounds the chunks in memory.
	queueMax = 2 * chunksMax

	// damagedMax is how many chunks in a row may come that are not what was announced: then
	// what was begun is removed, for the sender may store the same content in another way.
	damagedMax = 3

	// forgetAfter is how long what was begun is held open without an offer.
	forgetAfter = 30 * time.Second
)

// offer takes note of what the leader offers; others are not heard. It is called from
// within Poll.
func (r *receiving) offer(m *Member, f *wire.Snapshot) {
	if _, leader, term := m.replica.Role(); f.From != leader || f.Term != term {
		return
	}
	r.offered = snapshot.Info{ID: snapshot.ID{Index: f.Index, Term: f.LastTerm},
		Cluster: f.Cluster, Digest: f.Digest, Bytes: int64(f.Bytes), Chunks: f.Chunks}
	r.brought = bytes.Clone(f.Configuration)
	r.from, r.term, r.round = f.From, f.Term, f.Round
	r.asked, r.fresh = true, true
}

// chunk takes a copy of a chunk, if it is the one that is expected. It is called from
// within Poll.
func (r *receiving) chunk(f *wire.Snapshot) {
	at := snapshot.Place{Chunk: f.Chunk, Offset: int64(f.Offset)}
	if r.stage != filling || f.From != r.from || f.Round != r.round || at != r.expected ||
		f.Index != r.info.Index || f.LastTerm != r.info.Term || f.Digest != r.info.Digest ||
		len(r.queue) == queueMax || len(f.Data) == 0 || len(f.Data) > snapshot.ChunkBytes {
		return
	}
	r.queue = append(r.queue, arrival{at, bytes.Clone(f.Data)})
	r.expected = at.After(len(f.Data))
}

// poll advances what is received.
func (r *receiving) poll(m *Member, now int64) {
	if r.from == 0 {
		return
	}
	if r.fresh {
		r.fresh, r.heard = false, now
	}
	if r.task.finished() {
		r.finished(m, now)
	}
	switch {
	case r.asked && r.offered.Index <= m.core.Commit():
		r.answer(m, wire.Snapshot{Done: true})
	case r.asked && r.refused != "" && now < r.retryAt:
		r.answer(m, wire.Snapshot{Refused: r.refused})
	case r.asked && r.stage >= filling && same(&r.offered, &r.info):
		r.answer(m, wire.Snapshot{Chunk: r.expected.Chunk, Offset: uint64(r.expected.Offset)})
	}
	if !r.task.busy {
		r.advance(m, now)
	}
}

// same says whether two announcements are of one snapshot.
func same(a, b *snapshot.Info) bool {
	return a.ID == b.ID && a.Cluster == b.Cluster && a.Digest == b.Digest && a.Bytes == b.Bytes &&
		a.Chunks == b.Chunks
}

// answer answers the newest offer.
func (r *receiving) answer(m *Member, f wire.Snapshot) {
	f.Kind, f.Term, f.Round = wire.Answer, r.term, r.round
	f.Index, f.LastTerm, f.Digest = r.offered.Index, r.offered.Term, r.offered.Digest
	m.say(r.from, &f)
	r.asked = false
}

// advance takes the next step; nothing is under way.
func (r *receiving) advance(m *Member, now int64) {
	switch {
	case r.stage != nothing && (r.info.Index <= m.core.Commit() ||
		now-r.heard > int64(forgetAfter)):
		r.drop(m, (*snapshot.Receiver).Close)
	case r.asked && !(r.stage != nothing && same(&r.offered, &r.info)) &&
		r.offered.Index > m.core.Commit() && (r.refused == "" || now >= r.retryAt):
		r.open(m, now)
	case r.stage == filling:
		r.write(m, now)
	case r.stage == loaded:
		r.restore(m, now)
	}
}

// open begins with the snapshot offered, or goes on with it.
func (r *receiving) open(m *Member, now int64) {
	before, dir := r.receiver, m.cfg.Snapshots.Receive
	*r = receiving{from: r.from, term: r.term, round: r.round, asked: r.asked, heard: r.heard,
		offered: r.offered, brought: r.brought, info: r.offered, configuration: r.brought,
		receiver: before, stage: opening}
	if _, ok := m.cfg.Machine.(Restorer); !ok || dir == nil {
		r.refuse(m, errors.New("this member keeps no snapshots"), now)
		return
	}
	if err := m.cfg.Journal.Space(); err != nil { // what there is left is the journal's
		r.refuse(m, err, now)
		return
	}
	switch empty := len(r.configuration) > 0; {
	case empty && !m.witness:
		r.refuse(m, errNoState, now)
		return
	case !empty && m.witness:
		r.refuse(m, errHasState, now)
		return
	case empty:
		created := m.cfg.Snapshots.Wall()
		r.task.begin(m, func() { r.err = r.makeEmpty(dir, created) })
		return
	}
	r.task.begin(m, func() {
		if r.receiver = nil; before != nil {
			r.err = before.Close()
		}
		if r.err == nil && !r.whole(dir) {
			r.receiver, r.err = dir.Receive(r.info)
		}
	})
}

// whole reports that the snapshot is there already, as an earlier process left it.
func (r *receiving) whole(dir *snapshot.Dir) bool {
	file, err := dir.Open(r.info.ID)
	if err != nil {
		return false
	}
	there := file.Info()
	sound := same(&there, &r.info) && file.Verify() == nil
	return file.Close() == nil && sound
}

// finished takes what the task came to.
func (r *receiving) finished(m *Member, now int64) {
	err := r.err
	r.err = nil
	if r.stage == nothing { // what was begun is closed
		return
	}
	if err != nil && !r.again(err) {
		r.refuse(m, err, now)
		return
	}
	switch {
	case r.stage == opening && r.receiver == nil:
		r.load(m)
	case r.stage == opening:
		r.expected, _ = r.receiver.Next()
		r.stage = filling
		r.filled(m)
	case r.stage == filling:
		r.filled(m)
	case r.stage == loading:
		r.stage = loaded
	}
}

// again reports that a chunk was not what was announced, and that the same is wanted
// still. What came behind it is forgotten.
func (r *receiving) again(err error) bool {
	var damage *snapshot.DamageError
	if r.stage != filling || !errors.As(err, &damage) {
		return false
	}
	r.expected, _ = r.receiver.Next()
	r.queue = nil
	r.damaged++
	return r.damaged < damagedMax
}

// filled tells the leader how far the file has come; when it has all, it is loaded.
func (r *receiving) filled(m *Member) {
	next, more := r.receiver.Next()
	if !more {
		r.load(m)
		return
	}
	if !r.asked {
		r.answer(m, wire.Snapshot{Chunk: next.Chunk, Offset: uint64(next.Offset)})
	}
}

// write writes what has arrived.
func (r *receiving) write(m *Member, now int64) {
	if len(r.queue) == 0 {
		return
	}
	if err := m.cfg.Journal.Space(); err != nil {
		r.refuse(m, err, now)
		return
	}
	arrived := r.queue
	r.queue = nil
	r.task.begin(m, func() {
		for _, a := range arrived {
			if r.err = r.receiver.Chunk(a.at, a.data); r.err != nil {
				return
			}
			r.damaged = 0
		}
	})
}

// load makes the file whole and reads its state.
func (r *receiving) load(m *Member) {
	r.stage = loading
	receiver := r.receiver
	r.receiver, r.queue = nil, nil
	r.expected = snapshot.Place{Chunk: r.info.Chunks, Offset: r.info.Bytes}
	r.task.begin(m, func() {
		if receiver != nil {
			if _, r.err = receiver.Finish(); r.err != nil {
				return
			}
		}
		r.err = r.read(m)
	})
}

// read reads the state and the configuration of a whole snapshot.
func (r *receiving) read(m *Member) (err error) {
	file, err := m.cfg.Snapshots.Receive.Open(r.info.ID)
	if err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the state machine's Restore panics: %v", p)
		}
		err = errors.Join(err, file.Close())
	}()
	r.made = file.Info()
	r.state.Digest = r.made.Digest
	c := &r.state.Configuration
	if *c, err = decodeConfiguration(file.Info().Configuration); err != nil {
		return err
	}
	if r.config, err = m.cfg.OnConfig(c.Index, c.Data); err != nil {
		return err
	}
	section, err := stateIn(file, m.witness)
	if err != nil {
		return err
	}
	r.state.Install, err = m.cfg.Machine.(Restorer).Restore(section)
	return err
}

// restore asks the core whether the snapshot takes the log's place. It is judged as what
// the leader says that has just offered it.
func (r *receiving) restore(m *Member, now int64) {
	if _, leader, term := m.replica.Role(); leader != r.from || term != r.term {
		return // the next leader offers it again
	}
	msg := raft.Message{Type: raft.Snapshot, From: r.from, To: m.cfg.ID, Term: r.term,
		PrevIndex: r.info.Index, PrevTerm: r.info.Term, Commit: r.info.Index}
	restores, err := m.replica.StepSnapshot(&msg, r.config, r.state)
	switch {
	case errors.Is(err, replica.ErrBusy):
		return
	case err == nil && m.core.Commit() < r.info.Index:
		err = fmt.Errorf("the snapshot of entry %d contradicts what is committed here",
			r.info.Index)
	}
	if err != nil {
		r.refuse(m, err, now)
		return
	}
	if restores {
		m.snapshots.coming = r.made
		m.cfg.OnEvent(Event{Kind: SnapshotInstalled, Member: r.from, Have: r.info.Index})
	}
	r.answer(m, wire.Snapshot{Done: true})
	r.drop(m, (*snapshot.Receiver).Close)
}

// refuse ends what was begun, and tells the leader why. It is tried again when it is
// offered again, after a while.
func (r *receiving) refuse(m *Member, why error, now int64) {
	index := r.info.Index
	r.refused, r.retryAt = why.Error(), now+int64(giveUpAfter)
	drop := (*snapshot.Receiver).Close // what came is verified when it is opened again
	if r.damaged > 0 || m.cfg.Journal.Space() != nil {
		drop = (*snapshot.Receiver).Discard
	}
	r.drop(m, drop)
	r.answer(m, wire.Snapshot{Refused: r.refused})
	m.cfg.OnEvent(Event{Kind: SnapshotRefused, Member: r.from, Have: index, Err: why})
}

// drop forgets what was begun. What is in the file stays, or is removed; if that fails,
// the next Receive does it.
func (r *receiving) drop(m *Member, end func(*snapshot.Receiver) error) {
	if receiver := r.receiver; receiver != nil {
		r.task.begin(m, func() { r.err = end(receiver) })
	}
	r.stage, r.receiver, r.state, r.queue = nothing, nil, replica.State{}, nil
	r.info, r.expected, r.damaged = snapshot.Info{}, snapshot.Place{}, 0
}
