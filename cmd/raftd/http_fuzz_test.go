package main

import (
	"bufio"
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// FuzzHTTP asks the port for operators anything: no request breaks a handler, or changes anything.
func FuzzHTTP(f *testing.F) {
	for _, s := range []string{"GET /metrics HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n",
		"GET /healthz HTTP/1.0\r\n\r\n",
		"POST /readyz HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"GET /debug/pprof/cmdline HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /metrics?name[]=raftd_keys HTTP/1.1\r\nHost: a\r\nAccept: " +
			"application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n\r\n",
		"GET /debug/pprof/symbol?0x1+0x2 HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /debug/pprof/heap?debug=-1&gc=9 HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET //../metrics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"} {
		f.Add([]byte(s))
	}
	var once sync.Once
	var d *daemon
	f.Cleanup(func() {
		if d != nil {
			if err := d.stop(); err != nil {
				f.Error(err)
			}
		}
	})
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		once.Do(func() {
			d = launch(t, dir, "--journal", "memory")
			leader(t, []*daemon{d})
		})
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
		if err != nil || r.URL == nil {
			return
		}
		for _, slow := range []string{"profile", "trace", "seconds"} { // they take as long as asked
			if strings.Contains(r.URL.String(), slow) || strings.Contains(r.URL.Path, slow) {
				return
			}
		}
		before := d.engine.Status().Applied
		w := httptest.NewRecorder()
		d.routes(d.plan.http).ServeHTTP(w, r)
		if w.Code < 200 || w.Code > 599 {
			t.Errorf("%d", w.Code)
		}
		if now := d.engine.Status().Applied; now != before {
			t.Errorf("applied %d, and %d before", now, before)
		}
	})
}
