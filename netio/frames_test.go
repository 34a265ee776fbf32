package netio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
)

// testSink is a FrameSink that keeps records and says no beyond its room.
type testSink struct {
	room      int
	reserved  []byte
	pending   [][]byte
	records   [][]byte
	publishes int
}

func (s *testSink) Reserve(n int) []byte {
	if n > s.room {
		return nil
	}
	s.reserved = make([]byte, n)
	return s.reserved
}

func (s *testSink) Commit(n int) { s.pending = append(s.pending, s.reserved[:n]) }

func (s *testSink) Publish() {
	s.publishes++
	s.records = append(s.records, s.pending...)
	s.pending = nil
}

// stream is a hello and frames with the payloads given.
func stream(payloads ...[]byte) []byte {
	b := AppendFrame(nil, 0, []byte("hello"))
	for _, p := range payloads {
		b = AppendFrame(b, 0, p)
	}
	return b
}

func newFrames(sink *testSink) (*Frames, *[]string) {
	hellos := new([]string)
	return &Frames{Sink: sink, Hello: func(_ *Conn, _ uint32, p []byte) error {
		*hellos = append(*hellos, string(p))
		return nil
	}}, hellos
}

func TestFramesWholeAndBytewise(t *testing.T) {
	payloads := [][]byte{[]byte("a"), bytes.Repeat([]byte("b"), 1000), []byte("ccc")}
	in := stream(payloads...)
	for _, step := range []int{1, 2, 15, 16, 17, 100, len(in)} {
		sink := &testSink{room: 1 << 20}
		f, hellos := newFrames(sink)
		calls := 0
		for b := in; len(b) > 0; calls++ {
			part := b[:min(step, len(b))]
			if n, err := f.Data(nil, part); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
			b = b[len(part):]
		}
		if fmt.Sprint(*hellos) != "[hello]" || len(sink.records) != len(payloads) {
			t.Fatalf("step %d: hellos %v, %d records", step, *hellos, len(sink.records))
		}
		for i, p := range payloads {
			if !bytes.Equal(sink.records[i], p) {
				t.Fatalf("step %d: record %d differs", step, i)
			}
		}
		if step == len(in) && sink.publishes != 1 {
			t.Fatalf("%d publishes in one call", sink.publishes)
		}
		if f.Stats.Frames != 3 || f.Stats.Bytes != 1004 {
			t.Fatalf("counted %+v", f.Stats)
		}
	}
}

// Every single flipped bit must be refused, or leave the stream waiting for bytes that a wrong
// length promised; never may the sink see a record that was not sent.
func TestFramesFlippedBit(t *testing.T) {
	payload := []byte("the payload of a frame")
	for bit := range (FrameHeaderSize + len(payload)) * 8 {
		in := stream(payload)
		hello := len(in) - FrameHeaderSize - len(payload)
		in[hello+bit/8] ^= 1 << (bit % 8)
		in = append(in, stream()...)
		sink := &testSink{room: 1 << 20}
		f, _ := newFrames(sink)
		_, err := f.Data(nil, in)
		if len(sink.records) != 0 {
			t.Fatalf("bit %d: a damaged frame passed", bit)
		}
		var bad *FrameError
		if !errors.As(err, &bad) && f.kind == frameHeader {
			t.Fatalf("bit %d: %v", bit, err)
		}
		if inLength := bit < 32; !inLength && err == nil {
			t.Fatalf("bit %d was not noticed", bit)
		}
	}
}

func TestFramesRefuse(t *testing.T) {
	header := func(length, flags uint32) []byte {
		b := binary.LittleEndian.AppendUint32(nil, length)
		b = binary.LittleEndian.AppendUint32(b, flags)
		return append(b, make([]byte, 8)...)
	}
	for name, c := range map[string]struct {
		in   []byte
		want error
	}{
		"garbage":     {bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 4), ErrFrameLength},
		"empty":       {header(0, 0), ErrFrameLength},
		"long hello":  {header(DefaultControlMax+1, 0), ErrFrameLength},
		"long frame":  {append(stream(), header(DefaultFrameMax+1, 0)...), ErrFrameLength},
		"flags":       {append(stream(), header(1, 2)...), ErrFrameFlags},
		"wrong hello": {append(header(1, 0), 'x'), ErrFrameChecksum},
	} {
		f, _ := newFrames(&testSink{room: 1 << 20})
		if _, err := f.Data(nil, c.in); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestFramesWithoutRoom(t *testing.T) {
	sink := &testSink{room: 10}
	f, _ := newFrames(sink)
	in := stream([]byte("small"), bytes.Repeat([]byte("x"), 11), []byte("again"))
	for _, b := range in {
		if _, err := f.Data(nil, []byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if len(sink.records) != 2 || string(sink.records[1]) != "again" {
		t.Fatalf("records %q", sink.records)
	}
	if f.Stats.Dropped != 1 || f.Stats.DroppedBytes != 11 {
		t.Fatalf("counted %+v", f.Stats)
	}
}

func TestFramesControl(t *testing.T) {
	sink := &testSink{room: 100}
	f, _ := newFrames(sink)
	var got []string
	f.Control = func(_ *Conn, flags uint32, p []byte) error {
		got = append(got, fmt.Sprint(flags, string(p)))
		return nil
	}
	in := AppendFrame(stream([]byte("a")), 3, []byte("control"))
	if _, err := f.Data(nil, in); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != "[3control]" && fmt.Sprint(got) != "[3 control]" {
		t.Fatal(got)
	}
	if len(sink.records) != 1 {
		t.Fatalf("%d records", len(sink.records))
	}
}

func TestFrameSumOfPieces(t *testing.T) {
	pieces := [][]byte{[]byte("one"), nil, []byte("two"), bytes.Repeat([]byte("3"), 100)}
	want := AppendFrame(nil, 5, bytes.Join(pieces, nil))
	var s FrameSum
	header := make([]byte, FrameHeaderSize)
	if n := testing.AllocsPerRun(10, func() {
		s.Reset(5)
		for _, p := range pieces {
			s.Write(p)
		}
		s.Seal(header)
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
	if !bytes.Equal(header, want[:FrameHeaderSize]) {
		t.Fatalf("header %x, want %x", header, want[:FrameHeaderSize])
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(stream([]byte("a"), []byte("bb")), uint8(3))
	f.Add([]byte("GET / HTTP/1.1\r\n"), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		run := func(step int) (string, error) {
			sink := &testSink{room: 50}
			frames, hellos := newFrames(sink)
			for rest := b; len(rest) > 0; {
				part := rest[:min(step, len(rest))]
				n, err := frames.Data(nil, part)
				if err != nil {
					return fmt.Sprint(sink.records, *hellos), err
				}
				if n != len(part) {
					t.Fatal("left bytes")
				}
				rest = rest[n:]
			}
			return fmt.Sprint(sink.records, *hellos), nil
		}
		whole, err1 := run(len(b) + 1)
		split, err2 := run(int(step) + 1)
		if whole != split || fmt.Sprint(err1) != fmt.Sprint(err2) {
			t.Fatalf("whole %s %v; split %s %v", whole, err1, split, err2)
		}
	})
}

type discardSink []byte

func (s discardSink) Reserve(n int) []byte { return s[:n] }
func (s discardSink) Commit(int)           {}
func (s discardSink) Publish()             {}

func BenchmarkFrames(b *testing.B) {
	for _, size := range []int{128, 4 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			f := Frames{Sink: make(discardSink, 1<<20)}
			if _, err := f.Data(nil, stream()); err != nil {
				b.Fatal(err)
			}
			in := AppendFrame(nil, 0, make([]byte, size))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.Data(nil, in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A frame without a checksum is taken where what comes was authenticated, and nowhere else.
func TestBareFrames(t *testing.T) {
	bare := append(AppendFrameHeader(nil), "payload"...)
	BareFrame(bare, len(bare)-FrameHeaderSize)
	for _, authentic := range []bool{true, false} {
		sink := &testSink{room: 1 << 20}
		f, _ := newFrames(sink)
		f.Authentic = authentic
		_, err := f.Data(nil, append(stream([]byte("summed")), bare...))
		want := "[summed payload]"
		if !authentic {
			want = "[summed]"
		}
		got := fmt.Sprintf("%s", sink.records)
		if got != want || errors.Is(err, ErrFrameChecksum) == authentic {
			t.Errorf("authentic %v: %s, %v", authentic, sink.records, err)
		}
	}
}
