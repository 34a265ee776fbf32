package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// outputs is where the results of one command go: the text on standard output,
// and files. The files are opened before a run, for a mistake should cost no
// minute, but beside what they shall replace: that stays until the run is
// over, and for good when nothing was measured. What cannot be written ends no
// run; it is said at the end.
type outputs struct {
	text     screen
	files    []*output
	measured bool // there are results: the files are put in place
}

// screen is standard output. It never fails; what went wrong is kept.
type screen struct {
	w   io.Writer
	err error
}

// Write implements io.Writer.
func (s *screen) Write(b []byte) (int, error) {
	if s.err == nil {
		_, s.err = s.w.Write(b)
	}
	return len(b), nil
}

// output is a file for results, or a device or a pipe.
type output struct {
	flag, name string
	file       *os.File
	replaces   string // the file that it is renamed to, "" if it is written in place
	written    bool
	err        error // the first
}

// withOutputs runs a command and puts its files in place. Its error is that of
// the run, of the files and of standard output.
func withOutputs(c *cobra.Command, run func(o *outputs) error) error {
	o := &outputs{text: screen{w: c.OutOrStdout()}}
	err := run(o)
	for _, f := range o.files {
		if fileErr := f.close(o.measured); fileErr != nil {
			err = errors.Join(err, fileErr)
		}
	}
	if o.text.err != nil {
		err = errors.Join(err, fmt.Errorf("standard output: %w", o.text.err))
	}
	return err
}

// lost says that nobody would see further results.
func (o *outputs) lost() bool { return o.text.err != nil && len(o.files) == 0 }

// open opens a flag's file; nil if there is none to open.
func (o *outputs) open(flag, name string) (*output, error) {
	if name == "" {
		return nil, nil
	}
	if name == "-" {
		return nil, usagef("--%s: a file is needed, standard output is --json's", flag)
	}
	f := &output{flag: flag, name: name}
	mode, err := f.look()
	if err == nil {
		for _, other := range o.files {
			if f.replaces != "" && f.replaces == other.replaces {
				err = errors.New("it is named twice")
			}
		}
	}
	if err == nil {
		err = f.create(mode)
	}
	if err != nil {
		return nil, usagef("--%s: %s: %v", flag, name, plain(err))
	}
	o.files = append(o.files, f)
	return f, nil
}

// openJSON is open for --json, where - is standard output in place of the text.
func (o *outputs) openJSON(name string) (file io.Writer, text io.Writer, err error) {
	if name == "-" {
		return &o.text, io.Discard, nil
	}
	f, err := o.open("json", name)
	if f == nil {
		return nil, &o.text, err
	}
	return f, &o.text, err
}

// plain is an error without the name of the file, which stands beside it.
func plain(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// look finds out what the name stands for.
func (f *output) look() (mode fs.FileMode, err error) {
	st, err := os.Stat(f.name)
	if errors.Is(err, fs.ErrNotExist) {
		if _, linkErr := os.Lstat(f.name); linkErr == nil {
			return 0, errors.New("the link leads nowhere")
		}
		f.replaces, err = filepath.Abs(f.name)
		return 0, err
	}
	if err != nil {
		return 0, err
	}
	if st.IsDir() {
		return 0, errors.New("it is a directory")
	}
	if !st.Mode().IsRegular() {
		return 0, nil
	}
	if out, err := os.Stdout.Stat(); err == nil && os.SameFile(out, st) {
		return 0, errors.New("standard output goes there")
	}
	if f.replaces, err = filepath.EvalSymlinks(f.name); err == nil {
		f.replaces, err = filepath.Abs(f.replaces)
	}
	return st.Mode().Perm(), err
}

// create opens what is written to. A file that is there must be one that may
// be written; the new one gets its mode.
func (f *output) create(mode fs.FileMode) (err error) {
	if f.replaces == "" || mode != 0 {
		if f.file, err = os.OpenFile(f.name, os.O_WRONLY, 0); err != nil || f.replaces == "" {
			return err
		}
		if err = f.file.Close(); err != nil {
			return err
		}
	}
	dir, base := filepath.Split(f.replaces)
	for n := 0; ; n++ {
		beside := filepath.Join(dir, fmt.Sprintf(".%s.raftbench-%d-%d", base, os.Getpid(), n))
		f.file, err = os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err == nil && mode != 0 {
		err = f.file.Chmod(mode)
	}
	return err
}

// Write implements io.Writer. It never fails; what went wrong is kept.
func (f *output) Write(b []byte) (int, error) {
	if f.written = true; f.err == nil {
		_, f.err = f.file.Write(b)
	}
	return len(b), nil
}

// close puts the file in place, or leaves what was there.
func (f *output) close(keep bool) error {
	err := errors.Join(f.err, f.file.Close())
	switch {
	case f.replaces == "":
	case err == nil && keep && f.written:
		if err = os.Rename(f.file.Name(), f.replaces); err != nil {
			_ = os.Remove(f.file.Name())
		}
	default:
		err = errors.Join(err, os.Remove(f.file.Name()))
	}
	if err != nil {
		return fmt.Errorf("--%s: %s was not written: %w", f.flag, f.name, plain(err))
	}
	return nil
}

// interrupted says whether a run ended because it was told to.
func interrupted(err error) bool { return errors.Is(err, context.Canceled) }
