package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// probeMax bounds the answer that is printed, in bytes.
const probeMax = 4 << 10

func newProbeCommand() *cobra.Command {
	timeout := 3 * time.Second
	address := cmp.Or(os.Getenv(environment+"HTTP"), defaults().http)
	cmd := &cobra.Command{
		Use:   "probe [readyz|healthz]",
		Short: "Ask the member on this machine whether it is ready, as its --http says it",
		Long: `Asks /readyz, or /healthz, at a member's --http, and prints the answer. It is for
health checks of containers that have no other program, and needs no password.

Exit status: 0 yes, 1 no, or nobody answers, 2 for a mistake on the command line.`,
		Example: "  raftd probe\n  raftd probe healthz --http 127.0.0.1:7381",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && args[0] != "readyz" && args[0] != "healthz" {
				return usagef("raftd probe takes readyz or healthz; see raftd probe --help")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := probed(address)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			return askHTTP(ctx, cmd.OutOrStdout(), at, append(args, "readyz")[0])
		},
		ValidArgs: []string{"readyz", "healthz"},
	}
	cmd.Flags().StringVar(&address, "http", address,
		"a member's --http; not given: that of "+environment+"HTTP, or its default")
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "do not wait longer for the answer")
	return cmd
}

// probed is where a member that listens on an address is asked: one that listens on all addresses
// listens on loopback, too.
func probed(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	switch {
	case err != nil || port == "":
		return "", usagef("--http: %q is not HOST:PORT", address)
	case host == "" || host == "0.0.0.0":
		host = "127.0.0.1"
	case host == "::":
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}

// askHTTP asks, and prints what is said.
func askHTTP(ctx context.Context, out io.Writer, address, what string) error {
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/"+what, nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{} // and no proxy of the environment
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(ask)
	if err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, probeMax))
	words := strings.TrimSpace(string(text))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", address, err)
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s", address, words)
	}
	_, err = fmt.Fprintln(out, words)
	return err
}
