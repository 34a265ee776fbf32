package engine

import (
	"io/fs"
	"path/filepath"
	"testing"
)

// However much is written, the directory takes no more than Disk says.
func TestDiskIsBounded(t *testing.T) {
	// A piece is half a segment: Disk leaves out what is written while a snapshot is taken.
	const pieces, commands, size, after = 192, 32, 8 << 10, 4 << 20
	dir := t.TempDir()
	e := mustAlone(t, dir, &summed{}, func(b *Builder) { b.SnapshotAfter(after) })
	most, used := int64(0), int64(0)
	for range pieces {
		propose(t, e, commands, size)
		untilNoneIsDue(t, e, after)
		total, parts, bounded := e.Disk()
		if !bounded || len(parts) != 3 {
			t.Fatal(total, parts, bounded)
		}
		used = bytesIn(t, dir)
		if most = max(most, total); used > most {
			t.Fatalf("%d bytes, and %v make %d", used, parts, total)
		}
	}
	if written := int64(pieces * commands * size); most > written/2 || used < most/8 {
		t.Errorf("at most %d, used are %d, written were %d", most, used, written)
	}
	e = mustAlone(t, t.TempDir(), &summed{}, nil)
	if total, parts, bounded := e.Disk(); bounded || total != 0 || parts != nil {
		t.Error("a log that nothing lets go is bounded", total, parts)
	}
}

// bytesIn is what the files below a directory take.
func bytesIn(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil { // it may have been removed since
			n += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
