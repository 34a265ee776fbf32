package sim

import (
	"fmt"
	"slices"

	"github.com/ringraft/ringraft/ziplist"
)

const (
	us  = int64(1e3)
	ms  = int64(1e6)
	sec = int64(1e9)
)

// Mode is how far faults may go.
type Mode uint8

const (
	// Atlas keeps enough good copies of every acknowledged entry: full
	// recovery is demanded.
	Atlas Mode = iota
	// Beyond does not: the cluster may have to stop, and must then name what
	// is lost, and never answer wrongly.
	Beyond
)

func (m Mode) String() string { return [...]string{"atlas", "beyond"}[m] }

// Plan is everything that a seed decides beforehand: the shape of the cluster
// and its load, the quality of network and disks, and the schedule of faults.
// Shrinking takes pieces of it away.
type Plan struct {
	Seed     uint64
	Mode     Mode
	Members  int
	Duration int64 // ns of faults; then everything heals
	Down     int   // members that stay down for good after the healing

	MemberPlan
	NetworkPlan
	DiskPlan
	TurnPlan
	SnapshotPlan
	Joiners int // hosts that no founder knows
	KeptPlan
	WitnessPlan
	GroupPlan

	Clients []ClientPlan
	Keys    int
	Faults  []Fault
}

// MemberPlan is how every member is configured. Sizes are bytes.
type MemberPlan struct {
	Heartbeat, Election int64
	Serial              bool
	Slots, Cells, Lanes int
	FrameBytes          int
	GroupBytes          int
	ChunkBytes          int
	Budget, Hot         int64
	Codec               ziplist.Codec
	Segment             int64
	Inbox               int
	Command             int      // the longest command
	Small               [16]bool // by id: its journal, and so its longest command, is small
}

// NetworkPlan is the quality of the network. The rates are of frames.
type NetworkPlan struct {
	Datagrams             bool // frames pass each other, are lost and repeated one by one
	Delay                 int64
	Loss, Repeat, Corrupt float64
	Echo                  float64 // frames that arrive once more, much later
}

// DiskPlan is the quality of the disks.
type DiskPlan struct {
	DiskMean  int64
	ReadDelay int64 // mean time between a read of the journal and its completion
	Grain     int   // bytes that are written whole or not at all
}

// TurnPlan is how members are scheduled.
type TurnPlan struct {
	Partial float64 // chance that a turn leaves parts out
	Inside  float64 // chance that a client uses its lane within a turn
	Gap     int64   // between turns of a busy member
	Skew    int64   // clocks differ by up to so many millionths
}

// ClientPlan is one client.
type ClientPlan struct {
	Open        bool
	Burst       int
	Outstanding int // of a closed loop
	Think       int64
	Reads       float64
	Value       int
	Slow        int64 // how long completions lie before it takes them
	Patience    int64 // after that it gives a request up
}

// Fault is one planned fault. X chooses among its variants.
type Fault struct {
	At     int64
	Kind   FaultKind
	Member int
	Span   int64
	X      uint64
}

func (f Fault) String() string {
	return fmt.Sprintf("%v member %d for %v x=%x", f.Kind, f.Member, seconds(f.Span), f.X%0x10000)
}

func seconds(t int64) string { return fmt.Sprintf("%d.%06ds", t/sec, t%sec/us) }

// NewPlan draws the plan of a seed.
func NewPlan(seed uint64, mode Mode) *Plan {
	r := random{mix(seed, 0x51ed)}
	p := &Plan{Seed: seed, Mode: mode, Duration: 60 * sec}
	p.Members = pick(&r, 3, 3, 3, 3, 3, 3, 5, 5, 5, 4, 2, 1, 7)
	p.Heartbeat = pick(&r, 50*ms, 50*ms, 100*ms, 150*ms)
	p.Election = p.Heartbeat * r.between(3, 6)
	p.Serial = r.chance(0.2)
	p.Slots = pick(&r, 2, 2, 4, 16, 256)
	p.Lanes = pick(&r, 1, 2, 3)
	p.Cells = pick(&r, 1, 8, 64, 256, 1024)
	p.FrameBytes = pick(&r, 1, 300, 4<<10, 256<<10)
	p.GroupBytes = pick(&r, 1<<10, 8<<10, 64<<10)
	p.ChunkBytes = pick(&r, 256, 2<<10, 16<<10, 64<<10)
	p.Budget = pick(&r, int64(1<<10), int64(8<<10), int64(64<<10), int64(1<<20))
	p.Hot, p.Codec = p.Budget/pick(&r, int64(2), 8, 64), ziplist.Codec(r.n(3))
	p.Segment = pick(&r, int64(128<<10), int64(256<<10), int64(512<<10))
	p.Inbox = pick(&r, 32<<10, 64<<10, 256<<10)
	p.FrameBytes = min(p.FrameBytes, p.Inbox/8) // a run may pass it by one entry
	p.Keys = pick(&r, 1, 4, 16, 64)
	p.drawClients(&r)
	p.Datagrams = r.chance(0.5)
	p.Delay = pick(&r, 50*us, 200*us, 1*ms, 5*ms)
	if r.chance(0.6) {
		p.Loss = r.float() * pick(&r, 0.01, 0.05, 0.3)
	}
	if p.Datagrams && r.chance(0.6) {
		p.Repeat = r.float() * pick(&r, 0.05, 0.3)
	}
	if r.chance(0.4) {
		p.Echo = r.float() * 0.05
	}
	if r.chance(0.3) {
		p.Corrupt = r.float() * 0.01
	}
	p.DiskMean = pick(&r, 60*us, 200*us, 1*ms, 4*ms)
	p.Grain = pick(&r, 512, 512, 4096)
	if r.chance(0.6) {
		p.Partial = r.float() * 0.9
	}
	p.Gap = pick(&r, 2*us, 20*us, 300*us)
	p.Skew = pick(&r, int64(0), 1000, 50000)
	if p.Members > 2 && r.chance(0.2) {
		p.Down = r.n((p.Members-1)/2) + 1
	}
	delays := random{mix(seed, 0x7e11)}
	p.ReadDelay = pick(&delays, 0, 0, 1*ms, 20*ms, 200*ms)
	insides := random{mix(seed, 0x1a51de)}
	p.Inside = pick(&insides, 0, 0.3, 0.7, 1)
	p.drawFaults(&r)
	p.drawForgetful()
	p.drawOldRead()
	p.drawUnserved()
	p.drawEmptied()
	p.drawSmall()
	p.drawFull()
	p.drawSnapshots()
	p.drawChanges()
	p.drawKept()
	p.drawWitnesses()
	p.drawGroup()
	return p
}

// operations is how many a seed's clients issue, roughly.
const operations = 2600

func (p *Plan) drawClients(r *random) {
	n := pick(r, 1, 2, 4, 8)
	each := operations / n
	burst := pick(r, 1, 4, 16, 32)
	for range n {
		c := ClientPlan{Open: r.chance(0.4), Burst: max(1, burst/2+r.n(burst+1)),
			Reads: pick(r, 0, 0.3, 0.5, 0.9), Value: pick(r, 8, 64, 700),
			Patience: pick(r, 300*ms, 2*sec, 20*sec)}
		if r.chance(0.05) {
			c.Value = 6000 // larger than some frames and groups
		}
		c.Think = p.Duration * int64(c.Burst) / int64(each)
		c.Outstanding = c.Burst * pick(r, 1, 2, 8)
		if r.chance(0.2) {
			c.Slow = r.between(0, 200*ms)
		}
		p.Clients = append(p.Clients, c)
	}
}

func (p *Plan) drawFaults(r *random) {
	var menu []FaultKind
	for len(menu) < 5 {
		menu = menu[:0]
		for k := range faultKinds {
			if faults[k].fits(p) && r.chance(0.45) {
				menu = append(menu, k)
			}
		}
	}
	n := 16 + r.n(24)
	slot := p.Duration / int64(n)
	for i := range n {
		at := int64(i)*slot + r.between(0, slot)
		k := menu[r.n(len(menu))]
		span := r.between(10*ms, 800*ms)
		if r.chance(0.3) {
			span = r.between(800*ms, 5*sec)
		}
		p.Faults = append(p.Faults, Fault{At: at, Kind: k, Member: r.n(p.Members) + 1, Span: span,
			X: r.next()})
	}
}

// drawForgetful adds, to some plans, faults that belong together: chance never
// lets a member forget what only it and the dead know. It draws for itself, so
// that the rest of the plan is what it would be without.
func (p *Plan) drawForgetful() {
	r := random{mix(p.Seed, 0xf0e7)}
	if p.Members < 3 || p.Members%2 == 0 || !r.chance(0.4) {
		return
	}
	for range 1 + r.n(4) {
		p.insert(Fault{At: r.between(5*sec, p.Duration-15*sec), Kind: Forgetful,
			Member: r.n(p.Members) + 1, Span: r.between(50*ms, 2*sec), X: r.next()})
	}
}

// drawOldRead adds such faults where they can meet an entry store that keeps
// next to nothing.
func (p *Plan) drawOldRead() {
	r := random{mix(p.Seed, 0x01d4ead)}
	if p.Members < 3 || p.Budget > 8<<10 || p.ChunkBytes > 2<<10 || !r.chance(0.5) {
		return
	}
	for range 1 + r.n(3) {
		p.insert(Fault{At: r.between(2*sec, p.Duration-20*sec), Kind: OldRead,
			Member: r.n(p.Members) + 1, X: r.next()})
	}
}

// drawUnserved adds, to some plans, members whose way to another one is unmade
// for a while. Like the others it draws for itself.
func (p *Plan) drawUnserved() {
	r := random{mix(p.Seed, 0x5e44ed)}
	if p.Members < 2 || !r.chance(0.3) {
		return
	}
	for range 1 + r.n(4) {
		p.insert(Fault{At: r.between(1*sec, p.Duration-5*sec), Kind: Unserved,
			Member: r.n(p.Members) + 1, Span: r.between(10*ms, 3*sec), X: r.next()})
	}
}

// drawEmptied adds, to some plans, one directory that is lost, and an empty one that
// comes in its place.
func (p *Plan) drawEmptied() {
	r := random{mix(p.Seed, 0xe3971ed)}
	if p.Members < 3 || p.Mode != Atlas || !r.chance(0.3) {
		return
	}
	for range 3 { // whichever finds all well
		p.insert(Fault{At: r.between(2*sec, p.Duration-15*sec), Kind: EmptiedDirectory,
			Member: r.n(p.Members) + 1, Span: r.between(50*ms, 2*sec), X: r.next()})
	}
}

// drawSmall makes, in some plans, members that cannot write what others can: their
// segments hold less than the longest command of the others.
func (p *Plan) drawSmall() {
	p.Command = 8 << 10
	r := random{mix(p.Seed, 0x54a11)}
	if p.Members < 2 || !r.chance(0.15) {
		return
	}
	p.Command, p.Inbox = 40<<10, 512<<10
	for id := 1; id <= p.Members; id++ {
		p.Small[id] = r.chance(0.4)
	}
	c := &p.Clients[0]
	c.Value, c.Think = 39<<10, 8*c.Think
}

// small reports that some member takes less than the clients' longest command.
func (w *World) small() bool { return w.plan.Small != [16]bool{} }

// A small segment does not hold the longest command of the others.
const (
	smallSegment = 32 << 10
	smallCommand = 20 << 10
)

// segment is the length of a member's segments.
func (p *Plan) segment(id uint64) int64 {
	if p.Small[id] {
		return smallSegment
	}
	return p.Segment
}

// command is a member's longest command.
func (p *Plan) command(id uint64) int {
	if p.Small[id] {
		return smallCommand
	}
	return p.Command
}

func (p *Plan) insert(f Fault) {
	i := 0
	for i < len(p.Faults) && p.Faults[i].At <= f.At {
		i++
	}
	p.Faults = slices.Insert(p.Faults, i, f)
}

// Shape is the plan in one line.
func (p *Plan) Shape() string {
	return fmt.Sprintf("%v, %d members, %d clients, slots %d, lanes %d×%d cells, "+
		"heartbeat %v, election %v, frames of %d, groups of %d, "+
		"datagrams %t, delay %v, loss %.3f, disk %v, partial %.2f, %v",
		p.Mode, p.Members, len(p.Clients), p.Slots, p.Lanes, p.Cells,
		seconds(p.Heartbeat), seconds(p.Election), p.FrameBytes, p.GroupBytes,
		p.Datagrams, seconds(p.Delay), p.Loss, seconds(p.DiskMean), p.Partial,
		&p.GroupPlan)
}
