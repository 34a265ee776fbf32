package ziplist

import (
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

// Bounds of a block, in bytes of records: a chunk has sixteen, so that a slow
// reader does not unpack much more than it asked for.
const (
	blockLeast = 512
	blockMost  = 64 << 10
)

// askAgain is how many bytes are appended after a refusal before Pack asks
// again: looking and asking costs as much as a few appends. While nothing is
// appended it asks every time.
const askAgain = 256 << 10

// packer packs one chunk at a time beside the writer.
type packer struct {
	task    *task
	idle    *task  // to use again
	table   *table // what was looked through last
	want    uint64 // and cold must reach this before another look makes sense
	dealt   uint64 // no piece that begins below is worth another look
	slot    uint32
	refused int64 // bytes appended ever, when it was refused; 0: it was not
	seen    int64 // and at the last call since
}

// task is the packing of one chunk. What it is given and what comes out are
// the writer's but between start and done.
type task struct {
	chunk  *chunk
	term   uint64
	codec  Codec
	block  uint32
	slot   uint32
	whole  bool   // not worth packing: only its checksum is wanted
	memory []byte // scratch
	run    func() // made once

	out  *packed
	sum  uint64
	done atomic.Bool
}

func newTask() *task {
	w := &task{}
	w.run = func() {
		if !w.whole {
			w.out, w.memory = w.chunk.pack(w.term, w.codec, w.block, w.slot, w.memory)
		}
		if _, used := w.chunk.state(); w.out == nil {
			w.sum = xxhash.Sum64(w.chunk.buf[:used])
		}
		w.done.Store(true)
	}
	return w
}

func (p *packer) busyWith(c *chunk) bool { return p.task != nil && p.task.chunk == c }

// Pack takes what was packed in the background into the store, and has the
// next chunk packed: the oldest that is sealed, has HotBytes behind it and
// holds nothing above cold. Everything up to cold must be durable, and no
// reader but those that are far behind may ask for it. Cheap when there is
// nothing to do. Writer only.
func (s *Store) Pack(cold uint64) {
	k := &s.packer
	if k.refused > 0 && s.appended-k.refused < askAgain && s.appended != k.seen {
		k.seen = s.appended
		return
	}
	for {
		if k.task != nil {
			if !k.task.done.Load() {
				return
			}
			s.install()
		}
		t := s.view.Load()
		if t == k.table && cold < k.want {
			return
		}
		if i := s.coldest(t, cold); i < 0 || !s.start(&t.pieces[i]) {
			return
		}
	}
}

// coldest returns the piece to pack next, or -1.
func (s *Store) coldest(t *table, cold uint64) int {
	k := &s.packer
	k.table, k.want = t, ^uint64(0)
	hot := len(t.pieces)
	for sum := int64(0); hot > 0 && sum < s.cfg.HotBytes; hot-- {
		sum += t.pieces[hot-1].size
	}
	for i := max(t.search(k.dealt), 0); i < hot; i++ {
		p := &t.pieces[i]
		if p.end == 0 {
			break
		}
		if p.first < k.dealt || p.packed != nil || p.summed {
			continue
		}
		if p.chunk.last() > cold {
			k.want = p.chunk.last()
			break
		}
		return i
	}
	return -1
}

// worth reports whether packing may make a chunk smaller. Larger ones hold one
// large value or two, and would fill the cache.
func (s *Store) worth(c *chunk) bool {
	_, used := c.state()
	return len(c.buf) == s.cfg.ChunkBytes && (s.cfg.Codec != None || int(used) < len(c.buf)*7/8)
}

// start has a piece packed; false when that is refused for now.
func (s *Store) start(p *piece) bool {
	k := &s.packer
	if k.idle == nil {
		k.idle = newTask()
	}
	w := k.idle
	w.chunk, w.term, w.codec, w.slot, w.out = p.chunk, p.term, s.cfg.Codec, k.slot, nil
	w.whole = !s.worth(p.chunk)
	w.block = uint32(min(max(s.cfg.ChunkBytes/16, blockLeast), blockMost))
	w.done.Store(false)
	if s.cfg.Background == nil {
		w.run()
	} else if !s.cfg.Background(w.run) {
		k.table, k.refused, k.seen, w.chunk = nil, s.appended, s.appended, nil
		return false
	}
	k.task, k.idle, k.refused = w, nil, 0
	return true
}

// install puts the outcome of the task where the chunk is, if it still is.
func (s *Store) install() {
	k, t := &s.packer, s.view.Load()
	w := k.task
	c := w.chunk
	k.task, k.idle, w.chunk = nil, w, nil
	i := t.search(c.first)
	if i < 0 || t.pieces[i].chunk != c {
		return
	}
	p := t.pieces[i]
	k.dealt = max(k.dealt, p.first+1)
	if w.out == nil {
		p.sum, p.summed = w.sum, true
	} else {
		k.slot += uint32(len(w.out.blocks))
		s.drop(&p, true)
		p.chunk, p.packed, p.size = nil, w.out, w.out.size
		s.bytes += p.size
	}
	s.view.Store(t.with(i, p))
	k.table = nil
}
