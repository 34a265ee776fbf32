package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ringraft/ringraft/engine"
	"github.com/ringraft/ringraft/netio/secure"
)

func newSecretCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secret",
		Short: "Make the secret that the members of a cluster share",
		Long: `Members that share a secret prove it to each other on every connection between
them, and what they say travels encrypted. Each is given the file with --secret-file.

To change the secret of a running cluster, give all members a file with the old one and a new
one, a line for each; then with the new one first; then with the new one alone. After each step
send every raftd SIGHUP: it reads its file again. docs/security.md has it to copy and paste.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("%q is not a verb of raftd secret; see raftd secret --help", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:     "new FILE",
		Short:   "Write a new secret to a file that is not there yet",
		Example: "  raftd secret new cluster.secret",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("raftd secret new takes one FILE")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := secure.NewFile(args[0])
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "%s has secret %s: copy it to every member, and "+
					"start them with --secret-file\n", args[0], name)
			}
			return err
		},
	})
	return cmd
}

// hangups are the signals at which the files of secrets, certificates and passwords are read again;
// nil: there are none, and SIGHUP ends the process.
func hangups(p *plan) chan os.Signal {
	if p.secretFile == "" && p.requirePass == "" && p.forwardPass == "" && p.tlsServer == nil &&
		p.tlsDialer == nil {
		return nil
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c
}

// reread reads the files again at each of the signals.
func (d *daemon) reread(signals <-chan os.Signal) {
	for range signals {
		d.rereadSecret()
		d.rereadCertificates()
		d.rereadPasswords()
	}
}

func (d *daemon) rereadSecret() {
	if d.plan.secretFile == "" {
		return
	}
	if err := d.engine.ReloadSecret(); err != nil {
		d.log.Error("the secrets are what they were: the file cannot be used",
			"err", explain(err))
	}
}

// exposed reports that members listen where other machines reach them, and without a secret
// everybody there could be one.
func (p *plan) exposed() bool { return p.secretFile == "" && !isLoopback(p.peer) }

// isLoopback reports that an address can be reached from this machine alone.
func isLoopback(address string) bool {
	tcp, err := net.ResolveTCPAddr("tcp", address)
	return err == nil && tcp.IP.IsLoopback()
}

// secretLine says how the members speak.
func secretLine(st *engine.Status) string {
	if len(st.Secrets) == 0 {
		return "in plain text"
	}
	return "encrypted, secret " + strings.Join(st.Secrets, " or ")
}
