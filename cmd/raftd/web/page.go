// Package web is raftd's live page: its files, and the one answer that they ask for once a second.
//
//	GET /            live.html, which names
//	GET /live.css, /live.js, /live.svg
//	GET /live.json   State
//
// Nothing is measured, kept or sent while no page is open. While some are, one state is worked out
// for all of them, at most every Fresh. The files need nothing from elsewhere, and the policy that
// is sent with them would let nothing in: no other host, no inline script, no inline style.
package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Fresh is how long one state serves all who ask. A page asks once a second.
const Fresh = 500 * time.Millisecond

//go:embed live.html live.css live.js live.svg
var files embed.FS

// types has every file that is served, and only those.
var types = map[string]string{
	"live.html": "text/html; charset=utf-8",
	"live.css":  "text/css; charset=utf-8",
	"live.js":   "text/javascript; charset=utf-8",
	"live.svg":  "image/svg+xml",
}

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// page is the handler of all paths.
type page struct {
	read     func() State
	now      func() time.Time
	loopback bool
	tags     map[string]string // of the files, by name
	name     string            // State.Page

	mu   sync.Mutex
	at   time.Time // when body was worked out
	body []byte
}

// Handle adds the page to a mux. read returns the state of the moment: it is called in the
// goroutine of a request, by one at a time, at most once every Fresh. loopback says that the
// server listens where only this machine asks. Then a request must name it by an address or as
// localhost: a page of some other site in a browser of this machine can make a name of its own
// mean 127.0.0.1, and read what is answered.
func Handle(mux *http.ServeMux, loopback bool, read func() State) {
	newPage(loopback, read).handle(mux)
}

func (p *page) handle(mux *http.ServeMux) {
	mux.Handle("GET /{$}", p.guard(p.file("live.html")))
	for name := range types {
		if name != "live.html" {
			mux.Handle("GET /"+name, p.guard(p.file(name)))
		}
	}
	mux.Handle("GET /live.json", p.guard(http.HandlerFunc(p.state)))
}

func newPage(loopback bool, read func() State) *page {
	p := &page{read: read, now: time.Now, loopback: loopback, tags: map[string]string{}}
	whole := sha256.New()
	for _, name := range []string{"live.html", "live.css", "live.js", "live.svg"} {
		b := content(name)
		sum := sha256.Sum256(b)
		p.tags[name] = `"` + hex.EncodeToString(sum[:8]) + `"`
		whole.Write(sum[:])
	}
	p.name = hex.EncodeToString(whole.Sum(nil)[:8])
	return p
}

func content(name string) []byte {
	b, err := files.ReadFile(name)
	if err != nil {
		panic(fmt.Sprintf("web: %s is not embedded: %v", name, err)) // a mistake in this file
	}
	return b
}

// guard sets what every answer says, and refuses names that are not this machine's.
func (p *page) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if p.loopback && !local(r.Host) {
			http.Error(w, "ask for this page by the address or as localhost: it is served to this "+
				"machine only, and other names may be somebody else's",
				http.StatusMisdirectedRequest)
			return
		}
		// Places for HTTP are few, and whoever asks for metrics and readiness needs them: an open
		// page holds none between its requests.
		h.Set("Connection", "close")
		next.ServeHTTP(w, r)
	})
}

// local reports that a Host header names this machine as nobody else can: by an address, or as
// localhost.
func local(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	_, err := netip.ParseAddr(host)
	return err == nil || strings.EqualFold(host, "localhost")
}

func (p *page) file(name string) http.Handler {
	b, tag := content(name), p.tags[name]
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", types[name])
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write(b) // who asked is gone if this fails
	})
}

func (p *page) state(w http.ResponseWriter, _ *http.Request) {
	b, err := p.current()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(b)
}

// current is the state as JSON, not older than Fresh. Who asks while it is worked out waits for
// it, which takes less than working it out again. The bytes do not change.
func (p *page) current() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.now(); p.body == nil || now.Sub(p.at) >= Fresh {
		s := p.read()
		s.Page = p.name
		b, err := json.Marshal(&s)
		if err != nil {
			return nil, err
		}
		p.body, p.at = b, now
	}
	return p.body, nil
}
