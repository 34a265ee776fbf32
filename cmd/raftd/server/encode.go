package server

import (
	"bytes"
	"fmt"
	"math"

	"github.com/ringraft/ringraft/cmd/raftd/kv"
)

// Translation of data commands into the machine's form. What can be refused without knowing the
// state is refused here and never reaches the log.

func tooLarge(size, limit int) string {
	return fmt.Sprintf("ERR value of %d bytes is over the limit of %d (--max-value)", size, limit)
}

// keysMax bounds the keys of one command, and with them the time that it takes: a tenth of a second
// in a table of ten million. The loop sends no heartbeat meanwhile.
const keysMax = 100_000

func tooManyKeys(n int) string {
	return fmt.Sprintf("ERR %d keys in one command, the limit is %d: send several commands", n,
		keysMax)
}

func is(arg []byte, word string) bool { return bytes.EqualFold(arg, []byte(word)) }

func encodeSet(dst []byte, args [][]byte, limit int) ([]byte, string) {
	if len(args[2]) > limit {
		return nil, tooLarge(len(args[2]), limit)
	}
	var flags byte
	for _, option := range args[3:] {
		switch {
		case is(option, "NX"):
			flags |= kv.SetNX
		case is(option, "XX"):
			flags |= kv.SetXX
		case is(option, "GET"):
			flags |= kv.SetGet
		case is(option, "KEEPTTL"): // nothing expires, so there is nothing to keep
		case is(option, "EX"), is(option, "PX"), is(option, "EXAT"), is(option, "PXAT"):
			return nil, "ERR expiry is not supported yet: SET takes NX, XX, GET and KEEPTTL"
		default:
			return nil, faultSyntax
		}
	}
	if flags&kv.SetNX != 0 && flags&kv.SetXX != 0 {
		return nil, faultSyntax
	}
	return kv.AppendSet(dst, flags, args[1], args[2]), ""
}

func encodeGetSet(dst []byte, args [][]byte, limit int) ([]byte, string) {
	if len(args[2]) > limit {
		return nil, tooLarge(len(args[2]), limit)
	}
	return kv.AppendSet(dst, kv.SetGet, args[1], args[2]), ""
}

func encodeSetNX(dst []byte, args [][]byte, limit int) ([]byte, string) {
	if len(args[2]) > limit {
		return nil, tooLarge(len(args[2]), limit)
	}
	return kv.Append(dst, kv.OpSetNX, args[1], args[2]), ""
}

func encodeAppend(dst []byte, args [][]byte, limit int) ([]byte, string) {
	if len(args[2]) > limit {
		return nil, tooLarge(len(args[2]), limit)
	}
	return kv.AppendAppend(dst, limit, args[1], args[2]), ""
}

func encodePairs(name string, op kv.Op) func([]byte, [][]byte, int) ([]byte, string) {
	return func(dst []byte, args [][]byte, limit int) ([]byte, string) {
		if len(args)%2 == 0 {
			return nil, arityFault(name)
		}
		if len(args)/2 > keysMax {
			return nil, tooManyKeys(len(args) / 2)
		}
		for i := 2; i < len(args); i += 2 {
			if len(args[i]) > limit {
				return nil, tooLarge(len(args[i]), limit)
			}
		}
		return kv.Append(dst, op, args[1:]...), ""
	}
}

func encodeStep(delta int64) func([]byte, [][]byte, int) ([]byte, string) {
	return func(dst []byte, args [][]byte, _ int) ([]byte, string) {
		return kv.AppendIncrBy(dst, args[1], delta), ""
	}
}

func encodeIncrBy(dst []byte, args [][]byte, _ int) ([]byte, string) {
	delta, ok := kv.ParseInt(args[2])
	if !ok {
		return nil, faultInteger
	}
	return kv.AppendIncrBy(dst, args[1], delta), ""
}

func encodeDecrBy(dst []byte, args [][]byte, _ int) ([]byte, string) {
	delta, ok := kv.ParseInt(args[2])
	if !ok {
		return nil, faultInteger
	}
	if delta == math.MinInt64 {
		return nil, "ERR decrement would overflow"
	}
	return kv.AppendIncrBy(dst, args[1], -delta), ""
}

func encodeGetRange(dst []byte, args [][]byte, _ int) ([]byte, string) {
	start, ok1 := kv.ParseInt(args[2])
	end, ok2 := kv.ParseInt(args[3])
	if !ok1 || !ok2 {
		return nil, faultInteger
	}
	return kv.AppendGetRange(dst, args[1], start, end), ""
}

// encodeFlush takes ASYNC and SYNC, which mean the same here.
func encodeFlush(dst []byte, args [][]byte, _ int) ([]byte, string) {
	if len(args) > 2 || len(args) == 2 && !is(args[1], "ASYNC") && !is(args[1], "SYNC") {
		return nil, faultSyntax
	}
	return kv.Append(dst, kv.OpFlushAll), ""
}
