package house

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var (
	linkTo   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	pathOf   = regexp.MustCompile(`\b((?:[\w.-]+/)+[\w.-]+\.(?:go|md|proto|txt|svg))\b`)
	testName = regexp.MustCompile(`\b((?:Test|Fuzz|Benchmark|Example)[A-Z]\w*)(\\?\*)?`)
	testFunc = regexp.MustCompile(`^func ((?:Test|Fuzz|Benchmark|Example)\w*)\(`)
)

// TestLinksLead follows every link of every page to a file, and to a heading
// if it names one.
func TestLinksLead(t *testing.T) {
	pages := texts(t, ".md")
	links := 0
	for _, p := range pages {
		for n, line := range p.lines {
			for _, m := range linkTo.FindAllStringSubmatch(line, -1) {
				if strings.Contains(m[1], "://") {
					continue
				}
				links++
				file, anchor, _ := strings.Cut(m[1], "#")
				target := p.path
				if file != "" {
					target = path.Join(path.Dir(p.path), file)
				}
				if !exists(target) {
					t.Errorf("%s:%d: %s leads nowhere", p.path, n+1, m[1])
					continue
				}
				if anchor != "" && !slices.ContainsFunc(pages, func(q text) bool {
					return q.path == target && hasHeading(q, anchor)
				}) {
					t.Errorf("%s:%d: %s has no heading %q", p.path, n+1, target, anchor)
				}
			}
		}
	}
	if links < 10 {
		t.Errorf("looked at %d links only", links)
	}
}

// hasHeading compares as web pages of repositories do: small letters, digits
// and dashes are left of a heading.
func hasHeading(p text, anchor string) bool {
	return slices.ContainsFunc(p.lines, func(line string) bool {
		heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			return false
		}
		return anchor == strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, heading)
	})
}

// outside are paths in the text that are not files of this tree.
var outside = []string{"http.go", "github.com/", "etcd-io/", "src/"}

// TestMentionedFilesExist finds the files that pages and comments speak of.
func TestMentionedFilesExist(t *testing.T) {
	for _, p := range texts(t, ".md", ".go", "Makefile") {
		for n, line := range p.lines {
			if _, comment, ok := strings.Cut(line, "//"); strings.HasSuffix(p.path, ".go") {
				if !ok {
					continue
				}
				line = comment
			}
			if strings.Contains(line, "://") {
				continue
			}
			for _, m := range pathOf.FindAllString(line, -1) {
				foreign := func(s string) bool { return strings.Contains(m, s) }
				beside := path.Join(path.Dir(p.path), m)
				if !exists(m) && !exists(beside) && !slices.ContainsFunc(outside, foreign) {
					t.Errorf("%s:%d: there is no %s", p.path, n+1, m)
				}
			}
		}
	}
}

// TestMentionedTestsExist finds the tests that pages name; a star stands for
// any ending.
func TestMentionedTestsExist(t *testing.T) {
	var names []string
	for _, f := range texts(t, "_test.go") {
		for _, line := range f.lines {
			if m := testFunc.FindStringSubmatch(line); m != nil {
				names = append(names, m[1])
			}
		}
	}
	for _, p := range texts(t, ".md") {
		for n, line := range p.lines {
			for _, m := range testName.FindAllStringSubmatch(line, -1) {
				if !slices.ContainsFunc(names, func(name string) bool {
					return name == m[1] || m[2] != "" && strings.HasPrefix(name, m[1])
				}) {
					t.Errorf("%s:%d: there is no test %s", p.path, n+1, m[0])
				}
			}
		}
	}
}
