package engine

import (
	"testing"
	"time"
)

// A job that writes a snapshot keeps to its rate, and rests while commands are applied.
func TestPaceOfSnapshots(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	p := pace{rest: 4, resumed: start}
	// A piece is 15.625 ms of the rate, and was ten of work.
	const ms, piece, rated = time.Millisecond, snapshotRate / 64, time.Second / 64
	if next := p.next(at(10*ms), piece, 7); next != at(50*ms) {
		t.Errorf("while commands are applied it goes on at %v", next.Sub(start))
	}
	p.resumed = at(50 * ms)
	if next := p.next(at(60*ms), piece, 7); next != at(60*ms+rated) {
		t.Errorf("while nothing is applied it goes on at %v", next.Sub(start))
	}
	// The rate counts from when the piece before might have been written.
	if next := p.next(at(60*ms), 5*piece, 7); next != at(60*ms+6*rated) {
		t.Errorf("at its rate it goes on at %v", next.Sub(start))
	}
	// What others had the processor for is no work.
	if next := p.next(at(time.Second), piece, 8); next != at(time.Second+4*workMax) {
		t.Errorf("after a second it goes on at %v", next.Sub(start))
	}
	none := pace{resumed: start}
	if next := none.next(at(10*ms), piece, 9); next != at(10*ms+rated) {
		t.Errorf("without a rest it goes on at %v", next.Sub(start))
	}
}
