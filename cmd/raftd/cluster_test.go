package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ringraft/ringraft/engine"
)

// cluster starts three members in one process.
func cluster(t *testing.T, args ...string) []*daemon {
	t.Helper()
	peers := []string{freeAddress(t), freeAddress(t), freeAddress(t)}
	list := fmt.Sprintf("1=%s,2=%s,3=%s", peers[0], peers[1], peers[2])
	members := make([]*daemon, 3)
	for i := range members {
		members[i] = launch(t, t.TempDir(), append([]string{"--id", fmt.Sprint(i + 1), "--peer",
			peers[i], "--members", list, "--journal", "memory"}, args...)...)
	}
	t.Cleanup(func() {
		var all sync.WaitGroup
		for _, d := range members {
			all.Go(func() {
				if err := d.engine.Close(); err != nil {
					t.Error(err)
				}
				d.closeHTTP()
			})
		}
		all.Wait()
	})
	return members
}

// leader waits until all members agree on a leader that they can reach, and returns it and the
// others.
func leader(t testing.TB, members []*daemon) (lead *daemon, others []*daemon) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(deadline) {
		lead, others = nil, nil
		agreed := map[string]bool{}
		for _, d := range members {
			st := d.engine.Status()
			agreed[fmt.Sprint(st.Leader, st.LeaderAddress)] = true
			if st.Role == engine.Leader {
				lead = d
			} else {
				others = append(others, d)
			}
		}
		if lead != nil && len(others) == len(members)-1 && len(agreed) == 1 &&
			lead.engine.Status().LeaderAddress != "" {
			return lead, others
		}
		<-tick.C
	}
	for _, d := range members {
		t.Logf("%+v", d.engine.Status())
	}
	t.Fatal("no leader that all agree on")
	return nil, nil
}

func TestThreeMembers(t *testing.T) {
	members := cluster(t)
	t.Run("followers forward to the leader", func(t *testing.T) { forward(t, members) })
	t.Run("leadership moves under a client", func(t *testing.T) { move(t, members) })
}

func forward(t *testing.T, members []*daemon) {
	_, others := leader(t, members)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, protocol := range []int{2, 3} {
		for i, d := range others {
			c := client(t, d, protocol)
			key := fmt.Sprint("k", protocol, i)
			if err := c.Set(ctx, key, "v", 0).Err(); err != nil {
				t.Fatal(err)
			}
			// A read through any other member sees the write.
			for _, other := range members {
				v, err := client(t, other, protocol).Get(ctx, key).Result()
				if v != "v" || err != nil {
					t.Fatalf("%q, %v", v, err)
				}
			}
			if _, err := c.Get(ctx, "none").Result(); err != redis.Nil {
				t.Fatal(err)
			}
			pipe := c.Pipeline()
			var last *redis.IntCmd
			for range 500 {
				pipe.Ping(ctx)
				last = pipe.Incr(ctx, "n"+key)
			}
			if _, err := pipe.Exec(ctx); err != nil || last.Val() != 500 {
				t.Fatal(last, err)
			}
		}
	}
}

func move(t *testing.T, members []*daemon) {
	lead, others := leader(t, members)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c := client(t, others[0], 3)
	var sure, unsure int64
	count := func(n int) {
		for range n {
			_, err := c.Incr(ctx, "n").Result()
			switch {
			case err == nil:
				sure++
			case strings.HasPrefix(err.Error(), "UNKNOWNRESULT"):
				unsure++
			case strings.HasPrefix(err.Error(), "TRYAGAIN"),
				strings.HasPrefix(err.Error(), "CLUSTERDOWN"):
			default:
				t.Fatal(err)
			}
		}
	}
	count(200)
	err := lead.engine.Transfer(ctx, 0)
	for errors.Is(err, engine.ErrNotLeader) && ctx.Err() == nil {
		lead, _ = leader(t, members) // it moved by itself: a busy machine
		err = lead.engine.Transfer(ctx, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	count(200)
	leader(t, members)
	count(200)
	n, err := c.Get(ctx, "n").Int64()
	if err != nil || n < sure || n > sure+unsure {
		t.Fatalf("%d counted, %d acknowledged, %d unknown: %v", n, sure, unsure, err)
	}
}
