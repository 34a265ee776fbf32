package server

import (
	"slices"
	"strings"
	"testing"
)

// settings are what a program brings along: one that can change, as Redis's loglevel, one that only
// raftd has, and one that the server has, too.
func (r *rig) settings() []Setting {
	level := "notice"
	levels := []string{"debug", "verbose", "notice", "warning"}
	return []Setting{
		{Name: "loglevel", Get: func() string { return level },
			Prepare: func(value string) (func(), string) {
				if value = strings.ToLower(value); !slices.Contains(levels, value) {
					return nil, "argument(s) must be one of the following: " +
						strings.Join(levels, ", ")
				}
				return func() { level = value }, ""
			}},
		Fixed("heartbeat", "50ms", "heartbeat"),
		Fixed("timeout", "7", "heartbeat"),
	}
}

func (r *rig) ask(c *conn, words ...string) string {
	r.t.Helper()
	r.send(c, array(words...))
	return c.sock.(*wire).take()
}

// The rows of the program are there beside the server's own, and before them.
func TestConfigGetHasTheProgramsSettings(t *testing.T) {
	r := newRig(t, nil)
	c, _ := r.connect()
	expect(t, "its own", r.ask(c, "CONFIG", "GET", "heart*", "timeou[t]"),
		"*4\r\n$9\r\nheartbeat\r\n$4\r\n50ms\r\n$7\r\ntimeout\r\n$1\r\n7\r\n")
	names := map[string]bool{}
	for i := range r.front.server.settings {
		x := &r.front.server.settings[i]
		if names[x.Name] || x.Name != strings.ToLower(x.Name) {
			t.Errorf("%s is there twice, or not in lower case", x.Name)
		}
		names[x.Name] = true
	}
}

// A pair that cannot be set changes nothing, wherever it stands.
func TestConfigSetChangesAllOrNothing(t *testing.T) {
	r := newRig(t, nil)
	c, _ := r.connect()
	for _, pairs := range [][]string{
		{"loglevel", "debug", "heartbeat", "1s"},
		{"heartbeat", "1s", "loglevel", "debug"},
		{"loglevel", "debug", "nosuch", "1"},
		{"loglevel", "debug", "loglevel", "warning"},
		{"loglevel", "debug", "timeout"},
	} {
		if got := r.ask(c, append([]string{"CONFIG", "SET"}, pairs...)...); got[0] != '-' {
			t.Errorf("%v: %q", pairs, got)
		}
		expect(t, "the level", r.ask(c, "CONFIG", "GET", "loglevel"),
			"*2\r\n$8\r\nloglevel\r\n$6\r\nnotice\r\n")
	}
	expect(t, "set", r.ask(c, "CONFIG", "SET", "LOGLEVEL", "debug"), "+OK\r\n")
	expect(t, "the level", r.ask(c, "CONFIG", "GET", "loglevel"),
		"*2\r\n$8\r\nloglevel\r\n$5\r\ndebug\r\n")
	expect(t, "what to do", r.ask(c, "CONFIG", "SET", "heartbeat", "1s"),
		"-ERR CONFIG SET failed (possibly related to argument 'heartbeat') - can't set immutable "+
			"config: restart this member with --heartbeat\r\n")
}

func TestConfigRewriteIsRefused(t *testing.T) {
	r := newRig(t, func(c *Config) { c.File = "/etc/raftd.toml" })
	c, _ := r.connect()
	expect(t, "rewrite", r.ask(c, "CONFIG", "REWRITE"), "-ERR Rewriting config file: raftd does "+
		"not write /etc/raftd.toml; change it there, and it counts at the next start\r\n")
}
