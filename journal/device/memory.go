package device

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
)

// Memory is a directory without a disk, for journal mode memory. It is safe for
// concurrent use.
type Memory struct {
	mu    sync.Mutex
	files map[string]*memoryFile
}

// NewMemory returns an empty directory.
func NewMemory() *Memory { return &Memory{files: map[string]*memoryFile{}} }

// memoryFile has a lock of its own: a segment that grows does not hold up the
// write to another.
type memoryFile struct {
	mu   sync.Mutex
	data []byte
}

// resize makes the file size bytes long, unless it is longer. Its memory
// doubles, so that a file that grows by small steps is copied once in all.
func (f *memoryFile) resize(size int64) {
	if size > int64(cap(f.data)) {
		grown := make([]byte, len(f.data), max(size, 2*int64(cap(f.data))))
		copy(grown, f.data)
		f.data = grown
	}
	if size > int64(len(f.data)) {
		f.data = f.data[:size]
	}
}

// Align implements FS.
func (m *Memory) Align() int { return Block }

// Path implements FS.
func (m *Memory) Path(name string) string { return "memory:" + name }

// Open implements FS.
func (m *Memory) Open(name string, _ Flags) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[name]
	if f == nil {
		return nil, fmt.Errorf("open %s: %w", m.Path(name), fs.ErrNotExist)
	}
	return f, nil
}

// Create implements FS.
func (m *Memory) Create(name string, _ Flags) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := &memoryFile{}
	m.files[name] = f
	return f, nil
}

// Rename implements FS.
func (m *Memory) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[from]
	if f == nil {
		return fmt.Errorf("rename %s: %w", from, fs.ErrNotExist)
	}
	delete(m.files, from)
	m.files[to] = f
	return nil
}

// Remove implements FS.
func (m *Memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[name] == nil {
		return fmt.Errorf("remove %s: %w", m.Path(name), fs.ErrNotExist)
	}
	delete(m.files, name)
	return nil
}

// SyncDir implements FS.
func (m *Memory) SyncDir() error { return nil }

// List implements FS.
func (m *Memory) List() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := make([]string, 0, len(m.files))
	for n := range m.files {
		names = append(names, n)
	}
	slices.Sort(names)
	return names, nil
}

// Lock implements FS.
func (m *Memory) Lock() (func() error, error) { return func() error { return nil }, nil }

func (f *memoryFile) ReadAt(b []byte, off int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if off+int64(len(b)) > int64(len(f.data)) {
		return errors.New("read beyond the end of the file")
	}
	copy(b, f.data[off:])
	return nil
}

func (f *memoryFile) WriteAt(b []byte, off int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.resize(off + int64(len(b)))
	copy(f.data[off:], b)
	return nil
}

func (f *memoryFile) Sync() error { return nil }

func (f *memoryFile) Size() (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(len(f.data)), nil
}

// Reserve implements File.
func (f *memoryFile) Reserve(bytes int64, _ bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.resize(bytes)
	return nil
}

func (f *memoryFile) Close() error { return nil }
