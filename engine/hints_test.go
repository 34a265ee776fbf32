package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A data directory that was put back to an older copy is refused in words, by who was up
// and by who was started again since, and the others go on. The newer one is taken again.
func TestAnOlderCopyIsRefused(t *testing.T) {
	log := &notes{}
	c := newCluster(t, 3, func(b *Builder) { b.Logger(log.logger()) })
	c.add(1)
	c.stop(2)
	dir, older := filepath.Join(c.dir, "3"), filepath.Join(c.dir, "older")
	newer := filepath.Join(c.dir, "newer")
	if err := os.CopyFS(older, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	c.start(2)
	c.add(1)
	until(t, "all on the disk of member 3, as others know", func() bool {
		for _, e := range c.engines[:2] {
			if s := e.Status(); s.Role == Leader {
				// The founding, the leader's first entry, and two of this test: a status that was
				// published before the last one is of no account.
				return s.Last >= 4 && s.Members[len(s.Members)-1].Match == s.Last
			}
		}
		if c.engines[2].Status().Role == Leader { // then it knows best, and it is to be stopped
			_ = c.engines[2].Transfer(t.Context(), 0) // or the next time
		}
		return false
	})
	c.stop(2)
	for _, step := range []func(){
		func() {},
		func() { c.stop(0); c.start(0); c.stop(1); c.start(1) },
	} {
		step()
		if err := os.Rename(dir, newer); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(dir, os.DirFS(older)); err != nil {
			t.Fatal(err)
		}
		c.start(2)
		words := func() bool {
			return log.count("refused by member", "older copy: bring the newer one back") > 0
		}
		until(t, "a refusal in words", words)
		c.add(1)
		if s := c.engines[2].Status(); s.Leader == 3 || s.Applied >= c.engines[0].Status().Applied {
			t.Errorf("the older copy takes part: %+v", s)
		}
		c.stop(2)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(newer, dir); err != nil {
			t.Fatal(err)
		}
		log.mu.Lock()
		log.lines = nil
		log.mu.Unlock()
	}
	c.start(2)
	until(t, "the newer one has all", func() bool {
		s := c.engines[2].Status()
		return s.Applied > 0 && s.Applied >= c.engines[0].Status().Applied
	})
	if n := log.count("older copy"); n > 0 {
		t.Errorf("the newer one is refused: %s", strings.Join(log.lines, ""))
	}
}

// What cannot be read of the file is forgotten, and nothing else comes of it.
func TestHintsThatCannotBeRead(t *testing.T) {
	log := &notes{}
	c := newCluster(t, 3, func(b *Builder) { b.Logger(log.logger()) })
	c.add(1)
	for i := range 2 {
		c.stop(i)
		path := filepath.Join(c.dir, []string{"1", "2"}[i], hintsName)
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 {
			t.Fatal(len(b), err)
		}
		if b[len(b)/2] ^= 1; i == 1 {
			b = make([]byte, 1<<20)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		c.start(i)
		c.add(1)
	}
	if n := log.count("cannot be read, and is forgotten"); n != 2 {
		t.Errorf("%d lines", n)
	}
}
