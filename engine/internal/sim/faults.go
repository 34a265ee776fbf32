package sim

// FaultKind is a kind of fault.
type FaultKind int

// The kinds.
const (
	Crash FaultKind = iota
	CrashAtEffect
	CrashReopening
	CrashAll
	Pause
	ClockRate
	Isolate
	Halves
	OneWay
	Bridge
	RingCut
	Flapping
	Clog
	Disconnect
	Replay
	Storm
	Churn
	DiskStall
	DiskSlow
	DiskWriteError
	DiskSyncError
	DiskReadError
	DiskFull
	RotLast
	Rot
	LostWrite
	Misdirected
	RolledBack
	StateRot
	Transfer
	StageStall
	SlowReaders
	Burst
	Forgetful
	OldRead
	Unserved
	FullDisks
	AskSnapshot
	EmptiedDirectory
	Join
	Promotion
	Demotion
	Removal
	Replacement
	Reentry
	Move
	Prefer
	DeafMember
	DeadPath
	faultKinds
)

// faultSpec is a kind's name, what it needs, and what it does.
type faultSpec struct {
	name  string
	fits  func(p *Plan) bool
	begin func(w *World, f *Fault)
}

func always(*Plan) bool     { return true }
func never(*Plan) bool      { return false } // not drawn one by one: see draw*
func several(p *Plan) bool  { return p.Members > 1 }
func three(p *Plan) bool    { return p.Members > 2 }
func majority(p *Plan) bool { return p.Members > 2 || p.Mode == Beyond }

var faults [faultKinds]faultSpec

func init() {
	faults = [faultKinds]faultSpec{
		Crash:            {"crash", always, (*World).faultCrash},
		CrashAtEffect:    {"crash at an effect", always, (*World).faultCrashAtEffect},
		CrashReopening:   {"crash during recovery", always, (*World).faultCrashReopening},
		CrashAll:         {"crash of all", always, (*World).faultCrashAll},
		Pause:            {"pause", always, (*World).faultPause},
		ClockRate:        {"clock rate", always, (*World).faultClock},
		Isolate:          {"isolation of one", several, (*World).faultIsolate},
		Halves:           {"partition in halves", several, (*World).faultHalves},
		OneWay:           {"one-way link", several, (*World).faultOneWay},
		Bridge:           {"bridge partition", three, (*World).faultBridge},
		RingCut:          {"ring partition", three, (*World).faultRing},
		Flapping:         {"flapping partition", several, (*World).faultFlapping},
		Clog:             {"clogged links", several, (*World).faultClog},
		Disconnect:       {"broken connection", several, (*World).faultDisconnect},
		Replay:           {"replayed frames", several, (*World).faultReplay},
		Storm:            {"storm of losses", several, (*World).faultStorm},
		Churn:            {"churning links", several, (*World).faultChurn},
		DiskStall:        {"disk stall", always, (*World).faultStall},
		DiskSlow:         {"slow disk", always, (*World).faultSlow},
		DiskWriteError:   {"write error", always, (*World).faultWriteError},
		DiskSyncError:    {"sync error", always, (*World).faultSyncError},
		DiskReadError:    {"read error", always, (*World).faultReadError},
		DiskFull:         {"full disk", always, (*World).faultFull},
		RotLast:          {"rot in the last batch", majority, (*World).faultRotLast},
		Rot:              {"rot", majority, (*World).faultRot},
		LostWrite:        {"lost write", majority, (*World).faultLost},
		Misdirected:      {"misdirected write", majority, (*World).faultMisdirected},
		RolledBack:       {"rolled-back block", majority, (*World).faultRolledBack},
		StateRot:         {"rot in the state file", always, (*World).faultStateRot},
		Transfer:         {"transfer", several, (*World).faultTransfer},
		StageStall:       {"stalled stage", always, (*World).faultStage},
		SlowReaders:      {"slow readers", always, (*World).faultSlowReaders},
		Burst:            {"burst of requests", always, (*World).faultBurst},
		Forgetful:        {"a decisive vote forgets", never, (*World).faultForgetful},
		OldRead:          {"a read outlives its leadership", never, (*World).faultOldRead},
		Unserved:         {"a member is not served", never, (*World).faultUnserved},
		FullDisks:        {"the leader's disk is full, then all", never, (*World).faultFullDisks},
		EmptiedDirectory: {"an emptied directory", never, (*World).faultEmptied},
		Join:             {"a host joins", never, (*World).faultJoin},
		Promotion:        {"a learner is to vote", never, (*World).faultPromotion},
		Demotion:         {"a voter is to learn", never, (*World).faultDemotion},
		Removal:          {"a member is to go", never, (*World).faultRemoval},
		Replacement:      {"another one in its place", never, (*World).faultReplacement},
		Reentry:          {"its id, emptied, comes back", never, (*World).faultReentry},
		Move:             {"another address", never, (*World).faultMove},
		Prefer:           {"another priority", never, (*World).faultPrefer},
		DeafMember:       {"a member hears no datagrams", never, (*World).faultDeaf},
		DeadPath:         {"only datagrams arrive", never, (*World).faultDeadPath},
		AskSnapshot:      {"a snapshot is asked for", never, (*World).faultAskSnapshot},
	}
}

func (k FaultKind) String() string { return faults[k].name }
