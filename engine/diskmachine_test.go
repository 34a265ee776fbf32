package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ringraft/ringraft/journal"
)

// platter is the disk of an onDisk, which stays when the process ends.
type platter struct {
	mu             sync.Mutex
	applied, index uint64
	count, sum     uint64
	syncs          int
	fail           error // of Sync
	failOpen       error
}

// copy is the disk as a power cut now would leave it.
func (p *platter) copy() *platter {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &platter{applied: p.applied, index: p.index, count: p.count, sum: p.sum}
}

// onDisk is a summed that keeps its state: when it is synced, or, by itself, after each
// call.
type onDisk struct {
	summed
	disk     *platter
	itself   bool
	index    uint64
	executed int
	restored int
}

func (m *onDisk) Open() (applied uint64, err error) {
	m.count, m.sum, m.index = m.disk.count, m.disk.sum, m.disk.index
	return m.disk.applied, m.disk.failOpen
}

func (m *onDisk) Apply(entries []Entry, replies *Replies) {
	m.summed.Apply(entries, replies)
	m.mu.Lock()
	m.executed += len(entries)
	m.index = entries[len(entries)-1].Index
	m.mu.Unlock()
	if m.itself {
		m.keep(0)
	}
}

func (m *onDisk) keep(applied uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	m.disk.applied, m.disk.index = max(m.index, applied), m.index
	m.disk.count, m.disk.sum = m.count, m.sum
}

func (m *onDisk) Sync(applied uint64) error {
	m.disk.mu.Lock()
	m.disk.syncs++
	err := m.disk.fail
	m.disk.mu.Unlock()
	if err == nil {
		m.keep(applied)
	}
	return err
}

// Restore leaves the index as it is: Sync follows.
func (m *onDisk) Restore(r io.Reader) (install func(), err error) {
	m.mu.Lock()
	m.restored++
	m.mu.Unlock()
	return m.summed.Restore(r)
}

// did is how often the process has restored a snapshot and executed a command.
func (m *onDisk) did() (restored, executed int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.restored, m.executed
}

func (p *platter) synced() (applied uint64, syncs int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.applied, p.syncs
}

func (p *platter) breaks(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = err
}

var bothThreads = []Threads{Fused, Threaded}

// A start applies exactly what the state on disk lacks, and reads no snapshot for it:
// after a close, after a process that was killed, and with a state that is always durable.
func TestADiskMachineGoesOnWhereItWas(t *testing.T) {
	for _, threads := range bothThreads {
		for _, itself := range []bool{false, true} {
			t.Run(fmt.Sprint(threads, itself), func(t *testing.T) { goesOn(t, threads, itself) })
		}
	}
}

func goesOn(t *testing.T, threads Threads, itself bool) {
	dir, disk, total, lacks := t.TempDir(), &platter{}, 0, 0
	for round := range 5 {
		sm := &onDisk{disk: disk, itself: itself}
		e := mustAlone(t, dir, sm, func(b *Builder) { b.Threads(threads) })
		if has, want := state(t, e), fmt.Sprintf("%d %d", total, total*100); has != want {
			t.Fatalf("round %d begins with %s, not %s", round, has, want)
		}
		if restored, executed := sm.did(); executed != lacks || restored != 0 {
			t.Fatalf("round %d: %d commands were applied again, %d were not durable; %d restores",
				round, executed, lacks, restored)
		}
		propose(t, e, 20, 100)
		info := taken(t, e)
		if applied, _ := disk.synced(); applied < info.Index {
			t.Fatalf("a snapshot of entry %d, and the state of entry %d on the disk", info.Index,
				applied)
		}
		propose(t, e, 3, 100)
		killed := disk.copy()
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		total, lacks = total+23, 0
		if round%2 == 1 {
			if disk = killed; !itself {
				lacks = 3
			}
		}
	}
}

// A state that was lost is made again from the snapshot, once, and one that is between
// two snapshots goes on from the log.
func TestADiskMachineThatLostItsState(t *testing.T) {
	dir, disk := t.TempDir(), &platter{}
	e := mustAlone(t, dir, &onDisk{disk: disk}, nil)
	propose(t, e, 20, 100)
	info := taken(t, e)
	propose(t, e, 3, 100)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	disk = &platter{}
	for round := range 2 {
		sm := &onDisk{disk: disk}
		e = mustAlone(t, dir, sm, nil)
		if has := state(t, e); has != "23 2300" {
			t.Fatalf("round %d begins with %s", round, has)
		}
		if restored, executed := sm.did(); restored != 1-round || executed != 3 {
			t.Fatalf("round %d: %d restores, %d commands applied again", round, restored, executed)
		}
		if applied, _ := disk.synced(); applied != info.Index {
			t.Fatalf("round %d: durable is entry %d, restored was %d", round, applied, info.Index)
		}
		killed := disk.copy()
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		disk = killed
	}
}

// The file of the snapshot is not needed by a state that is newer: neither damage to it
// nor its loss matters while the log says the configuration.
func TestADiskMachineWithoutItsSnapshotFile(t *testing.T) {
	dir, disk := t.TempDir(), &platter{}
	e := mustAlone(t, dir, &onDisk{disk: disk}, nil)
	propose(t, e, 20, 100)
	taken(t, e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range snapshotFiles(t, dir) {
		if err := os.Remove(filepath.Join(SnapshotDir(dir), name)); err != nil {
			t.Fatal(err)
		}
	}
	sm := &onDisk{disk: disk}
	e = mustAlone(t, dir, sm, nil)
	has := state(t, e)
	if restored, executed := sm.did(); has != "20 2000" || restored+executed > 0 {
		t.Fatalf("%s, %d commands applied again, %d restores", has, executed, restored)
	}
	propose(t, e, 1, 100)
	if info := taken(t, e); info.Index == 0 {
		t.Fatal("no snapshot is taken any more")
	}
}

// A state that has more than the log is refused in words, and made again when its files
// are removed.
func TestADiskMachineAheadOfItsLog(t *testing.T) {
	dir, disk := t.TempDir(), &platter{}
	e := mustAlone(t, dir, &onDisk{disk: disk}, nil)
	propose(t, e, 20, 100)
	taken(t, e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	disk.applied += 1000
	var ahead *AheadError
	_, err := alone(t, dir, &onDisk{disk: disk}, nil)
	if !errors.As(err, &ahead) || ahead.Applied != disk.applied || ahead.Dir != dir ||
		ahead.Last == 0 || ahead.Last >= disk.applied {
		t.Fatalf("%v: %+v", err, ahead)
	}
	if !strings.Contains(err.Error(), "files removed") {
		t.Fatal(err)
	}
	e = mustAlone(t, dir, &onDisk{disk: &platter{}}, nil)
	if has := state(t, e); has != "20 2000" {
		t.Fatal(has)
	}
}

// A state machine that does not open ends the start, and the directory is free again.
func TestADiskMachineThatDoesNotOpen(t *testing.T) {
	dir, cause := t.TempDir(), errors.New("locked")
	disk := &platter{failOpen: cause}
	if _, err := alone(t, dir, &onDisk{disk: disk}, nil); !errors.Is(err, cause) {
		t.Fatal(err)
	}
	disk.failOpen = nil
	propose(t, mustAlone(t, dir, &onDisk{disk: disk}, nil), 1, 100)
}

// While the state is not durable no log goes, and whoever asks for a snapshot is told why.
func TestTheLogStaysUntilTheStateIsDurable(t *testing.T) {
	dir, disk, cause := t.TempDir(), &platter{}, errors.New("the disk is on strike")
	e := mustAlone(t, dir, &onDisk{disk: disk}, nil)
	disk.breaks(cause)
	for range 3 {
		propose(t, e, 300, 4096) // more than a segment
		if _, err := e.Snapshot(context.Background()); !errors.Is(err, cause) {
			t.Fatal(err)
		}
	}
	untilStatus(t, e, func(s *Status) bool { return s.Snapshot.Error != "" })
	if s := e.Status().Snapshot; s.LogFirst != 1 || s.Index != 0 || len(snapshotFiles(t, dir)) > 0 {
		t.Fatalf("%+v, files %v", s, snapshotFiles(t, dir))
	}
	if err := e.Close(); !errors.Is(err, cause) {
		t.Fatalf("closed: %v", err)
	}
	disk.breaks(nil)
	sm := &onDisk{disk: disk}
	e = mustAlone(t, dir, sm, nil)
	has := state(t, e)
	if _, executed := sm.did(); executed != 900 {
		t.Fatalf("%s, %d commands applied", has, executed)
	}
	for range 3 {
		propose(t, e, 300, 4096)
		taken(t, e)
	}
	untilStatus(t, e, func(s *Status) bool { return s.Snapshot.LogFirst > 900 })
	if _, syncs := disk.synced(); syncs < 7 {
		t.Fatalf("%d syncs", syncs)
	}
}

// A state machine that panicked is not called again, not even to be synced.
func TestABrokenDiskMachineIsNotSynced(t *testing.T) {
	disk := &platter{}
	e := mustAlone(t, t.TempDir(), &breaking{onDisk{disk: disk}}, nil)
	ctx := context.Background()
	if err := e.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Propose(ctx, []byte("x")); !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
	<-e.Done()
	var broken *MachineError
	if !errors.As(e.Err(), &broken) {
		t.Fatal(e.Err())
	}
	if _, syncs := disk.synced(); syncs > 0 {
		t.Fatalf("%d syncs", syncs)
	}
}

type breaking struct{ onDisk }

func (*breaking) Apply([]Entry, *Replies) { panic("cannot write") }

// A member that is given a snapshot makes its state durable by itself, and goes on from it
// when it is killed and started again.
func TestADiskMachineKeepsWhatItIsGiven(t *testing.T) {
	for _, threads := range bothThreads {
		t.Run(threads.String(), func(t *testing.T) { keepsWhatItIsGiven(t, threads) })
	}
}

func keepsWhatItIsGiven(t *testing.T, threads Threads) {
	c := &trio{t: t, dir: t.TempDir(), threads: threads}
	for i, a := range ports(t, 3) {
		c.members = append(c.members, Member{ID: uint64(i + 1), Address: a})
	}
	var disks [3]*platter
	var machines [3]*onDisk
	start := func(i int) {
		machines[i] = &onDisk{disk: disks[i]}
		e, err := New().ID(uint64(i + 1)).Dir(c.data(i)).Members(c.members...).
			StateMachine(machines[i]).Journal(journal.BufferedNosync).MaxCommand(8 << 10).
			SegmentBytes(512 << 10).SnapshotAfter(64 << 10).Threads(threads).
			Start(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		c.engines[i] = e
		t.Cleanup(func() { e.Close() })
	}
	for i := range 3 {
		disks[i] = &platter{}
		start(i)
	}
	c.write(20)
	c.stop(2)
	c.write(400)
	c.compacted(100)
	start(2)
	until(t, "a snapshot that is installed and durable", func() bool {
		restored, _ := machines[2].did()
		applied, _ := disks[2].synced()
		return restored > 0 && applied > 100
	})
	disks[2] = disks[2].copy()
	c.stop(2)
	start(2)
	if restored, _ := machines[2].did(); restored > 0 {
		t.Error("its snapshot is read once more")
	}
	c.write(5)
	until(t, "equal states", func() bool {
		machines[2].mu.Lock()
		defer machines[2].mu.Unlock()
		return machines[2].count == 425
	})
}
