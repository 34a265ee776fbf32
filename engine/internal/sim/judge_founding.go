package sim

import (
	"bytes"

	"github.com/ringraft/ringraft/engine/internal/config"
)

// promised: a directory promises one list in its life, and is in it.
func (j *judge) promised(h *host, list []byte) {
	if old := j.promises[h.directory]; old != nil && !bytes.Equal(old, list) {
		j.w.fail("founding", "member %d promises two lists with one directory", h.id)
	}
	j.promises[h.directory] = bytes.Clone(list)
}

// founded: every directory of a list that is founded has promised it.
func (j *judge) founded(h *host, list []byte) {
	c, err := config.Decode(list)
	if m, _ := c.Find(h.id); err != nil || m.Directory != h.directory {
		j.w.fail("founding", "member %d founds a cluster without itself: %v", h.id, err)
	}
	for _, v := range c.Voters {
		if len(c.Voters) > 1 && !bytes.Equal(j.promises[v.Directory], list) {
			j.w.fail("founding", "member %d founds what member %d's directory has not promised",
				h.id, v.ID)
		}
	}
}
