package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// secretFile writes a file that nobody else can read.
func secretFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestMistakesAboutUsersAreExplained(t *testing.T) {
	pw, users := secretFile(t, "secret\n"), secretFile(t, "user default on >x ~* +@all\n")
	open, bad := secretFile(t, "x"), secretFile(t, "user bob\nuser eve on maybe\n")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ args, says string }{
		{"--requirepass-file " + pw + " --users-file " + users, "give one of the two"},
		{"--requirepass-file " + open, "chmod 600 it"},
		{"--users-file " + open, "chmod 600 it"},
		{"--requirepass-file /nonexistent", "--requirepass-file: open /nonexistent"},
		{"--users-file " + bad, ":2: Error in ACL SETUSER modifier 'maybe': Syntax error"},
		{"--forward-user bob", "give its password with --forward-pass-file"},
		{"--forward-pass-file " + open, "--forward-pass-file: "},
		{"--users-file " + users + " --members 1=127.0.0.1:7380,2=127.0.0.1:2",
			"--forward-user and --forward-pass-file, or use --follower redirect"},
		{"--client 10.1.2.3:7379", "the user default needs no password; give --requirepass-file"},
		{"--client 10.1.2.3:7379 --users-file " + secretFile(t, "user bob on >x\n"),
			"the user default needs no password"},
		{"--peer 10.1.2.3:1 --requirepass-file " + pw, "--peer 10.1.2.3:1 can be reached"},
	} {
		_, err := parse(t, strings.Fields(x.args)...)
		if err == nil || !strings.Contains(err.Error(), x.says) ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", x.args, err)
		}
	}
	for _, args := range []string{"--client 10.1.2.3:7379 --requirepass-file " + pw,
		"--client 10.1.2.3:7379 --users-file " + users, "--client 10.1.2.3:7379 --insecure"} {
		if _, err := parse(t, strings.Fields(args)...); err != nil {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// as is a client that logs in.
func as(t *testing.T, d *daemon, user, password string) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: d.plan.client, Username: user, Password: password,
		MaxRetries: 20})
	t.Cleanup(func() { c.Close() })
	return c
}

// errorIs holds the beginning of an error.
func errorIs(t *testing.T, what string, err error, begins string) {
	t.Helper()
	if (err == nil) != (begins == "") || err != nil && !strings.HasPrefix(err.Error(), begins) {
		t.Errorf("%s: %v, want %q", what, err, begins)
	}
}

// Commands through followers are those of the client's user there, and reach the leader as what
// the member says it is. Nobody else does.
func TestUsersOfACluster(t *testing.T) {
	users := secretFile(t, "user default off\nuser bob on >b ~b* +@all -@dangerous\n"+
		"user boss on >boss ~* &* +@all\nuser member on >m -@all +raft.proxy\n")
	members := cluster(t, "--users-file", users, "--forward-user", "member",
		"--forward-pass-file", secretFile(t, "m\n"), "--journal", "direct")
	lead, others := leader(t, members)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, d := range members {
		c := as(t, d, "bob", "b")
		errorIs(t, "own key", c.Set(ctx, "b1", "v", 0).Err(), "")
		errorIs(t, "another key", c.Set(ctx, "c1", "v", 0).Err(), "NOPERM")
		errorIs(t, "a dangerous command", c.FlushAll(ctx).Err(), "NOPERM")
		errorIs(t, "a change of members", c.Do(ctx, "RAFT.MEMBER", "REMOVE", "9").Err(), "NOPERM")
		errorIs(t, "to be a member", c.Do(ctx, "RAFT.PROXY", "4").Err(), "NOPERM")
		errorIs(t, "no password", as(t, d, "", "").Get(ctx, "b1").Err(), "NOAUTH")
		errorIs(t, "a wrong one", as(t, d, "bob", "x").Get(ctx, "b1").Err(), "WRONGPASS")
		errorIs(t, "the member's", as(t, d, "member", "m").Get(ctx, "b1").Err(), "NOPERM")
		boss := as(t, d, "boss", "boss")
		errorIs(t, "any key", boss.Set(ctx, "c1", "v", 0).Err(), "")
		errorIs(t, "a member that is not there", boss.Do(ctx, "RAFT.MEMBER", "REMOVE", "9").Err(),
			"ERR the members were not changed")
	}
	if got := as(t, others[0], "bob", "b").Get(ctx, "b1").Val(); got != "v" {
		t.Errorf("through a follower: %q", got)
	}
	t.Run("users are each member's own", func(t *testing.T) {
		boss := as(t, others[0], "boss", "boss")
		errorIs(t, "eve", boss.Do(ctx, "ACL", "SETUSER", "eve", "on", ">e", "~*", "+get").Err(), "")
		errorIs(t, "here", as(t, others[0], "eve", "e").Get(ctx, "none").Err(), redis.Nil.Error())
		errorIs(t, "there", as(t, lead, "eve", "e").Get(ctx, "none").Err(), "WRONGPASS")
	})
	t.Run("tools", func(t *testing.T) { toolsLogIn(t, others[0], lead) })
}

func toolsLogIn(t *testing.T, d, lead *daemon) {
	tool := func(args ...string) int {
		t.Setenv("HOME", t.TempDir())
		return execute(append(args, "--addr", d.plan.client))
	}
	file := secretFile(t, "boss\n")
	for _, x := range []struct {
		status int
		args   string
	}{
		{1, "member list"},
		{0, "member list --user boss --pass-file " + file},
		{1, "member list --user bob --pass-file " + file},
		{2, "member list --user boss"},
		{1, "member set 2 --priority 1"},
		{0, "member set 2 --priority 1 --user boss --pass-file " + file},
		{1, "snapshot take"},
		{0, "snapshot take --user boss --pass-file " + file + " --to " + t.TempDir() + "/s"},
		{2, "status"},
		{2, "status --user boss"},
		{0, "status --user boss --pass-file " + file},
		{1, "transfer"},
		{0, "transfer --user boss --pass-file " + file},
	} {
		if got := tool(strings.Fields(x.args)...); got != x.status {
			t.Errorf("%s: status %d, want %d", x.args, got, x.status)
		}
	}
	t.Setenv(passwordVariable, "boss")
	if got := tool("member", "list", "--user", "boss"); got != 0 {
		t.Errorf("with the variable: status %d", got)
	}
}

// One password for all is enough for members to forward, too.
func TestOnePassword(t *testing.T) {
	members := cluster(t, "--requirepass-file", secretFile(t, "secret"))
	_, others := leader(t, members)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for i, d := range others {
		errorIs(t, "with it", as(t, d, "", "secret").Set(ctx, fmt.Sprint("k", i), "v", 0).Err(), "")
		errorIs(t, "without", as(t, d, "", "").Ping(ctx).Err(), "NOAUTH")
	}
}

// A member that gives another password forwards nothing, and says so once.
func TestAMemberWithAWrongPasswordForwardsNothing(t *testing.T) {
	members := cluster(t, "--requirepass-file", secretFile(t, "secret"), "--forward-pass-file",
		secretFile(t, "other"))
	_, others := leader(t, members)
	c := redis.NewClient(&redis.Options{Addr: others[0].plan.client, Password: "secret",
		MaxRetries: -1})
	defer c.Close()
	errorIs(t, "forwarded", c.Set(context.Background(), "k", "v", 0).Err(), "TRYAGAIN not applied")
}
