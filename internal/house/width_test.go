package house

import (
	"path"
	"strings"
	"testing"
	"unicode/utf8"
)

// Lines end before they have to be scrolled: code at 100 columns, where a tab
// counts 4, and pages at 120.
const (
	codeColumns = 100
	pageColumns = 120
	tabColumns  = 4
)

func TestLineWidth(t *testing.T) {
	for _, f := range texts(t, ".go", ".md") {
		limit, room := codeColumns, path.Dir(f.path)
		if path.Ext(f.path) == ".md" {
			limit = pageColumns
			if room != "docs" {
				continue
			}
		}
		free := false // figures and what is made from code
		for n, line := range f.lines {
			switch {
			case strings.HasPrefix(line, "```"):
				free = !free
			case strings.HasPrefix(line, "<!-- "):
				free = !strings.HasPrefix(line, "<!-- end of ")
			}
			if columns(line) <= limit || free {
				continue
			}
			t.Errorf("%s:%d: %d columns; at most %d", f.path, n+1, columns(line), limit)
		}
	}
}

func columns(line string) (n int) {
	n = utf8.RuneCountInString(line)
	for i := range len(line) {
		if line[i] == '\t' {
			n += tabColumns - 1
		}
	}
	return n
}
