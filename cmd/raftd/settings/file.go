package settings

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// fileMax bounds the file, in bytes.
const fileMax = 1 << 20

// readFile takes what the file has. A key that is no setting is a mistake, and so is --config:
// there is one file.
func (s *Set) readFile(path string) {
	text, err := readText(path)
	if err != nil {
		s.note(s.Lookup(FileFlag), err.Error())
		return
	}
	var values map[string]any
	keys, err := toml.Decode(text, &values)
	var bad toml.ParseError
	switch {
	case errors.As(err, &bad):
		s.notef("%s: %s", place(path, bad.Position.Line), oneLine(bad.Message))
		return
	case err != nil:
		s.notef("%s: %s", path, oneLine(err.Error()))
		return
	}
	seen := map[string]bool{}
	for _, key := range keys.Keys() { // in the order of the file
		if name := key[0]; !seen[name] {
			seen[name] = true
			s.takeKey(name, values[name], Source{File, path, lineOf(text, key)})
		}
	}
}

func (s *Set) takeKey(name string, value any, from Source) {
	x := s.Lookup(name)
	switch {
	case name == FileFlag:
		s.notef("%s: %s: a file cannot name another one", place(from.Path, from.Line), name)
	case x == nil:
		hint := ""
		if near := s.nearest(name, max(1, len(name)/3)); near != nil && near.Name != FileFlag {
			hint = fmt.Sprintf("; did you mean %s?", near.Name)
		}
		s.notef("%s: there is no setting %q%s", place(from.Path, from.Line), name, hint)
	default:
		text, problem := plain(x, value)
		if problem == "" {
			s.take(x, text, from)
			return
		}
		s.notef("%s: %s: %s", place(from.Path, from.Line), name, problem)
	}
}

func readText(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, fileMax+1))
	if err == nil && len(b) > fileMax {
		err = fmt.Errorf("%s has more than %d bytes", path, fileMax)
	}
	return string(b), err
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// plain is a value of the file as it would be typed behind the flag.
func plain(x *Setting, value any) (text, problem string) {
	switch v := value.(type) {
	case []any:
		if !x.isList() {
			return "", "takes one value, not a list"
		}
		var parts []string
		for _, e := range v {
			text, ok := scalar(e)
			if !ok {
				return "", "the list has something that is neither a word nor a number"
			}
			parts = append(parts, text)
		}
		return strings.Join(parts, ","), ""
	case map[string]any:
		if !x.isTable() {
			return "", "takes one value, not a table"
		}
		var parts []string
		for _, k := range sortedKeys(v) {
			text, ok := scalar(v[k])
			if !ok {
				return "", fmt.Sprintf("%s in the table is neither a word nor a number", k)
			}
			parts = append(parts, k+"="+text)
		}
		return strings.Join(parts, ","), ""
	}
	text, ok := scalar(value)
	if !ok {
		return "", "is neither a word nor a number nor true or false"
	}
	return text, ""
}

func scalar(value any) (text string, ok bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case int64:
		return strconv.FormatInt(v, 10), true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true
	}
	return "", false
}

// sortedKeys has numbers in their order.
func sortedKeys(m map[string]any) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return keys
}

// refusal is a value that cannot be read, for the place that the decoder's error then names: it
// tells places in errors only.
type refusal struct{}

var errRefused = errors.New("refused")

// UnmarshalTOML implements toml.Unmarshaler.
func (*refusal) UnmarshalTOML(any) error { return errRefused }

// lineOf is the line of a key; 0 when that is not known.
func lineOf(text string, key toml.Key) int {
	into := reflect.TypeFor[*refusal]()
	for _, name := range slices.Backward(key) {
		tag := reflect.StructTag("toml:" + strconv.Quote(name))
		into = reflect.StructOf([]reflect.StructField{{Name: "Key", Type: into, Tag: tag}})
	}
	_, err := toml.Decode(text, reflect.New(into).Interface())
	var at toml.ParseError
	if errors.As(err, &at) {
		return at.Position.Line
	}
	return 0
}

// nearest is the setting whose name takes the fewest changes of letters to become name; nil when
// all take more than most.
func (s *Set) nearest(name string, most int) (found *Setting) {
	for _, x := range s.all {
		if n := changes(name, x.Name); n <= most {
			found, most = x, n-1
		}
	}
	return found
}

// changes is how many letters have to be put in, taken out or replaced (Levenshtein, by rows).
// Names that are far too long differ anyway.
func changes(a, b string) int {
	const longest = 64
	if len(a) > longest || len(b) > longest {
		return longest
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			n := min(row[j], row[j+1]) + 1
			if a[i] == b[j] {
				n = min(n, diagonal)
			} else {
				n = min(n, diagonal+1)
			}
			diagonal, row[j+1] = row[j+1], n
		}
	}
	return row[len(b)]
}
