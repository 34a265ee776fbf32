package server

import "github.com/ringraft/ringraft/engine"

// road is the lane that a loop's data commands take. In production every call goes straight to *engine.Lane: no
// interface call per command. Tests put a scripted lane in its place.
type road struct {
	lane   *engine.Lane
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

func (r *road) Write(cmd []byte) (uint64, error) {
	if r.script != nil {
		return r.script.Write(cmd)
	}
	return r.lane.Write(cmd)
}

func (r *road) Read(query []byte, after uint64) (uint64, error) {
	if r.script != nil {
		return r.script.Read(query, after)
	}
	return r.lane.Read(query, after)
}

func (r *road) ReadLocal(query []byte) (uint64, error) {
	if r.script != nil {
		return r.script.ReadLocal(query)
	}
	return r.lane.ReadLocal(query)
}

func (r *road) Flush() {
	if r.script != nil {
		r.script.Flush()
		return
	}
	r.lane.Flush()
}

func (r *road) Next() (engine.Completion, bool) {
	if r.script != nil {
		return r.script.Next()
	}
	return r.lane.Next()
}

func (r *road) Release() {
	if r.script != nil {
		r.script.Release()
		return
	}
	r.lane.Release()
}

func (r *road) Cells() int {
	if r.script != nil {
		return r.script.Cells()
	}
	return r.lane.Cells()
}
