package main

import (
	"cmp"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// hangMillis is the age of a journal write from which on it is called hanging.
const hangMillis = 1000

// judge says what is wrong, and what to do about it.
func (s *clusterState) judge() {
	wrong := func(format string, args ...any) {
		s.Problems = append(s.Problems, fmt.Sprintf(format, args...))
	}
	voters, answer := 0, 0
	for _, m := range s.Members {
		if m.Kind == "voter" || m.Kind == "leaving" {
			voters++
			if m.Answers {
				answer++
			}
		}
	}
	switch {
	case s.Leader != 0:
	case 2*answer > voters:
		wrong("no member leads although %d of %d voters answer: ask again in a moment; if it "+
			"stays so, look at whether they reach each other (--peer, --members) and at their logs",
			answer, voters)
	default:
		wrong("no member leads, and only %d of %d voters answer: writes and reads wait for a "+
			"majority; start the others", answer, voters)
	}
	for _, m := range s.Members {
		if m.Witness && m.ID == s.Leader {
			wrong("member %d, a witness, leads: it takes no commands, and hands over to a full "+
				"member that has what it has; ask again in a moment", m.ID)
		}
		if m.Answers {
			s.judgeMember(m, wrong)
		} else {
			wrong("member %d does not answer: %s; start it, or see raftd member replace --help "+
				"if its directory is lost", m.ID, m.Failure)
		}
	}
	s.Healthy = len(s.Problems) == 0
}

func (s *clusterState) judgeMember(m *memberState, wrong func(string, ...any)) {
	if m.Notice != "" {
		wrong("member %d takes no part: %s", m.ID, m.Notice)
	} else if s.Leader != 0 && m.Leader != s.Leader {
		wrong("member %d follows member %d, and member %d leads: look at its log", m.ID, m.Leader,
			s.Leader)
	}
	if m.Beyond != "" {
		wrong("member %d: %s", m.ID, m.Beyond)
	}
	if m.Error != "" {
		wrong("member %d is not fed by its leader: %s", m.ID, m.Error)
	}
	if m.Shortage != "" {
		wrong("member %d: its journal lacks room: %s; free space on its disk, or raise the limit "+
			"that it names", m.ID, m.Shortage)
	}
	if m.WriteAgeMillis >= hangMillis {
		wrong("member %d: its disk has not finished a write for %v: look after the device", m.ID,
			time.Duration(m.WriteAgeMillis)*time.Millisecond)
	}
	if m.SnapshotError != "" {
		wrong("member %d: its last snapshot failed: %s; it is tried again, and its log grows "+
			"until then", m.ID, m.SnapshotError)
	}
}

func (s *clusterState) print(w io.Writer) error {
	p := &printer{w: w}
	voters := 0
	for _, m := range s.Members {
		if m.Kind == "voter" || m.Kind == "leaving" {
			voters++
		}
	}
	lead := "no leader"
	if s.Leader != 0 {
		lead = fmt.Sprintf("member %d leads", s.Leader)
	}
	p.line("cluster %s: %d member(s), %d of them vote; %s, term %d", s.Cluster, len(s.Members),
		voters, lead, s.Term)
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	p.w = table
	p.line("ID\tKIND\tROLE\tTERM\tCOMMIT\tAPPLIED\tLAG\tLOG\tSNAPSHOT\tJOURNAL\tCLIENTS")
	for _, m := range s.Members {
		p.line("%s", m.row())
	}
	if p.err == nil {
		p.err = table.Flush()
	}
	p.w = w
	for _, problem := range s.Problems {
		p.line("degraded: %s", problem)
	}
	for _, m := range s.Members {
		if m.Answers && !m.JournalDurable {
			p.line("note: member %d: journal %s is not durable, for tests only", m.ID, m.Journal)
		}
	}
	if s.Healthy {
		p.line("healthy")
	}
	return p.err
}

// row is the member's line of the table.
func (m *memberState) row() string {
	clients, kind := cmp.Or(m.Clients, "-"), cmp.Or(m.Kind, "-")
	if m.Witness {
		kind += " witness"
	}
	if !m.Answers {
		return fmt.Sprintf("%d\t%s\tno answer\t-\t-\t-\t%d\t-\t-\t-\t%s", m.ID,
			kind, m.Lag, clients)
	}
	snapshot := "none"
	if m.Snapshot > 0 {
		snapshot = fmt.Sprintf("%d, %v old", m.Snapshot, time.Duration(m.SnapshotAge)*time.Second)
	}
	journal := m.Journal + " ok"
	switch {
	case m.Shortage != "":
		journal = m.Journal + " FULL"
	case m.WriteAgeMillis >= hangMillis:
		journal = m.Journal + " HANGS"
	}
	return fmt.Sprintf("%d\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s", m.ID, kind, m.Role, m.Term,
		m.Commit, m.Applied, m.Lag, size(int64(m.LogBytes)), snapshot, journal, clients)
}
