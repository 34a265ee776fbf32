package house

import (
	"regexp"
	"testing"
)

// banned lists expressions that may not be written, and what to write instead.
var banned = []struct {
	words   string
	instead string
}{
	// Pages that are not in the tree.
	{`architecture, (section|I\d)`, "a page under docs/, or the reason itself"},
	{`(?i)field.notes`, "the reason itself, or a public issue"},
	{`(?i)first drawing`, "the simpler rule, in words"},
	{`our catalogue`, "the name of the mutant"},
	{`decisions\.md`, "docs/raft.md or docs/architecture.md"},

	// Private words for which the field has one.
	{`\b[Hh]eed(s|ed|ing)?\b`, "followLeader"},
	{`\bentryTrm\b`, "entryTerm"},
	{`\bnewMeta\b`, "metadataPending"},
	{`\bany3\b`, "either"},
	{`\b[Ll]ay(s|ing)?\b|\blaid\b`, "append, write or place"},
	{`\b[Rr]oad(s|Of)?\b|addRoad`, "lane or path"},
	{`\b([Dd]ebts?|[Oo]wes?|[Oo]wed|[Oo]wing)\b`, "pending reply"},
	{`\b[Ss]tranger(s)?\b`, "refused connection"},
	{`\b[Rr]eborn\b`, "restarted"},
	{`\b[Tt]end(s|ed|ing)?\b|\b[Aa]ttended\b`, "maintain"},
	{`\b[Bb]reath(s|e|es|ed)?\b|\b(min|max)Breath\b`, "back off"},
	{`\bflagDoubt\b`, "flagProbation"},
	{`\b[Ll]one\b`, "idle, or a cluster of one"},
	{`\bstage 1 (has|then|takes|makes)\b`, "the stage's name, Append"},
	{`\bstore1\b`, "appendEntries"},
	{`make orders\b`, "make interleave"},
	{`\bserver\.link\b`, "forwarder"},
	{`\b[Ff]arewell|[Gg]oodbye\b`, "what is done when a connection closes"},
}

// TestBannedWords holds text, comments and names to one vocabulary.
func TestBannedWords(t *testing.T) {
	all := texts(t, ".go", ".md", "Makefile", ".proto")
	for _, b := range banned {
		re := regexp.MustCompile(b.words)
		for _, f := range all {
			if f.path == "internal/house/words_test.go" {
				continue
			}
			for n, line := range f.lines {
				if m := re.FindString(line); m != "" {
					t.Errorf("%s:%d: %q: write %s", f.path, n+1, m, b.instead)
				}
			}
		}
	}
}
