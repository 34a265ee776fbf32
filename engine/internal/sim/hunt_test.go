package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	flagMutants  = flag.Bool("mutants", false, "build every mutant and hunt it")
	flagMutant   = flag.String("mutant", "", "only those whose name matches")
	flagPatience = flag.Uint64("mutants.seeds", 10000, "seeds that a mutant may survive")
	flagHunt     = flag.Uint64("sim.hunt", 0, "look for the first failure in so many seeds")
)

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// apply returns the mutated text of a mutant's file.
func (m *mutant) apply(root string) (string, error) {
	b, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(b), m.old); n != 1 {
		return "", fmt.Errorf("%s: its line stands %d times in %s: mend the mutant", m.name, n,
			m.file)
	}
	text := strings.Replace(string(b), m.old, m.new, 1)
	_, err = parser.ParseFile(token.NewFileSet(), m.file, text, 0)
	return text, err
}

// TestMutantsApply: no mutant has lost the rule that it breaks.
func TestMutantsApply(t *testing.T) {
	root := moduleRoot(t)
	var names []string
	for i := range mutants {
		if _, err := mutants[i].apply(root); err != nil {
			t.Error(err)
		}
		if m, ok := also[mutants[i].name]; ok {
			if _, err := m.apply(root); err != nil {
				t.Error(err)
			}
		}
		names = append(names, mutants[i].name)
	}
	if slices.Sort(names); len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Error("two mutants of one name")
	}
}

// TestHunt looks for a failure and prints what it took. TestMutants runs it in every mutant.
func TestHunt(t *testing.T) {
	if *flagHunt == 0 {
		t.Skip("-sim.hunt says no number")
	}
	s := &Sweep{From: 1, To: *flagHunt, Stop: true}
	r := s.Run()
	if len(r.Failures) == 0 {
		fmt.Printf("SURVIVED %d seeds %.1f s\n", r.Seeds, r.Elapsed.Seconds())
		return
	}
	f := r.Failures[0]
	text := strings.Split(f.Text, "\n")[0]
	fmt.Printf("FOUND %d seeds %.1f s seed %d %s: %.110s\n", r.Seeds, r.Elapsed.Seconds(), f.Seed,
		f.Judge, text)
}

var huntLine = regexp.MustCompile(`(FOUND|SURVIVED) (\d+) seeds ([\d.]+) s ?(.*)`)

// TestMutants builds and hunts every mutant, and fails when one survives.
func TestMutants(t *testing.T) {
	if !*flagMutants {
		t.Skip("-mutants not given")
	}
	root := moduleRoot(t)
	var seeds []int
	fmt.Printf("%-32s %7s %8s  %s\n", "mutant", "seeds", "seconds", "found by")
	start := time.Now()
	for i := range mutants {
		m := &mutants[i]
		if *flagMutant != "" && !regexp.MustCompile(*flagMutant).MatchString(m.name) {
			continue
		}
		n, line, err := m.hunt(root, t.TempDir())
		fmt.Printf("%-32s %s\n", m.name, line)
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		seeds = append(seeds, n)
	}
	slices.Sort(seeds)
	if len(seeds) > 0 {
		fmt.Printf("%d found, median %d seeds, most %d; %.0f s\n", len(seeds), seeds[len(seeds)/2],
			seeds[len(seeds)-1], time.Since(start).Seconds())
	}
}

func (m *mutant) hunt(root, dir string) (seeds int, line string, err error) {
	text, err := m.apply(root)
	if err != nil {
		return 0, "", err
	}
	overlay, bin := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "sim.test")
	replace := map[string]string{}
	put := func(file, text string) error {
		changed := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		replace[filepath.Join(root, file)] = changed
		return os.WriteFile(changed, []byte(text), 0o600)
	}
	if err := put(m.file, text); err != nil {
		return 0, "", err
	}
	if second, ok := also[m.name]; ok {
		text, err := second.apply(root)
		if err == nil {
			err = put(second.file, text)
		}
		if err != nil {
			return 0, "", err
		}
	}
	j, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return 0, "", err
	}
	if err := os.WriteFile(overlay, j, 0o600); err != nil {
		return 0, "", err
	}
	build := exec.Command("go", "test", "-c", "-vet=off", "-tags", "poison", "-overlay", overlay,
		"-o", bin, "./engine/internal/sim")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return 0, "does not build", fmt.Errorf("%w\n%s", err, out)
	}
	run := exec.Command(bin, "-test.run", "^TestHunt$", "-sim.hunt",
		strconv.FormatUint(*flagPatience, 10))
	out, err := run.CombinedOutput()
	f := huntLine.FindStringSubmatch(string(out))
	if f == nil {
		return 0, "no verdict", fmt.Errorf("%w\n%.2000s", err, out)
	}
	n, err := strconv.Atoi(f[2])
	if err != nil {
		return 0, "", err
	}
	line = fmt.Sprintf("%7s %8s  %s", f[2], f[3], f[4])
	if f[1] == "SURVIVED" {
		return n, line + "SURVIVED", fmt.Errorf("survived %d seeds: a hole in the simulator (%s)",
			n, m.seen)
	}
	return n, line, nil
}
