package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// errUnknownTransfer makes the exit status 3.
var errUnknownTransfer = errors.New("whether leadership was handed over is not known; see " +
	"raftd status")

func newTransferCommand() *cobra.Command {
	var asJSON, ifLeader bool
	var who access
	addresses, timeout := defaults().client, 30*time.Second
	cmd := &cobra.Command{
		Use:   "transfer [ID]",
		Short: "Hand leadership to a member, or to the most up-to-date one",
		Long: `Finds the leader from any member, has it hand leadership over, and waits until
another one leads. Clients see a pause of some milliseconds. With --if-leader nothing is
done unless the member at --addr is the leader: before that member is stopped, for example.

Exit status: 0 done, 1 refused, or nobody answers, 2 for a mistake on the command line,
3 when it is not known whether leadership was handed over.`,
		Example: "  raftd transfer --addr 127.0.0.1:7379\n  raftd transfer 2",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("raftd transfer [ID]: %d arguments; see raftd transfer --help",
					len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			words := []string{"RAFT.TRANSFER"}
			if len(args) == 1 {
				id, err := parseID(args[0])
				if err != nil {
					return err
				}
				words = append(words, id)
			}
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
			defer stop()
			ctx, err := who.with(ctx)
			if err != nil {
				return err
			}
			h := &handOver{asker: memberAsker{addresses: splitAddresses(addresses)},
				ifLeader: ifLeader}
			if err := h.run(ctx, words); err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(h.done)
			}
			return h.print(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&addresses, "addr", addresses,
		"addresses for clients, as HOST:PORT,…, of members to ask; the first that answers counts")
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "how long to wait for the new leader")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&ifLeader, "if-leader", false,
		"do nothing unless the member at --addr, the first that answers, is the leader")
	who.bind(cmd.Flags())
	return cmd
}

// handOver is a handing over of leadership that an operator asked for.
type handOver struct {
	asker    memberAsker
	ifLeader bool
	done     struct {
		From   uint64  `json:"from"`
		Leader uint64  `json:"leader"`
		Millis float64 `json:"ms"`
	}
}

// run asks the leader, and waits until another one leads.
func (h *handOver) run(ctx context.Context, words []string) error {
	if h.ifLeader {
		t, err := h.own(ctx)
		if err != nil {
			return fmt.Errorf("%w; --addr takes addresses for clients", err)
		}
		if t.Asked != t.Leader {
			h.done.Leader = t.Leader
			return nil
		}
	}
	t, err := h.asker.list(ctx)
	if err != nil {
		return fmt.Errorf("%w; --addr takes addresses for clients", err)
	}
	at := t.leaderAt()
	if at == "" {
		return fmt.Errorf("member %d knows of no leader, so there is nothing to hand over; see "+
			"raftd status", t.Asked)
	}
	h.done.From = t.Leader
	began := time.Now()
	_, err = askMember(ctx, at, words...)
	var refused *refusal
	var lost *lostError
	switch {
	case errors.As(err, &lost),
		errors.As(err, &refused) && strings.HasPrefix(refused.text, "UNKNOWNRESULT"):
		return fmt.Errorf("%w: %w", errUnknownTransfer, err)
	case err != nil:
		return err
	}
	for {
		t, err = h.asker.list(ctx)
		if err == nil && t.Leader != 0 && t.Leader != h.done.From {
			h.done.Leader = t.Leader
			h.done.Millis = float64(time.Since(began).Microseconds()) / 1000
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("member %d leads no more, and no other one does yet; see raftd "+
				"status", h.done.From)
		case <-time.After(settledEvery):
		}
	}
}

// own is what the first member that answers says, whoever leads.
func (h *handOver) own(ctx context.Context) (t memberTable, err error) {
	for _, address := range h.asker.addresses {
		if t, err = listAt(ctx, address); err == nil {
			break
		}
	}
	return t, err
}

func (h *handOver) print(w io.Writer) error {
	p := &printer{w: w}
	if h.done.From == 0 {
		p.line("the member that was asked does not lead: nothing is handed over")
		return p.err
	}
	p.line("member %d leads, after member %d; it took %.0f ms", h.done.Leader, h.done.From,
		h.done.Millis)
	return p.err
}
