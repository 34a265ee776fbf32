package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func parse(t testing.TB, args ...string) (*plan, error) {
	t.Helper()
	o := defaults()
	f := pflag.NewFlagSet("raftd", pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	o.bind(f)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o.resolve()
}

func TestNoFlagsMeanAClusterOfOneOnLoopback(t *testing.T) {
	p, err := parse(t)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.members) != 0 || p.peer != "127.0.0.1:7380" || p.client != "127.0.0.1:7379" ||
		p.advertise != p.client || !p.journal.Durable() || len(p.warnings()) != 0 {
		t.Fatalf("%+v", p)
	}
}

func TestMistakesAreExplained(t *testing.T) {
	for _, x := range []struct{ args, says string }{
		{"--id 4 --members 1=127.0.0.1:1,2=127.0.0.1:2", "--members has no member 4"},
		{"--members 1:127.0.0.1", "is not ID=HOST:PORT"},
		{"--members 1=127.0.0.1", "is not ID=HOST:PORT"},
		{"--client 0.0.0.0:7379", "--insecure"},
		{"--client :7379", "--insecure"},
		{"--peer 10.1.2.3:7380", "--insecure"},
		{"--http 10.1.2.3:80", "--http-open"},
		{"--client nonsense", "is not HOST:PORT"},
		{"--insecure --client 0.0.0.0:7379", "--advertise"},
		{"--journal fast", "--journal"},
		{"--pipeline round", "--pipeline"},
		{"--threads many", "--threads"},
		{"--follower ask", "--follower"},
		{"--id 0", "--id"},
		{"--join 127.0.0.1:1", "--join needs --peer"},
		{"--bootstrap-expect 3", "needs --join"},
		{"--bootstrap-expect 3 --join 127.0.0.1:1", "--join needs --peer"},
		{"--bootstrap-expect 3 --id 1 --join 127.0.0.1:1 --peer 127.0.0.1:2", "leave --id out"},
		{"--bootstrap-expect 8 --join 127.0.0.1:1 --peer 127.0.0.1:2", "must be 2 to 7"},
		{"--bootstrap-expect 3 --members 1=127.0.0.1:1", "--bootstrap-expect and --members"},
		{"--voters 8", "must be 0 to 7"},
		{"--interface lo", "--interface is of --discover"},
		{"--discover 239.1.1.1:1", "--discover needs --interface"},
		{"--discover 239.1.1.1:1 --interface lo", "--discover needs --cluster"},
		{"--discover 239.1.1.1:1 --interface lo --cluster a", "--discover needs --secret-file"},
		{"--join 127.0.0.1:1 --id 4", "--join needs --peer"},
		{"--join 127.0.0.1 --id 4 --peer 127.0.0.1:2", `--join: "127.0.0.1" is not HOST:PORT`},
		{"--join 127.0.0.1:1 --id 4 --members 1=127.0.0.1:1", "--join and --members"},
		{"--max-value 99999999", "--max-value"},
		{"--log-level loud", "--log-level"},
		{"--tcp-keepalive 1s", "--tcp-keepalive"},
		{"--maxclients 0", "--maxclients"},
	} {
		_, err := parse(t, strings.Fields(x.args)...)
		var usage *usageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), x.says) ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", x.args, err)
		}
	}
}

func TestUnsafeChoicesAreWarnedOf(t *testing.T) {
	p, err := parse(t, "--journal", "memory", "--insecure", "--client", "0.0.0.0:7379",
		"--advertise", "example.org:7379")
	if err != nil {
		t.Fatal(err)
	}
	if w := strings.Join(p.warnings(), "\n"); !strings.Contains(w, "NOT durable") ||
		!strings.Contains(w, "authentication") {
		t.Fatal(w)
	}
	if status := execute([]string{"--nonsense"}); status != 2 {
		t.Fatalf("exit status %d for an unknown flag", status)
	}
}

// Lists of members that nobody can live with are mistakes on the command line, and name the flag.
func TestMistakesInMembersAreExplained(t *testing.T) {
	const list = "1=127.0.0.1:7380,2=127.0.0.1:7480"
	for _, x := range []struct{ args, says string }{
		{"--peer 127.0.0.1:7381 --members " + list,
			"--peer: 127.0.0.1:7381, but the list of members has member 1 at 127.0.0.1:7380"},
		{"--peer 127.0.0.2:7380 --members " + list, "--peer: 127.0.0.2:7380, but"},
		{"--id 2 --members " + list, "--peer: 127.0.0.1:7380, but"},
		{"--members 1=127.0.0.1:7380,2=127.0.0.1:7380",
			"--members: members 1 and 2 have one address"},
		{"--members 1=127.0.0.1:7380,1=127.0.0.1:7480", "--members: member 1 is listed twice"},
		{"--members 1=127.0.0.1:7380,2=127.0.0.1:99999", `--members: member 2: address`},
		{"--members 1=127.0.0.1:7380,2=127.0.0.1:0", "--members: member 2: address"},
		{"--members 1=127.0.0.1:7380,2=!:5", "--members: member 2: address"},
	} {
		args := append(strings.Fields(x.args), "--http", "", "--data", t.TempDir())
		p, err := parse(t, args...)
		if err == nil {
			var d *daemon
			if d, err = start(context.Background(), p); err == nil {
				d.stop()
			}
		}
		if err == nil || !strings.HasPrefix(explain(err), x.says) {
			t.Errorf("%s: %v", x.args, err)
		}
		if status := execute(args); status != 2 {
			t.Errorf("%s: status %d", x.args, status)
		}
	}
}
