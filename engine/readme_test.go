package engine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// read is a file.
func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// goBlocks are the blocks of code of a page.
func goBlocks(page string) (blocks []string) {
	for _, b := range strings.Split(page, "```go\n")[1:] {
		code, _, _ := strings.Cut(b, "```")
		blocks = append(blocks, code)
	}
	return blocks
}

// standInExamples fails the test unless each piece of the blocks, up to an empty line, stands in an
// example: so it compiles and runs.
func standInExamples(t *testing.T, blocks []string) {
	t.Helper()
	files, err := filepath.Glob("example*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var examples string
	for _, f := range files {
		b := read(t, f)
		// and what stands in a function, or deeper
		for range 4 {
			examples += b
			b = strings.ReplaceAll(b, "\n\t", "\n")
		}
	}
	for _, code := range blocks {
		for _, piece := range strings.Split(code, "\n\n") {
			if piece = strings.TrimSpace(piece); !strings.Contains(examples, piece) {
				t.Errorf("in no example:\n%s", piece)
			}
		}
	}
	if len(blocks) == 0 {
		t.Error("it shows no code")
	}
}

// What the README shows under Embed stands in an example, so it compiles and runs.
func TestReadmeShowsExamples(t *testing.T) {
	_, section, ok := strings.Cut(read(t, "../README.md"), "\n## Embed\n")
	if !ok {
		t.Fatal("no section about embedding")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	standInExamples(t, goBlocks(section))
}
