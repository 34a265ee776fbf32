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
		"file with the password of the user default, mode 0600; the same for each member; read "+
			"again at SIGHUP, and of several lines while one is replaced by another")
	f.StringVar(&o.usersFile, "users-file", "",
		"file of users and what they may do, as Redis's aclfile, mode 0600; in place of "+
			"--requirepass-file")
	f.StringVar(&o.forwardUser, "forward-user", auth.Default,
		"user as which this member forwards commands to the leader; it needs +raft.proxy")
	f.StringVar(&o.forwardPass, "forward-pass-file", "",
		"file with the password of --forward-user, mode 0600; read again at SIGHUP; not given: "+
			"the first of --requirepass-file")
}

// read reads the files.
func (o *userOptions) read() (err error) {
	o.users = server.NewUsers()
	switch {
	case o.requirePass != "" && o.usersFile != "":
		return usagef("--requirepass-file and --users-file: a file of users has the password of " +
			"the user default; give one of the two")
	case o.usersFile != "":
		if err = o.users.Open(o.usersFile); err != nil {
			return fmt.Errorf("--users-file: %w", err)
		}
	}
	if o.forward, err = o.readPasswords(); err != nil {
		return err
	}
	if o.forward.User == "" && o.forwardUser != auth.Default {
		return usagef("--forward-user %s: give its password with --forward-pass-file",
			o.forwardUser)
	}
	return nil
}

// readPasswords reads the files of passwords: the user default has those of --requirepass-file
// from now on. It returns as whom this member forwards; nobody, without a password for it. After an
// error nothing has changed.
func (o *userOptions) readPasswords() (forward server.Credential, err error) {
	var passwords []string
	if o.requirePass != "" {
		if passwords, err = auth.ReadPasswords(o.requirePass); err != nil {
			return forward, fmt.Errorf("--requirepass-file: %w", err)
		}
		forward = server.Credential{User: o.forwardUser, Password: passwords[0]}
	}
	if o.forwardPass != "" {
		password, err := auth.ReadPassword(o.forwardPass)
		if err != nil {
			return forward, fmt.Errorf("--forward-pass-file: %w", err)
		}
		forward = server.Credential{User: o.forwardUser, Password: password}
	}
	if passwords == nil {
		return forward, nil
	}
	rules := []string{"resetpass"}
	for _, password := range passwords {
		rules = append(rules, ">"+password)
	}
	if err = o.users.Set(auth.Default, rules...); err != nil {
		return forward, fmt.Errorf("--requirepass-file: %w", err)
	}
	return forward, nil
}

// rereadPasswords does so at SIGHUP. Connections stay as they are; with files that cannot be used,
// the passwords stay, too.
func (d *daemon) rereadPasswords() {
	if d.plan.requirePass == "" && d.plan.forwardPass == "" {
		return
	}
	forward, err := d.plan.readPasswords()
	if err != nil {
		d.log.Error("the passwords are what they were: the files cannot be used", "err", err)
		return
	}
	d.server.Forward(forward)
	d.log.Info("the passwords were read again")
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
