package progress

import "testing"

func TestAckStreamsOnce(t *testing.T) {
	p := Progress{ID: 2}
	p.Reset(11)
	if moved, streams := p.Ack(10, 1); !moved || !streams || p.Next != 11 || p.Mode != Stream {
		t.Fatal(&p)
	}
	if moved, streams := p.Ack(9, 1); moved || streams || p.Match != 10 {
		t.Fatal("an old answer moved something: ", &p)
	}
}

func TestStaleRefusals(t *testing.T) {
	p := Progress{ID: 2, Match: 5, Next: 9, Mode: Probe}
	for prev, want := range map[uint64]bool{4: true, 5: true, 6: false, 8: false, 9: true,
		20: true} {
		if got := p.Stale(prev); got != want {
			t.Errorf("in probe, refusal of %d: stale %t", prev, got)
		}
	}
	p.Mode = Stream
	if p.Stale(20) || !p.Stale(5) {
		t.Error("a stream counts every refusal above match")
	}
}

func TestBack(t *testing.T) {
	p := Progress{ID: 2, Match: 5, Next: 9, Mode: Stream}
	if p.Back(3, 1); p.Next != 6 || p.Mode != Probe {
		t.Error("backed up below match: ", &p)
	}
	if p.Back(7, 8); p.Mode != Snapshot {
		t.Error("probes what the log does not hold: ", &p)
	}
}

// A snapshot ends with an answer from which the log can go on, and with nothing else that comes
// late.
func TestSnapshotEnds(t *testing.T) {
	p := Progress{ID: 2, Match: 5, Next: 6, Mode: Snapshot}
	if moved, streams := p.Ack(6, 8); !moved || streams || p.Mode != Snapshot || p.Next != 7 {
		t.Error("an answer to an earlier append ended it: ", &p)
	}
	for _, prev := range []uint64{3, 6, 7, 20} {
		if !p.Stale(prev) {
			t.Errorf("a refusal of %d, though no append is under way: %s", prev, &p)
		}
	}
	if p.Regress(); p.Mode != Snapshot || p.Match != 0 {
		t.Error("fed again from where the log has nothing: ", &p)
	}
	if _, streams := p.Ack(7, 8); !streams || p.Next != 8 {
		t.Error("its end did not start the stream: ", &p)
	}
}

// An answer that comes late finds a member that is probed behind it. The log has nothing there.
func TestALateAnswerIsNoPlaceToStreamFrom(t *testing.T) {
	p := Progress{ID: 2, Next: 9, Mode: Probe}
	if _, streams := p.Ack(4, 8); streams || p.Mode != Probe || p.Next != 9 {
		t.Error(&p)
	}
}
