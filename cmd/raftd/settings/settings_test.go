package settings

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// flags are one of each kind.
type flags struct {
	id      uint64
	places  int
	wait    time.Duration
	safe    bool
	name    string
	members string
	join    string
	words   []string
	after   int64
	most    int
}

// newSet binds the flags as a program does, and has a command line parsed.
func newSet(t *testing.T, args ...string) (*Set, *flags) {
	t.Helper()
	v := &flags{after: 64 << 20, most: 1 << 20}
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.SortFlags = false
	f.Uint64Var(&v.id, "id", 1, "the id")
	f.IntVar(&v.places, "max-clients", 10, "how many")
	f.DurationVar(&v.wait, "wait", time.Second, "how long")
	f.BoolVar(&v.safe, "safe", false, "whether")
	f.StringVar(&v.name, "name", "", "what it is called")
	f.StringVar(&v.members, "members", "", "who")
	f.StringVar(&v.join, "join", "", "where")
	f.StringSliceVar(&v.words, "words", nil, "some")
	BytesVar(f, &v.after, "snapshot-after", "bytes")
	BytesVar(f, &v.most, "most", "bytes")
	Table(f, "members")
	List(f, "join")
	Choices(f, "name", "one", "two")
	s := New(f, "TEST_")
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	return s, v
}

// file writes a file and returns its path.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAFlagGoesBeforeTheEnvironmentAndThatBeforeTheFile(t *testing.T) {
	path := file(t, "id = 4\nwait = \"4s\"\nsnapshot-after = \"4MiB\"\n")
	s, v := newSet(t, "--id", "2", "--"+FileFlag, path)
	if list := s.Load([]string{"TEST_ID=3", "TEST_WAIT=3s", "PATH=x", "TEST"}); list != nil {
		t.Fatal(list)
	}
	if v.id != 2 || v.wait != 3*time.Second || v.after != 4<<20 || v.most != 1<<20 {
		t.Errorf("%+v", v)
	}
	for name, want := range map[string]string{"id": "--id", "wait": "TEST_WAIT",
		"snapshot-after": path + ":3", "most": "default", FileFlag: "--config"} {
		if got := s.Lookup(name).Where(); got != want {
			t.Errorf("%s comes from %s, want %s", name, got, want)
		}
	}
}

func TestTheEnvironmentNamesTheFile(t *testing.T) {
	s, v := newSet(t)
	if list := s.Load([]string{"TEST_CONFIG=" + file(t, "safe = true")}); list != nil || !v.safe {
		t.Errorf("%v, %+v", list, v)
	}
}

// What is given by any source is given: some flags ask whether they are.
func TestWhatAnySourceHasCountsAsGiven(t *testing.T) {
	s, _ := newSet(t, "--"+FileFlag, file(t, "wait = \"1s\""))
	if list := s.Load([]string{"TEST_ID=1"}); list != nil {
		t.Fatal(list)
	}
	for name, want := range map[string]bool{"id": true, "wait": true, "name": false} {
		if got := s.flags.Changed(name); got != want {
			t.Errorf("%s: given is %v", name, got)
		}
	}
}

func TestValuesOfTheFile(t *testing.T) {
	for _, x := range []struct{ text, name, want string }{
		{"id = 7", "id", "7"},
		{`id = "7"`, "id", "7"},
		{"safe = true", "safe", "true"},
		{`wait = "1m30s"`, "wait", "1m30s"},
		{"snapshot-after = 65536", "snapshot-after", "64KiB"},
		{"snapshot-after = -1", "snapshot-after", "-1"},
		{"snapshot-after = '1gb'", "snapshot-after", "1GiB"},
		{"join = ['a:1', 'b:2']", "join", "a:1,b:2"},
		{"words = ['a', 'b']", "words", "a,b"},
		{"words = 'a'", "words", "a"},
		{"members = \"1=a:1,2=b:2\"", "members", "1=a:1,2=b:2"},
		{"members = ['1=a:1', '2=b:2']", "members", "1=a:1,2=b:2"},
		{"[members]\n10 = 'j:1'\n9 = 'i:1'\n1 = 'a:1'", "members", "1=a:1,9=i:1,10=j:1"},
		{"members = {1 = 'a:1'}", "members", "1=a:1"},
		{"# id = 8\n\nname = \"\"\"a\nid = 9\n\"\"\"", "id", "1"},
		{"name = 1.5", "name", "1.5"},
	} {
		s, _ := newSet(t, "--"+FileFlag, file(t, x.text))
		if list := s.Load(nil); list != nil {
			t.Errorf("%s: %v", x.text, list)
		}
		if got := s.Lookup(x.name).Value(); got != x.want {
			t.Errorf("%s: %s is %q, want %q", x.text, x.name, got, x.want)
		}
	}
}

// Each mistake names its source, and the setting that was meant.
func TestMistakesSayWhereTheyStand(t *testing.T) {
	for _, x := range []struct {
		args, environ, text string
		want                string
	}{
		{args: "--id=x", want: `--id: "x" is not a whole number that is not negative`},
		{args: "--max-clients=1s", want: `--max-clients: "1s" is not a whole number`},
		{args: "--wait=3", want: `--wait: "3" is not a duration such as 250ms, 10s or 2m`},
		{args: "--safe=perhaps", want: `--safe: "perhaps" is not true or false`},
		{args: "--snapshot-after=1XB",
			want: `--snapshot-after: "1XB" is not a number of bytes such as 65536, 64MiB or 1gb`},
		{args: "--id=99999999999999999999", want: `--id: "99999999999999999999" is out of range`},
		{args: "--most=9999999999G", want: `--most: "9999999999G" is out of range`},
		{args: "--config=/nowhere.toml",
			want: "--config: open /nowhere.toml: no such file or directory"},
		{environ: "TEST_ID=", want: `TEST_ID: "" is not a whole number that is not negative`},
		{environ: "TEST_SNAPSHOT_AFTR=1",
			want: "TEST_SNAPSHOT_AFTR: there is no such setting; did you mean " +
				"TEST_SNAPSHOT_AFTER?"},
		{environ: "TEST_snapshot_after=1", want: "TEST_snapshot_after: there is no such setting; " +
			"did you mean TEST_SNAPSHOT_AFTER?"},
		{text: "\n\nid = 'x'", want: `F:3: id: "x" is not a whole number that is not negative`},
		{text: "# c\nsnapshot_after = 1",
			want: `F:2: there is no setting "snapshot_after"; did you mean snapshot-after?`},
		{text: "safe = true\nnothing-like-it = 1",
			want: `F:2: there is no setting "nothing-like-it"`},
		{text: "\n[raft]\nid = 1", want: `F:2: there is no setting "raft"`},
		{text: "a.b = 1", want: `F:1: there is no setting "a"`},
		{text: "id = \n", want: "F:1: expected value but found '\\n' instead"},
		{text: "id = 1\nid = 2", want: "F:2: Key 'id' has already been defined."},
		{text: "config = 'x'", want: "F:1: config: a file cannot name another one"},
		{text: "id = [1]", want: "F:1: id: takes one value, not a list"},
		{text: "\nname = {a = 1}", want: "F:2: name: takes one value, not a table"},
		{text: "id = 2020-01-01",
			want: "F:1: id: is neither a word nor a number nor true or false"},
		{text: "join = [[1]]",
			want: "F:1: join: the list has something that is neither a word nor a number"},
		{text: "[members]\n1 = [1]",
			want: "F:1: members: 1 in the table is neither a word nor a number"},
	} {
		var args, environ []string
		path := "no file"
		if x.args != "" {
			args = append(args, x.args)
		}
		if x.text != "" {
			path = file(t, x.text)
			args = append(args, "--config", path)
		}
		if x.environ != "" {
			environ = append(environ, x.environ)
		}
		s, _ := newSet(t, args...)
		list := s.Load(environ)
		got := strings.ReplaceAll(fmt.Sprint(list), path, "F")
		if len(list) != 1 || got != "["+x.want+"]" || strings.Contains(got, "\n") {
			t.Errorf("%+v:\n got %s\nwant [%s]", x, got, x.want)
		}
	}
}

// Other programs have variables of the same beginning: Kubernetes makes these of a service's name.
func TestVariablesOfOthersAreLeftAlone(t *testing.T) {
	s, _ := newSet(t)
	if list := s.Load([]string{"TEST_SERVICE_HOST=10.0.0.1", "TEST_PORT=tcp://10.0.0.1:7379",
		"TEST_PORT_7379_TCP_ADDR=10.0.0.1", "TEST_", "TESTID=4"}); list != nil {
		t.Error(list)
	}
}

// All mistakes are told at once, and what is wrong has its default.
func TestAllMistakesAreTold(t *testing.T) {
	path := file(t, "wait = 3\nidd = 1\nsafe = 'a'")
	s, v := newSet(t, "--id=x", "--most=many", "--"+FileFlag, path)
	list := s.Load([]string{"TEST_MAX_CLIENTS=no"})
	if len(list) != 6 {
		t.Errorf("%d mistakes: %v", len(list), list)
	}
	if v.id != 1 || v.most != 1<<20 || v.places != 10 || v.wait != time.Second || v.safe {
		t.Errorf("%+v", v)
	}
	for _, name := range []string{"id", "most", "max-clients", "wait", "safe"} {
		if !s.Lookup(name).Wrong {
			t.Errorf("%s is not known to be wrong", name)
		}
	}
}

// A check of a program that names a flag is told with the place where the value stands.
func TestExplain(t *testing.T) {
	path := file(t, "wait = \"2s\"")
	s, _ := newSet(t, "--id=2", "--config", path)
	if list := s.Load([]string{"TEST_MAX_CLIENTS=3"}); list != nil {
		t.Fatal(list)
	}
	for message, want := range map[string]string{
		"--id: must not be 2":        "--id: must not be 2",
		"--max-clients: 3; too few":  "TEST_MAX_CLIENTS: 3; too few",
		"--wait has no end":          path + ":1: wait has no end",
		"--name: must be given":      "--name: must be given",
		"--max: there is no such":    "--max: there is no such",
		"the disk is full, see --id": "the disk is full, see --id",
		"--wait":                     path + ":1: wait",
	} {
		if got := s.Explain(message); got != want {
			t.Errorf("%q: %q, want %q", message, got, want)
		}
	}
	if err := s.Reset(s.Lookup("id")); err != nil {
		t.Fatal(err)
	}
	if x := s.Lookup("id"); x.Value() != "1" || x.Where() != "default" || s.flags.Changed("id") {
		t.Errorf("%q from %s", x.Value(), x.Where())
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "65536": 65536, "64MiB": 64 << 20,
		"1gb": 1 << 30, "1 GB": 1 << 30, "10k": 10000, "10kb": 10240, "10KiB": 10240, "-1": -1,
		"3m": 3e6, "2t": 2e12, "2TiB": 2 << 40, "5b": 5} {
		if got, err := ParseBytes(text); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "k", "1.5gb", "x", "1x", "0x10", "1e3", "9223372036854775808",
		"9000000tib", "-9000000tib", "--1", "1kk"} {
		if n, err := ParseBytes(text); err == nil {
			t.Errorf("%q is %d", text, n)
		}
	}
	for n, want := range map[int64]string{0: "0", -1: "-1", 1: "1", 1024: "1KiB", 1025: "1025",
		256 << 20: "256MiB", 3 << 40: "3TiB", 1 << 62: "4194304TiB"} {
		if got := FormatBytes(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
		if back, err := ParseBytes(FormatBytes(n)); err != nil || back != n {
			t.Errorf("%d comes back as %d, %v", n, back, err)
		}
	}
}

// The file of all defaults says what is the default anyway, whether its settings are comments or
// not.
func TestTheFileOfDefaults(t *testing.T) {
	s, _ := newSet(t)
	var b strings.Builder
	if err := s.WriteDefaults(&b, "front\n\nmore"); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if !strings.HasPrefix(text, "# front\n#\n# more\n\n# the id\n#id = 1\n\n") {
		t.Errorf("%s", text)
	}
	active := strings.ReplaceAll(text, "\n#", "\n# ")
	for _, x := range s.All() {
		active = strings.Replace(active, "\n# "+x.Name+" =", "\n"+x.Name+" =", 1)
	}
	for _, text := range []string{text, active} {
		s, _ := newSet(t, "--"+FileFlag, file(t, text))
		if list := s.Load(nil); list != nil {
			t.Errorf("%v\n%s", list, text)
		}
		for _, x := range s.All() {
			if x.Name != FileFlag && x.Value() != x.Default() {
				t.Errorf("%s: %q, the default is %q", x.Name, x.Value(), x.Default())
			}
			if x.Name != FileFlag && (x.Source.Kind == File) == (text != active) {
				t.Errorf("%s comes from %s", x.Name, x.Where())
			}
		}
	}
}

func TestChanges(t *testing.T) {
	for _, x := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"id", "id", 0}, {"ab", "ba", 2}, {"kitten", "sitting", 3}, {"", "abc", 3},
		{strings.Repeat("x", 65), "id", 64}} {
		if got := changes(x.a, x.b); got != x.want || changes(x.b, x.a) != x.want {
			t.Errorf("%q and %q: %d, want %d", x.a, x.b, got, x.want)
		}
	}
}

// FuzzFile reads any file without a panic, and every mistake is one line.
func FuzzFile(f *testing.F) {
	for _, text := range []string{"id = 1", "[members]\n1 = 'a'", "id = 1\nid = 2", "\"a,b\" = 1",
		"a.b.c = [1, {x = 2}]", "name = '''", "\"\" = 1", "[[id]]", "\"\\u0000\" = 1", "é = 1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, _ := newSet(t, "--"+FileFlag, file(t, text))
		for _, err := range s.Load(nil) {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q", err)
			}
		}
	})
}
