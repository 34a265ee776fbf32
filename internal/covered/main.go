// Command covered prints how much of each file and package coverage profiles
// have run through, in statements, and holds the parts that must never be wrong to
// bars. A statement counts as run when any of the profiles ran it.
package main

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
)

// parts are what is held to a bar, in per cent: files by the beginning of their path. A bar is
// what is reached, rounded down: it rises with the plans, and falls for no new code. What is below
// 100 is mostly words, checks that never fail, and what real threads alone do; of the member also
// servers that join by themselves, and of founding the reasons that it gives for waiting.
var parts = []struct {
	name  string
	bar   float64
	files []string
}{
	{"the core", 90, []string{"engine/internal/raft/"}},
	{"the replica", 89, []string{"engine/internal/replica/"}},
	{"the pipeline", 86, []string{"engine/internal/pipeline/"}},
	{"the peers", 94, []string{"engine/internal/peer/"}},
	{"the member", 85, []string{"engine/internal/member/"}},
	{"founding", 79, []string{"engine/internal/founding/"}},
	{"the journal's recovery", 88, []string{"journal/recover.go", "journal/scan.go",
		"journal/state.go", "journal/verdict.go", "journal/window.go"}},
}

type share struct{ all, run int }

func (s share) percent() float64 { return 100 * float64(s.run) / float64(max(s.all, 1)) }

// span is a run of statements of a file.
type span struct{ file, place string }

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: covered PROFILE...")
		os.Exit(2)
	}
	spans := map[span]share{}
	for _, name := range os.Args[1:] {
		if err := read(name, spans); err != nil {
			fmt.Fprintln(os.Stderr, "covered:", err)
			os.Exit(1)
		}
	}
	files, rooms, held := map[string]share{}, map[string]share{}, map[string]share{}
	for s, n := range spans {
		add(files, s.file, n)
		add(rooms, path.Dir(s.file), n)
		for _, p := range parts {
			named := func(f string) bool { return strings.HasPrefix(s.file, f) }
			if slices.ContainsFunc(p.files, named) {
				add(held, p.name, n)
			}
		}
	}
	show(files)
	show(rooms)
	fmt.Println("held to a bar:")
	show(held)
	below := false
	for _, p := range parts {
		if held[p.name].percent() < p.bar {
			fmt.Fprintf(os.Stderr, "covered: %s is below %.0f %%\n", p.name, p.bar)
			below = true
		}
	}
	if below {
		os.Exit(1)
	}
}

// read adds a profile's spans.
func read(name string, spans map[span]share) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		file, rest, ok := strings.Cut(lines.Text(), ".go:")
		var place string
		var n, hits int
		if _, err := fmt.Sscanf(rest, "%s %d %d", &place, &n, &hits); err != nil || !ok {
			continue
		}
		_, file, _ = strings.Cut(file, "/ringraft/ringraft/")
		s := span{file + ".go", place}
		was := spans[s]
		was.all = n
		if hits > 0 {
			was.run = n
		}
		spans[s] = was
	}
	return lines.Err()
}

func add(m map[string]share, name string, n share) {
	s := m[name]
	s.all += n.all
	s.run += n.run
	m[name] = s
}

func show(m map[string]share) {
	var names []string
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		fmt.Printf("%6.1f %%  %5d  %s\n", m[n].percent(), m[n].all, n)
	}
}
