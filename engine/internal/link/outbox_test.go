package link

import (
	"bytes"
	"testing"

	"github.com/ringraft/ringraft/netio"
)

// frame is what a frame looks like on the wire, in one piece.
func frame(front, records []byte) []byte {
	return netio.AppendFrame(nil, 0, append(bytes.Clone(front), records...))
}

// Both ways out write the same bytes.
func TestFramesOnTheWayOut(t *testing.T) {
	var g gather
	a := newAcross(1<<12, false)
	front, records := []byte("front"), []byte("records")
	var want []byte
	for _, r := range [][]byte{records, nil, records} {
		want = append(want, frame(front, r)...)
		g.add(front, r)
		a.add(front, r)
	}
	if vector, _ := a.take(); len(vector) != 0 {
		t.Error("frames are seen before they are published")
	}
	if !a.publish() || a.publish() {
		t.Error("published not at all, or twice")
	}
	vector, end := a.take()
	if got := bytes.Join(vector, nil); !bytes.Equal(got, want) {
		t.Errorf("across %x\nwant   %x", got, want)
	}
	a.release(end)
	if got := bytes.Join(g.vector, nil); !bytes.Equal(got, want) {
		t.Errorf("gathered %x\nwant     %x", got, want)
	}
	if g.reset(); len(g.vector) != 0 {
		t.Error("frames stay after a reset")
	}
}

// A full ring drops frames, whole; once there is room it takes them again.
func TestAFullRingDropsFrames(t *testing.T) {
	a := newAcross(1<<10, false)
	sent := func(n int) (out int) {
		for range n {
			a.add(make([]byte, 100), nil)
		}
		a.publish()
		for {
			vector, end := a.take()
			if len(vector) == 0 {
				return out
			}
			for _, f := range vector {
				if !bytes.Equal(f, frame(make([]byte, 100), nil)) {
					t.Fatalf("%x", f)
				}
			}
			out += len(vector)
			a.release(end)
		}
	}
	if n := sent(100); n == 0 || n == 100 {
		t.Errorf("%d of 100 frames passed a ring for eight", n)
	}
	if n := sent(1); n != 1 {
		t.Error("the ring stays full")
	}
}

// A turn that is like the one before allocates nothing, however often.
func TestOutboxesAllocateNothing(t *testing.T) {
	var g gather
	a := newAcross(1<<12, false)
	front, records := make([]byte, 60), make([]byte, 300)
	turn := func() {
		for range 5 {
			g.add(front, records)
			a.add(front, records)
		}
		g.reset()
		a.publish()
		if vector, end := a.take(); len(vector) != 5 {
			t.Fatalf("%d frames", len(vector))
		} else {
			a.release(end)
		}
	}
	if n := testing.AllocsPerRun(2000, turn); n != 0 || cap(g.fronts) > 1<<10 {
		t.Errorf("%v allocations a turn, fronts of %d bytes", n, cap(g.fronts))
	}
}
