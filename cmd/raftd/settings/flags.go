package settings

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// What is known of a flag's values beside its type, as annotations of the flag.
const (
	choices = "settings-choices"
	form    = "settings-form"
)

// Choices notes all values that a flag takes, for completion.
func Choices(f *pflag.FlagSet, name string, values ...string) { annotate(f, name, choices, values) }

// List notes that a flag's value is a list with commas: it may be an array in the file.
func List(f *pflag.FlagSet, name string) { annotate(f, name, form, []string{"list"}) }

// Table notes that a flag's value is a list of KEY=VALUE with commas: it may be a table in the
// file.
func Table(f *pflag.FlagSet, name string) { annotate(f, name, form, []string{"list", "table"}) }

// Path notes that a flag names a file.
func Path(f *pflag.FlagSet, name string) { annotate(f, name, form, []string{"path"}) }

// Directory notes that a flag names a directory.
func Directory(f *pflag.FlagSet, name string) { annotate(f, name, form, []string{"directory"}) }

// annotate is told of flags that are there: everything else is a mistake of the program.
func annotate(f *pflag.FlagSet, name, key string, values []string) {
	if err := f.SetAnnotation(name, key, values); err != nil {
		panic(err)
	}
}

func (s *Setting) is(what string) bool {
	return slices.Contains(s.flag.Annotations[form], what)
}

func (s *Setting) isList() bool {
	return s.is("list") || s.slice() != nil
}

func (s *Setting) isTable() bool { return s.is("table") }

// Choices is every value that the setting takes; none when that is not known.
func (s *Setting) Choices() []string { return s.flag.Annotations[choices] }

// IsText reports that the setting may be any text.
func (s *Setting) IsText() bool { return s.flag.Value.Type() == "string" }

// IsPath reports that the setting names a file.
func (s *Setting) IsPath() bool { return s.is("path") }

// IsDirectory reports that the setting names a directory.
func (s *Setting) IsDirectory() bool { return s.is("directory") }

// BytesVar is a flag for a number of bytes, with or without a unit; p has the default.
func BytesVar[T int | int64](f *pflag.FlagSet, p *T, name, usage string) {
	f.Var(byteCount[T]{p}, name, usage)
}

// byteCount implements pflag.Value.
type byteCount[T int | int64] struct{ n *T }

// Set implements pflag.Value.
func (b byteCount[T]) Set(text string) error {
	n, err := ParseBytes(text)
	if err == nil && int64(T(n)) != n {
		err = errOutOfRange(text)
	}
	if err == nil {
		*b.n = T(n)
	}
	return err
}

// String implements pflag.Value.
func (b byteCount[T]) String() string { return FormatBytes(int64(*b.n)) }

// Type implements pflag.Value.
func (b byteCount[T]) Type() string { return "bytes" }

// units are those of Redis, in which kb is 1024 and k is 1000, and the binary ones, from the
// longest on.
var units = []struct {
	name  string
	bytes int64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
	{"kb", 1 << 10}, {"mb", 1 << 20}, {"gb", 1 << 30}, {"tb", 1 << 40},
	{"k", 1e3}, {"m", 1e6}, {"g", 1e9}, {"t", 1e12}, {"b", 1},
}

// ParseBytes reads a number of bytes, as 65536, 64MiB or 1gb. The case of units does not count.
func ParseBytes(text string) (int64, error) {
	digits, unit := strings.ToLower(strings.TrimSpace(text)), int64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(digits, u.name); ok {
			digits, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) || err == nil && (n > math.MaxInt64/unit ||
		n < math.MinInt64/unit):
		return 0, errOutOfRange(text)
	case err != nil:
		return 0, fmt.Errorf("%q is not a number of bytes such as 65536, 64MiB or 1gb", text)
	}
	return n * unit, nil
}

func errOutOfRange(text string) error { return fmt.Errorf("%q is out of range", text) }

// FormatBytes is a number of bytes as ParseBytes reads it, with the greatest unit that divides it.
func FormatBytes(n int64) string {
	for _, u := range []struct {
		name  string
		bytes int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}
