package auth

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// small is a book like a part of raftd's.
var small = NewBook([]Command{
	{"get", []string{"read", "string", "fast"}},
	{"set", []string{"write", "string", "slow"}},
	{"config", []string{"slow"}},
	{"config|get", []string{"admin", "slow", "dangerous"}},
	{"config|set", []string{"admin", "slow", "dangerous"}},
	{"select", []string{"fast", "connection"}},
})

func registry(t testing.TB, lines ...string) *Registry {
	t.Helper()
	r := NewRegistry(small)
	for _, line := range lines {
		w := strings.Split(line, " ")
		if err := r.Set(w[0], w[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func TestLogin(t *testing.T) {
	r := registry(t, "bob on >one >two", "off >one", "any on nopass", "none on")
	for _, x := range []struct {
		name, password string
		ok             bool
	}{
		{"bob", "one", true}, {"bob", "two", true}, {"bob", "three", false}, {"bob", "", false},
		{"off", "one", false}, {"any", "", true}, {"any", "x", true}, {"none", "", false},
		{"nobody", "", false}, {"nobody", "one", false}, {"default", "x", true},
	} {
		if u := r.Table().Login(x.name, []byte(x.password)); (u != nil) != x.ok {
			t.Errorf("%s with %q: %v", x.name, x.password, u)
		}
	}
}

// A wrong rule changes nothing of what stood in front of it.
func TestRulesAreAllOrNothing(t *testing.T) {
	r := registry(t, "bob on >pw ~a*")
	before := r.Table()
	err := r.Set("bob", "off", "resetpass", "nonsense", ">x")
	var rule *RuleError
	if !errors.As(err, &rule) || rule.Rule != "nonsense" || r.Table() != before {
		t.Fatalf("%v, changed %v", err, r.Table() != before)
	}
}

func TestAUserThatWasMadeAgainIsAnother(t *testing.T) {
	r := registry(t, "bob on")
	bob := r.Table().User("bob")
	if err := r.Set("bob", "off"); err != nil || !bob.Same(r.Table().User("bob")) {
		t.Fatal("changed, it is another", err)
	}
	if n, err := r.Delete("bob", "nobody"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if err := r.Set("bob", "on"); err != nil || bob.Same(r.Table().User("bob")) {
		t.Fatal("made again, it is the same", err)
	}
	if bob.Same(nil) {
		t.Fatal("gone, it is the same")
	}
}

func TestBounds(t *testing.T) {
	many := func(n int, rule func(i int) string) (list []string) {
		for i := range n {
			list = append(list, rule(i))
		}
		return list
	}
	number := func(i int) string { return strings.Repeat("n", i+1) }
	for what, rules := range map[string][]string{
		"passwords":         many(listMax+1, func(i int) string { return ">" + number(i) }),
		"patterns":          many(listMax+1, func(i int) string { return "~" + number(i) }),
		"channels":          many(listMax+1, func(i int) string { return "&" + number(i) }),
		"selectors":         many(listMax, func(i int) string { return "(~x)" }),
		"rules of commands": many(listMax+1, func(i int) string { return "+get|" + number(i) }),
		"a long pattern":    {"~" + strings.Repeat("x", patternMax+1)},
		"a long channel":    {"&" + strings.Repeat("x", patternMax+1)},
		"a long line":       many(80, func(i int) string { return "~" + number(900+i) }),
		"long rules":        {">" + strings.Repeat("x", lineMax)},
	} {
		if err := NewRegistry(small).Set("u", rules...); err == nil {
			t.Errorf("%s: taken", what)
		}
		if what == "a long line" || what == "long rules" {
			continue
		}
		if err := NewRegistry(small).Set("u", rules[:len(rules)-1]...); err != nil {
			t.Errorf("%s: one less: %v", what, err)
		}
	}
	r := NewRegistry(small)
	if err := r.Set(strings.Repeat("n", nameMax+1)); !errors.Is(err, ErrLongName) {
		t.Error(err)
	}
	var err error
	n := 0
	for rule := "~" + strings.Repeat("x", patternMax); err == nil; n++ {
		err = r.Set(number(n%200)+strings.Repeat("m", n/200), rule, "%R"+rule[:900])
	}
	if !errors.Is(err, ErrFull) || n < tableMax/3000 {
		t.Errorf("%d users: %v", n, err)
	}
}

func write(t *testing.T, mode os.FileMode, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestFilesThatOthersCanReadAreRefused(t *testing.T) {
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o644, 0o601} {
		for _, open := range []func(string) error{
			NewRegistry(small).Open,
			func(f string) error { _, err := ReadPassword(f); return err },
		} {
			if err := open(write(t, mode, "user x")); err == nil ||
				!strings.Contains(err.Error(), "chmod 600") {
				t.Errorf("mode %o: %v", mode, err)
			}
		}
	}
	if err := NewRegistry(small).Open(write(t, 0o400, "user x\n")); err != nil {
		t.Error(err)
	}
}

func TestPasswordFiles(t *testing.T) {
	for text, want := range map[string]string{"pw": "pw", "pw\n": "pw", "pw\r\n": "pw",
		" p w ": " p w ", "": "", "\n": "", "a\x00": "", "a\rb": "",
		"new\nold\n": "new|old", "new\r\nold": "new|old", "a\n\n": "", "\na": "",
		"a\nb\nc\nd\n": "a|b|c|d", "a\nb\nc\nd\ne\n": "",
		strings.Repeat("x", passwordMax+1): ""} {
		list, err := ReadPasswords(write(t, 0o600, text))
		if first, _ := ReadPassword(write(t, 0o600, text)); first !=
			append(slices.Clone(list), "")[0] {
			t.Errorf("%.20q: the first of %q is %q", text, list, first)
		}
		got := strings.Join(list, "|")
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%.20q: %q, %v", text, got, err)
		}
	}
	if _, err := ReadPassword("/nonexistent"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestFilesOfUsers(t *testing.T) {
	for text, says := range map[string]string{
		"":                     "default on nopass",
		"\n  \nuser bob on\n":  "bob on resetchannels -@all\ndefault on nopass",
		"user default on >x\n": "default on #",
		"user bob on (~a +get) (~b +set)": "bob on resetchannels -@all (~a resetchannels -@all " +
			"+get) (~b resetchannels -@all +set)",
		"user a on\r\nuser b  on":      "a on",
		"bob on":                       ":1: line should start with user keyword",
		"user":                         ":1: line should start with user keyword",
		"user a\nuser b x\nuser c y":   ":2: Error in ACL SETUSER modifier 'x': Syntax error\n",
		"user a\nuser a":               ":2: Duplicate user 'a' found",
		"user a (~x":                   "Unmatched parenthesis in acl selector starting at '(~x'.",
		strings.Repeat("x", fileMax+1): "has more than",
	} {
		r := NewRegistry(small)
		err := r.Open(write(t, 0o600, text))
		var got strings.Builder
		for _, u := range r.Table().Users() {
			got.WriteString(strings.TrimPrefix(u.Line(), "user ") + "\n")
		}
		if err != nil {
			got.WriteString(err.Error())
			if r.Table().User("a") != nil {
				t.Error("users changed although a line is wrong")
			}
		}
		if !strings.Contains(got.String(), says) {
			t.Errorf("%.60q: %.200q, want %q", text, got.String(), says)
		}
	}
}

func TestSaveAndLoad(t *testing.T) {
	r := registry(t)
	if err := r.Save(); !errors.Is(err, ErrNoFile) {
		t.Fatal(err)
	}
	if err := r.Load(); !errors.Is(err, ErrNoFile) {
		t.Fatal(err)
	}
	file := write(t, 0o600, "user bob on >x ~a %R~b &c +get -config|get (+set ~z) +select|0\n")
	if err := r.Open(file); err != nil {
		t.Fatal(err)
	}
	bob := r.Table().User("bob")
	if err := r.Set("eve", "on"); err != nil {
		t.Fatal(err)
	}
	if err := r.Save(); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatal(st.Mode(), err)
	}
	other := NewRegistry(small)
	if err := other.Open(file); err != nil {
		t.Fatal(err)
	}
	lines := func(r *Registry) (list []string) {
		for _, u := range r.Table().Users() {
			list = append(list, u.Line())
		}
		return list
	}
	if !slices.Equal(lines(r), lines(other)) {
		t.Fatalf("%q\n%q", lines(r), lines(other))
	}
	if err := r.Load(); err != nil || !bob.Same(r.Table().User("bob")) {
		t.Fatal("loaded, bob is another", err)
	}
	if err := os.Chmod(filepath.Dir(file), 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(filepath.Dir(file), 0o700) //nolint:errcheck // to be removed
	if err := r.Save(); err == nil && os.Getuid() != 0 {
		t.Error("saved in a directory that cannot be written")
	}
}

// Whatever rules say, the line of a user makes the same user again.
func FuzzRules(f *testing.F) {
	for _, s := range []string{"on >pw ~a* +@read -get +set", "(~a +get) (+set",
		"+config|get -@all", "(&))",
		"%R~x %W~x %RW~y &a allkeys resetkeys", "+select|0 +select|1 -select reset nopass",
		"+@slow -config +config|get", "#" + strings.Repeat("0", 64), "! < > ~ % & + - ( ) @"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, rules string) {
		r := NewRegistry(small)
		if r.Set("u", strings.Split(rules, " ")...) != nil {
			return
		}
		u := r.Table().User("u")
		next, err := r.parse([]byte(u.Line()))
		if err != nil {
			t.Fatalf("%q: %v", u.Line(), err)
		}
		v := next.User("u")
		if v.Line() != u.Line() {
			t.Fatalf("%q became %q", u.Line(), v.Line())
		}
		for id := range small.Len() {
			for _, key := range []string{"a", "x", ""} {
				q := Request{Command: id, Args: [][]byte{nil, []byte(key)}, First: 1, Last: 1,
					Step: 1, Access: Read}
				one, _ := u.Check(&q)
				two, _ := v.Check(&q)
				if one != two {
					t.Fatalf("%s of %q: %v and %v", small.Name(id), u.Line(), one, two)
				}
			}
		}
	})
}

// FuzzUsers reads any file.
func FuzzUsers(f *testing.F) {
	f.Add([]byte("user bob on >pw ~* +@all\nuser default off\n"))
	f.Add([]byte("\r\n user x (\nuser"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewRegistry(small)
		next, err := r.parse(b)
		if next.Default() == nil {
			t.Fatal("nobody is the default user")
		}
		if err != nil {
			return
		}
		for _, u := range next.Users() {
			if again, err := r.parse([]byte(u.Line())); err != nil ||
				again.User(u.Name()).Line() != u.Line() {
				t.Fatalf("%q: %v", u.Line(), err)
			}
		}
	})
}

// FuzzMatch holds the glob against the plain recursive one.
func FuzzMatch(f *testing.F) {
	for _, x := range []string{"*a*b", "a?c", "[^a-c]*", `\*x`, "[a", "[]a]", "[z-a]", "**",
		"[a-"} {
		f.Add(x, "abc")
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 12 || len(s) > 12 {
			return
		}
		if got, want := Match(pattern, s), plainMatch(pattern, s); got != want {
			t.Fatalf("%q and %q: %v, want %v", pattern, s, got, want)
		}
	})
}

func plainMatch(p, s string) bool {
	if p == "" {
		return s == ""
	}
	if p[0] == '*' {
		return plainMatch(p[1:], s) || s != "" && plainMatch(p, s[1:])
	}
	if s == "" {
		return false
	}
	n, ok := matchOne(p, s[0])
	return ok && plainMatch(p[n:], s[1:])
}
