package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
)

// memberAsker finds the leader of a running cluster, and asks it.
type memberAsker struct {
	addresses []string  // of members, for clients
	progress  io.Writer // lines while it waits go here; nil: nobody reads them
}

const (
	// listMax is how long a member may take to say who the members are.
	listMax = 3 * time.Second
	// electionWait is the pause before the leader is looked for again, and electionMax how long
	// there may be none.
	electionWait = 200 * time.Millisecond
	electionMax  = 15 * time.Second
	// watchEvery is how often it is looked how far a change is.
	watchEvery = time.Second
	// settledEvery and settledTries say how long it is waited for the list after a change.
	settledEvery = 20 * time.Millisecond
	settledTries = 100
)

// list asks the first member that knows who leads, and then the leader. One that knows of
// no leader, perhaps since it was removed, says whom else to ask.
func (a *memberAsker) list(ctx context.Context) (memberTable, error) {
	var without *memberTable
	var failed error
	asked := map[string]bool{}
	for queue := slices.Clone(a.addresses); len(queue) > 0; queue = queue[1:] {
		address := queue[0]
		if address == "" || asked[address] {
			continue
		}
		asked[address] = true
		t, err := listAt(ctx, address)
		at := t.leaderAt()
		switch {
		case err != nil:
			failed = cmp.Or(failed, err)
		case at != "" && t.Asked == t.Leader:
			return t, nil
		case at != "":
			if leaders, err := listAt(ctx, at); err == nil {
				t = leaders
			}
			return t, nil
		case without == nil:
			without = &t
			for _, m := range t.Members {
				queue = append(queue, m.Clients)
			}
		}
	}
	if without != nil {
		return *without, nil
	}
	return memberTable{}, fmt.Errorf("no member answers: %w", failed)
}

// settled is the list when nothing is under way, if that is soon: members tell it a little
// later than that a change is done.
func (a *memberAsker) settled(ctx context.Context) (t memberTable, err error) {
	for range settledTries {
		if t, err = a.list(ctx); err == nil && t.Committed && t.Change == "" &&
			t.Leader != 0 {
			break
		}
		select {
		case <-ctx.Done():
			return t, err
		case <-time.After(settledEvery):
		}
	}
	return t, err
}

func listAt(ctx context.Context, address string) (t memberTable, err error) {
	ctx, cancel := context.WithTimeout(ctx, listMax)
	defer cancel()
	reply, err := askMember(ctx, address, "RAFT.MEMBER", "LIST")
	if err != nil {
		return t, err
	}
	if t = decodeMembers(reply); len(t.Members) == 0 {
		return t, fmt.Errorf("%s knows of no members: %s", address,
			cmp.Or(t.Notice, "its cluster is not founded yet"))
	}
	return t, nil
}

// change asks the leader for a change, and waits for what becomes of it.
func (a *memberAsker) change(ctx context.Context, words []string) error {
	words = append([]string{"RAFT.MEMBER"}, words...)
	patience, cancel := context.WithTimeout(ctx, electionMax)
	defer cancel()
	next := ""
	for {
		at, err := next, error(nil)
		if next == "" {
			at, err = a.leader(ctx)
		}
		if err == nil {
			a.tell("asking %s", at)
			next, err = a.changeAt(ctx, at, words)
		}
		if err == nil {
			return nil
		}
		var again *elsewhereError
		if !errors.As(err, &again) {
			return err
		}
		if patience.Err() != nil {
			return err
		}
		if next == "" {
			a.tell("%v", err)
			select {
			case <-patience.Done():
			case <-time.After(electionWait):
			}
		}
	}
}

// elsewhereError says that the member that was asked does not lead, and that nothing was
// changed.
type elsewhereError struct{ err error }

func (e *elsewhereError) Error() string { return e.err.Error() }
func (e *elsewhereError) Unwrap() error { return e.err }

// leader is where clients reach the leader.
func (a *memberAsker) leader(ctx context.Context) (string, error) {
	t, err := a.list(ctx)
	if err != nil {
		return "", err
	}
	if at := t.leaderAt(); at != "" {
		return at, nil
	}
	return "", &elsewhereError{fmt.Errorf("member %d knows of no leader", t.Asked)}
}

// leads finds the leader's address in what members say that do not lead.
var leads = regexp.MustCompile(`(?:the leader is member \d+ at |^MOVED \d+ )(\S+)$`)

// changeAt asks one member. next is where the leader is, when it is another.
func (a *memberAsker) changeAt(ctx context.Context, at string, words []string) (next string,
	err error) {
	watched, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.watch(watched, at)
	}()
	_, err = askMember(ctx, at, words...)
	stop()
	<-done
	var refused *refusal
	var lost *lostError
	switch {
	case err == nil:
		return "", nil
	case errors.As(err, &lost):
		return "", fmt.Errorf("%w: %w", errUnknownChange, err)
	case !errors.As(err, &refused):
		return "", &elsewhereError{err} // it cannot be reached, and another may lead soon
	case strings.HasPrefix(refused.text, "UNKNOWNRESULT"):
		return "", fmt.Errorf("%w: %w", errUnknownChange, err)
	}
	if m := leads.FindStringSubmatch(refused.text); m != nil {
		return m[1], &elsewhereError{err}
	}
	if strings.HasPrefix(refused.text, "CLUSTERDOWN") ||
		strings.HasPrefix(refused.text, "TRYAGAIN") &&
			strings.Contains(refused.text, "no leader is known") {
		return "", &elsewhereError{err}
	}
	return "", err
}

// watch says from time to time how far the change is, for somebody who waits at a
// terminal.
func (a *memberAsker) watch(ctx context.Context, at string) {
	if a.progress == nil {
		return
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		t, err := listAt(ctx, at)
		if err != nil || t.Change == "" {
			continue
		}
		line := t.Change
		for _, m := range t.Members {
			if m.Lag > 0 && strings.HasSuffix(t.Change, fmt.Sprint("member ", m.ID)) {
				line += fmt.Sprintf(", %d entries behind", m.Lag)
			}
		}
		if line != last {
			last = line
			a.tell("%s", line)
		}
	}
}

// tell prints a line for somebody who waits.
func (a *memberAsker) tell(format string, args ...any) {
	if a.progress != nil {
		fmt.Fprintf(a.progress, format+"\n", args...)
	}
}
