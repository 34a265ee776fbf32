package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// identityRounds is how often a test with random ends is done: a few times, or as often as
// IDENTITY_ROUNDS says.
func identityRounds(few int) int {
	if n, err := strconv.Atoi(os.Getenv("IDENTITY_ROUNDS")); err == nil {
		return n
	}
	if testing.Short() {
		return 1
	}
	return few
}

// empties removes the data directory of a member that is down.
func (p *process) empties(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(flagOfProcess(p, "--data")); err != nil {
		t.Fatal(err)
	}
}

func (p *process) says(text string) bool {
	b, err := os.ReadFile(p.log.Name())
	return err == nil && strings.Contains(string(b), text)
}

// sets writes n keys of a round through whoever takes them; all are acknowledged.
func sets(t *testing.T, p *process, round, n int) {
	t.Helper()
	cl := connect(p)
	defer cl.Close()
	ctx := context.Background()
	await(t, "a first write", func() bool {
		return cl.Set(ctx, fmt.Sprint("first", round), "there", 0).Err() == nil
	})
	for i := 0; i < n; i += 50 {
		pipe := cl.Pipeline()
		for k := range 50 {
			pipe.Set(ctx, fmt.Sprint(round, "-", i+k), "there", 0)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// neverNil holds that no member answers with less than what was acknowledged, for a
// while: either nobody answers, or with the value.
func neverNil(t *testing.T, ps []*process, key string, d time.Duration) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		for i, p := range ps {
			if p.cmd == nil {
				continue
			}
			cl := connect(p)
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			v, err := cl.Get(ctx, key).Result()
			cancel()
			cl.Close()
			if v != "there" && (err == nil || strings.Contains(err.Error(), "nil")) {
				t.Fatalf("member %d serves %q %v for an acknowledged write", i+1, v, err)
			}
		}
	}
}

// TestAnEmptiedDirectoryDecidesNothing: two members acknowledge writes while the third is
// down; one of the two loses its directory, the other is down. What they acknowledged is
// never answered as missing, the emptied one says what to do, and with the one that knows
// everything is there again.
func TestAnEmptiedDirectoryDecidesNothing(t *testing.T) {
	for round := range identityRounds(3) {
		down, emptied := round%3, (round%3+1+round/3%2)%3
		t.Run(fmt.Sprintf("%d is down, %d is emptied", down+1, emptied+1), func(t *testing.T) {
			ps := startProcesses(t)
			knows := 3 - down - emptied
			awaitLeader(t, ps)
			await(t, "bindings", func() bool {
				return ps[knows].ask(t, "raft", "raft_identity") == "bound"
			})
			ps[down].kill()
			sets(t, ps[knows], round, 1000)
			key := fmt.Sprint(round, "-999")
			ps[emptied].kill()
			ps[emptied].empties(t)
			ps[emptied].start(t)
			fed := (round+round/6)%2 == 0
			if fed { // the one that knows feeds it, but does not count it
				await(t, "the refusal", func() bool {
					return ps[emptied].ask(t, "raft", "raft_identity") == "refused"
				})
			}
			ps[knows].kill()
			ps[down].start(t)
			neverNil(t, ps, key, 3*time.Second)
			await(t, "the refusal", func() bool {
				return ps[emptied].ask(t, "raft", "raft_identity") == "refused"
			})
			await(t, "words", func() bool { return ps[emptied].says("another data directory") })
			ps[knows].start(t)
			cl := connect(ps[down])
			defer cl.Close()
			await(t, "the write", func() bool {
				v, err := cl.Get(context.Background(), key).Result()
				return err == nil && v == "there"
			})
		})
	}
}

// TestTwoEmptiedDirectories: the one that knows is alone, and nobody serves.
func TestTwoEmptiedDirectories(t *testing.T) {
	ps := startProcesses(t)
	sets(t, ps[0], 0, 100)
	for _, p := range ps[:2] {
		p.kill()
		p.empties(t)
		p.start(t)
	}
	neverNil(t, ps, "0-99", 3*time.Second)
	for _, p := range ps[:2] {
		await(t, "the refusal", func() bool {
			return p.ask(t, "raft", "raft_identity") == "refused"
		})
	}
}

// TestEmptiedBeforeTheFounding: members that were never all up found nothing, whatever
// becomes of a directory meanwhile, and then do.
func TestEmptiedBeforeTheFounding(t *testing.T) {
	ps := prepareProcesses(t)
	ps[0].start(t)
	ps[1].start(t)
	await(t, "words", func() bool { return ps[0].says("waits for member 3") })
	if v := ps[0].ask(t, "raft", "raft_founded"); v != "no" {
		t.Error(v)
	}
	cl := connect(ps[0])
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := cl.Set(ctx, "k", "v", 0).Err(); err == nil || !certainlyNot(err) {
		t.Error(err)
	}
	ps[1].kill()
	ps[1].empties(t)
	ps[1].start(t)
	ps[2].start(t)
	sets(t, ps[2], 0, 100)
	for _, p := range ps {
		if v := p.ask(t, "raft", "raft_founded"); v != "yes" {
			t.Error(v)
		}
	}
}
