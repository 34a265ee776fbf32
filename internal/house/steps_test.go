package house

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// stepRooms are the rooms whose code runs under simulation: what they do may
// depend on nothing but their inputs.
var stepRooms = []string{
	"engine/internal/raft", "engine/internal/raft/quorum", "engine/internal/raft/progress",
	"engine/internal/replica", "engine/internal/pipeline", "engine/internal/peer",
	"engine/internal/config", "engine/internal/founding", "engine/internal/member",
	"engine/internal/discovery",
	"engine/internal/snapshot", "engine/internal/wire", "ring", "ziplist",
	"journal/record", "journal", "internal/simdisk",
}

// besides lists what is allowed to stand beside the rule, and why.
var besides = map[string]string{
	"journal/segments.go: goroutine": "makes and deletes segments ahead; " +
		"simulations do it in the foreground",
	"journal/segments.go: time.Now":   "paces that goroutine",
	"journal/segments.go: time.Since": "paces that goroutine",
	"journal/segments.go: time.Sleep": "paces that goroutine",
	"journal/window.go: goroutine": "reads ahead in Open; " +
		"simulations read in the same order without it",
	"journal/journal.go: time.Now":   "Close waits for a real disk; simulations crash instead",
	"journal/journal.go: time.After": "the same",
	"journal/journal.go: time.Until": "the same",
	"journal/journal.go: select":     "the same",
	"journal/journal.go: goroutine": "Close does not wait for files on a hanging disk; " +
		"simulations crash",
	"ziplist/pace.go: goroutine": "packs beside the writer; " +
		"simulations schedule the task themselves",
	"ziplist/pace.go: time.Now":   "paces that goroutine",
	"ziplist/pace.go: time.Since": "paces that goroutine",
	"ring/atomic.go: select":      "threads park on it; stages do not",
	"ring/atomic.go: time.Now":    "how long a thread slept",
	"ring/atomic.go: time.Since":  "the same",
	"ring/pipeline.go: goroutine": "of pipelines with goroutines; the engine uses none",
	"ring/pipeline.go: select":    "the same",
}

// forbidden are functions that make two runs differ.
var forbidden = []string{
	"time.Now", "time.Since", "time.Until", "time.Sleep", "time.After", "time.Tick",
	"time.NewTimer", "time.NewTicker", "time.AfterFunc", "os.Getpid", "runtime.NumGoroutine",
}

// TestStepsArePure: no clock, no global randomness, no goroutine, no select
// and no map order in what runs under simulation.
func TestStepsArePure(t *testing.T) {
	used := map[string]bool{}
	report := func(rel, what string, fset *token.FileSet, at token.Pos) {
		key := rel + ": " + what
		if _, ok := besides[key]; ok {
			used[key] = true
			return
		}
		t.Errorf("%v: %s: what a step does must follow from its inputs", fset.Position(at), what)
	}
	files := 0
	for _, room := range stepRooms {
		fset := token.NewFileSet()
		dir := filepath.Join("..", "..", filepath.FromSlash(room))
		paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		var parsed []*ast.File
		names := map[*ast.File]string{}
		for _, p := range paths {
			if strings.HasSuffix(p, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(fset, p, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			parsed, names[f] = append(parsed, f), room+"/"+filepath.Base(p)
		}
		files += len(parsed)
		info := localTypes(fset, room, parsed)
		for _, f := range parsed {
			look(f, info, func(what string, at token.Pos) { report(names[f], what, fset, at) })
		}
	}
	if files < 40 {
		t.Errorf("looked at %d files only", files)
	}
	for key := range besides {
		if !used[key] {
			t.Errorf("%s is allowed and does not happen any more", key)
		}
	}
}

func look(f *ast.File, info *types.Info, report func(what string, at token.Pos)) {
	for _, i := range f.Imports {
		if strings.Contains(i.Path.Value, "rand") {
			report("import of "+i.Path.Value, i.Pos())
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			report("goroutine", n.Pos())
		case *ast.SelectStmt:
			report("select", n.Pos())
		case *ast.SelectorExpr:
			if p, ok := n.X.(*ast.Ident); ok && slices.Contains(forbidden, p.Name+"."+n.Sel.Name) {
				report(p.Name+"."+n.Sel.Name, n.Pos())
			}
		case *ast.RangeStmt:
			if tv, ok := info.Types[n.X]; ok && tv.Type != nil {
				if _, isMap := tv.Type.Underlying().(*types.Map); isMap {
					report("map order", n.Pos())
				}
			}
		}
		return true
	})
}

// localTypes checks a package by itself: types of other packages stay unknown,
// but for what wraps the package's own maps.
func localTypes(fset *token.FileSet, path string, files []*ast.File) *types.Info {
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	from := &some{importer.ForCompiler(fset, "source", nil)}
	c := types.Config{Importer: from, Error: func(error) {}}
	_, _ = c.Check(path, fset, files, info) // errors are of foreign packages
	return info
}

type some struct{ std types.Importer }

func (s *some) Import(path string) (*types.Package, error) {
	if path == "sync" || path == "sync/atomic" {
		return s.std.Import(path)
	}
	p := types.NewPackage(path, path[strings.LastIndex(path, "/")+1:])
	p.MarkComplete()
	return p, nil
}
