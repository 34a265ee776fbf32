package progress

import "testing"

func TestAckStreamsOnce(t *testing.T) {
	p := Progress{ID: 2}
	p.Reset(11)
	if moved, streams := p.Ack(10); !moved || !streams || p.Next != 11 || p.Mode != Stream {
		t.Fatal(&p)
	}
	if moved, streams := p.Ack(9); moved || streams || p.Match != 10 {
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
	if _, streams := p.Ack(8); !streams {
		t.Error("a snapshot's end did not start the stream: ", &p)
	}
}
