package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/ringraft/ringraft/internal/simdisk"
	"github.com/ringraft/ringraft/journal/device"
)

const cluster = 0xc1

// strict is a file system that takes nothing unaligned, as direct I/O does.
type strict struct {
	device.FS
	refuse  bool // direct I/O
	flags   []device.Flags
	syncs   int
	read    int // bytes
	handles int // open files
}

type strictFile struct {
	device.File
	fs     *strict
	direct bool
}

var errUnaligned = errors.New("unaligned")

func (s *strict) wrap(f device.File, err error, flags device.Flags) (device.File, error) {
	if err != nil {
		return nil, err
	}
	s.flags = append(s.flags, flags)
	s.handles++
	return &strictFile{f, s, flags.Direct}, nil
}

func (s *strict) Open(name string, f device.Flags) (device.File, error) {
	if f.Direct && s.refuse {
		return nil, device.ErrNoDirect
	}
	file, err := s.FS.Open(name, f)
	return s.wrap(file, err, f)
}

func (s *strict) Create(name string, f device.Flags) (device.File, error) {
	if f.Direct && s.refuse {
		return nil, device.ErrNoDirect
	}
	file, err := s.FS.Create(name, f)
	return s.wrap(file, err, f)
}

func (f *strictFile) aligned(b []byte, off int64) error {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	if f.direct && (len(b)%block != 0 || off%block != 0 || at%block != 0) {
		return errUnaligned
	}
	return nil
}

func (f *strictFile) ReadAt(b []byte, off int64) error {
	f.fs.read += len(b)
	return errors.Join(f.aligned(b, off), f.File.ReadAt(b, off))
}

func (f *strictFile) WriteAt(b []byte, off int64) error {
	return errors.Join(f.aligned(b, off), f.File.WriteAt(b, off))
}

func (f *strictFile) Sync() error { f.fs.syncs++; return f.File.Sync() }

func (f *strictFile) Close() error { f.fs.handles--; return f.File.Close() }

func in(fs device.FS) *Dir { return &Dir{FS: &strict{FS: fs}, Cluster: cluster} }

// part is a section with its bytes.
type part struct {
	kind Kind
	data []byte
}

// noise does not compress, and text does.
func noise(n int, seed uint64) []byte {
	b := make([]byte, (n+7)&^7)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := 0; i < len(b); i += 8 {
		v := r.Uint64()
		for k := range 8 {
			b[i+k] = byte(v >> (8 * k))
		}
	}
	return b[:n]
}

func text(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "key %d holds value %d; ", i, i*i)
	}
	return b.Bytes()[:n]
}

// take takes a snapshot, writing odd numbers of bytes at a time.
func take(d *Dir, h Header, parts ...part) (Info, error) {
	w, err := d.Create(h)
	if err != nil {
		return Info{}, err
	}
	for _, p := range parts {
		s, err := w.Section(p.kind)
		if err != nil {
			return Info{}, err
		}
		for b := p.data; len(b) > 0; {
			n, err := s.Write(b[:min(len(b), 100003)])
			if err != nil {
				return Info{}, err
			}
			b = b[n:]
		}
	}
	return w.Commit()
}

func header(index uint64) Header {
	return Header{ID: ID{index, 3}, Created: 1234567, Configuration: []byte("one two three")}
}

func mustTake(t testing.TB, d *Dir, h Header, parts ...part) Info {
	t.Helper()
	info, err := take(d, h, parts...)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// verify opens and verifies a snapshot.
func verify(d *Dir, id ID) (info Info, err error) {
	r, err := d.Open(id)
	if err != nil {
		return info, err
	}
	return r.Info(), errors.Join(r.Verify(), r.Close())
}

func same(a, b Info) bool {
	return !a.differs(&b) && a.Created == b.Created &&
		bytes.Equal(a.Configuration, b.Configuration) &&
		(a.Configuration == nil) == (b.Configuration == nil)
}

// expect holds that the snapshot has these sections, all of it verified.
func expect(t *testing.T, d *Dir, want Info, parts ...part) {
	t.Helper()
	got, err := verify(d, want.ID)
	if err != nil || !same(got, want) {
		t.Fatalf("%+v, %v; want %+v", got, err, want)
	}
	r, err := d.Open(want.ID)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []Kind
	if want.Configuration != nil {
		kinds = append(kinds, Configuration)
	}
	for _, p := range parts {
		kinds = append(kinds, p.kind)
		s, err := r.Section(p.kind)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(s); err != nil || !bytes.Equal(b, p.data) {
			t.Fatalf("section %d: %d bytes, %v; want %d", p.kind, len(b), err, len(p.data))
		}
	}
	if !slices.Equal(r.Kinds(), kinds) {
		t.Errorf("sections %v, want %v", r.Kinds(), kinds)
	}
	if _, err := r.Section(77); !errors.Is(err, ErrNoSection) {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if n := d.FS.(*strict).handles; n != 0 {
		t.Errorf("%d files are open", n)
	}
}

func files(t *testing.T, d *Dir) []string {
	t.Helper()
	names, err := d.FS.List()
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 64, block - chunkHeader, block - chunkHeader + 1, pieceBytes - 1,
		pieceBytes, pieceBytes + 1, 3 * pieceBytes, 3*pieceBytes + 7} {
		for what, data := range map[string][]byte{"noise": noise(n, 1), "text": text(n)} {
			t.Run(fmt.Sprint(n, " bytes of ", what), func(t *testing.T) {
				d := in(simdisk.New())
				parts := []part{{StateMachine, data}, {Sessions, noise(n/2, 2)}, {Clock, nil},
					{Optional + 9, text(n)}}
				info := mustTake(t, d, header(9), parts...)
				expect(t, d, info, parts...)
				size := int64(len(d.FS.(*strict).FS.(*simdisk.Disk).Data(info.Name())))
				if size != info.Bytes || size%block != 0 {
					t.Errorf("%d bytes, told %d", size, info.Bytes)
				}
				if what == "text" && n >= pieceBytes && size > int64(3*n/2) {
					t.Errorf("%d bytes take %d", 5*n/2, size)
				}
			})
		}
	}
}

// A snapshot need have no section at all, and the configuration may be empty.
func TestConfigurations(t *testing.T) {
	for _, config := range [][]byte{nil, {}, noise(pieceBytes, 3)} {
		d, h := in(simdisk.New()), header(1)
		h.Configuration = config
		expect(t, d, mustTake(t, d, h))
	}
	d, h := in(simdisk.New()), header(1)
	w, err := d.Create(h)
	if err != nil {
		t.Fatal(err)
	}
	h.Configuration[0]++ // it is the caller's again
	info, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	expect(t, d, info)
	h.Configuration = make([]byte, pieceBytes+1)
	if _, err := in(simdisk.New()).Create(h); err == nil {
		t.Error("a configuration of more than a chunk")
	}
	if _, err := in(simdisk.New()).Create(Header{}); err == nil {
		t.Error("a snapshot of nothing")
	}
}

// The file is the same on all members, but for when it was taken and the two
// checksums over that.
func TestFilesAreTheSameOnAllMembers(t *testing.T) {
	one, two := simdisk.New(), simdisk.New()
	parts := []part{{StateMachine, text(2 * pieceBytes)}, {Sessions, noise(10000, 1)}}
	h := header(9)
	a := mustTake(t, in(one), h, parts...)
	h.Created = -99
	b := mustTake(t, in(two), h, parts...)
	if a.Digest != b.Digest || a.Bytes != b.Bytes {
		t.Fatalf("%+v %+v", a, b)
	}
	x, y := one.Data(a.Name()), two.Data(a.Name())
	for i := range x {
		within := func(from, to int) bool { return from <= i && i < to }
		if x[i] != y[i] && !within(32, 40) && !within(56, 64) && !within(64+32, 64+40) {
			t.Fatalf("byte %d", i)
		}
	}
	for what, change := range map[string]func(h *Header, d *Dir, p []part){
		"index":         func(h *Header, _ *Dir, _ []part) { h.Index++ },
		"term":          func(h *Header, _ *Dir, _ []part) { h.Term++ },
		"cluster":       func(_ *Header, d *Dir, _ []part) { d.Cluster++ },
		"configuration": func(h *Header, _ *Dir, _ []part) { h.Configuration = []byte("one two") },
		"kind":          func(_ *Header, _ *Dir, p []part) { p[1].kind = Clock },
		"bytes":         func(_ *Header, _ *Dir, p []part) { p[1].data = noise(10000, 2) },
		"fewer bytes":   func(_ *Header, _ *Dir, p []part) { p[1].data = p[1].data[:9999] },
	} {
		h, d, p := header(9), in(simdisk.New()), slices.Clone(parts)
		change(&h, d, p)
		if c := mustTake(t, d, h, p...); c.Digest == a.Digest {
			t.Errorf("another %s, and the same digest", what)
		}
	}
}

// The digest says what pieces hold, not how they are stored.
func TestDigestIsOfTheContent(t *testing.T) {
	payload := (&head{id: ID{1, 1}}).append(nil)
	var plain, packed tally
	plain.begin(ID{1, 1}, payload, block)
	packed.begin(ID{1, 1}, payload, block)
	c := chunk{kind: StateMachine, raw: 100, content: 5, snapshot: plain.snapshot}
	err := plain.add(&c, 2*block)
	c.flags = flagS2
	if err = errors.Join(err, packed.add(&c, block)); err != nil {
		t.Fatal(err)
	}
	if plain.fold.Sum64() != packed.fold.Sum64() {
		t.Error("the digests differ")
	}
}

// Sections do not come in another order, and only a last piece is shorter.
func TestOrderOfPieces(t *testing.T) {
	type piece struct {
		kind Kind
		raw  int
	}
	for _, c := range []struct {
		sound  bool
		pieces []piece
	}{
		{true, []piece{{1, 5}, {2, pieceBytes}, {2, 1}, {3, 0}, {4, 9}}},
		{false, []piece{{2, 5}, {2, 5}}},
		{false, []piece{{2, pieceBytes}, {2, 0}}},
		{false, []piece{{2, 0}, {2, 5}}},
		{false, []piece{{3, 5}, {2, 5}}},
		{false, []piece{{2, 5}, {3, 5}, {2, 5}}},
		{false, []piece{{1, pieceBytes}, {1, 5}}},
		{false, []piece{{kindHeader, 5}}},
		{false, []piece{{2, 1}, {kindFooter, 5}}},
	} {
		var y tally
		y.begin(ID{1, 1}, (&head{id: ID{1, 1}}).append(nil), block)
		var err error
		for _, p := range c.pieces {
			k := chunk{kind: p.kind, raw: p.raw, snapshot: y.snapshot}
			if err = y.add(&k, ChunkBytes); err != nil {
				break
			}
		}
		if (err == nil) != c.sound {
			t.Errorf("%v: %v", c.pieces, err)
		}
	}
}

// A piece is compressed when that takes fewer blocks, and only then.
func TestPackedWhenItTakesFewerBlocks(t *testing.T) {
	for n, flags := range map[int]uint16{3000: 0, block - chunkHeader: 0, 5000: flagS2} {
		disk := simdisk.New()
		info := mustTake(t, in(disk), header(9), part{StateMachine, text(n)})
		b := disk.Data(info.Name())[2*block:]
		length, err := measure(b)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := parse(b[:length], Place{2, 2 * block}); err != nil || c.flags != flags {
			t.Errorf("%d bytes: flags %d, %v", n, c.flags, err)
		}
	}
}

// Verify reads every byte once, also when many chunks fit into what is read at a
// time.
func TestVerifyReadsOnce(t *testing.T) {
	d := in(simdisk.New())
	info := mustTake(t, d, header(9), part{StateMachine, text(9 * pieceBytes)})
	r, err := d.Open(info.ID)
	if err != nil {
		t.Fatal(err)
	}
	s := d.FS.(*strict)
	if s.read = 0; r.Verify() != nil || int64(s.read) != info.Bytes {
		t.Errorf("read %d bytes of %d", s.read, info.Bytes)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestMisuse(t *testing.T) {
	d := in(simdisk.New())
	for _, kinds := range [][]Kind{{kindHeader}, {kindFooter}, {Configuration},
		{Sessions, StateMachine}, {Sessions, Sessions}} {
		w, err := d.Create(header(9))
		for _, k := range kinds {
			if err == nil {
				_, err = w.Section(k)
			}
		}
		if err == nil {
			t.Errorf("sections %v", kinds)
		}
		if _, again := w.Commit(); again != err {
			t.Errorf("%v, then %v", err, again)
		}
	}
	w, err := d.Create(header(9))
	if err != nil {
		t.Fatal(err)
	}
	first, _ := w.Section(StateMachine)
	if _, err := w.Section(Sessions); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Write([]byte{1}); !errors.Is(err, ErrEnded) {
		t.Error(err)
	}
	if err := errors.Join(w.Abort(), w.Abort()); err != nil {
		t.Error(err)
	}
	if _, err := w.Commit(); !errors.Is(err, ErrEnded) {
		t.Error(err)
	}
	if names := files(t, d); len(names) != 0 {
		t.Errorf("%v are left", names)
	}
	if w, err = d.Create(header(9)); err != nil {
		t.Fatal(err)
	}
	for k := Kind(2); int(k) <= sectionsMost; k++ {
		if _, err := w.Section(Optional + k); err != nil {
			t.Fatal(k, err)
		}
	}
	if _, err := w.Section(0xffff); err == nil {
		t.Error("the footer has room for more sections")
	}
}

// As many sections as the footer has room for.
func TestManySections(t *testing.T) {
	d := in(simdisk.New())
	var parts []part
	for k := 1; k < sectionsMost; k++ {
		parts = append(parts, part{Optional + Kind(k), []byte{byte(k)}})
	}
	expect(t, d, mustTake(t, d, header(9), parts...), parts...)
}

func TestListKeepClean(t *testing.T) {
	disk := simdisk.New()
	d := in(disk)
	leave := func(name string) {
		t.Helper()
		if _, err := disk.Create(name, device.Flags{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(d.Clean(), d.Keep(0)); err != nil {
		t.Fatal(err)
	}
	var want []ID
	for _, i := range []uint64{1 << 63, 4096, 255, 17, 9} {
		mustTake(t, d, header(i))
		want = append(want, ID{i, 3})
	}
	others := []string{"000001.seg", "lock", "snapshot-1-2",
		"snapshot-" + strings.Repeat("g", 33), "snapshot-00000000000000FF-0000000000000003",
		"snapshot-0000000000000001-0000000000000001.x",
		"taking-x", "receiving-0000000000000001-0000000000000001"}
	for _, n := range others {
		leave(n)
	}
	if ids, err := d.List(); err != nil || !slices.Equal(ids, want) {
		t.Fatal(ids, err)
	}
	if err := d.Keep(0, ID{17, 3}, ID{3, 3}); err != nil {
		t.Fatal(err)
	}
	kept := []ID{want[0], want[1], want[3]}
	disk.PowerCut(simdisk.Power{})
	if ids, err := d.List(); err != nil || !slices.Equal(ids, kept) {
		t.Fatal(ids, err)
	}
	if err := d.Keep(1); err != nil {
		t.Fatal(err)
	}
	if ids, _ := d.List(); !slices.Equal(ids, want[:1]) {
		t.Fatal(ids)
	}
	newer, older := Info{ID: ID{1<<63 + 1, 1}}, Info{ID: ID{1 << 63, 1}}
	leave(newer.partName())
	leave(older.partName())
	leave(takingPrefix + ID{1<<63 + 9, 1}.text())
	if err := d.Clean(); err != nil {
		t.Fatal(err)
	}
	left := append(slices.Clone(others), want[0].Name(), newer.partName())
	slices.Sort(left)
	if names := files(t, d); !slices.Equal(names, left) {
		t.Errorf("%v are left", names)
	}
}

// Where direct I/O is refused, or asks for larger blocks, files go through the
// page cache and are synced again and again.
func TestBuffered(t *testing.T) {
	data := part{StateMachine, noise(3*syncStep, 1)}
	for what, c := range map[string]struct {
		fs       device.FS
		refuse   bool
		buffered bool
	}{"asked": {simdisk.New(), false, true}, "refused": {simdisk.New(), true, false},
		"blocks": {&large{FS: simdisk.New(), align: 2 * block}, false, false},
		"later":  {&large{FS: simdisk.New(), align: block}, false, false}} {
		s := &strict{FS: c.fs, refuse: c.refuse}
		d := &Dir{FS: s, Cluster: cluster, Buffered: c.buffered}
		info := mustTake(t, d, header(9), data)
		if s.syncs < 4 || s.flags[len(s.flags)-1].Direct {
			t.Errorf("%s: %d syncs, %+v", what, s.syncs, s.flags)
		}
		expect(t, d, info, data)
	}
	s := &strict{FS: simdisk.New()}
	mustTake(t, &Dir{FS: s, Cluster: cluster}, header(9), data)
	if s.syncs != 1 || !s.flags[0].Direct || len(s.flags) != 1 {
		t.Errorf("%d syncs, %+v", s.syncs, s.flags)
	}
}

// large is a file system with large blocks, which it may tell when a file is
// opened.
type large struct {
	device.FS
	align int
}

func (l *large) Align() int { return l.align }

func (l *large) Create(name string, f device.Flags) (device.File, error) {
	l.align = 2 * block
	return l.FS.Create(name, f)
}

// Pace is told of every byte, and its error ends what is being done.
func TestPace(t *testing.T) {
	disk := simdisk.New()
	d, stop := in(disk), errors.New("enough")
	told, most := 0, 1<<60
	d.Pace = func(n int) error {
		if told += n; told > most {
			return stop
		}
		return nil
	}
	data := part{StateMachine, noise(4*pieceBytes, 1)}
	info := mustTake(t, d, header(9), data)
	if int64(told) != info.Bytes {
		t.Errorf("told of %d bytes of %d", told, info.Bytes)
	}
	told = 0
	if _, err := verify(d, info.ID); err != nil || int64(told) != info.Bytes+block {
		t.Errorf("told of %d bytes of %d and a configuration, %v", told, info.Bytes, err)
	}
	told, most = 0, 2*ChunkBytes
	if _, err := verify(d, info.ID); !errors.Is(err, stop) {
		t.Error(err)
	}
	told = 0
	if _, err := take(d, header(10), data); !errors.Is(err, stop) {
		t.Error(err)
	}
	told = 0
	r, err := d.Open(info.ID)
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Section(StateMachine)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(s); !errors.Is(err, stop) || len(b) > 3*ChunkBytes {
		t.Error(len(b), err)
	}
	if names := files(t, d); !slices.Equal(names, []string{info.Name()}) {
		t.Errorf("%v are left", names)
	}
}

// A real directory, with direct I/O where it has it.
func TestRealDirectory(t *testing.T) {
	for _, buffered := range []bool{false, true} {
		fs, err := device.OpenDir(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		d := in(fs)
		d.Buffered = buffered
		parts := []part{{StateMachine, noise(3*pieceBytes+5, 1)}, {Sessions, text(2 * pieceBytes)}}
		info := mustTake(t, d, header(9), parts...)
		expect(t, d, info, parts...)
		direct := d.FS.(*strict).flags[0].Direct
		t.Logf("O_DIRECT: %v", direct)
		if direct && buffered {
			t.Error("direct, not buffered")
		}
		if err := d.Keep(1); err != nil {
			t.Error(err)
		}
	}
}

func TestNothingThere(t *testing.T) {
	d := in(simdisk.New())
	if _, err := d.Open(ID{1, 1}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	disk := simdisk.New()
	disk.SetBefore(func(*simdisk.Op) error { return syscall.EMFILE })
	_, listed := in(disk).List()
	_, opened := in(disk).Open(ID{1, 1})
	_, received := in(disk).Receive(Info{ID: ID{1, 1}, Cluster: cluster, Bytes: 2 * block})
	for what, err := range map[string]error{"list": listed, "open": opened, "receive": received,
		"keep": in(disk).Keep(1), "clean": in(disk).Clean()} {
		var short *device.ShortageError
		if !errors.As(err, &short) || short.Of != device.NoDescriptor {
			t.Errorf("%s: %v", what, err)
		}
	}
}
