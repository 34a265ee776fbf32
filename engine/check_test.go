package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ringraft/ringraft/journal"
	"github.com/ringraft/ringraft/netio"
	"github.com/ringraft/ringraft/ziplist"
)

// refused is a value that a method of Builder takes and Start does not.
type refused struct {
	set  func(*Builder)
	says string // what the error has to say: the value, or what would do
}

// refusals has an entry for each method of Builder that has values which Start refuses, takesAny
// for each of the others with the reason.
var refusals = map[string][]refused{
	"ID": {{func(b *Builder) { b.ID(0) }, "not be 0"}},
	"Dir": {
		{func(b *Builder) { b.Dir("") }, "journal.Memory"},
		{func(b *Builder) { b.Dir("a\x00b") }, "no path"},
	},
	"Listen": {
		{func(b *Builder) { b.Listen("127.0.0.1:1").Members(at(1, "127.0.0.1:2")) }, "same port"},
		{func(b *Builder) { b.Listen("nowhere") }, "host:port"},
		{func(b *Builder) { b.Listen("127.0.0.1:99999") }, "65535"},
		{func(b *Builder) { b.Listen("127.0.0.1:-1") }, "65535"},
	},
	"Members": {
		{func(b *Builder) { b.Members(at(0, "127.0.0.1:1")) }, "id of 0"},
		{func(b *Builder) { b.Members(at(1, "nowhere")) }, "host:port"},
		{func(b *Builder) { b.Members(at(2, "127.0.0.1:1")) }, "not among"},
		{func(b *Builder) { b.Members(at(1, "127.0.0.1:1"), at(1, "127.0.0.1:2")) },
			"twice"},
		{func(b *Builder) { b.Members(eight()...) }, "at most 7"},
		{func(b *Builder) {
			b.Members(Member{ID: 1, Address: "127.0.0.1:1", Priority: -1 << 30})
		}, "a priority of"},
	},
	"Join": {
		{func(b *Builder) { b.Join("nowhere").Listen("127.0.0.1:1") }, "host:port"},
		{func(b *Builder) { b.Join("127.0.0.1:0").Listen("127.0.0.1:1") }, "others can dial"},
		{func(b *Builder) { b.Join("0.0.0.0:7380").Listen("127.0.0.1:1") }, "others can dial"},
		{func(b *Builder) { b.Join("127.0.0.1:7380") }, "Listen is not given"},
		{func(b *Builder) { b.Join("127.0.0.1:7380").Listen("0.0.0.0:7381") }, "Listen says"},
		{func(b *Builder) { b.Join("127.0.0.1:7380").Listen("127.0.0.1:0") }, "Listen says"},
		{func(b *Builder) {
			b.Join("127.0.0.1:7380").Listen("127.0.0.1:1").Members(at(1, "127.0.0.1:1"))
		}, "give one of the two"},
		{func(b *Builder) { b.Join(make([]string, 65)...).Listen("127.0.0.1:1") }, "at most 64"},
	},
	"Journal": {
		{func(b *Builder) { b.Journal(-1) }, "journal.Memory"},
		{func(b *Builder) { b.Journal(journal.Memory + 1) }, "journal.Direct"},
	},
	"Pipeline": {
		{func(b *Builder) { b.Pipeline(7) }, "Serial"},
		{func(b *Builder) { b.Pipeline(-1) }, "Parallel"},
	},
	"Threads": {
		{func(b *Builder) { b.Threads(7) }, "Fused"},
		{func(b *Builder) { b.Threads(-1) }, "Threaded"},
	},
	"StateMachine": {{func(b *Builder) { b.StateMachine(nil) }, "none given"}},
	"Advertise": {
		{func(b *Builder) { b.Advertise(strings.Repeat("x", 256)) }, "255"},
		{func(b *Builder) { b.Advertise("host:1\r\nrole:master") }, "control"},
	},
	"Serve": {
		{func(b *Builder) { b.Serve("127.0.0.1:0", nil) }, "nil"},
		{func(b *Builder) { b.Serve("nowhere", front) }, "host:port"},
		{func(b *Builder) { b.Serve("127.0.0.1:70000", front) }, "65535"},
	},
	"Heartbeat": {
		{func(b *Builder) { b.Heartbeat(0) }, "2ms"},
		{func(b *Builder) { b.Heartbeat(-time.Second) }, "2ms"},
		{func(b *Builder) { b.Heartbeat(time.Hour).ElectionTimeout(time.Hour) }, "1m0s"},
	},
	"ElectionTimeout": {
		{func(b *Builder) { b.ElectionTimeout(50 * time.Millisecond) }, "three heartbeats"},
		{func(b *Builder) { b.Heartbeat(300 * time.Millisecond) }, "three heartbeats"},
		{func(b *Builder) { b.ElectionTimeout(-1) }, "1h"},
		{func(b *Builder) { b.ElectionTimeout(1 << 62) }, "1h"},
	},
	"MaxCommand": {
		{func(b *Builder) { b.MaxCommand(0) }, "32 MiB"},
		{func(b *Builder) { b.MaxCommand(-1) }, "32 MiB"},
		{func(b *Builder) { b.MaxCommand(32<<20 + 1) }, "32 MiB"},
	},
	"Memory": {
		{func(b *Builder) { b.Memory(-1) }, "1 TiB"},
		{func(b *Builder) { b.Memory(1 << 62) }, "1 TiB"},
	},
	"Compress": {{func(b *Builder) { b.Compress(77) }, "ziplist.S2"}},
	"Slots": {
		{func(b *Builder) { b.Slots(0) }, "power of two"},
		{func(b *Builder) { b.Slots(-2) }, "power of two"},
		{func(b *Builder) { b.Slots(3) }, "power of two"},
		{func(b *Builder) { b.Slots(1 << 40) }, "power of two"},
	},
	"SegmentBytes": {
		{func(b *Builder) { b.SegmentBytes(-4096) }, "64 GiB"},
		{func(b *Builder) { b.SegmentBytes(4<<20 + 1) }, "multiple of 4096"},
		{func(b *Builder) { b.SegmentBytes(1 << 62) }, "64 GiB"},
		{func(b *Builder) { b.SegmentBytes(1 << 20) }, "MaxCommand"},
	},
	"SnapshotAfter": {
		{func(b *Builder) { b.SnapshotAfter(1000) }, "65536"},
		{func(b *Builder) { b.SnapshotAfter(1 << 60) }, "1125899906842624"},
	},
	"StallLimit": {
		{func(b *Builder) { b.StallLimit(-1) }, "0s"},
		{func(b *Builder) { b.StallLimit(1 << 62).GiveUp(0) }, "1h"},
	},
	"GiveUp": {
		{func(b *Builder) { b.GiveUp(-1) }, "0s"},
		{func(b *Builder) { b.GiveUp(time.Millisecond) }, "stall limit"},
		{func(b *Builder) { b.GiveUp(1 << 62) }, "24h"},
	},
	"KeepAlive": {
		{func(b *Builder) { b.KeepAlive(time.Second) }, "3s"},
		{func(b *Builder) { b.KeepAlive(-1) }, "0s"},
		{func(b *Builder) { b.KeepAlive(24 * time.Hour) }, "9h"},
	},
	"MaxConnections": {
		{func(b *Builder) { b.MaxConnections(-1, 0, "") }, "not be negative"},
		{func(b *Builder) { b.MaxConnections(0, -1, "") }, "not be negative"},
	},
	"Secure": {
		{func(b *Builder) { b.Secure("127.0.0.1:1", noSecurer{}) }, "give Serve first"},
		{func(b *Builder) { b.Serve("127.0.0.1:1", front).Secure("127.0.0.1:2", nil) }, "nil"},
		{func(b *Builder) { b.Serve("127.0.0.1:1", front).Secure("x", noSecurer{}) }, "address"},
	},
	"Witness": {
		{func(b *Builder) {
			b.Witness().Listen("127.0.0.1:1").Members(at(1, "127.0.0.1:1"), at(2, "127.0.0.1:2"))
		}, "started as a witness"},
	},
	"WitnessLog": {
		{func(b *Builder) { b.WitnessLog(1) }, "16 GiB"},
		{func(b *Builder) { b.WitnessLog(-1) }, "16 GiB"},
	},
	"Secret": {
		{func(b *Builder) { b.Discover(group("239.1.1.1:1")).Listen("127.0.0.1:1") }, "none given"},
		{func(b *Builder) { b.Secret(make([]byte, 31)) }, "31 bytes"},
		{func(b *Builder) { b.Secret(make([]byte, 32)) }, "random"},
		{func(b *Builder) { b.Secret(make([][]byte, 5)...) }, "1 to 4"},
	},
	"SecretFile": {
		{func(b *Builder) { b.SecretFile("/not/there") }, "no such file"},
		{func(b *Builder) { b.SecretFile("/dev/null") }, "no file"},
		{func(b *Builder) { b.SecretFile("x").Secret(secretOf("x")) }, "one of the two"},
	},
	"AdmitLearners": {
		{func(b *Builder) { b.AdmitLearners(-1) }, "0 to 7"},
		{func(b *Builder) { b.AdmitLearners(8) }, "0 to 7"},
	},
	"Name": {
		{func(b *Builder) { b.Name(strings.Repeat("x", 65)) }, "64"},
		{func(b *Builder) { b.Name("a\nb") }, "printable"},
	},
	"Expect": {
		{func(b *Builder) { b.expecting(1) }, "2 to 7"},
		{func(b *Builder) { b.expecting(8) }, "2 to 7"},
		{func(b *Builder) { b.expecting(3).ID(1) }, "leave it out"},
		{func(b *Builder) { b.expecting(3).Cluster(5) }, "leave it out"},
		{func(b *Builder) { b.expecting(3).Join() }, "nobody would be heard"},
		{func(b *Builder) { b.expecting(3).Witness() }, "Witness is given, too"},
		{func(b *Builder) { b.Expect(3) }, "Listen is not given"},
	},
	"Discover": {
		{func(b *Builder) { b.Discover(group("10.0.0.1:7382")) }, "multicast address"},
		{func(b *Builder) { b.Discover(group("239.1.1.1:0")) }, "multicast address"},
		{func(b *Builder) { b.Discover(Discovery{Interface: "lo"}) }, "multicast address"},
		{func(b *Builder) { b.discovering(func(d *Discovery) { d.Interface = "" }) }, "interface"},
		{func(b *Builder) { b.discovering(func(d *Discovery) { d.Interface = "no0" }) }, "no0"},
		{func(b *Builder) {
			b.discovering(func(d *Discovery) { d.Interface = "no0" })
			b.Listen(":7380")
		}, "no0"},
		{func(b *Builder) {
			b.discovering(func(*Discovery) {})
			b.Listen("")
		}, "Listen is not given"},
	},
	"Logger": {{func(b *Builder) { b.Logger(nil) }, "nil"}},
}

var takesAny = map[string]string{
	"Check":   "it tells of the others",
	"Cluster": "every number will do; which a directory takes, TestADirectoryKeepsItsCluster says",
	"Start":   "it refuses",
}

// expecting is Expect with all that it needs.
func (b *Builder) expecting(n int) *Builder {
	return b.Expect(n).Join("127.0.0.1:7380").Listen("127.0.0.1:1")
}

// discovering is Discover with all that it needs, changed.
func (b *Builder) discovering(change func(*Discovery)) {
	d := group("239.1.1.1:1")
	change(&d)
	b.Discover(d).Listen("127.0.0.1:1").Secret(secretOf("group"))
}

// group is Discover's, with all that it needs but a Listen.
func group(at string) Discovery {
	return Discovery{Group: at, Interface: "lo"}
}

func eight() (m []Member) {
	for id := range uint64(8) {
		m = append(m, at(id+1, "127.0.0.1:1"))
	}
	return m
}

func front(Env) netio.Acceptor { return nil }

// noSecurer stands for something that makes connections secret.
type noSecurer struct{ netio.Securer }

// What cannot be used is refused before anything is taken, by the name of the method
// that gave it. Some of it made Start panic with sockets open, some was taken.
func TestStartNamesTheMethod(t *testing.T) {
	methods := reflect.TypeFor[*Builder]()
	for i := range methods.NumMethod() {
		name := methods.Method(i).Name
		if (len(refusals[name]) > 0) == (takesAny[name] != "") {
			t.Errorf("Builder.%s: either values that are refused, or why all are taken", name)
		}
	}
	if n := len(refusals) + len(takesAny); n != methods.NumMethod() {
		t.Errorf("%d entries for %d methods", n, methods.NumMethod())
	}
	before := goroutines()
	for method, all := range refusals {
		for i, r := range all {
			dir := filepath.Join(t.TempDir(), "data")
			b := New().Dir(dir).StateMachine(&counter{})
			r.set(b)
			checked := b.Check()
			e, err := b.Start(context.Background())
			if fmt.Sprint(checked) != fmt.Sprint(err) {
				t.Errorf("%s, value %d: Check says %v, and Start %v", method, i, checked, err)
			}
			if err == nil {
				t.Errorf("%s, value %d: taken", method, i)
				if err := e.Close(); err != nil {
					t.Error(err)
				}
				continue
			}
			var bad *ConfigError
			if !errors.As(err, &bad) || bad.Option != method ||
				!strings.Contains(bad.Problem, r.says) {
				t.Errorf("%s, value %d, not saying %q: %v", method, i, r.says, err)
			}
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s, value %d: the directory was made: %v", method, i, err)
			}
		}
	}
	if n := goroutines(); n > before {
		t.Errorf("%d goroutines are left", n-before)
	}
}

// The largest and the smallest that is taken, of what has an order.
func TestStartTakesTheBounds(t *testing.T) {
	for name, set := range map[string]func(*Builder){
		"least": func(b *Builder) {
			b.Heartbeat(2 * time.Millisecond).ElectionTimeout(6 * time.Millisecond).
				MaxCommand(1).Memory(0).Slots(2).SegmentBytes(512 << 10).StallLimit(0).
				GiveUp(6 * time.Millisecond).KeepAlive(3 * time.Second).Advertise("").Listen("")
		},
		"most": func(b *Builder) {
			b.Heartbeat(time.Minute).ElectionTimeout(time.Hour).MaxCommand(32 << 20).
				Memory(1 << 40).Compress(ziplist.None).StallLimit(time.Hour).
				GiveUp(24 * time.Hour).KeepAlive(9 * time.Hour).ID(1<<64 - 1).Cluster(1<<64 - 1).
				Threads(Threaded).Pipeline(Serial).Advertise(strings.Repeat("x", 255)).
				Logger(slog.New(slog.DiscardHandler))
		},
	} {
		b := New().Journal(journal.Memory).StateMachine(&counter{})
		set(b)
		if err := b.check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name == "least" { // an hour's election timeout is nothing to wait for
			continue
		}
		e, err := b.Start(context.Background())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := e.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A directory of cluster 5 was opened as cluster 7 and started as 5. Whatever else it
// keeps is refused likewise, when it is given and differs.
func TestADirectoryKeepsItsCluster(t *testing.T) {
	dir := t.TempDir()
	b := func() *Builder {
		return New().ID(3).Cluster(5).Dir(dir).SegmentBytes(4 << 20).StateMachine(&counter{})
	}
	start := func(b *Builder) error {
		e, err := b.Start(context.Background())
		if err != nil {
			return err
		}
		if s := e.Status(); s.Cluster != 5 || s.ID != 3 {
			t.Errorf("member %d of cluster %d", s.ID, s.Cluster)
		}
		return e.Close()
	}
	if err := start(b()); err != nil {
		t.Fatal(err)
	}
	for option, b := range map[string]*Builder{
		"Cluster": b().Cluster(7), "SegmentBytes": b().SegmentBytes(8 << 20),
	} {
		var bad *ConfigError
		if err := start(b); !errors.As(err, &bad) || bad.Option != option ||
			!strings.Contains(err.Error(), dir) {
			t.Errorf("another %s: %v", option, err)
		}
	}
	var other *journal.IdentityError
	if err := start(b().ID(4)); !errors.As(err, &other) {
		t.Errorf("another id: %v", err)
	}
	for name, b := range map[string]*Builder{
		"the same": b(), "none": b().Cluster(0).SegmentBytes(0),
	} {
		if err := start(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Sizes of a lane that cannot be are refused; they made Lane panic, or take all memory.
func TestALaneRefusesItsSizes(t *testing.T) {
	e, err := New().Journal(journal.Memory).StateMachine(&counter{}).Start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	fields := 0
	for _, n := range []int{-1, 1 << 40} {
		for field, cfg := range map[string]LaneConfig{"Cells": {Cells: n}, "Bytes": {Bytes: n},
			"Queries": {Queries: n}, "Replies": {Replies: n}} {
			fields++
			var bad *ConfigError
			if _, err := e.Lane(cfg); !errors.As(err, &bad) || bad.Option != "LaneConfig."+field {
				t.Errorf("%s of %d: %v", field, n, err)
			}
		}
	}
	if all := reflect.TypeFor[LaneConfig]().NumField() - 1; fields != 2*all { // but Notify
		t.Errorf("%d of %d sizes", fields/2, all)
	}
	for cells := range 3 { // the smallest there are
		l, err := e.Lane(LaneConfig{Cells: cells, Bytes: 1, Queries: 1, Replies: 1})
		if err != nil {
			t.Errorf("%d cells: %v", cells, err)
		} else if _, err := l.Read(nil, 0); err != nil {
			t.Errorf("%d cells: %v", cells, err)
		}
	}
}

// Numbers that are no constant of the package have a name all the same.
func TestNamesOfWhatIsNoConstant(t *testing.T) {
	for want, got := range map[string]string{
		"pipeline(7)": Pipeline(7).String(), "threads(-1)": Threads(-1).String(),
		"mode(99)": journal.Mode(99).String(), "role(9)": Role(9).String(),
		"outcome(9)": Outcome(9).String(), "reason(99)": Reason(99).String(),
		"codec 77": ziplist.Codec(77).String(),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
