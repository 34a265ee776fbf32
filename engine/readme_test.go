package engine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the README shows under Embed stands in an example, so it compiles and runs.
func TestReadmeShowsExamples(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(readme), "\n## Embed\n")
	if !ok {
		t.Fatal("no section about embedding")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	files, err := filepath.Glob("example*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var examples string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		// and what stands in a function
		examples += string(b) + strings.ReplaceAll(string(b), "\n\t", "\n")
	}
	blocks := strings.Split(section, "```go\n")[1:]
	for _, b := range blocks {
		code, _, _ := strings.Cut(b, "```")
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
