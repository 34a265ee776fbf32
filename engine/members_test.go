package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/journal"
)

func at(id uint64, address string) Member { return Member{ID: id, Address: address} }

// What no cluster can live with is refused before anything is taken or written.
func TestMembersAreChecked(t *testing.T) {
	two := func(address string) []Member {
		return []Member{at(1, "10.0.0.1:7380"), at(2, address)}
	}
	dir := filepath.Join(t.TempDir(), "not-made")
	for _, x := range []struct {
		listen  string
		members []Member
		says    string // "": it is taken
	}{
		{"", two("10.0.0.2:7380"), ""},
		{"", two("[2001:db8::1]:7380"), ""},
		{"", two("node_2.example.org:7380"), ""},
		{"", two("10.0.0.1:7381"), ""},
		{"0.0.0.0:7380", two("10.0.0.2:7380"), ""},
		{":7380", two("10.0.0.2:7380"), ""},
		{"192.168.1.4:7380", two("10.0.0.2:7380"), ""}, // addresses are translated
		{"10.0.0.1:0", two("10.0.0.2:7380"), ""},
		{"", []Member{at(1, "127.0.0.1:0")}, ""},
		{"", two("10.0.0.1:7380"), "members 1 and 2 have one address"},
		{"", []Member{at(1, "[::ffff:10.0.0.1]:7380"), at(2, "10.0.0.1:07380")},
			"have one address"},
		{"", []Member{at(1, "Node:7380"), at(2, "node:7380")}, "have one address"},
		{"", []Member{at(1, "10.0.0.1:1"), at(1, "10.0.0.2:1")}, "member 1 is listed twice"},
		{"", []Member{at(0, "10.0.0.1:1"), at(1, "10.0.0.2:1")}, "an id of 0"},
		{"", []Member{at(2, "10.0.0.1:1"), at(3, "10.0.0.2:1")}, "id 1 is not among them"},
		{"", two("10.0.0.2"), `member 2: address "10.0.0.2": is not host:port`},
		{"", two("10.0.0.2:0"), "port 0 is no port that others can dial"},
		{"", two("10.0.0.2:99999"), `port "99999" is not a number up to 65535`},
		{"", two("10.0.0.2:-1"), `port "-1" is not a number up to 65535`},
		{"", two("10.0.0.2:http"), `port "http" is not a number up to 65535`},
		{"", two("10.0.0.2:"), `port "" is not a number up to 65535`},
		{"", two("10.0.0.256:1"), `"10.0.0.256" is neither an IP address nor a host's name`},
		{"", two("a b:1"), `"a b" is neither an IP address nor a host's name`},
		{"", two(":7380"), "it names no machine that others can dial"},
		{"", two("0.0.0.0:7380"), "it names no machine that others can dial"},
		{"", two("[::]:7380"), "it names no machine that others can dial"},
		{"10.0.0.1:7381", two("10.0.0.2:7380"), "list of members has member 1 at 10.0.0.1:7380"},
		{"127.0.0.1:7380", two("10.0.0.2:7380"), "the list of members has member 1 at"},
		{"10.0.0.1", two("10.0.0.2:7380"), "is not host:port"},
	} {
		b := New().Dir(dir).Listen(x.listen).Members(x.members...).StateMachine(&counter{})
		if x.says == "" {
			if err := b.check(); err != nil {
				t.Errorf("%q, %v: %v", x.listen, x.members, err)
			}
			continue
		}
		_, err := b.Start(context.Background())
		var config *ConfigError
		if !errors.As(err, &config) || !strings.Contains(err.Error(), x.says) ||
			config.Option != "Members" && config.Option != "Listen" {
			t.Errorf("%q, %v: %v", x.listen, x.members, err)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a directory was made")
	}
}

// A directory keeps its own members, and what was given instead is said, as is an
// address where the others do not dial.
func TestOtherMembersThanTheDirectorys(t *testing.T) {
	dir, a := "", ports(t, 4)
	start := func(log *notes, listen string, members ...Member) {
		t.Helper()
		b := New().Dir(dir).Listen(listen).StateMachine(&counter{}).Journal(journal.BufferedDsync).
			Logger(log.logger()).Members(members...)
		e, err := b.Start(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	list := []Member{at(1, a[0]), at(2, a[1]), at(3, a[2])}
	c := &cluster{t: t, dir: t.TempDir(), engines: make([]*Engine, 3), sms: make([]*counter, 3),
		members: list}
	c.found()
	dir = filepath.Join(c.dir, "1")
	var first, same, none, other, moved notes
	start(&first, "", list...)
	start(&same, a[0], list[2], list[0], list[1])
	start(&none, a[0])
	start(&other, "", list[0], list[1])
	start(&moved, a[3])
	const lists, elsewhere = "the data directory's own members are used", "where it does not listen"
	for _, quiet := range []*notes{&first, &same, &none} {
		if quiet.count(lists) != 0 || quiet.count(elsewhere) != 0 {
			t.Errorf("without reason: %q", quiet.lines)
		}
	}
	if other.count(lists, a[2], "given=\"[{ID:1 Address:"+a[0]) != 1 {
		t.Errorf("%q", other.lines)
	}
	if moved.count(elsewhere, a[0], a[3]) != 1 {
		t.Errorf("%q", moved.lines)
	}
}
