package engine_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/internal/pages"
)

const page = "../docs/embedding.md"

// All code of the page compiles and runs: the program of three processes is in examples/store,
// piece by piece, and everything else stands in an example.
func TestPageShowsWhatRuns(t *testing.T) {
	before, rest, ok := strings.Cut(read(t, page), "\n## Three processes\n")
	program, after, ok2 := strings.Cut(rest, "\n## ")
	if !ok || !ok2 {
		t.Fatal("the page has no section with a program")
	}
	whole := read(t, "examples/store/main.go")
	if is := strings.Join(goBlocks(program), "\n"); is != whole {
		t.Errorf("the pieces of the program are not examples/store/main.go, but\n%s", is)
	}
	standInExamples(t, goBlocks(before+after))
}

// What a program that embeds the engine has compiled in is on the page, and nothing of it is there
// for tests or for raftd.
func TestPageListsTheModules(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f",
		"{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", ".", "../netio/secure").Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := strings.Fields(string(out))
	slices.Sort(modules)
	modules = slices.Compact(modules)
	var table strings.Builder
	table.WriteString("| module | for |\n|---|---|\n")
	for _, m := range modules {
		if uses[m] == "" {
			t.Errorf("%s is compiled into programs that embed the engine: what for?", m)
		}
		fmt.Fprintf(&table, "| `%s` | %s |\n", m, uses[m])
	}
	pages.Hold(t, page, "modules", table.String())
}

// uses says what a module is compiled in for.
var uses = map[string]string{
	"github.com/HdrHistogram/hdrhistogram-go": "distributions of stage times",
	"github.com/cespare/xxhash/v2":            "checksums",
	"github.com/flynn/noise":                  "members that share a secret",
	"github.com/klauspost/compress":           "the log's tail in memory",
	"github.com/panjf2000/ants/v2":            "gnet",
	"github.com/panjf2000/gnet/v2":            "network loops",
	"go.uber.org/multierr":                    "gnet's log",
	"go.uber.org/zap":                         "gnet's log",
	"golang.org/x/crypto":                     "members that share a secret",
	"golang.org/x/sync":                       "gnet",
	"golang.org/x/sys":                        "Linux",
	"google.golang.org/protobuf":              "messages between members",
	"gopkg.in/natefinch/lumberjack.v2":        "gnet's log",
}

// Each method of Builder and each error of the package is on the page.
func TestPageNamesMethodsAndErrors(t *testing.T) {
	text, names := read(t, page), 0
	named := func(name string) {
		names++
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(text) {
			t.Errorf("the page does not speak of %s", name)
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv != nil && n.Name.IsExported() && receives(n) == "Builder" {
					named(n.Name.Name)
				}
				return false // not what is inside
			case *ast.TypeSpec:
				if n.Name.IsExported() && strings.HasSuffix(n.Name.Name, "Error") {
					named(n.Name.Name)
				}
			case *ast.ValueSpec:
				for _, v := range n.Names {
					if strings.HasPrefix(v.Name, "Err") || strings.HasPrefix(v.Name, "Reason") {
						named(v.Name)
					}
				}
			}
			return true
		})
	}
	if names < 60 {
		t.Errorf("looked for %d names only", names)
	}
}

// receives is the type whose method a function is.
func receives(f *ast.FuncDecl) string {
	if star, ok := f.Recv.List[0].Type.(*ast.StarExpr); ok {
		if name, ok := star.X.(*ast.Ident); ok {
			return name.Name
		}
	}
	return ""
}

// Each example is a whole program, as pkg.go.dev shows it: one in each file, which uses nothing of
// another file and nothing that only this repository can import.
func TestExamplesAreWhole(t *testing.T) {
	files, err := filepath.Glob("example*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		known := map[string]bool{}
		for _, i := range f.Imports {
			path := strings.Trim(i.Path.Value, `"`)
			known[path[strings.LastIndex(path, "/")+1:]] = true
			if strings.Contains(path, "internal/") {
				t.Errorf("%s imports %s", name, path)
			}
		}
		for _, id := range f.Unresolved {
			if !known[id.Name] && !universe[id.Name] {
				t.Errorf("%s: %s is of another file", name, id.Name)
			}
		}
		examples := 0
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(fn.Name.Name, "Example") {
				examples++
			}
		}
		if examples != 1 {
			t.Errorf("%s has %d examples", name, examples)
		}
	}
	if len(files) < 10 {
		t.Errorf("%d examples only", len(files))
	}
}

// universe is what Go declares and examples use.
var universe = map[string]bool{"any": true, "append": true, "bool": true, "byte": true,
	"close": true, "error": true, "false": true, "int": true, "int64": true, "len": true,
	"make": true, "max": true, "new": true, "nil": true, "string": true, "true": true,
	"uint64": true}
