// Command covered prints how much of each file and package a coverage profile
// has run through, in statements.
package main

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
)

type share struct{ all, run int }

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: covered PROFILE")
		os.Exit(2)
	}
	f, err := os.Open(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "covered:", err)
		os.Exit(1)
	}
	defer f.Close()
	files, rooms := map[string]share{}, map[string]share{}
	for s := bufio.NewScanner(f); s.Scan(); {
		name, rest, ok := strings.Cut(s.Text(), ".go:")
		var span string
		var n, hits int
		if _, err := fmt.Sscanf(rest, "%s %d %d", &span, &n, &hits); err != nil || !ok {
			continue
		}
		_, name, _ = strings.Cut(name, "/ringraft/ringraft/")
		add(files, name+".go", n, hits)
		add(rooms, path.Dir(name), n, hits)
	}
	show(files)
	show(rooms)
}

func add(m map[string]share, name string, n, hits int) {
	s := m[name]
	s.all += n
	if hits > 0 {
		s.run += n
	}
	m[name] = s
}

func show(m map[string]share) {
	var names []string
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		fmt.Printf("%6.1f %%  %5d  %s\n", 100*float64(m[n].run)/float64(m[n].all), m[n].all, n)
	}
}
