package server

// aclTalk is what Redis 7.0.15 answered to several clients, in this order; raftd answers the same.
// A · in a command is a blank inside an argument; no reply means that the connection ended. A
// trailing … stands for any rest.
var aclTalk = []struct{ who, cmd, reply string }{
	{"a", "ACL WHOAMI", "$7\r\ndefault\r\n"},
	{"a", "ACL USERS", "*1\r\n$7\r\ndefault\r\n"},
	{"a", "ACL LIST", "*1\r\n$34\r\nuser default on nopass ~* &* +@all\r\n"},
	{"a", "ACL GETUSER default",
		"*12\r\n$5\r\nflags\r\n*2\r\n$2\r\non\r\n$6\r\nnopass\r\n$9\r\npasswords\r\n*0\r\n" +
			"$8\r\ncommands\r\n$5\r\n+@all\r\n$4\r\nkeys\r\n$2\r\n~*\r\n$8\r\nchannels\r\n$2\r\n" +
			"&*\r\n$9\r\nselectors\r\n*0\r\n"},
	{"a", "ACL GETUSER nobody", "$-1\r\n"},
	{"a", "ACL SETUSER x", "+OK\r\n"},
	{"a", "ACL LIST",
		"*2\r\n$34\r\nuser default on nopass ~* &* +@all\r\n$30\r\nuser x off resetchannels " +
			"-@all\r\n"},
	{"a", "ACL SETUSER x on >pw ~a* %R~b* %W~c %rw~d &ch +@read -get", "+OK\r\n"},
	{"a", "ACL LIST",
		"*2\r\n$34\r\nuser default on nopass ~* &* +@all\r\n$129\r\nuser x on " +
			"#30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4 ~a* %R~b* %W~c ~d " +
			"resetchannels &ch -@all +@read -get\r\n"},
	{"a", "ACL GETUSER x",
		"*12\r\n$5\r\nflags\r\n*1\r\n$2\r\non\r\n$9\r\npasswords\r\n*1\r\n$64\r\n" +
			"30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4\r\n$8\r\n" +
			"commands\r\n$17\r\n-@all +@read -get\r\n$4\r\nkeys\r\n$17\r\n~a* %R~b* %W~c " +
			"~d\r\n$8\r\nchannels\r\n$3\r\n&ch\r\n$9\r\nselectors\r\n*0\r\n"},
	{"a", "ACL SETUSER x reset", "+OK\r\n"},
	{"a", "ACL LIST",
		"*2\r\n$34\r\nuser default on nopass ~* &* +@all\r\n$47\r\nuser x off " +
			"sanitize-payload resetchannels -@all\r\n"},
	{"a", "ACL SETUSER x ON AllKeys AllChannels", "+OK\r\n"},
	{"a", "ACL GETUSER x",
		"*12\r\n$5\r\nflags\r\n*2\r\n$2\r\non\r\n$16\r\nsanitize-payload\r\n$9\r\n" +
			"passwords\r\n*0\r\n$8\r\ncommands\r\n$5\r\n-@all\r\n$4\r\nkeys\r\n$2\r\n~*\r\n" +
			"$8\r\nchannels\r\n$2\r\n&*\r\n$9\r\nselectors\r\n*0\r\n"},
	{"a", "ACL SETUSER y ~x·y", "-ERR Error in ACL SETUSER modifier '~x y': Syntax error\r\n"},
	{"a", "ACL SETUSER y %~a", "-ERR Error in ACL SETUSER modifier '%~a': Syntax error\r\n"},
	{"a", "ACL SETUSER y %X~a", "-ERR Error in ACL SETUSER modifier '%X~a': Syntax error\r\n"},
	{"a", "ACL SETUSER y %RR~a", "-ERR Error in ACL SETUSER modifier '%RR~a': Syntax error\r\n"},
	{"a", "ACL SETUSER y %R~", "+OK\r\n"},
	{"a", "ACL SETUSER y %R", "+OK\r\n"},
	{"a", "ACL SETUSER y ~", "+OK\r\n"},
	{"a", "ACL SETUSER y &", "+OK\r\n"},
	{"a", "ACL SETUSER y &a·b", "-ERR Error in ACL SETUSER modifier '&a b': Syntax error\r\n"},
	{"a", "ACL SETUSER y foo", "-ERR Error in ACL SETUSER modifier 'foo': Syntax error\r\n"},
	{"a", "ACL SETUSER y +nosuch",
		"-ERR Error in ACL SETUSER modifier '+nosuch': Unknown command or category name in " +
			"ACL\r\n"},
	{"a", "ACL SETUSER y -nosuch",
		"-ERR Error in ACL SETUSER modifier '-nosuch': Unknown command or category name in " +
			"ACL\r\n"},
	{"a", "ACL SETUSER y +@nosuch",
		"-ERR Error in ACL SETUSER modifier '+@nosuch': Unknown command or category name in " +
			"ACL\r\n"},
	{"a", "ACL SETUSER y -@nosuch",
		"-ERR Error in ACL SETUSER modifier '-@nosuch': Unknown command or category name in " +
			"ACL\r\n"},
	{"a", "ACL SETUSER y +@",
		"-ERR Error in ACL SETUSER modifier '+@': Unknown command or category name in ACL\r\n"},
	{"a", "ACL SETUSER y +",
		"-ERR Error in ACL SETUSER modifier '+': Unknown command or category name in ACL\r\n"},
	{"a", "ACL SETUSER y -",
		"-ERR Error in ACL SETUSER modifier '-': Unknown command or category name in ACL\r\n"},
	{"a", "ACL SETUSER y +config|nosuch",
		"-ERR Error in ACL SETUSER modifier '+config|nosuch': Unknown command or category " +
			"name in ACL\r\n"},
	{"a", "ACL SETUSER y +config|",
		"-ERR Error in ACL SETUSER modifier '+config|': Syntax error\r\n"},
	{"a", "ACL SETUSER y +config|get|x",
		"-ERR Error in ACL SETUSER modifier '+config|get|x': Allowing first-arg of a " +
			"subcommand is not supported\r\n"},
	{"a", "ACL SETUSER y -config|get|x",
		"-ERR Error in ACL SETUSER modifier '-config|get|x': Unknown command or category " +
			"name in ACL\r\n"},
	{"a", "ACL SETUSER y -config|get", "+OK\r\n"},
	{"a", "ACL SETUSER y -set|x",
		"-ERR Error in ACL SETUSER modifier '-set|x': Unknown command or category name in " +
			"ACL\r\n"},
	{"a", "ACL SETUSER y +|x",
		"-ERR Error in ACL SETUSER modifier '+|x': Unknown command or category name in " +
			"ACL\r\n"},
	{"a", "ACL SETUSER y #abc",
		"-ERR Error in ACL SETUSER modifier '#abc': The password hash must be exactly 64 " +
			"characters and contain only lowercase hexadecimal characters\r\n"},
	{"a", "ACL SETUSER y !abc",
		"-ERR Error in ACL SETUSER modifier '!abc': The password hash must be exactly 64 " +
			"characters and contain only lowercase hexadecimal characters\r\n"},
	{"a", "ACL SETUSER y #0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
		"-ERR Error in ACL SETUSER modifier '#0123" +
			"456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef': The password hash " +
			"must be exactly 64 characters and contain only lowercase hexadecimal characters\r\n"},
	{"a", "ACL SETUSER y <nopw",
		"-ERR Error in ACL SETUSER modifier '<nopw': The password you are trying to remove " +
			"from the user does not exist\r\n"},
	{"a", "ACL SETUSER y !0000000000000000000000000000000000000000000000000000000000000000",
		"-ERR Error in ACL SETUSER modifier '!0000" +
			"000000000000000000000000000000000000000000000000000000000000': The password you are " +
			"trying to remove from the user does not exist\r\n"},
	{"a", "ACL SETUSER y >", "+OK\r\n"},
	{"a", "ACL SETUSER y (~a·+get)", "+OK\r\n"},
	{"a", "ACL SETUSER y (~a +get)", "+OK\r\n"},
	{"a", "ACL SETUSER y (~a",
		"-ERR Unmatched parenthesis in acl selector starting at '(~a'.\r\n"},
	{"a", "ACL SETUSER y (foo)", "-ERR Error in ACL SETUSER modifier '(foo)': Syntax error\r\n"},
	{"a", "ACL SETUSER y (on)", "-ERR Error in ACL SETUSER modifier '(on)': Syntax error\r\n"},
	{"a", "ACL SETUSER y (~a·(b))",
		"-ERR Error in ACL SETUSER modifier '(~a (b))': Syntax error\r\n"},
	{"a", "ACL SETUSER y ()", "+OK\r\n"},
	{"a", "ACL LIST",
		"*3\r\n$34\r\nuser default on nopass ~* &* +@all\r\n$38\r\nuser x on " +
			"sanitize-payload ~* &* -@all\r\n$182\r\nuser y off " +
			"#e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 ~ resetchannels & " +
			"-@all (~a resetchannels -@all +get) (~a resetchannels -@all +get) (resetchannels " +
			"-@all)\r\n"},
	{"a", "ACL SETUSER y clearselectors", "+OK\r\n"},
	{"a", "ACL SETUSER y sanitize-payload", "+OK\r\n"},
	{"a", "ACL GETUSER y",
		"*12\r\n$5\r\nflags\r\n*2\r\n$3\r\noff\r\n$16\r\nsanitize-payload\r\n$9\r\n" +
			"passwords\r\n*1\r\n$64\r\ne3b0c44298fc1c1" +
			"49afbf4c8996fb92427ae41e4649b934ca495991b7852b855\r\n$8\r\ncommands\r\n$5\r\n" +
			"-@all\r\n$4\r\nkeys\r\n$1\r\n~\r\n$8\r\nchannels\r\n$1\r\n&\r\n$9\r\nselectors\r\n" +
			"*0\r\n"},
	{"a", "ACL SETUSER y skip-sanitize-payload", "+OK\r\n"},
	{"a", "ACL GETUSER y",
		"*12\r\n$5\r\nflags\r\n*2\r\n$3\r\noff\r\n$21\r\nskip-sanitize-payload\r\n$9\r\n" +
			"passwords\r\n*1\r\n$64\r\ne3b0c44298fc1c1" +
			"49afbf4c8996fb92427ae41e4649b934ca495991b7852b855\r\n$8\r\ncommands\r\n$5\r\n" +
			"-@all\r\n$4\r\nkeys\r\n$1\r\n~\r\n$8\r\nchannels\r\n$1\r\n&\r\n$9\r\nselectors\r\n" +
			"*0\r\n"},
	{"a", "ACL SETUSER z allkeys ~x",
		"-ERR Error in ACL SETUSER modifier '~x': Adding a pattern after the * pattern (or " +
			"the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to " +
			"start with an empty list of patterns\r\n"},
	{"a", "ACL SETUSER z allchannels &x",
		"-ERR Error in ACL SETUSER modifier '&x': Adding a pattern after the * pattern (or " +
			"the 'allchannels' flag) is not valid and does not have any effect. Try " +
			"'resetchannels' to start with an empty list of channels\r\n"},
	{"a", "ACL SETUSER z ~* ~*", "+OK\r\n"},
	{"a", "ACL SETUSER z ~* ~y",
		"-ERR Error in ACL SETUSER modifier '~y': Adding a pattern after the * pattern (or " +
			"the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to " +
			"start with an empty list of patterns\r\n"},
	{"a", "ACL SETUSER z resetkeys ~y ~y %R~y", "+OK\r\n"},
	{"a", "ACL GETUSER z",
		"*12\r\n$5\r\nflags\r\n*1\r\n$3\r\noff\r\n$9\r\npasswords\r\n*0\r\n$8\r\n" +
			"commands\r\n$5\r\n-@all\r\n$4\r\nkeys\r\n$2\r\n~y\r\n$8\r\nchannels\r\n$0\r\n\r\n" +
			"$9\r\nselectors\r\n*0\r\n"},
	{"a", "ACL SETUSER a·b on", "-ERR Usernames can't contain spaces or null characters\r\n"},
	{"a", "ACL SETUSER w on bogus >x",
		"-ERR Error in ACL SETUSER modifier 'bogus': Syntax error\r\n"},
	{"a", "ACL GETUSER w", "$-1\r\n"},
	{"a", "ACL USERS", "*4\r\n$7\r\ndefault\r\n$1\r\nx\r\n$1\r\ny\r\n$1\r\nz\r\n"},
	{"a", "ACL DELUSER default", "-ERR The 'default' user cannot be removed\r\n"},
	{"a", "ACL DELUSER nobody x y z", ":3\r\n"},
	{"a", "ACL SETUSER", "-ERR wrong number of arguments for 'acl|setuser' command\r\n"},
	{"a", "ACL DELUSER", "-ERR wrong number of arguments for 'acl|deluser' command\r\n"},
	{"a", "ACL NOSUCH", "-ERR unknown subcommand 'NOSUCH'. Try ACL HELP.\r\n"},
	{"a", "ACL CAT nosuch", "-ERR Unknown category 'nosuch'\r\n"},
	{"a", "ACL CAT a b",
		"-ERR unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP.\r\n"},
	{"a", "ACL CAT",
		"*21\r\n$8\r\nkeyspace\r\n$4\r\nread\r\n$5\r\nwrite\r\n$3\r\nset\r\n$9\r\n" +
			"sortedset\r\n$4\r\nlist\r\n$4\r\nhash\r\n$6\r\nstring\r\n$6\r\nbitmap\r\n$11\r\n" +
			"hyperloglog\r\n$3\r\ngeo\r\n$6\r\nstream\r\n$6\r\npubsub\r\n$5\r\nadmin\r\n$4\r\n" +
			"fast\r\n$4\r\nslow\r\n$8\r\nblocking\r\n$9\r\ndangerous\r\n$10\r\nconnection\r\n" +
			"$11\r\ntransaction\r\n$9\r\nscripting\r\n"},
	{"a", "ACL WHOAMI x", "-ERR wrong number of arguments for 'acl|whoami' command\r\n"},
	{"a", "ACL GENPASS 0",
		"-ERR ACL GENPASS argument must be the number of bits for the output password, a " +
			"positive number up to 4096\r\n"},
	{"a", "ACL GENPASS x", "-ERR value is not an integer or out of range\r\n"},
	{"a", "ACL GENPASS 4097",
		"-ERR ACL GENPASS argument must be the number of bits for the output password, a " +
			"positive number up to 4096\r\n"},
	{"a", "ACL SETUSER u1 on nopass allcommands -@dangerous +@all -get +get -config|get " +
		"-config +config|get",
		"+OK\r\n"},
	{"a", "ACL GETUSER u1",
		"*12\r\n$5\r\nflags\r\n*2\r\n$2\r\non\r\n$6\r\nnopass\r\n$9\r\npasswords\r\n*0\r\n" +
			"$8\r\ncommands\r\n$25\r\n+@all -config +config|get\r\n$4\r\nkeys\r\n$0\r\n\r\n" +
			"$8\r\nchannels\r\n$0\r\n\r\n$9\r\nselectors\r\n*0\r\n"},
	{"a", "ACL SETUSER u2 ~x %R~x %W~y %R~y ALLCOMMANDS nocommands +GET", "+OK\r\n"},
	{"a", "ACL GETUSER u2",
		"*12\r\n$5\r\nflags\r\n*1\r\n$3\r\noff\r\n$9\r\npasswords\r\n*0\r\n$8\r\n" +
			"commands\r\n$10\r\n-@all +get\r\n$4\r\nkeys\r\n$5\r\n~x ~y\r\n$8\r\nchannels\r\n" +
			"$0\r\n\r\n$9\r\nselectors\r\n*0\r\n"},
	{"a", "ACL SETUSER u3 +@all -config|get", "+OK\r\n"},
	{"a", "ACL GETUSER u3",
		"*12\r\n$5\r\nflags\r\n*1\r\n$3\r\noff\r\n$9\r\npasswords\r\n*0\r\n$8\r\n" +
			"commands\r\n$17\r\n+@all -config|get\r\n$4\r\nkeys\r\n$0\r\n\r\n$8\r\nchannels\r\n" +
			"$0\r\n\r\n$9\r\nselectors\r\n*0\r\n"},
	{"a", "ACL SETUSER u4 >a >b >a nopass >c #aaaaaa" +
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa <c",
		"+OK\r\n"},
	{"a", "ACL GETUSER u4",
		"*12\r\n$5\r\nflags\r\n*1\r\n$3\r\noff\r\n$9\r\npasswords\r\n*1\r\n$64\r\n" +
			"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n$8\r\n" +
			"commands\r\n$5\r\n-@all\r\n$4\r\nkeys\r\n$0\r\n\r\n$8\r\nchannels\r\n$0\r\n\r\n" +
			"$9\r\nselectors\r\n*0\r\n"},
	{"a", "ACL SETUSER u5 +select|0 +select|1 +select", "+OK\r\n"},
	{"a", "ACL GETUSER u5",
		"*12\r\n$5\r\nflags\r\n*1\r\n$3\r\noff\r\n$9\r\npasswords\r\n*0\r\n$8\r\n" +
			"commands\r\n$13\r\n-@all +select\r\n$4\r\nkeys\r\n$0\r\n\r\n$8\r\nchannels\r\n" +
			"$0\r\n\r\n$9\r\nselectors\r\n*0\r\n"},
	{"a", "ACL SETUSER u5 -select +select|0", "+OK\r\n"},
	{"a", "ACL GETUSER u5",
		"*12\r\n$5\r\nflags\r\n*1\r\n$3\r\noff\r\n$9\r\npasswords\r\n*0\r\n$8\r\n" +
			"commands\r\n$15\r\n-@all +select|0\r\n$4\r\nkeys\r\n$0\r\n\r\n$8\r\nchannels\r\n" +
			"$0\r\n\r\n$9\r\nselectors\r\n*0\r\n"},
	{"a", "ACL DELUSER u1 u2 u3 u4", ":4\r\n"},
	{"a", "ACL DRYRUN nobody get x", "-ERR User 'nobody' not found\r\n"},
	{"a", "ACL DRYRUN default nosuch x", "-ERR Command 'nosuch' not found\r\n"},
	{"a", "ACL DRYRUN u5 get", "-ERR wrong number of arguments for 'get' command\r\n"},
	{"a", "ACL DRYRUN u5 get x",
		"$53\r\nThis user has no permissions to run the 'get' command\r\n"},
	{"a", "ACL DRYRUN u5 select 0", "+OK\r\n"},
	{"a", "ACL DRYRUN u5 select 3",
		"$56\r\nThis user has no permissions to run the 'select' command\r\n"},
	{"a", "ACL DRYRUN u5 config nosuch", "-ERR Command 'config' not found\r\n"},
	{"a", "ACL DRYRUN u5 ping",
		"$54\r\nThis user has no permissions to run the 'ping' command\r\n"},
	{"a", "ACL DRYRUN u5 auth x", "+OK\r\n"},
	{"a", "ACL DELUSER u5", ":1\r\n"},
	{"a", "ACL SETUSER bob on >pw ~a* %R~r* %W~w* +get +set +config|get +@connection +mset " +
		"+exists +strlen +getset +memory +del +touch +append -echo",
		"+OK\r\n"},
	{"a", "ACL DRYRUN bob config set a b",
		"$60\r\nThis user has no permissions to run the 'config|set' command\r\n"},
	{"a", "ACL DRYRUN bob get z", "$50\r\nThis user has no permissions to access the 'z' key\r\n"},
	{"b", "AUTH bob x", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
	{"b", "AUTH bob pw", "+OK\r\n"},
	{"b", "GET a1", "$-1\r\n"},
	{"b", "GET b",
		"-NOPERM this user has no permissions to access one of the keys used as arguments\r\n"},
	{"b", "GET w1",
		"-NOPERM this user has no permissions to access one of the keys used as arguments\r\n"},
	{"b", "GET r1", "$-1\r\n"},
	{"b", "SET r1 x",
		"-NOPERM this user has no permissions to access one of the keys used as arguments\r\n"},
	{"b", "SET w1 x", "+OK\r\n"},
	{"b", "SET w1 x get",
		"-NOPERM this user has no permissions to access one of the keys used as arguments\r\n"},
	{"b", "SET a1 x GET", "$-1\r\n"},
	{"b", "INCR a", "-NOPERM this user has no permissions to run the 'incr' command\r\n"},
	{"b", "CONFIG GET save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"},
	{"b", "CONFIG SET save x",
		"-NOPERM this user has no permissions to run the 'config|set' command\r\n"},
	{"b", "CONFIG RESETSTAT",
		"-NOPERM this user has no permissions to run the 'config|resetstat' command\r\n"},
	{"b", "CONFIG x", "-ERR unknown subcommand 'x'. Try CONFIG HELP.\r\n"},
	{"b", "NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: \r\n"},
	{"b", "GET", "-ERR wrong number of arguments for 'get' command\r\n"},
	{"b", "ECHO x", "-NOPERM this user has no permissions to run the 'echo' command\r\n"},
	{"b", "MSET a1 1 b 2",
		"-NOPERM this user has no permissions to access one of the keys used as arguments\r\n"},
	{"b", "MSET b 1 w 2",
		"-NOPERM this user has no permissions to access one of the keys used as arguments\r\n"},
	{"b", "EXISTS w1", ":1\r\n"},
	{"b", "EXISTS r1", ":0\r\n"},
	{"b", "EXISTS z",
		"-NOPERM this user has no permissions to access one of the keys used as arguments\r\n"},
	{"b", "TOUCH w1 r1 a1", ":2\r\n"},
	{"b", "STRLEN w", ":0\r\n"},
	{"b", "APPEND w x", ":1\r\n"},
	{"b", "APPEND r x",
		"-NOPERM this user has no permissions to access one of the keys used as arguments\r\n"},
	{"b", "GETSET w 1",
		"-NOPERM this user has no permissions to access one of the keys used as arguments\r\n"},
	{"b", "MEMORY USAGE z",
		"-NOPERM this user has no permissions to access one of the keys used as arguments\r\n"},
	{"b", "DEL w1 a1 w", ":3\r\n"},
	{"b", "DEL r1",
		"-NOPERM this user has no permissions to access one of the keys used as arguments\r\n"},
	{"b", "MULTI x", "-ERR wrong number of arguments for 'multi' command\r\n"},
	{"b", "MULTI", "-NOPERM this user has no permissions to run the 'multi' command\r\n"},
	{"b", "WATCH a", "-NOPERM this user has no permissions to run the 'watch' command\r\n"},
	{"b", "ACL WHOAMI",
		"-NOPERM this user has no permissions to run the 'acl|whoami' command\r\n"},
	{"b", "CLIENT GETNAME", "$-1\r\n"},
	{"b", "AUTH default x", "+OK\r\n"},
	{"b", "ACL WHOAMI", "$7\r\ndefault\r\n"},
	{"b", "AUTH x",
		"-ERR AUTH <password> called without any password configured for the default user. " +
			"Are you sure your configuration is correct?\r\n"},
	{"b", "AUTH bob zz", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
	{"b", "AUTH nobody pw", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
	{"b", "ACL WHOAMI", "$7\r\ndefault\r\n"},
	{"b", "HELLO 2 AUTH bob", "-ERR Syntax error in HELLO option 'AUTH'\r\n"},
	{"b", "HELLO 2 AUTH bob nix",
		"-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
	{"b", "HELLO 2 AUTH bob pw SETNAME q", "*14…"},
	{"b", "CLIENT GETNAME", "$1\r\nq\r\n"},
	{"b", "ACL WHOAMI",
		"-NOPERM this user has no permissions to run the 'acl|whoami' command\r\n"},
	{"b", "RESET", "+RESET\r\n"},
	{"b", "ACL WHOAMI", "$7\r\ndefault\r\n"},
	{"a", "ACL SETUSER sel on nopass +get ~x (+set ~y) (+incr ~a ~b)", "+OK\r\n"},
	{"a", "ACL GETUSER sel",
		"*12\r\n$5\r\nflags\r\n*2\r\n$2\r\non\r\n$6\r\nnopass\r\n$9\r\npasswords\r\n*0\r\n" +
			"$8\r\ncommands\r\n$10\r\n-@all +get\r\n$4\r\nkeys\r\n$2\r\n~x\r\n$8\r\nchannels\r\n" +
			"$0\r\n\r\n$9\r\nselectors\r\n*2\r\n*6\r\n$8\r\ncommands\r\n$10\r\n-@all +set\r\n" +
			"$4\r\nkeys\r\n$2\r\n~y\r\n$8\r\nchannels\r\n$0\r\n\r\n*6\r\n$8\r\ncommands\r\n" +
			"$11\r\n-@all +incr\r\n$4\r\nkeys\r\n$5\r\n~a ~b\r\n$8\r\nchannels\r\n$0\r\n\r\n"},
	{"a", "ACL DRYRUN sel get x", "+OK\r\n"},
	{"a", "ACL DRYRUN sel get y", "$50\r\nThis user has no permissions to access the 'y' key\r\n"},
	{"a", "ACL DRYRUN sel del y",
		"$53\r\nThis user has no permissions to run the 'del' command\r\n"},
	{"b", "AUTH sel anything", "+OK\r\n"},
	{"b", "GET x", "$-1\r\n"},
	{"b", "GET y",
		"-NOPERM this user has no permissions to access one of the keys used as arguments\r\n"},
	{"b", "SET y 1", "+OK\r\n"},
	{"b", "SET x 1",
		"-NOPERM this user has no permissions to access one of the keys used as arguments\r\n"},
	{"b", "SET z 1",
		"-NOPERM this user has no permissions to access one of the keys used as arguments\r\n"},
	{"b", "INCR a", ":1\r\n"},
	{"b", "INCR y",
		"-NOPERM this user has no permissions to access one of the keys used as arguments\r\n"},
	{"b", "DEL a", "-NOPERM this user has no permissions to run the 'del' command\r\n"},
	{"b", "MGET x", "-NOPERM this user has no permissions to run the 'mget' command\r\n"},
	{"a", "ACL SETUSER sel -@all", "+OK\r\n"},
	{"b", "GET x", "-NOPERM this user has no permissions to run the 'get' command\r\n"},
	{"b", "SET y 1", "+OK\r\n"},
	{"a", "ACL SETUSER sel off", "+OK\r\n"},
	{"b", "SET y 2", "+OK\r\n"},
	{"c", "AUTH sel x", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
	{"a", "DEL a y", ":2\r\n"},
	{"a", "ACL SETUSER bob -@all", "+OK\r\n"},
	{"b", "AUTH bob pw", "+OK\r\n"},
	{"b", "PING", "-NOPERM this user has no permissions to run the 'ping' command\r\n"},
	{"b", "HELLO 2", "*14…"},
	{"b", "RESET", "+RESET\r\n"},
	{"b", "ACL SETUSER default resetpass", "+OK\r\n"},
	{"a", "PING", "+PONG\r\n"},
	{"d", "PING", "-NOAUTH Authentication required.\r\n"},
	{"d", "NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: \r\n"},
	{"d", "GET", "-ERR wrong number of arguments for 'get' command\r\n"},
	{"d", "GET x", "-NOAUTH Authentication required.\r\n"},
	{"d", "CONFIG x", "-ERR unknown subcommand 'x'. Try CONFIG HELP.\r\n"},
	{"d", "HELLO 3",
		"-NOAUTH HELLO must be called with the client already authenticated, otherwise the " +
			"HELLO AUTH <user> <pass> option can be used to authenticate the client and select " +
			"the RESP protocol version at the same time\r\n"},
	{"d", "HELLO",
		"-NOAUTH HELLO must be called with the client already authenticated, otherwise the " +
			"HELLO AUTH <user> <pass> option can be used to authenticate the client and select " +
			"the RESP protocol version at the same time\r\n"},
	{"d", "HELLO 9", "-NOPROTO unsupported protocol version\r\n"},
	{"d", "HELLO 2 SETNAME x",
		"-NOAUTH HELLO must be called with the client already authenticated, otherwise the " +
			"HELLO AUTH <user> <pass> option can be used to authenticate the client and select " +
			"the RESP protocol version at the same time\r\n"},
	{"d", "AUTH", "-ERR wrong number of arguments for 'auth' command\r\n"},
	{"d", "AUTH x", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
	{"d", "AUTH default x", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
	{"d", "AUTH bob pw", "+OK\r\n"},
	{"d", "PING", "-NOPERM this user has no permissions to run the 'ping' command\r\n"},
	{"d", "RESET", "+RESET\r\n"},
	{"d", "PING", "-NOAUTH Authentication required.\r\n"},
	{"a", "ACL SETUSER default >sekret", "+OK\r\n"},
	{"d", "AUTH sekret", "+OK\r\n"},
	{"d", "PING", "+PONG\r\n"},
	{"d", "ACL WHOAMI", "$7\r\ndefault\r\n"},
	{"d", "RESET", "+RESET\r\n"},
	{"d", "PING", "-NOAUTH Authentication required.\r\n"},
	{"d", "HELLO 2 AUTH default bad",
		"-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
	{"d", "HELLO 2 AUTH default sekret SETNAME ab", "*14…"},
	{"d", "CLIENT GETNAME", "$2\r\nab\r\n"},
	{"a", "ACL SETUSER default nopass", "+OK\r\n"},
	{"e", "PING", "+PONG\r\n"},
	{"a", "ACL SETUSER default off", "+OK\r\n"},
	{"f", "PING", "-NOAUTH Authentication required.\r\n"},
	{"f", "AUTH default x", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
	{"a", "PING", "+PONG\r\n"},
	{"a", "ACL SETUSER default on", "+OK\r\n"},
	{"f", "PING", "+PONG\r\n"},
	{"e", "AUTH bob pw", "+OK\r\n"},
	{"a", "ACL DELUSER bob sel", ":2\r\n"},
	{"a", "ACL USERS", "*1\r\n$7\r\ndefault\r\n"},
	{"e", "PING", ""},
	{"g", "PING", "+PONG\r\n"},
}
