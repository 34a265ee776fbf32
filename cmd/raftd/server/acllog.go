package server

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringraft/ringraft/cmd/raftd/auth"
	"github.com/ringraft/ringraft/cmd/raftd/kv"
	"github.com/ringraft/ringraft/netio/resp"
)

// aclLog keeps what was denied last, for ACL LOG: a command, a key, or a password that is wrong.
// As in Redis, what is denied again within a minute counts in its entry, which becomes the newest.
// Each member has its own. Any goroutine.
type aclLog struct {
	most atomic.Int64 // entries

	mu      sync.Mutex
	entries []*aclEntry // newest first
}

// aclEntry is denied for one reason. Its texts are copies.
type aclEntry struct {
	count          int64
	reason, object string
	user           string
	at             time.Time
	client         string // as CLIENT INFO describes it
}

const (
	// aclLogBytes is how much is kept of a key, and of a name that was logged in with.
	aclLogBytes = 256
	// aclLogSame is how long the same denial counts in one entry, and aclLogLooks among how many
	// of the newest it is looked for.
	aclLogSame  = time.Minute
	aclLogLooks = 10
)

// Reasons, in the words of Redis.
const (
	deniedForCommand = "command"
	deniedForKey     = "key"
	deniedForAuth    = "auth"
)

// add notes what was denied to a client. The texts are the log's from now on.
func (l *aclLog) add(reason, object, user string, p *client, now time.Time) {
	most := l.most.Load()
	if most == 0 {
		return
	}
	info := p.line(now)
	l.mu.Lock()
	defer l.mu.Unlock()
	newest := l.entries[:min(len(l.entries), aclLogLooks)]
	at := slices.IndexFunc(newest, func(e *aclEntry) bool {
		return e.reason == reason && e.object == object && e.user == user &&
			now.Sub(e.at) <= aclLogSame
	})
	e := &aclEntry{reason: reason, object: object, user: user}
	if at >= 0 {
		e = l.entries[at]
		l.entries = slices.Delete(l.entries, at, at+1)
	}
	e.count, e.at, e.client = e.count+1, now, info
	l.entries = slices.Insert(l.entries, 0, e)
	l.trim(most)
}

// shortText is what is kept of a text: a copy.
func shortText(b []byte) string {
	if len(b) > aclLogBytes {
		return fmt.Sprintf("%s... (%d more bytes)", b[:aclLogBytes], len(b)-aclLogBytes)
	}
	return string(b)
}

func (l *aclLog) trim(most int64) {
	if int64(len(l.entries)) > most {
		clear(l.entries[most:])
		l.entries = l.entries[:most]
	}
}

func (l *aclLog) setMost(n int64) {
	l.most.Store(n)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trim(n)
}

func (l *aclLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = nil
}

// append appends the newest entries as ACL LOG answers them.
func (l *aclLog) append(dst []byte, count int64, now time.Time) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.entries[:min(count, int64(len(l.entries)))]
	dst = resp.AppendArray(dst, len(list))
	for _, e := range list {
		dst = resp.AppendMap(dst, 7)
		dst = resp.AppendInt(resp.AppendBulkString(dst, "count"), e.count)
		for _, x := range [][2]string{{"reason", e.reason}, {"context", "toplevel"},
			{"object", e.object}, {"username", e.user}} {
			dst = resp.AppendBulkString(resp.AppendBulkString(dst, x[0]), x[1])
		}
		age := max(0, now.Sub(e.at)).Truncate(time.Millisecond).Seconds()
		dst = resp.AppendDouble(resp.AppendBulkString(dst, "age-seconds"), age)
		dst = resp.AppendBulkString(resp.AppendBulkString(dst, "client-info"), e.client)
	}
	return dst
}

// run answers ACL LOG.
func (l *aclLog) run(args [][]byte, dst []byte) []byte {
	switch {
	case len(args) > 3:
		return resp.AppendError(dst, "ERR unknown subcommand or wrong number of arguments for '"+
			printable(args[1], 128)+"'. Try ACL HELP.")
	case len(args) == 2:
		return l.append(dst, 10, time.Now())
	case is(args[2], "RESET"):
		l.reset()
		return resp.AppendOK(dst)
	}
	count, ok := kv.ParseInt(args[2])
	if !ok {
		return resp.AppendError(dst, faultInteger)
	}
	return l.append(dst, max(0, count), time.Now())
}

// noteDenied keeps for ACL LOG that the connection's user was denied a command, or the key that
// stands at an argument.
func (c *conn) noteDenied(v auth.Verdict, d *command, args [][]byte, at int) {
	reason, object := deniedForCommand, d.fullName(args)
	switch v {
	case auth.TooMuch:
		return // nobody has denied it
	case auth.DeniedKey:
		reason, object = deniedForKey, shortText(args[at])
	}
	c.front.server.aclLog.add(reason, object, c.user.Name(), c.client, time.Now())
}

// noteLogin keeps that a password was wrong; command is what it came with, as it was typed.
func (c *conn) noteLogin(command []byte, name string) {
	c.front.server.aclLog.add(deniedForAuth, shortText(command), shortText([]byte(name)),
		c.client, time.Now())
}
