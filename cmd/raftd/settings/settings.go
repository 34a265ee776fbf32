// Package settings gives every flag of a program two more sources: the environment and one TOML
// file. A flag --snapshot-after is RAFTD_SNAPSHOT_AFTER in the environment and snapshot-after in
// the file, without another line of code; a flag goes before the environment, the environment
// before the file, and the file before the default.
//
// A program binds its flags, calls New, has the flags parsed, and calls Load. Mistakes do not end
// the parsing: Load returns all of them, and each says where it stands.
package settings

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// FileFlag is the flag that names the file.
const FileFlag = "config"

// Kind is where a value comes from. A greater one goes before a smaller one.
type Kind uint8

const (
	Default Kind = iota
	File
	Environment
	Flag
)

func (k Kind) String() string {
	return [...]string{"default", "file", "environment", "flag"}[k]
}

// Source is where the value of a setting comes from.
type Source struct {
	Kind Kind
	Path string // of the file
	Line int    // in the file; 0: not known
}

// Setting is one flag, and where its value comes from. It belongs to its Set.
type Setting struct {
	Name        string // of the flag, and in the file
	Environment string
	Source      Source
	Wrong       bool // what a source has cannot be read: the default stands

	flag *pflag.Flag
}

// Value is the value in the form that every source takes.
func (s *Setting) Value() string {
	if list := s.slice(); list != nil {
		return strings.Join(list.GetSlice(), ",")
	}
	return s.flag.Value.String()
}

// Default is the value without any source.
func (s *Setting) Default() string {
	if s.slice() != nil {
		return strings.Trim(s.flag.DefValue, "[]")
	}
	return s.flag.DefValue
}

// slice is the value of a flag that has many; nil for others.
func (s *Setting) slice() pflag.SliceValue {
	list, _ := s.flag.Value.(*noted).Value.(pflag.SliceValue)
	return list
}

// restore gives the flag its default.
func (s *Setting) restore() error {
	if list := s.slice(); list != nil {
		return list.Replace(strings.FieldsFunc(s.Default(), func(r rune) bool { return r == ',' }))
	}
	return s.flag.Value.(*noted).Value.Set(s.flag.DefValue)
}

// Usage is what the flag's help says.
func (s *Setting) Usage() string { return s.flag.Usage }

// Where names the source as a person finds it again: --id, RAFTD_ID, raftd.toml:3, default.
func (s *Setting) Where() string { return s.where(s.Source) }

func (s *Setting) where(at Source) string {
	switch at.Kind {
	case Flag:
		return "--" + s.Name
	case Environment:
		return s.Environment
	case File:
		return place(at.Path, at.Line)
	}
	return Default.String()
}

// place is a line of a file.
func place(path string, line int) string {
	if line == 0 {
		return path
	}
	return path + ":" + strconv.Itoa(line)
}

// Set is all settings of a program. It is for one goroutine.
type Set struct {
	flags    *pflag.FlagSet
	prefix   string // of names in the environment
	file     string
	all      []*Setting
	reading  Source // what is being read
	mistakes []error
}

// New makes a setting of every flag that f has now, and adds the flag --config. prefix begins their
// names in the environment. From now on f.Parse takes every value: Load tells of those that cannot
// be read.
func New(f *pflag.FlagSet, prefix string) *Set {
	s := &Set{flags: f, prefix: prefix, reading: Source{Kind: Flag}}
	f.StringVar(&s.file, FileFlag, "",
		"TOML file with settings; flags and the environment go before it")
	Path(f, FileFlag)
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Name == "help" {
			return
		}
		x := &Setting{Name: flag.Name, flag: flag,
			Environment: prefix + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))}
		flag.Value = &noted{flag.Value, s, x}
		s.all = append(s.all, x)
	})
	return s
}

// noted is a flag's value that remembers where it comes from. What cannot be read it notes, and
// the default stays.
type noted struct {
	pflag.Value
	set     *Set
	setting *Setting
}

// Set implements pflag.Value.
func (n *noted) Set(text string) error {
	n.setting.Source, n.setting.Wrong = n.set.reading, false
	if err := n.Value.Set(text); err != nil {
		n.setting.Wrong = true
		n.set.note(n.setting, problem(n.Type(), text, err))
		return n.setting.restore()
	}
	return nil
}

// problem says in words what is wrong with a value of one of pflag's types. Other types have
// errors that say it themselves.
func problem(kind, text string, err error) string {
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Sprintf("%q is out of range", text)
	}
	what := map[string]string{"int": "a whole number", "float": "a number",
		"uint": "a whole number that is not negative", "bool": "true or false",
		"duration": "a duration such as 250ms, 10s or 2m"}[strings.TrimRight(kind, "0123456789")]
	if what == "" {
		return err.Error()
	}
	return fmt.Sprintf("%q is not %s", text, what)
}

func (s *Set) note(x *Setting, problem string) {
	where := x.Where()
	if x.Source.Kind == File {
		where += ": " + x.Name
	}
	s.mistakes = append(s.mistakes, fmt.Errorf("%s: %s", where, problem))
}

func (s *Set) notef(format string, args ...any) {
	s.mistakes = append(s.mistakes, fmt.Errorf(format, args...))
}

// All is every setting, in the order of the flags. The list is the caller's.
func (s *Set) All() []*Setting { return slices.Clone(s.all) }

// Lookup finds a setting by its name; nil when there is none.
func (s *Set) Lookup(name string) *Setting {
	for _, x := range s.all {
		if x.Name == name {
			return x
		}
	}
	return nil
}

// Load reads the environment and then the file that --config or its variable names. environ is
// that of os.Environ. It returns every mistake that was found in any source, each a line that says
// where it stands; what is wrong has its default.
func (s *Set) Load(environ []string) []error {
	s.readEnvironment(environ)
	if s.file != "" {
		s.readFile(s.file)
	}
	return s.mistakes
}

// take sets what no source before this one has set.
func (s *Set) take(x *Setting, text string, from Source) {
	if x.Source.Kind > from.Kind {
		return
	}
	s.reading = from
	// It notes what is wrong and returns no error, and the flag counts as given.
	_ = s.flags.Set(x.Name, text)
}

// readEnvironment takes the variables that are settings. One that is none is most likely another
// program's (Kubernetes makes some of a service's name), unless its name is nearly one.
func (s *Set) readEnvironment(environ []string) {
	for _, line := range environ {
		name, text, _ := strings.Cut(line, "=")
		rest, ours := strings.CutPrefix(name, s.prefix)
		if !ours {
			continue
		}
		key := strings.ToLower(strings.ReplaceAll(rest, "_", "-"))
		if x := s.Lookup(key); x != nil && x.Environment == name {
			s.take(x, text, Source{Kind: Environment})
		} else if near := s.nearest(key, min(2, len(key)/3)); near != nil {
			s.notef("%s: there is no such setting; did you mean %s?", name, near.Environment)
		}
	}
}

// Reset gives a setting its default, as if it had not been given.
func (s *Set) Reset(x *Setting) error {
	x.Source, x.Wrong, x.flag.Changed = Source{}, false, false
	return x.restore()
}

// Blamed is the setting that a message begins with, as in "--id: must not be 0", and the rest of
// the message; nil when it begins with none.
func (s *Set) Blamed(message string) (x *Setting, rest string) {
	name, ok := strings.CutPrefix(message, "--")
	if !ok {
		return nil, message
	}
	end := strings.IndexFunc(name, func(r rune) bool {
		return r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	if end < 0 {
		end = len(name)
	}
	if x = s.Lookup(name[:end]); x == nil {
		return nil, message
	}
	return x, name[end:]
}

// Explain is a message that begins with a flag, with the place instead where the value really comes
// from: RAFTD_ID, or raftd.toml:3: id.
func (s *Set) Explain(message string) string {
	x, rest := s.Blamed(message)
	switch {
	case x == nil || x.Source.Kind == Default || x.Source.Kind == Flag:
		return message
	case x.Source.Kind == File:
		return x.Where() + ": " + x.Name + rest
	}
	return x.Where() + rest
}
