package server

import (
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ringraft/ringraft/netio/resp"
)

// reply is what a command answers in RESP2 and RESP3; an empty RESP3 column means the same. A
// trailing … stands for any rest of the one reply.
type reply struct{ cmd, two, three string }

// stockReplies are what Redis 7.0.15 answered, in this order, to a connection of its own; raftd
// answers the same. TestStockRedis asks a live server again.
var stockReplies = []reply{
	{"PING", "+PONG\r\n", ""},
	{"ping hi", "$2\r\nhi\r\n", ""},
	{"PING a b", "-ERR wrong number of arguments for 'ping' command\r\n", ""},
	{"ECHO x", "$1\r\nx\r\n", ""},
	{"ECHO", "-ERR wrong number of arguments for 'echo' command\r\n", ""},
	{"SELECT 0", "+OK\r\n", ""},
	{"CLIENT REPLY ON", "+OK\r\n", ""},
	{"CLIENT REPLY", "-ERR wrong number of arguments for 'client|reply' command\r\n", ""},
	{"CLIENT REPLY maybe", "-ERR syntax error\r\n", ""},
	{"EXEC", "-ERR EXEC without MULTI\r\n", ""},
	{"EXEC x",
		"-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' " +
			"command\r\n",
		""},
	{"DISCARD", "-ERR DISCARD without MULTI\r\n", ""},
	{"MULTI x", "-ERR wrong number of arguments for 'multi' command\r\n", ""},
	{"WATCH", "-ERR wrong number of arguments for 'watch' command\r\n", ""},
	{"UNWATCH x", "-ERR wrong number of arguments for 'unwatch' command\r\n", ""},
	{"AUTH secret",
		"-ERR AUTH <password> called without any password configured for the default user. " +
			"Are you sure your configuration is correct?\r\n",
		""},
	{"AUTH default x", "+OK\r\n", ""},
	{"AUTH bob x", "-WRONGPASS invalid username-password pair or user is disabled.\r\n", ""},
	{"AUTH a b c", "-ERR syntax error\r\n", ""},
	{"HELLO 4", "-NOPROTO unsupported protocol version\r\n", ""},
	{"HELLO x", "-ERR Protocol version is not an integer or out of range\r\n", ""},
	{"HELLO 2 FOO", "-ERR Syntax error in HELLO option 'FOO'\r\n", ""},
	{"HELLO 3 AUTH bob x",
		"-WRONGPASS invalid username-password pair or user is disabled.\r\n",
		""},
	{"HELLO 3 SETNAME", "-ERR Syntax error in HELLO option 'SETNAME'\r\n", ""},
	{"HELLO", "*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n…", "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n…"},
	{"CLIENT GETNAME", "$-1\r\n", "_\r\n"},
	{"CLIENT SETNAME bob", "+OK\r\n", ""},
	{"CLIENT GETNAME", "$3\r\nbob\r\n", ""},
	{"CLIENT GETNAME x", "-ERR wrong number of arguments for 'client|getname' command\r\n", ""},
	{"CLIENT SETNAME", "-ERR wrong number of arguments for 'client|setname' command\r\n", ""},
	{"CLIENT ID", ":…", ""},
	{"CLIENT NO-EVICT on", "+OK\r\n", ""},
	{"CLIENT NO-EVICT maybe", "-ERR syntax error\r\n", ""},
	{"CLIENT FOO", "-ERR unknown subcommand 'FOO'. Try CLIENT HELP.\r\n", ""},
	{"CLIENT LIST ID 987654321", "$0\r\n\r\n", "=4\r\ntxt:\r\n"},
	{"CLIENT LIST ID x", "-ERR Invalid client ID\r\n", ""},
	{"CLIENT LIST FOO", "-ERR syntax error\r\n", ""},
	{"CLIENT LIST TYPE master", "$0\r\n\r\n", "=4\r\ntxt:\r\n"},
	{"CLIENT LIST TYPE replica", "$0\r\n\r\n", "=4\r\ntxt:\r\n"},
	{"CLIENT LIST TYPE slave", "$0\r\n\r\n", "=4\r\ntxt:\r\n"},
	{"CLIENT LIST TYPE PubSub", "$0\r\n\r\n", "=4\r\ntxt:\r\n"},
	{"CLIENT KILL", "-ERR wrong number of arguments for 'client|kill' command\r\n", ""},
	{"CLIENT KILL 1.2.3.4:5", "-ERR No such client\r\n", ""},
	{"CLIENT KILL ID", "-ERR No such client\r\n", ""},
	{"CLIENT KILL ID x", "-ERR client-id should be greater than 0\r\n", ""},
	{"CLIENT KILL ID 0", "-ERR client-id should be greater than 0\r\n", ""},
	{"CLIENT KILL ID 987654321", ":0\r\n", ""},
	{"CLIENT KILL TYPE foo", "-ERR Unknown client type 'foo'\r\n", ""},
	{"CLIENT KILL TYPE master", ":0\r\n", ""},
	{"CLIENT KILL USER nobody", "-ERR No such user 'nobody'\r\n", ""},
	{"CLIENT KILL USER default ID 987654321", ":0\r\n", ""},
	{"CLIENT KILL ADDR 1.2.3.4:5 LADDR 1.2.3.4:6", ":0\r\n", ""},
	{"CLIENT KILL SKIPME x", "-ERR syntax error\r\n", ""},
	{"CLIENT KILL ID 987654321 SKIPME", "-ERR syntax error\r\n", ""},
	{"CLIENT KILL SKIPME no ID 987654321", ":0\r\n", ""},
	{"CLIENT KILL MAXAGE 10", "-ERR syntax error\r\n", ""},
	{"CLIENT PAUSE", "-ERR wrong number of arguments for 'client|pause' command\r\n", ""},
	{"CLIENT PAUSE x", "-ERR timeout is not an integer or out of range\r\n", ""},
	{"CLIENT PAUSE 99999999999999999999", "-ERR timeout is not an integer or out of range\r\n", ""},
	{"CLIENT PAUSE -1", "-ERR timeout is negative\r\n", ""},
	{"CLIENT PAUSE 1 foo", "-ERR CLIENT PAUSE mode must be WRITE or ALL\r\n", ""},
	{"CLIENT PAUSE 1 write x", "-ERR unknown subcommand or wrong number of arguments for " +
		"'PAUSE'. Try CLIENT HELP.\r\n", ""},
	{"CLIENT PAUSE 60000 write", "+OK\r\n", ""},
	{"CLIENT UNPAUSE", "+OK\r\n", ""},
	{"CLIENT UNPAUSE x", "-ERR wrong number of arguments for 'client|unpause' command\r\n", ""},
	{"CLIENT PAUSE 0", "+OK\r\n", ""},
	{"MONITOR x", "-ERR wrong number of arguments for 'monitor' command\r\n", ""},
	{"CLIENT LIST TYPE foo", "-ERR Unknown client type 'foo'\r\n", ""},
	{"CLIENT LIST TYPE", "-ERR syntax error\r\n", ""},
	{"CLIENT LIST TYPE normal x", "-ERR syntax error\r\n", ""},
	{"CLIENT LIST ID", "-ERR syntax error\r\n", ""},
	{"CLIENT LIST ID 1 TYPE normal", "-ERR Invalid client ID\r\n", ""},
	{"CONFIG GET save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n", "%1\r\n$4\r\nsave\r\n$0\r\n\r\n"},
	{"CONFIG GET databases none", "*2\r\n$9\r\ndatabases\r\n…", "%1\r\n$9\r\ndatabases\r\n…"},
	{"SAVE", "+OK\r\n", ""},
	{"SAVE x", "-ERR wrong number of arguments for 'save' command\r\n", ""},
	{"LASTSAVE", ":…", ""},
	{"BGSAVE x", "-ERR syntax error\r\n", ""},
	{"BGSAVE", "+Background saving started\r\n", ""},
	{"CONFIG GET nothing", "*0\r\n", "%0\r\n"},
	{"CONFIG GET", "-ERR wrong number of arguments for 'config|get' command\r\n", ""},
	{"CONFIG FOO", "-ERR unknown subcommand 'FOO'. Try CONFIG HELP.\r\n", ""},
	{"CONFIG SET slowlog-log-slower-than -1", "+OK\r\n", ""},
	{"CONFIG SET slowlog-log-slower-than x",
		"-ERR CONFIG SET failed (possibly related to argument 'slowlog-log-slower-than') - " +
			"argument couldn't be parsed into an integer\r\n", ""},
	{"CONFIG SET slowlog-log-slower-than -5",
		"-ERR CONFIG SET failed (possibly related to argument 'slowlog-log-slower-than') - " +
			"argument must be between -1 and 9223372036854775807 inclusive\r\n", ""},
	{"CONFIG SET slowlog-max-len 5 slowlog-log-slower-than q",
		"-ERR CONFIG SET failed (possibly related to argument 'slowlog-log-slower-than') - " +
			"argument couldn't be parsed into an integer\r\n", ""},
	{"CONFIG SET slowlog-max-len 5 slowlog-max-len 6",
		"-ERR CONFIG SET failed (possibly related to argument 'slowlog-max-len') - duplicate " +
			"parameter\r\n", ""},
	{"CONFIG SET slowlog-max-len 5 x", "-ERR syntax error\r\n", ""},
	{"CONFIG SET nosuch x",
		"-ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'\r\n", ""},
	{"CONFIG SET slowlog-max-len", "-ERR wrong number of arguments for 'config|set' command\r\n",
		""},
	{"CONFIG GET slowlog-l*", "*2\r\n$23\r\nslowlog-log-slower-than\r\n$2\r\n-1\r\n",
		"%1\r\n$23\r\nslowlog-log-slower-than\r\n$2\r\n-1\r\n"},
	{"CONFIG GET slowlog-m*", "*2\r\n$15\r\nslowlog-max-len\r\n$3\r\n128\r\n",
		"%1\r\n$15\r\nslowlog-max-len\r\n$3\r\n128\r\n"},
	{"SLOWLOG", "-ERR wrong number of arguments for 'slowlog' command\r\n", ""},
	{"SLOWLOG FOO", "-ERR unknown subcommand 'FOO'. Try SLOWLOG HELP.\r\n", ""},
	{"SLOWLOG RESET", "+OK\r\n", ""},
	{"SLOWLOG RESET x", "-ERR wrong number of arguments for 'slowlog|reset' command\r\n", ""},
	{"SLOWLOG LEN", ":0\r\n", ""},
	{"SLOWLOG LEN x", "-ERR wrong number of arguments for 'slowlog|len' command\r\n", ""},
	{"SLOWLOG GET", "*0\r\n", ""},
	{"SLOWLOG GET -1", "*0\r\n", ""},
	{"SLOWLOG GET x", "-ERR count should be greater than or equal to -1\r\n", ""},
	{"SLOWLOG GET -2", "-ERR count should be greater than or equal to -1\r\n", ""},
	{"SLOWLOG GET 1 2", "-ERR unknown subcommand or wrong number of arguments for 'GET'. Try " +
		"SLOWLOG HELP.\r\n", ""},
	{"SLOWLOG HELP", "*12\r\n+" + strings.Join(slowlogHelp, "\r\n+") + "\r\n", ""},
	{"CONFIG SET SLOWLOG-LOG-SLOWER-THAN 10000", "+OK\r\n", ""},
	{"CONFIG GET latency-mon*", "*2\r\n$25\r\nlatency-monitor-threshold\r\n$1\r\n0\r\n",
		"%1\r\n$25\r\nlatency-monitor-threshold\r\n$1\r\n0\r\n"},
	{"CONFIG SET latency-monitor-threshold -1",
		"-ERR CONFIG SET failed (possibly related to argument 'latency-monitor-threshold') - " +
			"argument must be between 0 and 9223372036854775807 inclusive\r\n", ""},
	{"LATENCY", "-ERR wrong number of arguments for 'latency' command\r\n", ""},
	{"LATENCY FOO", "-ERR unknown subcommand 'FOO'. Try LATENCY HELP.\r\n", ""},
	{"LATENCY LATEST", "*0\r\n", ""},
	{"LATENCY LATEST x", "-ERR wrong number of arguments for 'latency|latest' command\r\n", ""},
	{"LATENCY HISTORY", "-ERR wrong number of arguments for 'latency|history' command\r\n", ""},
	{"LATENCY HISTORY foo", "*0\r\n", ""},
	{"LATENCY RESET", ":0\r\n", ""},
	{"LATENCY RESET foo", ":0\r\n", ""},
	{"LATENCY DOCTOR", "$288\r\n" + doctorOff + "\r\n", "=292\r\ntxt:" + doctorOff + "\r\n"},
	{"LATENCY HISTOGRAM nosuch", "*0\r\n", "%0\r\n"},
	{"CONFIG SET latency-monitor-threshold 100000", "+OK\r\n", ""},
	{"LATENCY DOCTOR", "$196\r\n" + doctorWell + "\r\n", "=200\r\ntxt:" + doctorWell + "\r\n"},
	{"CONFIG SET latency-monitor-threshold 0", "+OK\r\n", ""},
	{"CONFIG RESETSTAT", "+OK\r\n", ""},
	{"CONFIG SET a", "-ERR wrong number of arguments for 'config|set' command\r\n", ""},
	{"CONFIG SET a b", "-ERR Unknown option or number of arguments for CONFIG SET - 'a'\r\n", ""},
	{"CONFIG SET a b c", "-ERR syntax error\r\n", ""},
	{"CONFIG SET LogLevel NOTICE", "+OK\r\n", ""},
	{"CONFIG GET LOGLEVEL loglevel logl*l nosuch", "*2\r\n$8\r\nLOGLEVEL\r\n$6\r\nnotice\r\n",
		"%1\r\n$8\r\nLOGLEVEL\r\n$6\r\nnotice\r\n"},
	{"CONFIG SET LogLevel loud",
		"-ERR CONFIG SET failed (possibly related to argument 'loglevel') - argument(s) must be " +
			"one of the following: debug, verbose, notice, warning\r\n", ""},
	{"CONFIG SET loglevel debug LogLevel debug",
		"-ERR CONFIG SET failed (possibly related to argument 'LogLevel') - duplicate " +
			"parameter\r\n", ""},
	{"CONFIG SET loglevel loud nosuch 1",
		"-ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'\r\n", ""},
	{"CONFIG SET loglevel debug nosuch 1",
		"-ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'\r\n", ""},
	{"CONFIG GET loglevel", "*2\r\n$8\r\nloglevel\r\n$6\r\nnotice\r\n",
		"%1\r\n$8\r\nloglevel\r\n$6\r\nnotice\r\n"},
	{"CONFIG REWRITE", "-ERR The server is running without a config file\r\n", ""},
	{"CONFIG REWRITE x", "-ERR wrong number of arguments for 'config|rewrite' command\r\n", ""},
	{"CONFIG HELP", "*11\r\n+CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n" +
		"+GET <pattern>\r\n" +
		"+    Return parameters matching the glob-like <pattern> and their values.\r\n" +
		"+SET <directive> <value>\r\n" +
		"+    Set the configuration <directive> to <value>.\r\n+RESETSTAT\r\n" +
		"+    Reset statistics reported by the INFO command.\r\n+REWRITE\r\n" +
		"+    Rewrite the configuration file.\r\n+HELP\r\n+    Prints this help.\r\n", ""},
	{"CONFIG HELP x", "-ERR wrong number of arguments for 'config|help' command\r\n", ""},
	{"COMMAND COUNT", ":…", ""},
	{"COMMAND COUNT x", "-ERR wrong number of arguments for 'command|count' command\r\n", ""},
	{"COMMAND FOO", "-ERR unknown subcommand 'FOO'. Try COMMAND HELP.\r\n", ""},
	{"COMMAND INFO nosuch", "*1\r\n$-1\r\n", "*1\r\n_\r\n"},
	{"COMMAND INFO get",
		"*1\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n…",
		"*1\r\n*10\r\n$3\r\nget\r\n:2\r\n~2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n…"},
	{"COMMAND GETKEYS mset a 1 b 2", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", ""},
	{"COMMAND GETKEYS ping",
		"-ERR wrong number of arguments for 'command|getkeys' command\r\n",
		""},
	{"COMMAND GETKEYS ping x", "-ERR The command has no key arguments\r\n", ""},
	{"COMMAND GETKEYS get a b", "-ERR Invalid number of arguments specified for command\r\n", ""},
	{"COMMAND GETKEYS nosuch a", "-ERR Invalid command specified\r\n", ""},
	{"COMMAND GETKEYS memory usage k", "*1\r\n$1\r\nk\r\n", ""},
	{"COMMAND GETKEYS MEMORY USAGE k SAMPLES 5", "*1\r\n$1\r\nk\r\n", ""},
	{"COMMAND GETKEYS MEMORY USAGE",
		"-ERR Invalid number of arguments specified for command\r\n",
		""},
	{"COMMAND GETKEYS MEMORY DOCTOR x", "-ERR The command has no key arguments\r\n", ""},
	{"COMMAND GETKEYS MEMORY x y", "-ERR Invalid command specified\r\n", ""},
	{"COMMAND GETKEYS MEMORY", "-ERR wrong number of arguments for 'command|getkeys' command\r\n",
		""},
	{"COMMAND GETKEYS CLIENT LIST", "-ERR The command has no key arguments\r\n", ""},
	{"COMMAND GETKEYS CONFIG GET x", "-ERR The command has no key arguments\r\n", ""},
	{"COMMAND GETKEYS DBSIZE x", "-ERR The command has no key arguments\r\n", ""},
	{"COMMAND GETKEYS SET k v", "*1\r\n$1\r\nk\r\n", ""},
	{"COMMAND GETKEYS mset a 1 b", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", ""},
	{"COMMAND GETKEYS del a b c", "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n", ""},
	{"COMMAND LIST FILTERBY MODULE json", "*0\r\n", ""},
	{"COMMAND LIST FILTERBY ACLCAT nosuch", "*0\r\n", ""},
	{"COMMAND LIST FILTERBY ACLCAT @string", "*0\r\n", ""},
	{"COMMAND LIST FILTERBY FOO x", "-ERR syntax error\r\n", ""},
	{"COMMAND LIST FILTERBY PATTERN", "-ERR syntax error\r\n", ""},
	{"COMMAND LIST FILTERBY PATTERN client|l*", "*1\r\n$11\r\nclient|list\r\n", ""},
	{"COMMAND DOCS nosuch", "*0\r\n", "%0\r\n"},
	{"COMMAND LIST x", "-ERR syntax error\r\n", ""},
	{"COMMAND LIST FILTERBY PATTERN getd*", "*1\r\n$6\r\ngetdel\r\n", ""},
	{"WAIT x 1", "-ERR value is not an integer or out of range\r\n", ""},
	{"WAIT 1 x", "-ERR timeout is not an integer or out of range\r\n", ""},
	{"WAIT 1 -1", "-ERR timeout is negative\r\n", ""},
	{"TIME", "*2\r\n$10\r\n…", ""},
	{"TIME x", "-ERR wrong number of arguments for 'time' command\r\n", ""},
	{"INFO keyspace", "$12\r\n# Keyspace\r\n\r\n", "=16\r\ntxt:# Keyspace\r\n\r\n"},
	{"INFO nosuch", "$0\r\n\r\n", "=4\r\ntxt:\r\n"},
	{"MEMORY USAGE k", "$-1\r\n", "_\r\n"},
	{"MEMORY USAGE k SAMPLES 5", "$-1\r\n", "_\r\n"},
	{"MEMORY USAGE k SAMPLES x", "-ERR value is not an integer or out of range\r\n", ""},
	{"MEMORY USAGE k SAMPLES -1", "-ERR syntax error\r\n", ""},
	{"MEMORY USAGE k SAMPLES", "-ERR syntax error\r\n", ""},
	{"MEMORY USAGE k foo", "-ERR syntax error\r\n", ""},
	{"MEMORY USAGE", "-ERR wrong number of arguments for 'memory|usage' command\r\n", ""},
	{"MEMORY FOO", "-ERR unknown subcommand 'FOO'. Try MEMORY HELP.\r\n", ""},
	{"RESET", "+RESET\r\n", ""},
	{"RESET x", "-ERR wrong number of arguments for 'reset' command\r\n", ""},
	{"FOO a 'b", "-ERR unknown command 'FOO', with args beginning with: 'a' ''b' \r\n", ""},
	{"GET", "-ERR wrong number of arguments for 'get' command\r\n", ""},
	{"GET a b", "-ERR wrong number of arguments for 'get' command\r\n", ""},
	{"GET none", "$-1\r\n", "_\r\n"},
	{"SET k v", "+OK\r\n", ""},
	{"SET k v NX", "$-1\r\n", "_\r\n"},
	{"SET k v nx xx", "-ERR syntax error\r\n", ""},
	{"SET k v FOO", "-ERR syntax error\r\n", ""},
	{"SET k w XX GET KEEPTTL", "$1\r\nv\r\n", ""},
	{"SET new w NX GET", "$-1\r\n", "_\r\n"},
	{"SETNX k x", ":0\r\n", ""},
	{"SETNX new x", ":0\r\n", ""},
	{"SETNX nx 1", ":1\r\n", ""},
	{"GETSET k 5", "$1\r\nw\r\n", ""},
	{"GETSET j 5", "$-1\r\n", "_\r\n"},
	{"INCR k", ":6\r\n", ""},
	{"DECR k", ":5\r\n", ""},
	{"INCRBY k 10", ":15\r\n", ""},
	{"INCRBY k 1.5", "-ERR value is not an integer or out of range\r\n", ""},
	{"DECRBY k 5", ":10\r\n", ""},
	{"DECRBY k -9223372036854775808", "-ERR decrement would overflow\r\n", ""},
	{"INCRBY k 9223372036854775807", "-ERR increment or decrement would overflow\r\n", ""},
	{"MSET a 1 b 2", "+OK\r\n", ""},
	{"MSET a 1 b", "-ERR wrong number of arguments for 'mset' command\r\n", ""},
	{"MSETNX a 1 z 2", ":0\r\n", ""},
	{"MSETNX y 1 z 2", ":1\r\n", ""},
	{"MSETNX a 1 z", "-ERR wrong number of arguments for 'msetnx' command\r\n", ""},
	{"MGET a no b no",
		"*4\r\n$1\r\n1\r\n$-1\r\n$1\r\n2\r\n$-1\r\n",
		"*4\r\n$1\r\n1\r\n_\r\n$1\r\n2\r\n_\r\n"},
	{"MGET no", "*1\r\n$-1\r\n", "*1\r\n_\r\n"},
	{"APPEND a xyz", ":4\r\n", ""},
	{"APPEND fresh xyz", ":3\r\n", ""},
	{"INCR a", "-ERR value is not an integer or out of range\r\n", ""},
	{"GETRANGE a 1 2", "$2\r\nxy\r\n", ""},
	{"GETRANGE a -3 100", "$3\r\nxyz\r\n", ""},
	{"GETRANGE a 5 9", "$0\r\n\r\n", ""},
	{"GETRANGE no 0 -1", "$0\r\n\r\n", ""},
	{"GETRANGE a 0 x", "-ERR value is not an integer or out of range\r\n", ""},
	{"STRLEN a", ":4\r\n", ""},
	{"STRLEN no", ":0\r\n", ""},
	{"EXISTS a b no a", ":3\r\n", ""},
	{"TOUCH a b no", ":2\r\n", ""},
	{"TYPE a", "+string\r\n", ""},
	{"TYPE no", "+none\r\n", ""},
	{"DBSIZE", ":9\r\n", ""},
	{"INFO keyspace", "$44\r\n# Keyspace\r\ndb0:keys=9,…", "=48\r\ntxt:# Keyspace\r\ndb0:keys=9,…"},
	{"GETDEL a", "$4\r\n1xyz\r\n", ""},
	{"GETDEL a", "$-1\r\n", "_\r\n"},
	{"UNLINK b k no", ":2\r\n", ""},
	{"DEL j", ":1\r\n", ""},
	{"DEL no", ":0\r\n", ""},
	{"FLUSHALL ASYNC", "+OK\r\n", ""},
	{"FLUSHALL now", "-ERR syntax error\r\n", ""},
	{"FLUSHDB", "+OK\r\n", ""},
	{"FLUSHDB now", "-ERR syntax error\r\n", ""},
	{"DBSIZE", ":0\r\n", ""},
	{"ASKING", "-ERR This instance has cluster support disabled\r\n", ""},
	{"READONLY", "-ERR This instance has cluster support disabled\r\n", ""},
	{"READWRITE", "-ERR This instance has cluster support disabled\r\n", ""},
	{"CLUSTER SLOTS", "-ERR This instance has cluster support disabled\r\n", ""},
	{"CLUSTER KEYSLOT", "-ERR wrong number of arguments for 'cluster|keyslot' command\r\n", ""},
	{"CLUSTER", "-ERR wrong number of arguments for 'cluster' command\r\n", ""},
	{"CLUSTER FOO", "-ERR unknown subcommand 'FOO'. Try CLUSTER HELP.\r\n", ""},
	{"QUIT", "+OK\r\n", ""},
}

// ownReplies are what raftd answers differently on purpose, or has alone.
var ownReplies = []struct {
	reply
	why string
}{
	{reply{"WATCH k", "-" + faultWatch + "\r\n", ""}, "no transactions yet"},
	{reply{"UNWATCH", "-" + faultWatch + "\r\n", ""}, "no transactions yet"},
	{reply{"CONFIG GET DATABASES", "*2\r\n$9\r\nDATABASES\r\n$1\r\n1\r\n",
		"%1\r\n$9\r\nDATABASES\r\n$1\r\n1\r\n"}, "there is one"},
	{reply{"CONFIG GET appendonly", "*2\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n",
		"%1\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n"}, "there is always a journal"},
	{reply{"CONFIG GET maxmem*",
		"*6\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n$17\r\nmaxmemory-clients\r\n$9\r\n536870912\r\n" +
			"$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n",
		"%3\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n$17\r\nmaxmemory-clients\r\n$9\r\n536870912\r\n" +
			"$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n"},
		"nothing is evicted"},
	{reply{"CONFIG SET save x",
		"-ERR CONFIG SET failed (possibly related to argument 'save') - can't set immutable " +
			"config: restart this member with --snapshot-after\r\n", ""},
		"snapshots are taken by bytes of log"},
	{reply{"LATENCY HELP", "*15\r\n+LATENCY <subcommand> …", ""}, "there is no GRAPH"},
	{reply{"LATENCY GRAPH command", "-ERR unknown subcommand 'GRAPH'. Try LATENCY HELP.\r\n", ""},
		"there is no GRAPH"},
	{reply{"CLIENT SETINFO LIB-NAME go-redis", "+OK\r\n", ""}, "Redis has it from 7.2 on"},
	{reply{"CLIENT SETINFO LIB-VER 9.1", "+OK\r\n", ""}, "Redis has it from 7.2 on"},
	{reply{"CLIENT SETINFO LIB-AGE 9.1", "-ERR Unrecognized option 'LIB-AGE'\r\n", ""},
		"Redis has it from 7.2 on"},
	{reply{"CLIENT NO-TOUCH on", "+OK\r\n", ""}, "Redis has it from 7.2 on"},
	{reply{"CLIENT NO-TOUCH maybe", "-ERR syntax error\r\n", ""}, "Redis has it from 7.2 on"},
	{reply{"CONFIG SET loglevel debug DataBases 3",
		"-ERR CONFIG SET failed (possibly related to argument 'DataBases') - can't set immutable " +
			"config: raftd has no choice here\r\n", ""}, "it says what to do"},
	{reply{"CONFIG SET proto-max-bulk-len 1mb",
		"-ERR CONFIG SET failed (possibly related to argument 'proto-max-bulk-len') - can't set " +
			"immutable config: restart this member with --max-value\r\n", ""},
		"it can change there"},
	{reply{"ACL SAVE", "-ERR this member has no file of users: start it with --users-file\r\n", ""},
		"Redis speaks of its configuration file"},
	{reply{"COMMAND COUNT", ":54\r\n", ""}, "there are fewer"},
	{reply{"COMMAND INFO get",
		"*1\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n" +
			"*3\r\n+@read\r\n+@string\r\n+@fast\r\n*0\r\n*0\r\n*0\r\n",
		"*1\r\n*10\r\n$3\r\nget\r\n:2\r\n~2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n" +
			"~3\r\n+@read\r\n+@string\r\n+@fast\r\n~0\r\n~0\r\n~0\r\n"},
		"no tips, no key specifications"},
	{reply{"COMMAND LIST FILTERBY ACLCAT dangerous",
		"*13\r\n$6\r\nbgsave\r\n$8\r\nflushall\r\n$7\r\nflushdb\r\n$4\r\ninfo\r\n$8\r\n" +
			"lastsave\r\n$7\r\nmonitor\r\n$11\r\nraft.digest\r\n$11\r\nraft.member\r\n" +
			"$10\r\nraft.proxy\r\n$13\r\nraft.snapshot\r\n…", ""},
		"there are fewer, and some of its own"},
	{reply{"COMMAND DOCS get", "*2\r\n$3\r\nget\r\n*6\r\n$7\r\nsummary\r\n…",
		"%1\r\n$3\r\nget\r\n%3\r\n$7\r\nsummary\r\n…"}, "neither complexity nor arguments"},
	{reply{"COMMAND LIST FILTERBY PATTERN GE*",
		"*4\r\n$3\r\nget\r\n$6\r\ngetdel\r\n$8\r\ngetrange\r\n$6\r\ngetset\r\n", ""},
		"there are fewer, and they are sorted"},
	{reply{"WAIT 1 100", ":1\r\n", ""}, "each write is on a majority before its answer"},
	{reply{"MEMORY DOCTOR", "$56\r\nSam, I detected no issues: …",
		"=60\r\ntxt:Sam, I detected no issues: …"},
		"no allocator to diagnose"},
	{reply{"SET k v EX 10", "-ERR expiry is not supported yet: SET takes NX, XX, GET and " +
		"KEEPTTL\r\n",
		""}, "no expiry yet"},
	{reply{"RAFT.DIGEST", "*6\r\n$13\r\napplied_index\r\n…", "%3\r\n$13\r\napplied_index\r\n…"},
		"raftd's own"},
	{reply{"RAFT.STATUS", "*96\r\n$15\r\nraft_cluster_id\r\n…",
		"%48\r\n$15\r\nraft_cluster_id\r\n…"}, "raftd's own"},
	{reply{"RAFT.TRANSFER x", "-ERR 'x' is not a member id; see INFO raft\r\n", ""}, "raftd's own"},
	{reply{"RAFT.MEMBER ADD x y", "-ERR 'x' is not a member id; see RAFT.MEMBER LIST\r\n", ""},
		"raftd's own"},
	{reply{"RAFT.MEMBER HELP", "*20\r\n+RAFT.MEMBER <subcommand> …", ""}, "raftd's own"},
	{reply{"RAFT.SNAPSHOT TAKE", "+OK\r\n", ""}, "raftd's own"},
	{reply{"RAFT.SNAPSHOT STATUS", "*24\r\n$25\r\nraft_snapshot_in_progress\r\n…",
		"%12\r\n$25\r\nraft_snapshot_in_progress\r\n…"}, "raftd's own"},
	{reply{"RAFT.SNAPSHOT x", "-ERR syntax error\r\n", ""}, "raftd's own"},
	{reply{"RAFT.PROXY x", "-NOPROTO unsupported version of forwarding\r\n", ""}, "raftd's own"},
}

// replies are all of them.
func replies() (all []reply) {
	all = slices.Clone(stockReplies)
	for _, x := range ownReplies {
		all = append(all, x.reply)
	}
	return all
}

func (x *reply) in(proto string) string {
	if proto == "3" && x.three != "" {
		return x.three
	}
	return x.two
}

// fits reports whether got is one whole reply, and the one wanted.
func (x *reply) fits(got, proto string) bool {
	want := x.in(proto)
	start, cut := strings.CutSuffix(want, "…")
	if !cut {
		return got == want
	}
	return strings.HasPrefix(got, start) && replySize([]byte(got)) == len(got)
}

func TestReplies(t *testing.T) {
	own := make([]reply, len(ownReplies))
	for i, x := range ownReplies {
		own[i] = x.reply
	}
	for _, proto := range []string{"2", "3"} {
		for _, list := range [][]reply{stockReplies, own} {
			r := newRig(t, nil)
			r.lane.auto = true
			c, w := r.connect()
			r.send(c, array("HELLO", proto))
			w.take()
			for _, x := range list {
				r.send(c, array(strings.Fields(x.cmd)...))
				r.front.completions()
				if got := w.take(); !x.fits(got, proto) {
					t.Errorf("RESP%s %s:\n got %q\nwant %q", proto, x.cmd, got, x.in(proto))
				}
				if x.cmd == "RESET" {
					r.send(c, array("HELLO", proto))
					w.take()
				}
			}
		}
	}
}

func TestEveryCommandHasAReply(t *testing.T) {
	seen := make(map[*command]bool)
	for _, x := range replies() {
		seen[lookup([]byte(strings.Fields(x.cmd)[0]))] = true
	}
	for _, d := range commands {
		if !seen[d] {
			t.Errorf("%s is in no table of replies", d.name)
		}
	}
}

// TestStockRedis asks the server at RINGRAFT_REDIS, which it empties, whether stockReplies is the
// truth, and whether ownReplies still differ.
func TestStockRedis(t *testing.T) {
	address := os.Getenv("RINGRAFT_REDIS")
	if address == "" {
		t.Skip("no RINGRAFT_REDIS=host:port of a stock redis-server that may be emptied")
	}
	if got := dialStock(t, address)("INFO server"); !strings.Contains(got, "\nredis_version:7.0.") {
		t.Skipf("the tables are those of Redis 7.0; this is %.80q", got)
	}
	var names []string
	for name := range strings.SplitSeq(dialStock(t, address)("COMMAND LIST"), "\r\n") {
		if name != "" && !strings.ContainsAny(name, "*$|") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if !slices.Equal(names, redisCommands) {
		t.Errorf("Redis has the commands %q", names)
	}
	// What COMMAND says of a command, but for tips, key specifications and subcommands.
	const rest = "*0\r\n*0\r\n*0\r\n"
	for _, d := range commands {
		if !slices.Contains(redisCommands, d.name) {
			continue
		}
		ours := string(d.describe(nil))
		ours = strings.TrimSuffix(string(resp.Render(nil, []byte(ours), resp.RESP2)), rest)
		got := dialStock(t, address)("COMMAND INFO " + d.name)
		if !strings.HasPrefix(got, "*1\r\n"+ours) {
			t.Errorf("COMMAND INFO %s:\nstock %q\n ours %q", d.name, got, ours)
		}
	}
	dialStock(t, address)("FLUSHALL")
	askStockUsers(t, address)
	for _, proto := range []string{"2", "3"} {
		ask := dialStock(t, address)
		ask("FLUSHALL")
		ask("HELLO " + proto)
		for _, x := range stockReplies {
			if got := ask(x.cmd); !x.fits(got, proto) {
				t.Errorf("RESP%s %s:\n stock %q\ntable %q", proto, x.cmd, got, x.in(proto))
			}
			if x.cmd == "RESET" {
				ask("HELLO " + proto)
			}
		}
		ask = dialStock(t, address)
		ask("HELLO " + proto)
		for _, x := range ownReplies {
			if got := ask(x.cmd); got == x.in(proto) {
				t.Errorf("RESP%s %s: %q is no difference: %s", proto, x.cmd, got, x.why)
			}
		}
	}
}

// dialStock returns what sends a command, as words, and reads its reply.
func dialStock(t *testing.T, address string) func(cmd string) string {
	ask := dialStockWords(t, address)
	return func(cmd string) string {
		got, err := ask(cmd)
		if err != nil {
			t.Fatalf("%s: %v", cmd, err)
		}
		return got
	}
}

// dialStockWords is dialStock of commands as aclTalk has them. The error says that the connection
// has ended.
func dialStockWords(t *testing.T, address string) func(cmd string) (string, error) {
	sock, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sock.Close() })
	var in []byte
	buf := make([]byte, 1<<16)
	return func(cmd string) (string, error) {
		if _, err := sock.Write([]byte(array(words(cmd)...))); err != nil {
			return "", err
		}
		for in = in[:0]; ; {
			n, err := sock.Read(buf)
			if err != nil {
				return "", err
			}
			in = append(in, buf[:n]...)
			if replySize(in) == len(in) {
				return string(in), nil
			}
		}
	}
}

// What no command of today answers: marks, in and out of order.
func TestMarksAreRenderedInAnyOrder(t *testing.T) {
	for proto, want := range map[string]string{
		"2": "*-1\r\n*2\r\n$1\r\na\r\n$3\r\n1.5\r\n",
		"3": "_\r\n*1\r\n*2\r\n$1\r\na\r\n,1.5\r\n",
	} {
		r := newRig(t, nil)
		c, w := r.connect()
		r.send(c, array("HELLO", proto))
		w.take()
		r.send(c, array("GET", "k")+array("GET", "k"))
		pairs := resp.AppendDouble(resp.AppendBulkString(resp.AppendPairs(nil, 1), "a"), 1.5)
		r.lane.answer(2, pairs)
		r.front.completions()
		r.lane.answer(1, resp.AppendNullArray(nil))
		r.front.completions()
		expect(t, "RESP"+proto, w.take(), want)
	}
}
