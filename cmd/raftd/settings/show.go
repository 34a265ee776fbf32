package settings

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// columns is where the comments of a file end.
const columns = 96

// WriteDefaults writes a file that has every setting with its default, as a comment: what is to be
// another value is given that and loses its #. The text in front is the program's.
func (s *Set) WriteDefaults(w io.Writer, front string) error {
	var b strings.Builder
	b.WriteString(comment(front))
	for _, x := range s.all {
		if x.Name == FileFlag {
			continue
		}
		fmt.Fprintf(&b, "\n%s#%s = %s\n", comment(x.Usage()), x.Name, x.literal(x.Default()))
		if x.isTable() {
			fmt.Fprintf(&b, "# or, below everything else, as a table: [%s], and under it KEY = "+
				"\"VALUE\"\n", x.Name)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// literal is a value as TOML has it.
func (x *Setting) literal(value string) string {
	switch strings.TrimRight(x.flag.Value.Type(), "0123456789") {
	case "bool", "int", "uint":
		return value
	}
	return strconv.Quote(value)
}

// comment is text in lines that begin with #.
func comment(text string) string {
	var b strings.Builder
	for paragraph := range strings.SplitSeq(text, "\n") {
		line := "#"
		for _, word := range strings.Fields(paragraph) {
			if len(line)+1+len(word) > columns && line != "#" {
				b.WriteString(line + "\n")
				line = "#"
			}
			line += " " + word
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}
