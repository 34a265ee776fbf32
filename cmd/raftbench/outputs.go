package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// outputs are files for results. They are opened before a run, for a mistake
// should cost no minute; but what they hold stays until there is something in
// its place, so that a run which is interrupted takes nothing away.
type outputs struct{ files []*output }

type output struct {
	*os.File
	regular bool
	fresh   bool // this run made it
	written bool
}

// withOutputs runs a command that writes files, and closes them.
func withOutputs(run func(o *outputs) error) error {
	var o outputs
	err := run(&o)
	if closeErr := o.close(); err == nil {
		err = closeErr
	}
	return err
}

// open opens a flag's file; no writer if there is none to open.
func (o *outputs) open(flag, name string) (io.Writer, error) {
	if name == "" {
		return nil, nil
	}
	if name == "-" {
		return nil, usagef("--%s: a file is needed, standard output is --json's", flag)
	}
	_, err := os.Lstat(name)
	out := &output{fresh: errors.Is(err, fs.ErrNotExist)}
	if out.File, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o666); err != nil {
		return nil, usagef("--%s: %v", flag, err)
	}
	o.files = append(o.files, out)
	st, err := out.Stat()
	if err != nil {
		return nil, usagef("--%s: %v", flag, err)
	}
	out.regular = st.Mode().IsRegular()
	for _, other := range o.files[:len(o.files)-1] {
		if had, err := other.Stat(); err == nil && out.regular && os.SameFile(st, had) {
			return nil, usagef("--%s: %s is named twice", flag, name)
		}
	}
	return out, nil
}

// Write implements io.Writer.
func (f *output) Write(b []byte) (int, error) {
	if !f.written && f.regular {
		if err := f.Truncate(0); err != nil {
			return 0, err
		}
	}
	f.written = true
	return f.File.Write(b)
}

// close closes all, and removes what stayed empty.
func (o *outputs) close() error {
	var err error
	for _, f := range o.files {
		if err = errors.Join(err, f.Close()); f.fresh && f.regular && !f.written {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}
	return err
}
