package server

import (
	"errors"
	"strings"

	"github.com/ringraft/ringraft/cmd/raftd/kv"
	"github.com/ringraft/ringraft/netio/resp"
)

// errKilled ends a connection that CLIENT KILL named.
var errKilled = errors.New("an operator ended the connection: CLIENT KILL")

// clientsOfType are the clients that a type means in Redis, of those that there are here: another
// member that forwards commands is shown as a replica. Nil: there is no such type.
func clientsOfType(name string) func(p *client) bool {
	switch strings.ToLower(name) {
	case "normal":
		return func(p *client) bool { return !p.proxied.Load() }
	case "replica", "slave":
		return func(p *client) bool { return p.proxied.Load() }
	case "master", "pubsub":
		return func(*client) bool { return false }
	}
	return nil
}

// victims is what CLIENT KILL names.
type victims struct {
	wanted []func(p *client) bool // all of them
	skipMe bool
}

// parseKill reads the options behind CLIENT KILL.
func (s *Server) parseKill(options [][]byte) (v victims, fault string) {
	v.skipMe = true
	for ; len(options) > 1 && fault == ""; options = options[2:] {
		if is(options[0], "USER") && s.users.Table().User(string(options[1])) == nil {
			return v, "ERR No such user '" + printable(options[1], 128) + "'"
		}
		fault = v.option(options[0], options[1])
	}
	if fault == "" && len(options) > 0 {
		fault = faultSyntax
	}
	return v, fault
}

func (v *victims) option(name, value []byte) (fault string) {
	text := string(value)
	var wanted func(p *client) bool
	switch {
	case is(name, "ID"):
		id, ok := kv.ParseInt(value)
		if !ok || id < 1 {
			return "ERR client-id should be greater than 0"
		}
		wanted = func(p *client) bool { return p.id == uint64(id) }
	case is(name, "TYPE"):
		if wanted = clientsOfType(text); wanted == nil {
			return "ERR Unknown client type '" + printable(value, 128) + "'"
		}
	case is(name, "ADDR"):
		wanted = func(p *client) bool { return p.address == text }
	case is(name, "LADDR"):
		wanted = func(p *client) bool { return p.local == text }
	case is(name, "USER"):
		wanted = func(p *client) bool { return *p.user.Load() == text }
	case is(name, "SKIPME") && is(value, "YES"):
		v.skipMe = true
		return ""
	case is(name, "SKIPME") && is(value, "NO"):
		v.skipMe = false
		return ""
	default:
		return faultSyntax
	}
	v.wanted = append(v.wanted, wanted)
	return ""
}

func (v *victims) has(p *client) bool {
	for _, wanted := range v.wanted {
		if !wanted(p) {
			return false
		}
	}
	return true
}

// runKill answers CLIENT KILL: the count of clients, or OK in its old form with an address.
func runKill(f *front, c *conn, args [][]byte, dst []byte) []byte {
	old := len(args) == 3
	v, fault := victims{}, ""
	if old {
		fault = v.option([]byte("ADDR"), args[2])
	} else {
		v, fault = f.server.parseKill(args[2:])
	}
	if fault != "" {
		return resp.AppendError(dst, fault)
	}
	n := f.server.kill(&v, c)
	switch {
	case !old:
		return resp.AppendInt(dst, n)
	case n == 0:
		return resp.AppendError(dst, "ERR No such client")
	}
	return resp.AppendOK(dst)
}

// kill ends the connections that are named and returns how many. That of whoever asks ends when it
// has its answer.
func (s *Server) kill(v *victims, me *conn) (n int64) {
	var list []*client
	s.mu.Lock()
	for _, p := range s.clients {
		if v.has(p) && !(v.skipMe && p == me.client) {
			list = append(list, p)
		}
	}
	s.mu.Unlock()
	for _, p := range list {
		n++
		if p == me.client {
			me.end()
			continue
		}
		c := p.conn
		// The server is closing when it cannot be done in the loop, and the connection with it.
		_ = c.front.do(func() {
			if !c.closed && !c.aborted {
				c.aborted = true
				c.sock.Abort(errKilled)
			}
		})
	}
	return n
}
