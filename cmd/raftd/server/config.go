package server

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/ringraft/ringraft/cmd/raftd/auth"
	"github.com/ringraft/ringraft/netio/resp"
)

// Setting is a row of CONFIG GET, and of CONFIG SET if it can change while raftd runs. Its
// functions are called in a network loop, of several at once, and must not wait.
type Setting struct {
	Name string // lower case
	Get  func() string
	// Prepare reads a value that CONFIG SET has, and returns what makes it count; nothing has
	// changed before that is called. fault says what is wrong with the value, in the words of
	// Redis where it has some. Nil: the value is chosen at the start.
	Prepare func(value string) (apply func(), fault string)
	Flag    string // of raftd, that chooses it at the start; "": it cannot be chosen
}

// Fixed is a Setting that stays what it is.
func Fixed(name, value, flag string) Setting {
	return Setting{Name: name, Flag: flag, Get: func() string { return value }}
}

// redisSettings are answers to the questions that Redis tools ask, under Redis's names, and what
// belongs to this package.
func (s *Server) redisSettings() []Setting {
	of := func(name, flag string, get func() string) Setting {
		return Setting{Name: name, Flag: flag, Get: get}
	}
	return []Setting{
		// Tools that measure look here whether replies wait for the disk.
		of("appendfsync", "journal", func() string {
			if st := s.status(); !st.JournalDurable {
				return "no"
			}
			return "always"
		}),
		Fixed("appendonly", "yes", ""),
		Fixed("bind", s.cfg.Client, "client"),
		Fixed("cluster-enabled", yesNo(s.clusters()), "follower"),
		Fixed("databases", "1", ""),
		of("journal", "journal", func() string { st := s.status(); return st.Journal }),
		Fixed("maxclients", strconv.Itoa(s.cfg.MaxClients), "maxclients"),
		Fixed("maxmemory", "0", ""),
		Fixed("maxmemory-clients", strconv.Itoa(ClientsMax), ""),
		Fixed("maxmemory-policy", "noeviction", ""),
		of("pipeline", "pipeline", func() string { st := s.status(); return st.Pipeline }),
		Fixed("port", s.cfg.Client[strings.LastIndexByte(s.cfg.Client, ':')+1:], "client"),
		Fixed("proto-max-bulk-len", strconv.Itoa(s.cfg.MaxValue), "max-value"),
		Fixed("save", "", "snapshot-after"),
		of("threads", "threads", func() string { st := s.status(); return st.Threads }),
		Fixed("timeout", "0", ""),
	}
}

// sortedSettings are all rows by name. Of rows with one name the first counts: those of the program
// that this server is part of.
func (s *Server) sortedSettings() []Setting {
	list := slices.Concat(s.cfg.Settings, s.redisSettings(), s.watchSettings())
	slices.SortStableFunc(list, func(a, b Setting) int { return cmp.Compare(a.Name, b.Name) })
	return slices.CompactFunc(list, func(a, b Setting) bool { return a.Name == b.Name })
}

func (s *Server) setting(name []byte) *Setting {
	for i := range s.settings {
		if is(name, s.settings[i].Name) {
			return &s.settings[i]
		}
	}
	return nil
}

func runConfig(f *front, c *conn, args [][]byte, dst []byte) []byte {
	switch strings.ToLower(string(args[1])) {
	case "get":
		return f.server.configGet(args[2:], dst)
	case "set":
		return f.server.configSet(args[2:], c.client.address, dst)
	case "rewrite":
		if f.server.cfg.File == "" {
			return resp.AppendError(dst, "ERR The server is running without a config file")
		}
		return resp.AppendError(dst, "ERR Rewriting config file: raftd does not write "+
			f.server.cfg.File+"; change it there, and it counts at the next start")
	case "help":
		return appendHelp(dst, configHelp)
	}
	f.publishCounts() // resetstat
	f.server.resetLatencies()
	return resp.AppendOK(dst)
}

func (s *Server) configGet(patterns [][]byte, dst []byte) []byte {
	var names, values []string
	for i := range s.settings {
		for _, pattern := range patterns {
			if name, ok := s.settings[i].named(pattern); ok {
				names, values = append(names, name), append(values, s.settings[i].Get())
				break
			}
		}
	}
	dst = resp.AppendMap(dst, len(names))
	for i := range names {
		dst = resp.AppendBulkString(dst, names[i])
		dst = resp.AppendBulkString(dst, values[i])
	}
	return dst
}

// named reports whether a pattern is meant for the setting, and under which name it is answered: as
// in Redis, a whole name is answered as it was written.
func (x *Setting) named(pattern []byte) (name string, ok bool) {
	if !bytes.ContainsAny(pattern, "[*?") {
		return string(pattern), is(pattern, x.Name)
	}
	return x.Name, auth.Match(strings.ToLower(printable(pattern, 256)), x.Name)
}

// configSet changes all of the pairs, or none. As in Redis, all names are looked at before the
// first value is.
func (s *Server) configSet(pairs [][]byte, client string, dst []byte) []byte {
	if len(pairs)%2 != 0 {
		return resp.AppendError(dst, faultSyntax)
	}
	var named []*Setting
	for i := 0; i < len(pairs); i += 2 {
		x := s.setting(pairs[i])
		fault := ""
		switch {
		case x == nil:
			return resp.AppendError(dst, "ERR Unknown option or number of arguments for CONFIG "+
				"SET - '"+printable(pairs[i], 128)+"'")
		case x.Prepare == nil:
			fault = "can't set immutable config: " + x.remedy()
		case slices.Contains(named, x):
			fault = "duplicate parameter"
		}
		if fault != "" {
			return appendConfigFault(dst, pairs[i], fault)
		}
		named = append(named, x)
	}
	var apply []func()
	for i, x := range named {
		f, fault := x.Prepare(string(pairs[2*i+1]))
		if fault != "" {
			return appendConfigFault(dst, []byte(x.Name), fault)
		}
		apply = append(apply, f)
	}
	for i, f := range apply {
		before := named[i].Get()
		f()
		s.cfg.Logger.Info("a setting was changed until the next start", "setting", named[i].Name,
			"from", before, "to", named[i].Get(), "client", client)
	}
	return resp.AppendOK(dst)
}

func appendConfigFault(dst, name []byte, fault string) []byte {
	return resp.AppendError(dst, "ERR CONFIG SET failed (possibly related to argument '"+
		printable(name, 128)+"') - "+fault)
}

// remedy says what to do instead of CONFIG SET.
func (x *Setting) remedy() string {
	if x.Flag == "" {
		return "raftd has no choice here"
	}
	return "restart this member with --" + x.Flag
}

// configHelp is what Redis 7 answers.
var configHelp = []string{
	"CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"GET <pattern>",
	"    Return parameters matching the glob-like <pattern> and their values.",
	"SET <directive> <value>",
	"    Set the configuration <directive> to <value>.",
	"RESETSTAT",
	"    Reset statistics reported by the INFO command.",
	"REWRITE",
	"    Rewrite the configuration file.",
	"HELP",
	"    Prints this help.",
}
