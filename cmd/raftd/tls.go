package main

import (
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ringraft/ringraft/netio/secure"
)

// tlsOptions are the flags about TLS for clients.
type tlsOptions struct {
	tlsClient      string
	tlsFiles       secure.TLSFiles
	tlsAuthClients bool
	tlsForward     bool

	tlsServer *secure.TLSServer // nil: there is no port with TLS
	tlsDialer *secure.TLSClient // nil: commands are forwarded in plain text
}

func (o *tlsOptions) bind(f *pflag.FlagSet) {
	f.StringVar(&o.tlsClient, "tls-client", "",
		"second address for Redis clients, over TLS; needs --tls-cert and --tls-key")
	f.StringVar(&o.tlsFiles.Cert, "tls-cert", "",
		"file with the certificate, PEM; read again at SIGHUP")
	f.StringVar(&o.tlsFiles.Key, "tls-key", "", "file with its key, PEM, not readable by others")
	f.StringVar(&o.tlsFiles.CA, "tls-ca", "",
		"file with the certificates of those who sign clients' certificates, or members' for "+
			"--tls-forward, PEM")
	f.BoolVar(&o.tlsAuthClients, "tls-auth-clients", false,
		"clients of --tls-client need a certificate that --tls-ca vouches for")
	f.BoolVar(&o.tlsForward, "tls-forward", false,
		"forward commands to the leader over TLS: each member's --advertise is its --tls-client")
}

// read reads the certificates.
func (o *tlsOptions) read() (err error) {
	files := o.tlsFiles
	switch {
	case o.tlsClient == "" && !o.tlsForward:
		if files != (secure.TLSFiles{}) || o.tlsAuthClients {
			return usagef("--tls-cert, --tls-key, --tls-ca and --tls-auth-clients need " +
				"--tls-client")
		}
		return nil
	case (files.Cert == "") != (files.Key == ""):
		return usagef("--tls-cert and --tls-key belong together")
	case o.tlsClient != "" && files.Cert == "":
		return usagef("--tls-client needs --tls-cert and --tls-key")
	case o.tlsAuthClients && files.CA == "":
		return usagef("--tls-auth-clients needs --tls-ca, which says whose certificates count")
	}
	if err := checkKey(files.Key); err != nil {
		return err
	}
	if o.tlsClient != "" {
		if o.tlsServer, err = secure.NewTLSServer(files, o.tlsAuthClients); err != nil {
			return fmt.Errorf("--tls-client: %w", err)
		}
	}
	if o.tlsForward {
		if o.tlsDialer, err = secure.NewTLSClient(files); err != nil {
			return fmt.Errorf("--tls-forward: %w", err)
		}
	}
	return nil
}

// checkKey refuses a key that everybody can read.
func checkKey(file string) error {
	if file == "" {
		return nil
	}
	st, err := os.Stat(file)
	switch {
	case err != nil:
		return fmt.Errorf("--tls-key: %w", err)
	case st.Mode().Perm()&0o007 != 0:
		return fmt.Errorf("--tls-key: %s can be read by everybody (mode %04o); chmod 600 it",
			file, st.Mode().Perm())
	}
	return nil
}

// checkTLSAddress refuses an address that other machines reach while nobody has to say who he is,
// and makes it the one that is told to members.
func (o *options) checkTLSAddress() error {
	if o.tlsClient == "" {
		return nil
	}
	tcp, err := net.ResolveTCPAddr("tcp", o.tlsClient)
	switch {
	case err != nil:
		return usagef("--tls-client: %q is not HOST:PORT: %v", o.tlsClient, err)
	case !o.insecure && !tcp.IP.IsLoopback() && !o.locked() && !o.tlsAuthClients:
		return o.openToAll("--tls-client", o.tlsClient)
	case o.tlsForward && o.advertise == "":
		if tcp.IP.IsUnspecified() || strings.HasPrefix(o.tlsClient, ":") {
			return usagef("--tls-client %s names no machine; say with --advertise HOST:PORT how "+
				"clients reach it", o.tlsClient)
		}
		o.advertise = o.tlsClient
	}
	return nil
}

// inClear reports whether passwords cross a network in plain text.
func (p *plan) inClear() bool {
	tcp, err := net.ResolveTCPAddr("tcp", p.client)
	return err == nil && !tcp.IP.IsLoopback() && p.locked()
}

// rereadCertificates does so at SIGHUP. Connections stay as they are; with files that cannot be
// used, the certificate stays, too.
func (d *daemon) rereadCertificates() {
	if d.plan.tlsServer == nil && d.plan.tlsDialer == nil {
		return
	}
	err := checkKey(d.plan.tlsFiles.Key)
	if s := d.plan.tlsServer; err == nil && s != nil {
		err = s.Reload()
	}
	if c := d.plan.tlsDialer; err == nil && c != nil {
		err = c.Reload()
	}
	if err != nil {
		d.log.Error("the TLS certificate was not replaced: the files cannot be used", "err", err)
		return
	}
	d.log.Info("the TLS certificate was read again", "cert", d.plan.tlsFiles.Cert)
}
