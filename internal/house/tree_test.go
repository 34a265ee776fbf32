package house

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var root = filepath.Join("..", "..")

// text is one file of the tree that people read, by its path from the root.
type text struct {
	path  string
	lines []string
}

// texts reads every file of the tree whose name ends in one of the endings.
// Generated code and what a build leaves behind are not people's.
func texts(t *testing.T, endings ...string) (all []text) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel == ".git" || rel == "bin" {
				return fs.SkipDir
			}
			return nil
		}
		ends := func(e string) bool { return strings.HasSuffix(rel, e) }
		if strings.HasSuffix(rel, ".pb.go") || !slices.ContainsFunc(endings, ends) {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		all = append(all, text{rel, strings.Split(string(b), "\n")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 5 {
		t.Fatalf("found %d files only: the walk is broken", len(all))
	}
	return all
}

func exists(path string) bool {
	_, err := os.Stat(filepath.Join(root, filepath.FromSlash(path)))
	return err == nil
}
