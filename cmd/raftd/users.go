package main

import (
	"fmt"

	"github.com/spf13/pflag"

	"github.com/ringraft/ringraft/cmd/raftd/auth"
	"github.com/ringraft/ringraft/cmd/raftd/server"
)

// userOptions are the flags about users and passwords. No password is ever typed: whoever lists the
// processes would see it.
type userOptions struct {
	requirePass string
	usersFile   string
	forwardUser string
	forwardPass string

	users   *auth.Registry    // as the files say
	forward server.Credential // of this member when it forwards
}

func (o *userOptions) bind(f *pflag.FlagSet) {
	f.StringVar(&o.requirePass, "requirepass-file", "",
		"file with the password of the user default, mode 0600; the same for each member")
	f.StringVar(&o.usersFile, "users-file", "",
		"file of users and what they may do, as Redis's aclfile, mode 0600; in place of "+
			"--requirepass-file")
	f.StringVar(&o.forwardUser, "forward-user", auth.Default,
		"user as which this member forwards commands to the leader; it needs +raft.proxy")
	f.StringVar(&o.forwardPass, "forward-pass-file", "",
		"file with the password of --forward-user, mode 0600; not given: that of "+
			"--requirepass-file")
}

// read reads the files.
func (o *userOptions) read() (err error) {
	o.users = server.NewUsers()
	var password string
	switch {
	case o.requirePass != "" && o.usersFile != "":
		return usagef("--requirepass-file and --users-file: a file of users has the password of " +
			"the user default; give one of the two")
	case o.requirePass != "":
		if password, err = auth.ReadPassword(o.requirePass); err != nil {
			return fmt.Errorf("--requirepass-file: %w", err)
		}
		if err = o.users.Set(auth.Default, "resetpass", ">"+password); err != nil {
			return fmt.Errorf("--requirepass-file: %w", err)
		}
	case o.usersFile != "":
		if err = o.users.Open(o.usersFile); err != nil {
			return fmt.Errorf("--users-file: %w", err)
		}
	}
	if o.forwardPass != "" {
		if password, err = auth.ReadPassword(o.forwardPass); err != nil {
			return fmt.Errorf("--forward-pass-file: %w", err)
		}
	}
	switch {
	case password != "":
		o.forward = server.Credential{User: o.forwardUser, Password: password}
	case o.forwardUser != auth.Default:
		return usagef("--forward-user %s: give its password with --forward-pass-file",
			o.forwardUser)
	}
	return nil
}

// locked reports whether a client needs a password.
func (o *userOptions) locked() bool { return !o.users.Table().Default().Open() }

// checkForward refuses members that could not forward to each other.
func (p *plan) checkForward() error {
	if p.locked() && p.follower == server.Proxy && p.forward.User == "" &&
		(len(p.members) > 1 || len(p.join) > 0) {
		return usagef("--users-file: members forward commands to the leader as a user; give its " +
			"name and password with --forward-user and --forward-pass-file, or use --follower " +
			"redirect")
	}
	return nil
}

// openToAll refuses an address for clients that other machines reach while nobody needs a password.
func (o *userOptions) openToAll(flag, address string) error {
	return usagef("%s %s can be reached from other machines, and the user default needs no "+
		"password; give --requirepass-file or --users-file, use a loopback address, or type "+
		"--insecure if the network is yours alone", flag, address)
}
