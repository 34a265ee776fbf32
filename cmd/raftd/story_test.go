package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// story reads what a process has logged of who leads, and of the others, since a place in its
// log.
type story struct {
	t    *testing.T
	p    *process
	from int
}

func (s *story) text() string {
	s.t.Helper()
	b, err := os.ReadFile(s.p.log.Name())
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b[min(s.from, len(b)):])
}

// mark has the story begin now.
func (s *story) mark() { s.from += len(s.text()) }

var told = regexp.MustCompile(`msg=(role|leader) role=(\S+) leader=(\d+) term=\d+ why="([^"]*)"`)

// roles are the lines of who leads: "leader 2" for who leads now, or the new role and why.
func (s *story) roles() (list []string) {
	s.t.Helper()
	last := ""
	for _, m := range told.FindAllStringSubmatch(s.text(), -1) {
		if m[1] == "leader" {
			list = append(list, "leader "+m[3])
			continue
		}
		if m[2] == last {
			s.t.Errorf("two lines of the same role: %q", m[0])
		}
		last = m[2]
		list = append(list, m[2]+": "+m[4])
	}
	return list
}

// lines counts the lines with these words.
func (s *story) lines(words string) int { return strings.Count(s.text(), words) }

// Logs say who leads and why, once for each change: after a transfer, and after the death of a
// leader.
func TestAFailoverIsToldOnce(t *testing.T) {
	c := &chaos{t: t, ps: startProcesses(t, "--election-timeout", "500ms")}
	stories := make([]*story, len(c.ps))
	for i, p := range c.ps {
		stories[i] = &story{t: t, p: p}
	}
	handedOver, failedOver := false, false
	for try := 0; try < 5 && !handedOver; try++ {
		lead := followed(c)
		to := (lead + 1) % 3
		for _, s := range stories {
			s.mark()
		}
		cl := connect(c.ps[lead])
		err := cl.Do(context.Background(), "RAFT.TRANSFER", to+1).Err()
		_ = cl.Close() // one question
		if err != nil || followed(c) != to {
			continue // a busy machine: somebody else was elected
		}
		handedOver = tells(t, stories, map[int][]string{
			lead: {fmt.Sprintf("follower: leadership is handed to member %d", to+1),
				fmt.Sprint("leader ", to+1)},
			to: {fmt.Sprintf("candidate: leader %d hands leadership over", lead+1),
				"leader: a majority voted for this member"},
			3 - lead - to: {fmt.Sprint("leader ", to+1)},
		})
	}
	dead := 0
	for try := 0; try < 5 && !failedOver; try++ {
		if dead = followed(c); c.ps[dead].cmd == nil {
			continue
		}
		for _, s := range stories {
			s.mark()
		}
		c.ps[dead].kill()
		next := -1
		await(t, "another leader that both others know", func() bool {
			next = c.leads()
			return next >= 0 && c.says(3-dead-next, fmt.Sprint("raft_leader_id:", next+1), 0)
		})
		stories[dead].mark()
		failedOver = tells(t, stories, map[int][]string{
			dead: nil,
			next: {"pre-candidate: no leader was heard for an election timeout",
				"candidate: a majority would vote for this member",
				"leader: a majority voted for this member"},
			3 - dead - next: {fmt.Sprint("leader ", next+1)},
		})
		if !failedOver {
			c.ps[dead].start(t)
		}
	}
	if !handedOver || !failedOver {
		t.Errorf("told of the transfer %v, of the failover %v", handedOver, failedOver)
	}
	lost := fmt.Sprintf("member %d cannot be reached", dead+1)
	well := fmt.Sprintf("member %d is well again", dead+1)
	others := slices.Delete(slices.Clone(stories), dead, dead+1)
	for _, words := range []string{lost, well} {
		for _, s := range others {
			await(t, words, func() bool { return s.lines(words) > 0 })
		}
		if words == lost {
			c.ps[dead].start(t)
		}
	}
	for _, s := range others {
		if down, up := s.lines(lost), s.lines(well); down != 1 || up != 1 {
			t.Errorf("%d lines that it is down, %d that it is up", down, up)
		}
	}
}

// followed waits until all live members follow one leader, and returns it.
func followed(c *chaos) (lead int) {
	c.t.Helper()
	await(c.t, "a leader that all know", func() bool {
		if lead = c.leads(); lead < 0 {
			return false
		}
		for i, p := range c.ps {
			if p.cmd != nil && !c.says(i, fmt.Sprint("raft_leader_id:", lead+1), 0) {
				return false
			}
		}
		return true
	})
	return lead
}

// tells reports whether each member's story is exactly this one.
func tells(t *testing.T, stories []*story, want map[int][]string) bool {
	for i, s := range stories {
		if got := s.roles(); !slices.Equal(got, want[i]) {
			t.Logf("member %d tells %q, not %q", i+1, got, want[i])
			return false
		}
	}
	return true
}
