package main

import (
	"strings"
	"testing"
)

// A probe says what the member on this machine says, and its status is the answer.
func TestProbe(t *testing.T) {
	d := member(t, t.TempDir(), "--requirepass-file", secretFile(t, "secret"))
	for _, x := range []struct {
		args   string
		status int
		says   string
	}{
		{"probe --http " + d.plan.http, 0, "ready: leader, leader 1, applied"},
		{"probe readyz --http 0.0.0.0:" + port(d.plan.http), 0, "ready: "},
		{"probe readyz --http :" + port(d.plan.http), 0, "ready: "},
		{"probe healthz --http " + d.plan.http, 0, "ok\n"},
		{"probe --http " + freeAddress(t), 1, "connection refused"},
		{"probe --http nonsense", 2, "is not HOST:PORT"},
		{"probe metrics", 2, "readyz or healthz"},
		{"probe readyz healthz", 2, "readyz or healthz"},
	} {
		out, errs, status := raftdTool(t, strings.Fields(x.args)...)
		if status != x.status || !strings.Contains(out+errs, x.says) {
			t.Errorf("%s: status %d: %s%s", x.args, status, out, errs)
		}
	}
	d.stopping.Store(true)
	if _, says, status := raftdTool(t, "probe", "--http", d.plan.http); status != 1 ||
		!strings.Contains(says, "not ready: it stops") {
		t.Errorf("one that stops: status %d: %s", status, says)
	}
	t.Setenv("RAFTD_HTTP", d.plan.http)
	if out, says, status := raftdTool(t, "probe", "healthz"); status != 0 || out != "ok\n" {
		t.Errorf("from the environment: status %d: %s%s", status, out, says)
	}
}
