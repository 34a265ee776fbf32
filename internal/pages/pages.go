// Package pages keeps parts of the documentation equal to the code that they
// describe. Such a part stands between two comments:
//
//	<!-- commands: from the table in cmd/raftd/server -->
//	…
//	<!-- end of commands -->
//
// A test makes the text from the code and calls [Hold]. It fails when the page
// says something else; with the flag -update it rewrites the page instead.
package pages

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the parts of pages that are made from code")

// Hold fails the test unless the part of the page is want. The page is a path
// from the directory of the test.
func Hold(t *testing.T, page, part, want string) {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	front, rest, ok := strings.Cut(string(b), "<!-- "+part+":")
	comment, rest, ok2 := strings.Cut(rest, "-->\n")
	is, back, ok3 := strings.Cut(rest, "<!-- end of "+part+" -->")
	if !ok || !ok2 || !ok3 {
		t.Fatalf("%s has no part %q between its comments", page, part)
	}
	want = "\n" + strings.TrimSpace(want) + "\n\n"
	if is == want {
		return
	}
	if !*update {
		t.Fatalf("%s, %s: the page differs from the code; run this test with -update.\n"+
			"--- page\n%s--- code\n%s", page, part, is, want)
	}
	begin, end := "<!-- "+part+":"+comment+"-->\n", "<!-- end of "+part+" -->"
	text := front + begin + want + end + back
	if err = os.WriteFile(page, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Words sets words into lines of at most 100 columns.
func Words(words []string) string {
	var s strings.Builder
	column := 0
	for _, w := range words {
		switch {
		case column == 0:
		case column+1+len(w) > 100:
			s.WriteString("\n")
			column = 0
		default:
			s.WriteString(" ")
			column++
		}
		s.WriteString(w)
		column += len(w)
	}
	return s.String()
}
