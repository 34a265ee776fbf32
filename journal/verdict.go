package journal

// What recovery finds at a position, and what it makes of it. The table is
// the code: the first rule that fits decides, and a test walks every
// combination of facts.

// facts about one position. Tags are those that the batch expected there
// would carry.
type facts struct {
	header     bool // a header with a good checksum, of this segment, at this position
	sums       bool // its payload matches
	chain      bool // it follows the batch before, with a larger number
	allTags    bool // every sector of the batch carries its tag
	someTags   bool // at least one does
	unreadable bool // the device refuses to read part of it
	promised   bool // a later batch, or the state file, says that something durable stood here
}

type verdict uint8

const (
	keep     verdict = iota // believed
	end                     // nothing was written here: the log ends
	torn                    // an unacknowledged write, half done: cut silently
	rot                     // written whole, changed since, not promised: probation
	damaged                 // acknowledged bytes are lost or changed
	verdicts                // count
)

func (v verdict) String() string {
	return [...]string{"keep", "end", "torn", "rot", "damaged"}[v]
}

// tri is what a rule asks of a fact.
type tri uint8

const (
	either tri = iota
	yes
	no
)

func (t tri) fits(b bool) bool { return t == either || (t == yes) == b }

var rules = []struct {
	header, sums, chain, allTags, someTags, unreadable, promised tri
	verdict                                                      verdict
	cause                                                        string
}{
	{header: yes, sums: yes, chain: yes, verdict: keep, cause: "whole"},
	{header: yes, sums: yes, chain: no, verdict: damaged,
		cause: "a batch before this one was lost or misdirected"},
	{unreadable: yes, verdict: damaged, cause: "it cannot be read"},
	{promised: yes, header: yes, verdict: damaged, cause: "the payload has rotted or was never " +
		"written"},
	{promised: yes, verdict: damaged, cause: "a batch that was durable is not there"},
	{allTags: yes, verdict: rot, cause: "written whole, changed since"},
	{someTags: yes, verdict: torn, cause: "torn by a crash"},
	{verdict: end, cause: "end of the log"},
}

// judge applies the rules.
func judge(f facts) (verdict, string) {
	for _, r := range rules {
		if r.header.fits(f.header) && r.sums.fits(f.sums) && r.chain.fits(f.chain) &&
			r.allTags.fits(f.allTags) && r.someTags.fits(f.someTags) &&
			r.unreadable.fits(f.unreadable) && r.promised.fits(f.promised) {
			return r.verdict, r.cause
		}
	}
	panic("journal: the rules of recovery leave a case open")
}
