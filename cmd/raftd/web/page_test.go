package web

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// served is a page over a clock and a state of the test's.
func served(loopback bool) (p *page, mux *http.ServeMux, reads *int, clock *time.Time) {
	reads, clock = new(int), new(time.Time)
	*clock = time.Unix(1e9, 0)
	mux = http.NewServeMux()
	p = newPage(loopback, func() State {
		*reads++
		return State{ID: "1", Uptime: int64(*reads)}
	})
	p.now = func() time.Time { return *clock }
	p.handle(mux)
	return p, mux, reads, clock
}

func ask(mux *http.ServeMux, method, path, host string, header ...string) *http.Response {
	r := httptest.NewRequest(method, "http://"+host+path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w.Result()
}

// Every file comes with its type, its tag and the policy, and is not sent twice.
func TestFilesAreServed(t *testing.T) {
	_, mux, reads, _ := served(true)
	for path, kind := range map[string]string{"/": "text/html", "/live.css": "text/css",
		"/live.js": "text/javascript", "/live.svg": "image/svg+xml",
		"/live.json": "application/json"} {
		r := ask(mux, "GET", path, "127.0.0.1:7381")
		h := r.Header
		if r.StatusCode != 200 || !strings.HasPrefix(h.Get("Content-Type"), kind) ||
			h.Get("X-Content-Type-Options") != "nosniff" ||
			h.Get("Cross-Origin-Resource-Policy") != "same-origin" ||
			h.Get("Referrer-Policy") != "no-referrer" || h.Get("Connection") != "close" ||
			h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %d %v", path, r.StatusCode, h)
		}
		policy := h.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'",
			"connect-src 'self'", "base-uri 'none'", "form-action 'none'",
			"frame-ancestors 'none'"} {
			if !slices.Contains(strings.Split(policy, "; "), part) {
				t.Errorf("%s: %q is not in the policy %q", path, part, policy)
			}
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
			t.Errorf("%s: policy %q", path, policy)
		}
		if path == "/live.json" {
			continue
		}
		tag := h.Get("ETag")
		r = ask(mux, "GET", path, "127.0.0.1:7381", "If-None-Match", tag)
		if tag == "" || r.StatusCode != http.StatusNotModified {
			t.Errorf("%s: again with tag %s: %d", path, tag, r.StatusCode)
		}
	}
	if *reads != 1 {
		t.Errorf("%d states were worked out, and one was asked for", *reads)
	}
	for _, x := range []struct {
		method, path string
		want         int
	}{{"POST", "/", 405}, {"PUT", "/live.json", 405}, {"GET", "/live.go", 404},
		{"GET", "/live.html", 404}, {"GET", "/x", 404}, {"HEAD", "/", 200}} {
		if r := ask(mux, x.method, x.path, "localhost"); r.StatusCode != x.want {
			t.Errorf("%s %s: %d, want %d", x.method, x.path, r.StatusCode, x.want)
		}
	}
}

// A page of another site that makes its name mean this machine is told nothing.
func TestForeignNamesAreRefused(t *testing.T) {
	for _, x := range []struct {
		host              string
		onLoopback, other int
	}{
		{"127.0.0.1:7381", 200, 200}, {"[::1]:7381", 200, 200}, {"localhost:7381", 200, 200},
		{"LOCALHOST", 200, 200}, {"10.1.2.3", 200, 200}, {"evil.example:7381", 421, 200},
		{"127.0.0.1.evil.example:7381", 421, 200}, {"localhost.evil.example", 421, 200},
	} {
		for loopback, want := range map[bool]int{true: x.onLoopback, false: x.other} {
			_, mux, reads, _ := served(loopback)
			for _, path := range []string{"/", "/live.json", "/live.js"} {
				if r := ask(mux, "GET", path, x.host); r.StatusCode != want {
					t.Errorf("%s%s, loopback %v: %d", x.host, path, loopback, r.StatusCode)
				}
			}
			if want != 200 && *reads != 0 {
				t.Errorf("%s: the state was read", x.host)
			}
		}
	}
}

// A hundred pages cost as much as one: one state serves all who ask within Fresh.
func TestOneStateForAll(t *testing.T) {
	p, _, reads, clock := served(true)
	for second := range 3 {
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if _, err := p.current(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if *reads != second+1 {
			t.Fatalf("%d states for a hundred pages in %d periods", *reads, second+1)
		}
		*clock = clock.Add(Fresh - 1)
		if _, err := p.current(); err != nil || *reads != second+1 {
			t.Fatalf("worked out too early: %v", err)
		}
		*clock = clock.Add(1)
	}
}

var outside = regexp.MustCompile(`(?i)(https?:)?//[a-z0-9]|@import|url\(|srcset|data:`)

// The page needs nothing from elsewhere, and what the policy would refuse is not in it.
func TestNothingFromElsewhere(t *testing.T) {
	for name := range types {
		for n, line := range strings.Split(string(content(name)), "\n") {
			line = strings.ReplaceAll(line, `"http://www.w3.org/2000/svg"`, "") // names, not
			line = strings.ReplaceAll(line, `'http://www.w3.org/2000/svg'`, "") // addresses
			if m := outside.FindString(line); m != "" {
				t.Errorf("%s:%d: %s", name, n+1, line)
			}
		}
	}
	html := string(content("live.html"))
	for what, banned := range map[string]string{
		"a handler":       `(?i)<[^>]*\son[a-z]+\s*=`,
		"a style":         `(?i)<style|\sstyle\s*=`,
		"a script":        `(?i)<script[^>]*>[^<]`,
		"another element": `(?i)<(iframe|object|embed|form|base)\b`,
	} {
		if m := regexp.MustCompile(banned).FindString(html); m != "" {
			t.Errorf("live.html has %s: %s", what, m)
		}
	}
	script := string(content("live.js"))
	for _, banned := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML",
		"document.write", "eval(", "new Function", "cssText", "setAttribute('style'", "srcdoc"} {
		if strings.Contains(script, banned) {
			t.Errorf("live.js uses %s", banned)
		}
	}
}

// What the page names is served, and what is served is named.
func TestPageNamesItsFiles(t *testing.T) {
	html := string(content("live.html"))
	named := map[string]bool{"live.html": true}
	links := regexp.MustCompile(`(?:href|src)="([^"#]+)"`)
	for _, m := range links.FindAllStringSubmatch(html, -1) {
		if strings.HasPrefix(m[1], "live.") {
			named[m[1]] = true
		} else if !slices.Contains([]string{"metrics", "readyz", "healthz"}, m[1]) {
			t.Errorf("the page leads to %s", m[1])
		}
	}
	got, want := slices.Sorted(maps.Keys(named)), slices.Sorted(maps.Keys(types))
	if !slices.Equal(got, want) {
		t.Errorf("named are %v, and served %v", got, want)
	}
}

// The script finds each element by an id that the page has, and each once.
func TestScriptFindsItsElements(t *testing.T) {
	html, script := string(content("live.html")), string(content("live.js"))
	has := map[string]int{}
	for _, m := range regexp.MustCompile(`\sid="([^"]+)"`).FindAllStringSubmatch(html, -1) {
		has[m[1]]++
		if has[m[1]] > 1 {
			t.Errorf("id %s is there twice", m[1])
		}
		quoted := regexp.MustCompile(`['"#]` + m[1] + `\b`)
		if !quoted.MatchString(script) && !strings.Contains(html, `"`+m[1]+`"`+" ") &&
			!quoted.MatchString(strings.ReplaceAll(html, ` id="`+m[1]+`"`, "")) {
			t.Errorf("nobody uses id %s", m[1])
		}
	}
	used := 0
	calls := regexp.MustCompile(`(?:\$|put|big|say|count|arc|new Chart)\('([a-z-]+)'`)
	for _, m := range calls.FindAllStringSubmatch(script, -1) {
		used++
		if has[m[1]] == 0 {
			t.Errorf("the script looks for id %s, and the page has none", m[1])
		}
	}
	if used < 50 {
		t.Errorf("found %d uses only: the search is broken", used)
	}
}

// roots are the variables of the script that hold what the JSON has, and of which type.
var roots = map[string]reflect.Type{"state": reflect.TypeFor[State](),
	"past": reflect.TypeFor[State](), "member": reflect.TypeFor[Member](),
	"stage": reflect.TypeFor[Stage]()}

var chain = regexp.MustCompile(`(?:^|[^\w.$'-])(state|past|member|stage)((?:\.[A-Za-z_]\w*)+)`)

// read returns the fields that a script reads, and those that the JSON has not.
func read(script string) (known map[string]bool, unknown []string) {
	known = map[string]bool{}
	for line := range strings.SplitSeq(script, "\n") {
		line, _, _ = strings.Cut(line, "// ")
		for _, m := range chain.FindAllStringSubmatch(line, -1) {
			at := roots[m[1]]
			for name := range strings.SplitSeq(m[2][1:], ".") {
				if at.Kind() != reflect.Struct {
					break // a method of a list, a text or a number
				}
				i := slices.Index(names(at), name)
				if i < 0 {
					unknown = append(unknown, m[1]+m[2])
					break
				}
				known[at.Name()+"."+name] = true
				at = at.Field(i).Type
			}
		}
	}
	return known, unknown
}

func names(of reflect.Type) (list []string) {
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		list = append(list, name)
	}
	return list
}

// The script reads nothing that the JSON has not, and the JSON has nothing that nobody reads.
func TestScriptAndStateAgree(t *testing.T) {
	known, unknown := read(string(content("live.js")))
	if len(unknown) > 0 {
		t.Errorf("the script reads what is not there: %v", unknown)
	}
	all := 0
	var walk func(of reflect.Type)
	walk = func(of reflect.Type) {
		for i, name := range names(of) {
			all++
			if name == "" {
				t.Errorf("%s.%s has no name", of.Name(), of.Field(i).Name)
			} else if !known[of.Name()+"."+name] {
				t.Errorf("nobody reads %s.%s", of.Name(), name)
			}
			sub := of.Field(i).Type
			if sub.Kind() == reflect.Slice {
				sub = sub.Elem()
			}
			if sub.Kind() == reflect.Struct {
				walk(sub)
			}
		}
	}
	walk(reflect.TypeFor[State]())
	if all < 60 {
		t.Errorf("looked at %d fields only", all)
	}
	for _, planted := range []string{"show(state.nothing)", "a = past.log.nothing;",
		"${member.nothing}", "(stage.nothing)", "[state.ring.slots.x, state.rings]"} {
		if _, unknown := read(planted); len(unknown) != 1 {
			t.Errorf("%s: found %v", planted, unknown)
		}
	}
}

// The JSON has lists where there is nothing to list, as the script expects, and its page's name.
func TestStateIsWhole(t *testing.T) {
	p := newPage(true, func() State {
		return State{Problems: []string{}, Members: []Member{}, Stages: []Stage{}}
	})
	b, err := p.current()
	if err != nil {
		t.Fatal(err)
	}
	var s State
	if err := json.Unmarshal(b, &s); err != nil || len(s.Page) != 16 {
		t.Errorf("%v, page %q", err, s.Page)
	}
	if strings.Contains(string(b), "null") {
		t.Error(string(b))
	}
	if q := newPage(true, nil); q.name != p.name {
		t.Errorf("the same files are page %s and page %s", p.name, q.name)
	}
}
