package server

import (
	"bytes"

	"github.com/ringraft/ringraft/netio/resp"
)

// Commands of Redis that raftd refuses and that change what the commands behind them mean. A client
// that pipelines does not wait for the refusal, so the commands behind it must not be carried out
// in a sense that they were not sent in:
//
//   - MULTI is refused, and nothing is carried out until EXEC or DISCARD, as in Redis after a
//     command that cannot be queued.
//   - SELECT of another database, and CLIENT REPLY OFF or SKIP, are refused and end the
//     connection. Its next commands are meant for another database, or for replies that the
//     client does not expect.
//
// COMMAND does not list them. They wait until no reply is pending, so that no command in front of
// them goes again behind them.
var stateful = map[string]*command{
	"multi":   {name: "multi", arity: 1, alone: true, transaction: true, run: runMulti},
	"exec":    {name: "exec", arity: -1, alone: true, transaction: true, run: runExec},
	"discard": {name: "discard", arity: 1, alone: true, transaction: true, run: runDiscard},
	"watch":   {name: "watch", arity: -2, alone: true, transaction: true, run: runWatch},
	"unwatch": {name: "unwatch", arity: 1, alone: true, run: runUnwatch},
}

const (
	faultMulti = "ERR transactions are not supported yet: nothing is carried out until EXEC or " +
		"DISCARD"
	faultInMulti = "ERR not carried out: MULTI was refused, and this connection waits for EXEC " +
		"or DISCARD"
	faultWatch = "ERR transactions are not supported yet: nothing is watched"
)

// lookupStateful finds one of these commands; nil when there is none of that name.
func lookupStateful(name []byte) *command {
	if len(name) > len("unwatch") {
		return nil
	}
	return stateful[string(bytes.ToLower(name))]
}

func runMulti(f *front, c *conn, args [][]byte, dst []byte) []byte {
	if c.discards {
		return resp.AppendError(dst, "ERR MULTI calls can not be nested")
	}
	c.discards = true
	return resp.AppendError(dst, faultMulti)
}

// runExec answers as Redis does when a command could not be queued.
func runExec(f *front, c *conn, args [][]byte, dst []byte) []byte {
	discards := c.discards
	c.discards = false
	switch {
	case len(args) > 1:
		return resp.AppendError(dst, "EXECABORT Transaction discarded because of: "+
			"wrong number of arguments for 'exec' command")
	case discards:
		return resp.AppendError(dst, "EXECABORT Transaction discarded because of previous errors.")
	}
	return resp.AppendError(dst, "ERR EXEC without MULTI")
}

func runDiscard(f *front, c *conn, args [][]byte, dst []byte) []byte {
	if !c.discards {
		return resp.AppendError(dst, "ERR DISCARD without MULTI")
	}
	c.discards = false
	return resp.AppendOK(dst)
}

func runWatch(f *front, c *conn, args [][]byte, dst []byte) []byte {
	if c.discards {
		return resp.AppendError(dst, "ERR WATCH inside MULTI is not allowed")
	}
	return resp.AppendError(dst, faultWatch)
}

func runUnwatch(f *front, c *conn, args [][]byte, dst []byte) []byte {
	return resp.AppendError(dst, faultWatch)
}
