package snapshot

import "bytes"

// walk takes the chunks of a file in order, and believes none that does not
// follow from those before and from what was announced.
type walk struct {
	want    Info // Created and Configuration are not looked at
	tally   tally
	created int64
	config  []byte
	whole   bool   // the footer was taken
	raw     []byte // room for a piece
	foot    []byte
}

// take verifies the next chunk, which is all of b; after an error it is wanted
// still.
func (k *walk) take(b []byte) error {
	switch at := k.tally.next; {
	case k.whole:
		return causeTooLong
	case at.Chunk == 0:
		return k.takeHeader(b)
	default:
		c, err := parse(b, at)
		if err != nil {
			return err
		}
		if c.kind == kindFooter {
			return k.takeFooter(&c)
		}
		return k.takePiece(&c, len(b))
	}
}

func (k *walk) takeHeader(b []byte) error {
	h, c, err := parseHead(b)
	if err != nil {
		return err
	}
	if err := h.check(&k.want); err != nil {
		return err
	}
	k.created = h.created
	k.tally.begin(h.id, c.data, len(b))
	return nil
}

// check says whether a file is what it was taken for.
func (h *head) check(want *Info) error {
	if h.cluster != want.Cluster {
		return &ClusterError{Observed: h.cluster, Configured: want.Cluster}
	}
	if h.id != want.ID {
		return causeName
	}
	return nil
}

func (k *walk) takePiece(c *chunk, length int) error {
	if err := c.kind.known(); err != nil {
		return err
	}
	if k.tally.next.Offset+int64(length)+block > k.want.Bytes {
		return causeTooLong
	}
	if c.flags&flagS2 != 0 && len(k.raw) < c.raw {
		k.raw = make([]byte, c.raw)
	}
	raw, err := c.open(k.raw)
	if err != nil {
		return err
	}
	if err := k.tally.add(c, length); err != nil {
		return err
	}
	if c.kind == Configuration {
		k.config = append([]byte{}, raw...)
	}
	return nil
}

func (k *walk) takeFooter(c *chunk) error {
	k.foot = k.tally.footer(k.foot[:0])
	if c.snapshot != k.tally.snapshot || c.flags != 0 || !bytes.Equal(c.data, k.foot) {
		return causeFooter
	}
	if _, err := c.open(nil); err != nil {
		return err
	}
	if k.info().differs(&k.want) {
		return causeAnnounced
	}
	k.whole = true
	return nil
}

// info is the snapshot that ends with the next chunk.
func (k *walk) info() Info {
	return Info{ID: k.want.ID, Cluster: k.want.Cluster, Digest: k.tally.fold.Sum64(),
		Bytes: k.tally.next.Offset + block, Chunks: k.tally.next.Chunk + 1,
		Created: k.created, Configuration: k.config}
}

// differs says whether the same chunks cannot be those of both.
func (i Info) differs(o *Info) bool {
	return i.ID != o.ID || i.Cluster != o.Cluster || i.Digest != o.Digest || i.Bytes != o.Bytes ||
		i.Chunks != o.Chunks
}
