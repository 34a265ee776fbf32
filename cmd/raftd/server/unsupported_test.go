package server

import (
	"slices"
	"strings"
	"testing"
)

// redisCommands are all commands of Redis 7.0.15. TestStockRedis asks a live server again.
var redisCommands = strings.Fields(`
	acl append asking auth bgrewriteaof bgsave bitcount bitfield bitfield_ro bitop bitpos
	blmove blmpop blpop brpop brpoplpush bzmpop bzpopmax bzpopmin client cluster command
	config copy dbsize debug decr decrby del discard dump echo eval eval_ro evalsha
	evalsha_ro exec exists expire expireat expiretime failover fcall fcall_ro flushall
	flushdb function geoadd geodist geohash geopos georadius georadius_ro georadiusbymember
	georadiusbymember_ro geosearch geosearchstore get getbit getdel getex getrange getset
	hdel hello hexists hget hgetall hincrby hincrbyfloat hkeys hlen hmget hmset hrandfield
	hscan hset hsetnx hstrlen hvals incr incrby incrbyfloat info keys lastsave latency lcs
	lindex linsert llen lmove lmpop lolwut lpop lpos lpush lpushx lrange lrem lset ltrim
	memory mget migrate module monitor move mset msetnx multi object persist pexpire
	pexpireat pexpiretime pfadd pfcount pfdebug pfmerge pfselftest ping psetex psubscribe
	psync pttl publish pubsub punsubscribe quit randomkey readonly readwrite rename renamenx
	replconf replicaof reset restore restore-asking role rpop rpoplpush rpush rpushx sadd
	save scan scard script sdiff sdiffstore select set setbit setex setnx setrange shutdown
	sinter sintercard sinterstore sismember slaveof slowlog smembers smismember smove sort
	sort_ro spop spublish srandmember srem sscan ssubscribe strlen subscribe substr sunion
	sunionstore sunsubscribe swapdb sync time touch ttl type unlink unsubscribe unwatch wait
	watch xack xadd xautoclaim xclaim xdel xgroup xinfo xlen xpending xrange xread xreadgroup
	xrevrange xsetid xtrim zadd zcard zcount zdiff zdiffstore zincrby zinter zintercard
	zinterstore zlexcount zmpop zmscore zpopmax zpopmin zrandmember zrange zrangebylex
	zrangebyscore zrangestore zrank zrem zremrangebylex zremrangebyrank zremrangebyscore
	zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan zscore zunion zunionstore
`)

// refusedInPassing are commands of Redis that change what is behind them on the connection, or what
// the client reads, and that are refused like any unknown command all the same; and why that is
// no harm.
var refusedInPassing = map[string]string{
	"subscribe":  "nothing is published",
	"psubscribe": "nothing is published",
	"ssubscribe": "nothing is published",
	"sync":       "a replica that gets an error begins anew",
	"psync":      "a replica that gets an error begins anew",
	"replconf":   "a replica that gets an error begins anew",
	"swapdb":     "there is one database, so no other was meant",
}

// Every command of Redis is carried out, ends the connection, discards what follows as a
// transaction, or is refused and changes nothing about what follows.
func TestEveryCommandOfRedisIsDecided(t *testing.T) {
	for name := range refusedInPassing {
		if !slices.Contains(redisCommands, name) {
			t.Errorf("Redis has no %s", name)
		}
	}
	for _, name := range redisCommands {
		for _, args := range [][]string{{}, {"a"}, {"a", "1"}, {"a", "1", "2", "3", "4", "5"}} {
			r := newRig(t, nil)
			r.lane.auto = true
			c, w := r.connect()
			r.send(c, array(append([]string{name}, args...)...)+array("ECHO", "behind"))
			r.front.completions()
			got := w.take()
			carriedOut := strings.HasSuffix(got, "$6\r\nbehind\r\n")
			refused := strings.HasPrefix(got, "-ERR unknown command '"+name+"'")
			switch d := lookup([]byte(name)); {
			case w.closed && !carriedOut && (name == "select" || name == "quit"):
			case w.closed:
				t.Errorf("%s %v ends the connection: %q", name, args, got)
			case name == "multi" && len(args) == 0 && !carriedOut &&
				strings.Contains(got, faultInMulti):
			case !carriedOut:
				t.Errorf("%s %v: what is behind it is not carried out: %q", name, args, got)
			case d == nil && lookupStateful([]byte(name)) == nil && !refused:
				t.Errorf("%s %v is not refused: %q", name, args, got)
			case refusedInPassing[name] != "" && !refused:
				t.Errorf("%s is not refused any more: %q", name, got)
			}
		}
	}
}

// What follows a refused MULTI answers as in Redis after a command that cannot be queued. In the
// places of +QUEUED stand errors.
func TestNothingRunsBehindARefusedMulti(t *testing.T) {
	const not, multi = "-" + faultInMulti + "\r\n", "-" + faultMulti + "\r\n"
	abort := "-EXECABORT Transaction discarded because of previous errors.\r\n"
	for _, x := range [][2]string{
		{"MULTI,SET k v,EXEC,GET k", multi + not + abort + "$-1\r\n"},
		{"multi,SET k v,discard,GET k", multi + not + "+OK\r\n$-1\r\n"},
		{"MULTI,PING,MULTI,WATCH k,SELECT 1,HELLO 3,GET,FOO,EXEC,EXEC", multi + not +
			"-ERR MULTI calls can not be nested\r\n-ERR WATCH inside MULTI is not allowed\r\n" +
			not + not + "-ERR wrong number of arguments for 'get' command\r\n" +
			"-ERR unknown command 'FOO', with args beginning with: \r\n" + abort +
			"-ERR EXEC without MULTI\r\n"},
		{"MULTI,SET k v,RESET,EXEC,GET k", multi + not +
			"+RESET\r\n-ERR EXEC without MULTI\r\n$-1\r\n"},
		{"MULTI,SET k v,EXEC x,DISCARD x", multi + not + "-EXECABORT Transaction discarded " +
			"because of: wrong number of arguments for 'exec' command\r\n" +
			"-ERR wrong number of arguments for 'discard' command\r\n"},
		{"MULTI,QUIT", multi + "+OK\r\n"},
		{"DISCARD,WATCH k,UNWATCH", "-ERR DISCARD without MULTI\r\n-" + faultWatch + "\r\n-" +
			faultWatch + "\r\n"},
	} {
		for _, piecewise := range []bool{false, true} {
			r := newRig(t, nil)
			r.lane.auto = true
			c, w := r.connect()
			var all strings.Builder
			for line := range strings.SplitSeq(x[0], ",") {
				if cmd := array(strings.Fields(line)...); piecewise {
					r.send(c, cmd)
					r.front.completions()
				} else {
					all.WriteString(cmd)
				}
			}
			if all.Len() > 0 {
				r.send(c, all.String())
			}
			r.front.completions()
			expect(t, x[0], w.take(), x[1])
			for _, sent := range r.lane.sent {
				if sent.kind == "write" {
					t.Errorf("%s: something was written", x[0])
				}
			}
		}
	}
}

// A write in front of a MULTI that goes again does not go behind it.
func TestMultiWaitsForWhatIsInFrontOfIt(t *testing.T) {
	r := newRig(t, nil)
	c, w := r.connect()
	r.send(c, array("INCR", "n")+array("MULTI")+array("INCR", "n")+array("EXEC"))
	r.lane.complete(1)
	r.front.completions()
	if got := w.take(); !strings.HasPrefix(got, ":1\r\n-"+faultMulti) || len(r.lane.sent) != 1 {
		t.Fatalf("got %q", got)
	}
}

// A connection that asked for another database, or for no replies, ends: what follows is meant for
// that one, and its replies would be taken for others.
func TestRefusalsThatEndTheConnection(t *testing.T) {
	for cmd, says := range map[string]string{
		"SELECT 1":          "+OK\r\n-ERR DB index is out of range: there is only database 0",
		"SELECT -1":         "+OK\r\n-ERR DB index is out of range: there is only database 0",
		"SELECT x":          "+OK\r\n-ERR value is not an integer or out of range",
		"CLIENT REPLY OFF":  "+OK\r\n-ERR CLIENT REPLY takes only ON",
		"client reply skip": "+OK\r\n-ERR CLIENT REPLY takes only ON",
	} {
		r := newRig(t, nil)
		r.lane.auto = true
		c, w := r.connect()
		r.send(c, array("SET", "a", "1")+array(strings.Fields(cmd)...)+array("SET", "b", "1"))
		r.front.completions()
		if got := w.take(); !strings.HasPrefix(got, says) || strings.Count(got, "\r\n") != 2 ||
			!w.closed || len(r.lane.sent) != 1 {
			t.Errorf("%s: %q, closed %v, %d sent", cmd, got, w.closed, len(r.lane.sent))
		}
	}
}
