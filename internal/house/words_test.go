package house

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// everywhere holds a word to the whole tree.
var everywhere = []string{""}

// plain are the rooms whose words are the field's. Others follow.
var plain = []string{"docs/", "engine/internal/raft/", "engine/internal/wire/", "journal/",
	"ziplist/", "netio/", "internal/",
	"bench/", "cmd/", "perf/", "README.md", "Makefile"}

// banned lists expressions that may not be written, what to write instead, and
// the rooms that are held to it (prefixes of paths). A row with the rooms plain
// waits for the others.
var banned = []struct {
	words   string
	instead string
	in      []string
}{
	// Pages that are not in the tree.
	{`architecture, (section|I\d)`, "a page under docs/, or the reason itself", everywhere},
	{`(?i)field.notes`, "the reason itself, or a public issue", everywhere},
	{`(?i)first drawing`, "the simpler rule, in words", everywhere},
	{`our catalogue`, "the name of the mutant", everywhere},
	{`decisions\.md`, "docs/raft.md or docs/architecture.md", everywhere},

	// Private words for which the field has one.
	{`\b[Hh]eed(s|ed|ing)?\b`, "followLeader", everywhere},
	{`\bentryTrm\b`, "entryTerm", everywhere},
	{`\bnewMeta\b`, "metadataPending", everywhere},
	{`\bany3\b`, "either", everywhere},
	{`\b[Ll]ay(s|ing)?\b|\blaid\b`, "append, write or place", plain},
	{`\b[Rr]oad(s|Of)?\b|addRoad`, "lane or path", plain},
	{`\b([Dd]ebts?|[Oo]wes?|[Oo]wed|[Oo]wing)\b`, "pending reply", plain},
	{`\b[Ss]tranger(s)?\b`, "refused connection", plain},
	{`\b[Rr]eborn\b`, "restarted", plain},
	{`\b[Tt]end(s|ed|ing)?\b|\b[Aa]ttended\b`, "maintain", plain},
	{`\b[Bb]reath(s|e|es|ed)?\b|\b(min|max)Breath\b`, "back off", plain},
	{`\bflagDoubt\b`, "flagProbation", everywhere},
	{`\b[Ll]one\b`, "idle, or a cluster of one", plain},
	{`\bstore1\b`, "appendEntries", plain},
	{`make orders\b`, "make interleave", everywhere},
	{`\bserver\.link\b`, "forwarder", plain},
	{`\b[Ff]arewell|[Gg]oodbye\b`, "what is done when a connection closes", plain},
}

// TestBannedWords holds text, comments and names to one vocabulary.
func TestBannedWords(t *testing.T) {
	all := texts(t, ".go", ".md", "Makefile", ".proto")
	for _, b := range banned {
		re := regexp.MustCompile(b.words)
		for _, f := range all {
			held := func(room string) bool { return strings.HasPrefix(f.path, room) }
			if f.path == "internal/house/words_test.go" || !slices.ContainsFunc(b.in, held) {
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
