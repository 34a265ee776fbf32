package server

import "github.com/ringraft/ringraft/engine"

// lane is the engine's lane that a loop's data commands take. In production every call goes
// straight to *engine.Lane: no interface call per command. Tests put a scripted lane in its place.
type lane struct {
	engine *engine.Lane
	script scriptedLane // nil outside tests
}

// scriptedLane stands in for an engine's lane in tests.
type scriptedLane interface {
	Write(cmd []byte) (uint64, error)
	Read(query []byte, after uint64) (uint64, error)
	ReadLocal(query []byte) (uint64, error)
	Flush()
	Next() (engine.Completion, bool)
	Release()
	Cells() int
}

func (l *lane) Write(cmd []byte) (uint64, error) {
	if l.script != nil {
		return l.script.Write(cmd)
	}
	return l.engine.Write(cmd)
}

func (l *lane) Read(query []byte, after uint64) (uint64, error) {
	if l.script != nil {
		return l.script.Read(query, after)
	}
	return l.engine.Read(query, after)
}

func (l *lane) ReadLocal(query []byte) (uint64, error) {
	if l.script != nil {
		return l.script.ReadLocal(query)
	}
	return l.engine.ReadLocal(query)
}

func (l *lane) Flush() {
	if l.script != nil {
		l.script.Flush()
		return
	}
	l.engine.Flush()
}

func (l *lane) Next() (engine.Completion, bool) {
	if l.script != nil {
		return l.script.Next()
	}
	return l.engine.Next()
}

func (l *lane) Release() {
	if l.script != nil {
		l.script.Release()
		return
	}
	l.engine.Release()
}

func (l *lane) Cells() int {
	if l.script != nil {
		return l.script.Cells()
	}
	return l.engine.Cells()
}
