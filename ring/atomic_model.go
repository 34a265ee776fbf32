//go:build interleave

package ring

import "github.com/ringraft/ringraft/internal/interleave"

type (
	word = interleave.Word
	flag = interleave.Flag
	lock = interleave.Lock
)

type bell struct{ b *interleave.Bell }

func newBell() bell { return bell{b: new(interleave.Bell)} }

func (b *bell) ring() { b.b.Ring() }
func (b *bell) wait() { b.b.Wait() }

const checked = false

func pause()       { interleave.Pause() }
func giveWay()     {}
func idle(int)     {}
func clock() int64 { return 0 }
