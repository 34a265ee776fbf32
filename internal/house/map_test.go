package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTheMapNamesWhatIsThere holds engine/doc.go against the code: every function
// that it names, as package.Type.Method, package.Func or Type.Method, exists.
func TestTheMapNamesWhatIsThere(t *testing.T) {
	known := map[string]bool{}
	walk(t, func(room, file string, _ *ast.File) {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "..", file), nil,
			parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				addMethods(known, path.Base(room), d)
				continue
			}
			name := fn.Name.Name
			if fn.Recv != nil {
				name = receiver(fn.Recv.List[0].Type) + "." + name
				known[name] = true
			}
			known[path.Base(room)+"."+name] = true
		}
	})
	text, err := os.ReadFile("../../engine/doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "# The way of one command")
	if !ok {
		t.Fatal("engine/doc.go has no map")
	}
	named := 0
	names := regexp.MustCompile(`\b[A-Za-z]\w*(\.[A-Za-z]\w*){1,2}\b`)
	for _, name := range names.FindAllString(section, -1) {
		named++
		if !known[name] {
			t.Errorf("engine/doc.go names %s, which is not there", name)
		}
	}
	if named < 40 {
		t.Errorf("found %d names only: the search is broken", named)
	}
}

// addMethods adds the methods of the interfaces that d declares.
func addMethods(known map[string]bool, room string, d ast.Decl) {
	g, ok := d.(*ast.GenDecl)
	if !ok {
		return
	}
	for _, s := range g.Specs {
		ts, ok := s.(*ast.TypeSpec)
		if !ok {
			continue
		}
		if i, ok := ts.Type.(*ast.InterfaceType); ok {
			for _, m := range i.Methods.List {
				for _, n := range m.Names {
					known[ts.Name.Name+"."+n.Name] = true
					known[room+"."+ts.Name.Name+"."+n.Name] = true
				}
			}
		}
	}
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
