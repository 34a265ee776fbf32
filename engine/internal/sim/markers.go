package sim

// Marker is something that must sometimes happen. A set of seeds in which one
// of them never does proves less than it seems to.
type Marker int

// The markers.
const (
	LeaderElected Marker = iota
	SplitVote
	PreVoteRefused
	VoteRefused
	VoteRepeated
	SteppedDown
	LeaderDeposed
	CandidateYielded
	TransferAsked
	TransferDone
	TransferFailed
	TwoLeaders
	OldLeaderRejoined
	LastResort

	Truncated
	TruncatedTerms
	AppendRejected
	AppendRepeated
	EarlierTermCommitted
	CommitWithoutOwnDisk
	CommitOfMany
	CaughtUpFromJournal
	ReadOverruled
	ServedAgain
	AppliedFromJournal
	ActorRestarted
	FrameDropped
	RunCut
	Packed
	Unpacked

	CrashWhole
	CrashNothing
	CrashTorn
	CrashBetweenWrites
	CrashTwoQueued
	CrashBeforeReply
	CrashInRecovery
	CrashAtFounding
	CrashAfterSend
	AllDown
	TornCut
	SecondSegment
	RestartWithTail

	WriteError
	SyncError
	ReadError
	NoSpaceRefused
	SpaceReturned
	FullHandedOver
	AllFull
	DiskStuck
	RotFound
	ProbationBegun
	ProbationEnded
	DamageFound
	DamageNamed
	DamageFilled
	Forgot
	ForgotAll
	Emptied
	EmptiedFed
	StateMended
	StalledWrite
	StallHandedOver
	StallSteppedDown

	InlineWrite
	WriteQueued
	RingFull
	LaneBusy
	ReadWaitedForNoOp
	ReadConfirmed
	ReadRefused
	ReadAfterWrite
	ReadKeptPlace
	ReadLocally
	FlushedInTurn
	Superseded
	OutcomeUnknown
	NotLeaderRefused
	TooLargeRefused
	SlowClient
	GaveUp
	LateAnswer
	StagesApart

	FlipCaught
	OldFrame
	Reconnected
	OneWayLink
	FrameRepeated
	FrameOvertook
	ClockFast
	PausedLeader

	SnapshotMarked
	SnapshotFailed
	SnapshotAsked
	LogCompacted
	LogRecycled
	StartedFromSnapshot
	UnnamedSnapshot
	CrashTakingSnapshot
	SnapshotSent
	SnapshotResumed
	SnapshotRestored
	SnapshotRefused
	RestoredOverTail
	CrashRestoring

	ChangeDone
	ChangeUnknown
	ChangeRefused
	JointEntered
	JointLeft
	JointLeftByAnother
	CrashInJoint
	LearnerPromoted
	VoterDemoted
	LeaderRemoved
	MemberReplaced
	OtherDirectoryAdded
	OtherDirectoryRefused
	RemovedTold
	AddressChanged
	LearnerGivenSnapshot
	PriorityFollowed
	StateKept
	StateBehind
	StateAhead
	StateMadeAgain
	StateCutOff
	StateBrought
	CrashSyncingState

	WitnessLed
	WitnessGaveWay
	WitnessRefused
	WitnessKeeps
	WitnessRestored
	WitnessBeyond
	KindRefused
	WitnessesRefused

	BeatSent
	BeatTaken
	BeatRefused
	BeatFolded
	BeatUnbacked

	markers
)

var markerNames = [markers]string{
	LeaderElected:         "a leader is elected",
	SplitVote:             "an election is repeated: nobody won",
	PreVoteRefused:        "a pre-vote is refused",
	VoteRefused:           "a vote is refused",
	VoteRepeated:          "a vote is given again to the same candidate",
	SteppedDown:           "a leader steps down without hearing a higher term",
	LeaderDeposed:         "a leader hears a higher term",
	CandidateYielded:      "a candidate follows another winner of its term",
	TransferAsked:         "leadership is being handed over",
	TransferDone:          "the chosen member leads",
	TransferFailed:        "a handing over is given up",
	TwoLeaders:            "an old leader does not know yet",
	OldLeaderRejoined:     "an old leader follows again",
	LastResort:            "a vote of last resort is given",
	Truncated:             "a tail is overruled",
	TruncatedTerms:        "a tail of two terms is overruled",
	AppendRejected:        "an append does not match",
	AppendRepeated:        "an append holds nothing new",
	EarlierTermCommitted:  "an entry of an earlier term is committed by a later one",
	CommitWithoutOwnDisk:  "a leader commits what its own disk does not hold",
	CommitOfMany:          "a hundred entries are committed at once",
	ServedAgain:           "a member is served again after its way was unmade",
	ReadOverruled:         "what the journal was read for is overruled before the read completes",
	CaughtUpFromJournal:   "a member is fed from the journal",
	AppliedFromJournal:    "apply reads the journal",
	ActorRestarted:        "replication starts anew after a lost answer",
	FrameDropped:          "an inbox has no room",
	RunCut:                "a run is cut by the frame's size",
	Packed:                "cold entries are packed",
	Unpacked:              "packed entries are read",
	CrashWhole:            "power goes after a write, before its completion",
	CrashNothing:          "power goes, nothing of the write is there",
	CrashTorn:             "power tears a write",
	CrashBetweenWrites:    "power goes between the writes of a group",
	CrashTwoQueued:        "power goes with two groups queued",
	CrashBeforeReply:      "a vote is durable, power goes before the answer",
	CrashInRecovery:       "power goes during recovery",
	CrashAtFounding:       "power goes before the founding entry is durable",
	CrashAfterSend:        "a leader dies after sending what its own disk lacks",
	AllDown:               "every member is down",
	TornCut:               "recovery cuts a torn batch",
	SecondSegment:         "recovery reads a second segment",
	RestartWithTail:       "a member returns with entries that nobody committed",
	WriteError:            "a write fails",
	SyncError:             "a sync fails",
	ReadError:             "a read fails",
	NoSpaceRefused:        "a write is refused for lack of space",
	SpaceReturned:         "space returns",
	FullHandedOver:        "a leader with a full disk hands over",
	AllFull:               "all disks are full, and the leader stays",
	DiskStuck:             "what is to be written waits for room",
	RotFound:              "rot in the last batch is found",
	ProbationBegun:        "a member is on probation",
	ProbationEnded:        "probation ends",
	DamageFound:           "damage is found",
	DamageNamed:           "lost entries are named",
	DamageFilled:          "a damaged member is whole again",
	Emptied:               "a directory is emptied",
	EmptiedFed:            "an emptied directory learns that another one is known",
	StateMended:           "a rotten copy of the state file is mended",
	Forgot:                "a decisive vote forgets what it acknowledged",
	ForgotAll:             "all who know what is committed forget it",
	StalledWrite:          "a write hangs for an election timeout",
	StallHandedOver:       "a leader with a hanging disk hands over",
	StallSteppedDown:      "a leader with a hanging disk steps down",
	InlineWrite:           "the loop writes by itself",
	WriteQueued:           "a second group is queued",
	RingFull:              "no slot is free",
	LaneBusy:              "a lane refuses",
	ReadWaitedForNoOp:     "a read waits for the no-op",
	ReadConfirmed:         "a read is confirmed",
	ReadRefused:           "a read is refused at step-down",
	ReadAfterWrite:        "a read waits for its own write",
	ReadKeptPlace:         "a read is answered before a later write that is applied by now",
	ReadLocally:           "a read is answered by what its member has applied",
	FlushedInTurn:         "a lane is flushed within a turn",
	Superseded:            "an appended command is certainly not applied",
	OutcomeUnknown:        "an outcome is unknown",
	NotLeaderRefused:      "a command is refused off the leader",
	TooLargeRefused:       "a command is refused that a voter could not write",
	SlowClient:            "answers lie unread",
	GaveUp:                "a client gives up",
	LateAnswer:            "an answer comes after the client gave up",
	StagesApart:           "stages are polled apart",
	FlipCaught:            "a checksum catches a flipped bit",
	OldFrame:              "a frame of an earlier incarnation arrives",
	Reconnected:           "a link is replaced",
	OneWayLink:            "a link works one way",
	FrameRepeated:         "a frame arrives twice",
	FrameOvertook:         "a frame overtakes another",
	ClockFast:             "a clock runs fast or slow",
	PausedLeader:          "a leader is paused",
	SnapshotMarked:        "a snapshot is taken, and the journal names it",
	SnapshotFailed:        "a snapshot is given up",
	SnapshotAsked:         "a snapshot is asked for and answered",
	LogCompacted:          "the log goes before a snapshot",
	LogRecycled:           "a segment goes before a snapshot",
	StartedFromSnapshot:   "a member starts from a snapshot",
	UnnamedSnapshot:       "a member starts and finds a file that its journal does not name",
	CrashTakingSnapshot:   "power goes while a snapshot is written",
	SnapshotSent:          "a member is given a snapshot",
	SnapshotResumed:       "a transfer goes on after the receiver was started again",
	SnapshotRestored:      "a snapshot takes the log's place",
	SnapshotRefused:       "a member cannot take a snapshot",
	RestoredOverTail:      "a snapshot takes the place of a log that conflicts with it",
	ChangeDone:            "a change of the members is done",
	ChangeUnknown:         "leadership is lost while the members are changed",
	ChangeRefused:         "a change is refused for another one",
	JointEntered:          "a joint configuration is committed",
	JointLeft:             "a joint configuration is left",
	JointLeftByAnother:    "another leader leaves a joint configuration",
	CrashInJoint:          "power goes soon after a joint configuration is entered",
	LearnerPromoted:       "a learner that has caught up is promoted",
	VoterDemoted:          "a voter learns again",
	LeaderRemoved:         "a leader removes itself",
	MemberReplaced:        "a member comes in the place of another",
	OtherDirectoryAdded:   "an id comes back with another directory",
	OtherDirectoryRefused: "a directory that is another one is not promoted",
	RemovedTold:           "one that was removed is told so",
	AddressChanged:        "a configuration has another address",
	LearnerGivenSnapshot:  "a learner is given a snapshot",
	PriorityFollowed:      "leadership goes to a higher priority",
	CrashRestoring:        "power goes before a restored snapshot is marked",
	StateKept:             "a member goes on from the state that it has kept",
	StateBehind:           "what was not durable of a kept state is applied again",
	StateAhead:            "a damaged log ends before a kept state",
	StateMadeAgain:        "a kept state was lost, and is restored",
	StateCutOff:           "power goes between a snapshot's mark and the sync of its state",
	StateBrought:          "the state of another member's snapshot is synced",
	CrashSyncingState:     "power goes while a state is synced",
	WitnessLed:            "a witness leads",
	WitnessGaveWay:        "a witness hands leadership over",
	WitnessRefused:        "a witness that leads refuses a request",
	WitnessKeeps:          "a witness keeps log that a full member lacks",
	WitnessRestored:       "a witness goes on from an offer without a state",
	WitnessBeyond:         "a witness cannot bring a full member up to date",
	KindRefused:           "a host is refused as what it is not",
	WitnessesRefused:      "a change is refused that leaves too few full voters",
	BeatSent:              "a leader sends a heartbeat to a group",
	BeatTaken:             "a datagram is taken for its leader's sign of life",
	BeatRefused:           "a datagram says what connections do not",
	BeatFolded:            "a member is left to datagrams",
	BeatUnbacked:          "datagrams of a leader arrive while its connection is dead",
}

func (m Marker) String() string { return markerNames[m] }
