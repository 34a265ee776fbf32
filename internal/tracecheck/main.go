// Command tracecheck reads strace output of raftd processes and checks the one
// promise that everything else rests on: between the arrival of a SET and its
// +OK, a majority of the processes, the leader among them when told so, has
// finished a write to a segment opened with O_DIRECT and O_DSYNC.
//
//	strace -f -ttt -T -s 64 -e trace=openat,pwrite64,read,write,writev -o FILE raftd …
//	tracecheck -key the-key -leader 1 FILE1 FILE2 FILE3
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// trace is one process: when its durable writes ended, and when the SET of the
// key came in and its +OK went out.
type trace struct {
	durable  []float64
	from, to float64
}

// line: pid time call(args) = result <seconds>, or its two halves.
var (
	lineRE    = regexp.MustCompile(`^(\d+)\s+(\d+\.\d+) (.*)$`)
	openRE    = regexp.MustCompile(`^openat\(.*"([^"]*)", ([A-Z_|]+).*\) += (\d+)`)
	pwriteRE  = regexp.MustCompile(`^pwrite64\((\d+), .*\) += (\d+) <(\d+\.\d+)>`)
	resumedRE = regexp.MustCompile(`^<\.\.\. (\w+) resumed>(.*)$`)
)

func read(path, key string) (*trace, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t := &trace{}
	direct := map[string]bool{}
	begun := map[string]string{}
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		m := lineRE.FindStringSubmatch(s.Text())
		if m == nil {
			continue
		}
		at, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		call, resumed := m[3], false
		if head, cut := strings.CutSuffix(call, " <unfinished ...>"); cut {
			begun[m[1]] = head
			continue
		}
		if r := resumedRE.FindStringSubmatch(call); r != nil {
			call, resumed = begun[m[1]]+r[2], true
		}
		t.take(call, at, resumed, key, direct)
	}
	return t, s.Err()
}

func (t *trace) take(call string, at float64, resumed bool, key string, direct map[string]bool) {
	switch {
	case strings.HasPrefix(call, "openat("):
		if m := openRE.FindStringSubmatch(call); m != nil {
			direct[m[3]] = strings.HasSuffix(m[1], ".seg") && strings.Contains(m[2], "O_DIRECT") &&
				strings.Contains(m[2], "O_DSYNC")
		}
	case strings.HasPrefix(call, "pwrite64("):
		if m := pwriteRE.FindStringSubmatch(call); m != nil && direct[m[1]] {
			took, _ := strconv.ParseFloat(m[3], 64) // the pattern is a number
			if resumed {
				took = 0 // the line is printed when the call ends
			}
			t.durable = append(t.durable, at+took)
		}
	case strings.HasPrefix(call, "read(") && strings.Contains(call, key) && t.from == 0:
		t.from = at
	case t.from > 0 && t.to == 0 &&
		strings.HasPrefix(call, "write(") && strings.Contains(call, `"+OK\r\n"`):
		t.to = at
	}
}

func main() {
	key := flag.String("key", "the-key", "the key that was set, once")
	leader := flag.Int("leader", 0,
		"number of the trace whose process must be among the majority; 0: any")
	flag.Parse()
	if err := check(*key, *leader, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "tracecheck:", err)
		os.Exit(1)
	}
}

func check(key string, leader int, paths []string) error {
	var traces []*trace
	var from, to float64
	for _, p := range paths {
		t, err := read(p, key)
		if err != nil {
			return err
		}
		traces = append(traces, t)
		if t.from > 0 && t.to > 0 {
			from, to = t.from, t.to
		}
	}
	if to == 0 {
		return fmt.Errorf("no +OK for %q in any trace", key)
	}
	durable, own := 0, leader == 0
	for i, t := range traces {
		for _, at := range t.durable {
			if at >= from && at <= to {
				durable++
				own = own || i+1 == leader
				break
			}
		}
	}
	fmt.Printf("+OK %.0f µs after the SET; %d of %d processes had written it by then "+
		"with O_DIRECT|O_DSYNC\n", (to-from)*1e6, durable, len(traces))
	switch {
	case durable <= len(traces)/2:
		return fmt.Errorf("acknowledged with %d durable copies of %d", durable, len(traces))
	case !own:
		return fmt.Errorf("acknowledged before the leader's own write was durable")
	}
	return nil
}
