// Package house holds the rules of the house as a test: who may import whom.
package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/ringraft/ringraft/"

// mayImport lists, for each room, the rooms of this module that its
// production code may import. A room that is missing may import none.
var mayImport = map[string][]string{
	"internal/poison":     {},
	"internal/interleave": {},
	"internal/freeport":   {},
	"internal/pages":      {},
	"internal/certs":      {}, // for tests
	"internal/durations":  {},
	"internal/private":    {},
	// The second is imported in builds with the tag interleave.
	"ring":             {"internal/poison", "internal/interleave"},
	"ziplist":          {"journal/record", "internal/poison"},
	"journal/record":   {},
	"journal/device":   {"internal/poison"},
	"internal/simdisk": {"journal/device"},
	"journal": {
		"journal/record", "journal/device", "internal/poison", "internal/durations",
	},
	"netio":                         {},
	"netio/resp":                    {},
	"netio/secure":                  {"netio", "internal/private"},
	"netio/multicast":               {},
	"engine/internal/raft/quorum":   {},
	"engine/internal/raft/progress": {},
	"engine/internal/raft": {
		"engine/internal/raft/quorum",
		"engine/internal/raft/progress",
	},
	"engine/internal/snapshot": {"journal/device"},
	"engine/internal/wire":     {"engine/internal/raft", "journal/record"},
	"engine/internal/config": {
		"engine/internal/raft", "engine/internal/raft/quorum", "engine/internal/wire",
	},
	"engine/internal/founding": {
		"engine/internal/config", "engine/internal/raft", "engine/internal/wire",
	},
	"engine/internal/hints": {"engine/internal/raft"},
	// Neither it nor what it is told by reaches a member: hints of where to dial, no more.
	"engine/internal/discovery": {"engine/internal/raft"},
	"engine/internal/pipeline":  {"ring", "ziplist", "journal", "journal/record"},
	"engine/internal/peer": {
		"engine/internal/raft", "engine/internal/raft/progress", "engine/internal/wire",
		"ziplist", "journal", "journal/record",
	},
	"engine/internal/replica": {
		"engine/internal/raft", "engine/internal/raft/progress", "engine/internal/pipeline",
		"engine/internal/peer", "engine/internal/wire", "ring", "ziplist", "journal",
		"journal/record",
	},
	"engine/internal/member": {
		"engine/internal/config", "engine/internal/founding", "engine/internal/raft",
		"engine/internal/raft/progress", "engine/internal/peer", "engine/internal/pipeline",
		"engine/internal/replica",
		"engine/internal/snapshot", "engine/internal/wire", "journal", "ziplist",
	},
	"engine/internal/link": {
		"engine/internal/hints", "engine/internal/peer", "engine/internal/raft",
		"engine/internal/replica", "engine/internal/wire", "ring", "netio", "netio/secure",
	},
	"engine": {
		"engine/internal/config", "engine/internal/discovery", "engine/internal/founding",
		"engine/internal/hints",
		"engine/internal/link", "engine/internal/member", "engine/internal/raft",
		"engine/internal/raft/progress", "engine/internal/pipeline", "engine/internal/peer",
		"engine/internal/replica", "engine/internal/snapshot", "engine/internal/wire", "ring",
		"ziplist", "journal", "journal/record", "journal/device", "netio", "netio/multicast",
		"netio/secure", "internal/durations",
	},
	"engine/internal/sim": {
		"engine/internal/config", "engine/internal/founding", "engine/internal/member",
		"engine/internal/raft", "engine/internal/replica", "engine/internal/snapshot",
		"engine/internal/pipeline", "engine/internal/peer", "engine/internal/wire", "ring",
		"ziplist", "journal", "journal/record", "journal/device", "netio", "internal/simdisk",
	},
	// The instrument imports no room, the rooms import the instrument, and no
	// room another; bench/resp is the client that two of them ask servers with.
	"bench":               {},
	"bench/resp":          {"bench"},
	"bench/resp/resptest": {}, // for tests
	"bench/load":          {"bench", "bench/resp", "engine", "journal", "internal/freeport"},
	"bench/acks":          {"bench", "bench/resp", "internal/freeport"},
	"bench/rings":         {"bench", "ring"},
	"bench/journals":      {"bench", "journal", "journal/record", "journal/device"},
	"cmd/raftbench": {
		"bench", "bench/load", "bench/acks", "bench/resp", "bench/rings", "bench/journals",
		"journal", "ring",
	},
	"cmd/raftd": {
		"engine", "journal", "journal/record", "netio", "netio/resp", "cmd/raftd/server",
		"cmd/raftd/kv", "cmd/raftd/auth", "cmd/raftd/settings", "cmd/raftd/web", "netio/secure",
	},
	"cmd/raftd/settings":    {},
	"engine/examples/store": {"engine"}, // what a program outside may import
	"cmd/raftd/server": {
		"engine", "netio", "netio/resp", "netio/secure", "cmd/raftd/kv", "cmd/raftd/auth",
	},
	"cmd/raftd/auth": {"internal/private"},
	"cmd/raftd/web":  {}, // it is told the state, and knows no engine
	"cmd/raftd/kv":   {"engine", "netio/resp"},
}

// onlyIn lists foreign packages that only some rooms may import.
var onlyIn = map[string][]string{
	"github.com/panjf2000/gnet":               {"netio"},
	"golang.org/x/sys":                        {"netio", "netio/multicast", "journal/device"},
	"github.com/flynn/noise":                  {"netio/secure"},
	"golang.org/x/crypto":                     {"netio/secure"},
	"github.com/HdrHistogram/hdrhistogram-go": {"bench", "engine"},
}

// rawCalls are the packages that ask the kernel without the standard library's
// care. The measuring rooms have their own, so as to share no code with what
// they measure, but only in files of the name os_linux.go.
var rawCalls = []string{"syscall", "unsafe"}

// coreImports is everything that the pure core may import.
var coreImports = []string{"cmp", "errors", "fmt", "math", "math/bits", "slices", "strings",
	module + "engine/internal/raft/quorum", module + "engine/internal/raft/progress"}

func TestImports(t *testing.T) {
	files := 0
	walk(t, func(room, path string, f *ast.File) {
		files++
		for _, spec := range f.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			check(t, room, path, name)
		}
	})
	if files < 20 {
		t.Fatalf("looked at %d files only: the walk is broken", files)
	}
}

func check(t *testing.T, room, path, name string) {
	t.Helper()
	if target, ours := strings.CutPrefix(name, module); ours {
		if !slices.Contains(mayImport[room], target) {
			t.Errorf("%s: %s may not import %s", path, room, target)
		}
	}
	for prefix, rooms := range onlyIn {
		if strings.HasPrefix(name, prefix) && !slices.Contains(rooms, room) {
			t.Errorf("%s: only %v may import %s", path, rooms, name)
		}
	}
	measures := room == "bench" || strings.HasPrefix(room, "bench/")
	if measures && slices.Contains(rawCalls, name) && filepath.Base(path) != "os_linux.go" {
		t.Errorf("%s: in %s only os_linux.go may import %s", path, room, name)
	}
	if strings.HasPrefix(room, "engine/internal/raft") && !slices.Contains(coreImports, name) {
		t.Errorf("%s: the core is pure; it may not import %s", path, name)
	}
	if strings.HasSuffix(name, "engine/internal/sim") {
		t.Errorf("%s: nothing but tests imports engine/internal/sim", path)
	}
	if name == module+"internal/simdisk" && room != "engine/internal/sim" {
		t.Errorf("%s: nothing but tests and the simulation imports internal/simdisk", path)
	}
}

// walk parses every production file of the module.
func walk(t *testing.T, visit func(room, path string, f *ast.File)) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		hidden := strings.HasPrefix(d.Name(), ".") && rel != "."
		if d.IsDir() && (hidden || rel == "perf" || rel == "bin") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		visit(filepath.ToSlash(filepath.Dir(rel)), rel, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
