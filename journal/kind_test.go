package journal

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/internal/simdisk"
	"github.com/ringraft/ringraft/journal/record"
)

// later writes logs as a later release might.
type later struct {
	*writer
	disk *simdisk.Disk
}

func newLater(t *testing.T) *later {
	l := &later{&writer{t: t}, newDisk()}
	l.open()
	return l
}

func (l *later) open() { l.j, _ = mustOpen(l.t, tiny(l.disk)) }

// put appends entries of the given kinds from first on.
func (l *later) put(term, first uint64, kinds ...record.Kind) {
	l.t.Helper()
	var recs []byte
	for i, k := range kinds {
		recs = record.Append(recs, &record.Entry{Kind: k, Data: entry(first+uint64(i), term, 40)})
	}
	l.seq++
	if !l.j.Append(&Batch{Hard: Hard{term, 1}, First: first, Count: uint32(len(kinds)),
		Term: term, Sequence: l.seq}, recs) {
		l.t.Fatal("refused")
	}
	l.last = first + uint64(len(kinds)) - 1
	l.flush()
}

// files are the bytes of all files.
func files(t *testing.T, d *simdisk.Disk) map[string]string {
	t.Helper()
	all := map[string]string{}
	names, err := d.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		all[n] = string(d.Data(n))
	}
	return all
}

const laterKind = record.Config + 6

// A log in which a later release has written an entry of a kind that is not known is not
// opened, says which entry that is, and stays as it was: also for the tools.
func TestAKindThatIsNotKnown(t *testing.T) {
	l := newLater(t)
	l.put(1, 1, record.Config, record.Command, record.Command)
	l.put(1, 4, record.Command, laterKind, record.Config)
	l.put(1, 7, record.Command)
	l.seal()
	before := files(t, l.disk)
	_, _, err := Open(tiny(l.disk))
	var kind *record.KindError
	if !errors.As(err, &kind) || kind.Kind != uint64(laterKind) {
		t.Fatal(err)
	}
	for _, words := range []string{"000001.seg offset ", "entry 5: ", "kind is 8",
		"upgrade this member"} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("it does not say %q: %v", words, err)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than one line: %v", err)
	}
	if !reflect.DeepEqual(files(t, l.disk), before) {
		t.Error("what is there has changed")
	}
	r := examined(t, l.disk)
	if r.Sound() || !strings.Contains(fmt.Sprint(r.Findings), "entry 5: ") {
		t.Errorf("examined %v", r.Findings)
	}
}

// Such an entry counts while it is in the log: not when another term has overruled it, not
// when the log begins behind it.
func TestAKindThatIsNotKnownIsOverruled(t *testing.T) {
	l := newLater(t)
	l.put(1, 1, record.Config, record.Command, laterKind, record.Command)
	l.put(1, 5, laterKind)
	l.put(2, 4, record.Command)
	if _, _, err := Open(tiny(l.disk.Clone())); err == nil {
		t.Error("entry 3 is in the log, and it is opened")
	}
	l.put(3, 3, record.Command)
	l.open()
	l.put(4, 4, laterKind)
	if _, _, err := Open(tiny(l.disk.Clone())); err == nil {
		t.Error("entry 4 is in the log, and it is opened")
	}
	l.restore(4, 23)
	l.flush()
	l.open()
	l.put(4, 24, record.Command)
	l.open()
}
