package main

import (
	"context"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A member whose engine has not started is alive and not ready, and says what it waits for.
func TestReadyzWhileStarting(t *testing.T) {
	for _, x := range []struct {
		plan plan
		want string
	}{
		{plan{options: &options{}}, "it recovers its data directory"},
		{plan{options: &options{join: "a:1,b:2", finding: finding{expect: 3}},
			join: []string{"a:1", "b:2"}},
			"it looks for its cluster (--join a:1,b:2, --bootstrap-expect 3)"},
	} {
		d := &daemon{plan: &x.plan, began: time.Now()}
		w := httptest.NewRecorder()
		d.readyz(w, httptest.NewRequest("GET", "/readyz", nil))
		if got := w.Body.String(); w.Code != 503 || !strings.Contains(got, x.want) {
			t.Errorf("/readyz: %d %s", w.Code, got)
		}
		w = httptest.NewRecorder()
		d.healthz(w, httptest.NewRequest("GET", "/healthz", nil))
		if w.Code != 200 {
			t.Errorf("/healthz: %d %s", w.Code, w.Body)
		}
	}
}

// Whoever asks a member that wants a password is told in one line what to give.
func TestStatusWithoutPassword(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("-NOAUTH Authentication required.\r\n"))
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = askCluster(ctx, []string{l.Addr().String()})
	want := l.Addr().String() + " wants a password: give --pass-file, and --user where it is not " +
		"that of the user named default, or the password in RAFTD_PASSWORD"
	if err == nil || err.Error() != want || exitStatus(err) != 2 {
		t.Errorf("%v", err)
	}
}
