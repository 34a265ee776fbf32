package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ringraft/ringraft/engine/internal/config"
	"github.com/ringraft/ringraft/engine/internal/founding"
	"github.com/ringraft/ringraft/engine/internal/link"
	"github.com/ringraft/ringraft/engine/internal/raft"
	"github.com/ringraft/ringraft/engine/internal/wire"
	"github.com/ringraft/ringraft/netio"
)

// A directory without a journal that was given no list of members looks for its cluster: it
// asks wherever it is told of, by Join or by Discover, over connections as members have them.
// It ends with one of three:
//
//	a list that it has promised     it founds a cluster with others (Expect)
//	an id in a cluster              the leader has admitted it
//	a cluster, and its own id       it waits to be added (Join with ID)
//
// Only then is there a journal, for the cluster and the id are part of its identity.

const (
	// askLimit is how long one address may take to say which cluster it belongs to.
	askLimit = 3 * time.Second
	// askAgain is the pause before all addresses are asked once more.
	askAgain = 250 * time.Millisecond
	// askLines is how long it takes until it is said again that nobody has answered.
	askLines = 5 * time.Second
	// joinMax is how many addresses may be given, and how many are asked.
	joinMax = 64
	// lookUpLimit is how long a name may take to be looked up.
	lookUpLimit = 2 * time.Second
)

// searches reports that a fresh directory looks for its cluster.
func (b *Builder) searches() bool {
	return len(b.members) == 0 && (len(b.join) > 0 || b.expect > 0 || b.discovery.Group != "")
}

// found is what a search has come to. The zero value: there was none.
type found struct {
	directory raft.Directory
	pledged   []byte          // a list that it has promised; nil: it joins
	cluster   uint64          // that it joins
	id        uint64          // there
	admitted  bool            // its leader has made this one a learner
	members   []config.Member // of that
}

// search is a directory that looks for its cluster.
type search struct {
	e    *Engine
	self founding.Candidate
	net  *netio.Server // on which it answers others; nil: it founds nothing
	wake chan struct{}
	told time.Time
	said string

	mu        sync.Mutex
	gathering *founding.Gathering // nil: it founds nothing
	callers   []string            // where those are reached that have asked here
	more      []string            // members of the cluster that was found
	admitters []string            // of more and others, those that have answered last
}

// look looks for the cluster of a directory that has no journal.
func (e *Engine) look(ctx context.Context) (f found, err error) {
	s := &search{e: e, wake: make(chan struct{}, 1), told: time.Now().Add(askAgain - askLines)}
	if s.self.Directory, err = e.candidate(); err != nil {
		return f, err
	}
	s.self.Address = e.b.listen
	f.directory = s.self.Directory
	if e.b.expect > 0 {
		promised, err := e.promisedBy(f.directory)
		if err != nil || promised != nil {
			f.pledged = promised
			return f, err
		}
		s.gathering = founding.NewGathering(s.self, e.b.name, e.b.expect, nil)
		if err := s.listen(); err != nil {
			return f, err
		}
	}
	e.announcer.look(s)
	defer e.announcer.look(nil)
	err = s.run(ctx, &f)
	if s.net != nil {
		err = errors.Join(err, s.close())
	}
	return f, err
}

// listen answers others that look for a cluster. Members are refused.
func (s *search) listen() error {
	e := s.e
	peers := link.New(link.Config{Directory: s.self.Directory, Longest: e.b.maxCommand,
		Address: func() string { return s.self.Address }, Meet: s.answer, Keys: e.b.secret.keys,
		Logger: e.log})
	net, err := netio.Start(netio.Config{Loops: 1, Logger: e.log, KeepAlive: e.b.keepAlive,
		Listeners: []netio.Listener{{Addr: e.b.listen, Accept: peers.Accept,
			Max: peerConnections}}})
	if err == nil {
		s.net = net
	}
	return e.listenError(err)
}

func (s *search) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), askLimit)
	defer cancel()
	return s.net.Close(ctx)
}

// answer tells one that asks whom this one has heard; in the connection's loop.
func (s *search) answer(h *link.Hello) *wire.Meeting {
	if h.Meeting.GetExpects() > 0 && checkDialable(h.Address) == nil {
		s.hear(h.Address)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meeting()
}

// hear notes where another one is reached, and asks it soon.
func (s *search) hear(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.callers, address) {
		return
	}
	if s.callers = append(s.callers, address); len(s.callers) > joinMax {
		s.callers = slices.Delete(s.callers, 0, 1)
	}
	s.hurry()
}

// hurry has all be asked soon.
func (s *search) hurry() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// meeting is what this one tells; mu is held.
func (s *search) meeting() *wire.Meeting {
	m := &wire.Meeting{Name: s.e.b.name, Wanted: s.e.b.id}
	if s.gathering == nil {
		return m
	}
	v := s.gathering.View()
	m.Expects, m.Promised = uint32(v.Expects), v.Promised
	for _, c := range v.Heard[:min(len(v.Heard), votersMax+1)] { // more are too many anyway
		m.Heard = append(m.Heard, &wire.Founder{DirectoryHigh: c.Directory[0],
			DirectoryLow: c.Directory[1], Address: c.Address})
	}
	return m
}

// viewOf is what another one has told.
func viewOf(m *wire.Meeting) founding.View {
	v := founding.View{Name: m.GetName(), Expects: int(m.GetExpects()), Promised: m.GetPromised()}
	for _, f := range m.GetHeard() {
		v.Heard = append(v.Heard, founding.Candidate{Address: f.GetAddress(),
			Directory: raft.Directory{f.GetDirectoryHigh(), f.GetDirectoryLow()}})
	}
	return v
}

// run asks again and again until the cluster is known.
func (s *search) run(ctx context.Context, f *found) error {
	var before error
	for {
		done, err := s.round(ctx, f)
		if done {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("engine: %s: %w: %w", s.waits(), ctx.Err(), cmp.Or(before, err))
		}
		before = err
		s.tell(err)
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-time.After(askAgain):
		}
	}
}

// waits says what this one waits for.
func (s *search) waits() string {
	b := &s.e.b
	switch {
	case len(b.join) > 0:
		return "waiting for a member at " + strings.Join(b.join, ", ") +
			" to say which cluster this is"
	case b.expect > 0:
		return "waiting for servers to found a cluster with"
	}
	return fmt.Sprintf("waiting for a member of cluster %q to be heard on %s", b.name,
		b.discovery.Interface)
}

// tell logs what is waited for, when it is another reason and now and then.
func (s *search) tell(err error) {
	why := ""
	if s.mu.Lock(); s.gathering != nil {
		why = s.gathering.Why()
	}
	s.mu.Unlock()
	var refused *admitError
	if errors.As(err, &refused) {
		why = refused.Error()
	}
	if now := time.Now(); now.Sub(s.told) >= askLines || why != s.said {
		s.told, s.said = now, why
		if why != "" {
			s.e.log.Info("looking for a cluster: " + why)
		} else {
			s.e.log.Info(s.waits(), "err", err)
		}
	}
}

// admitError: the cluster is known, and does not admit this one, for now.
type admitError struct{ why string }

func (e *admitError) Error() string { return e.why }

// reply is what one address said.
type reply struct {
	address string
	link.Welcome
	config config.Config
	err    error
}

// round asks all once. done: the cluster is known, or nothing will come of it.
func (s *search) round(ctx context.Context, f *found) (done bool, err error) {
	replies := s.ask(ctx)
	var members []*reply
	for i := range replies {
		r := &replies[i]
		switch {
		case r.err == nil && r.Meeting.GetName() != "" && s.e.b.name != "" &&
			r.Meeting.GetName() != s.e.b.name:
			err = fmt.Errorf("%s belongs to cluster %q, not to %q", r.address,
				r.Meeting.GetName(), s.e.b.name)
		case r.err == nil:
			members = append(members, r)
		case ctx.Err() == nil || err == nil:
			err = r.err
		}
	}
	if len(members) > 0 && ctx.Err() == nil { // else some have not answered
		return s.join(members, f)
	}
	s.admit(nil)
	if s.gathering == nil || ctx.Err() != nil {
		return false, err
	}
	list, failed := s.gather(replies)
	if f.pledged = list; list != nil || failed != nil {
		return true, failed
	}
	return false, err
}

// gather takes what the others have heard, and promises the list that all agree on, or
// returns nil.
func (s *search) gather(replies []reply) (list []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.gathering.Others()
	for i := range replies {
		r := &replies[i]
		v := viewOf(r.Meeting)
		if !errors.Is(r.err, link.ErrNotFounded) || v.Expects == 0 ||
			checkDialable(r.Address) != nil { // nobody could be told of it
			continue
		}
		s.gathering.Hear(founding.Candidate{Directory: r.Directory, Address: r.Address}, v)
		before = slices.DeleteFunc(before, func(c founding.Candidate) bool {
			return c.Directory == r.Directory
		})
		for _, c := range v.Heard {
			if checkDialable(c.Address) == nil && !slices.Contains(s.callers, c.Address) &&
				len(s.callers) < joinMax {
				s.callers = append(s.callers, c.Address)
			}
		}
	}
	for _, c := range before {
		s.gathering.Gone(c.Directory)
	}
	step, list := s.gathering.Next()
	if step != founding.Promise {
		return nil, nil
	}
	if err := s.e.pledge(s.self.Directory, list); err != nil {
		return nil, err
	}
	s.gathering.Promised(list)
	return list, nil
}

// join decides what comes of the answers of members.
func (s *search) join(members []*reply, f *found) (done bool, err error) {
	e, first := s.e, members[0]
	var more []string
	var why error
	for _, r := range members {
		if r.Cluster != first.Cluster {
			s.admit(nil)
			return false, fmt.Errorf("%s belongs to cluster %016x, %s to %016x: give the "+
				"addresses of one, or give each a name (raftd: --cluster)", first.address,
				first.Cluster, r.address, r.Cluster)
		}
		for _, m := range r.config.Members() {
			more = append(more, m.Address)
		}
		if id := r.Meeting.GetAdmitted(); id != 0 {
			f.id, first, why, f.admitted = id, r, nil, true
			break
		}
		why = s.refusal(r, why)
	}
	s.mu.Lock()
	s.more = more
	s.mu.Unlock()
	switch {
	case why != nil && e.b.witness: // it is never asked to be admitted
		return false, why
	case why != nil:
		s.admit(members)
		return false, why
	case f.admitted: // a journal would keep it from being what it was admitted as
		as := Builder{id: f.id, witness: e.b.witness}
		if err := as.checkKind(&first.config); err != nil {
			return true, err
		}
	}
	if f.id == 0 {
		f.id = e.b.id
	}
	f.cluster, f.members = first.Cluster, first.config.Members()
	e.log.Info("joining a cluster", "cluster", fmt.Sprintf("%016x", f.cluster), "asked",
		first.address, "members", membersOf(&first.config))
	return true, nil
}

// admit has those that have answered be asked to admit this one: it is known by then that they
// are of one cluster, so that no other one admits it, too.
func (s *search) admit(members []*reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.admitters) == 0 && len(members) > 0 {
		s.hurry()
	}
	s.admitters = nil
	for _, r := range members {
		s.admitters = append(s.admitters, r.address)
	}
}

// refusal is why this one does not join yet, by a member's answer; nil: it joins, and waits
// to be added under the id that it was given.
func (s *search) refusal(r *reply, before error) error {
	id := s.e.b.id
	_, taken := r.config.Find(id)
	switch m := r.Meeting; {
	case id != 0 && (taken || !m.GetAdmits() || s.e.b.witness):
		return nil
	case s.e.b.witness: // the entry would name a full member
		return &admitError{"a witness is not admitted by itself: give this one an --id, and add " +
			"it: raftd member add --witness"}
	case m.GetWhy() != "":
		return &admitError{m.GetWhy()}
	case before != nil:
		return before
	case !m.GetAdmits():
		return &admitError{"the member at " + r.address + " admits nobody by itself: start the " +
			"members with --admit, or give this one an --id and add it: raftd member add"}
	}
	return &admitError{"asked the members to admit this server"}
}

// ask asks all addresses at once, and returns what they say, without this one's own.
func (s *search) ask(ctx context.Context) []reply {
	addresses := s.addresses(ctx)
	s.mu.Lock()
	admitters, plain, admit := s.admitters, s.meeting(), s.meeting()
	s.mu.Unlock()
	admit.Admit = true
	replies := make([]reply, len(addresses))
	var all sync.WaitGroup
	for i, a := range addresses {
		q := link.Question{Keys: s.e.b.secret.keys, ID: s.e.b.id, Address: s.e.b.listen,
			Directory: s.self.Directory, Meeting: plain}
		if slices.Contains(admitters, a) {
			q.Meeting = admit
		}
		all.Go(func() { replies[i] = s.askOne(ctx, a, q) })
	}
	all.Wait()
	return slices.DeleteFunc(replies, func(r reply) bool {
		return r.Directory == s.self.Directory
	})
}

// askOne asks one address.
func (s *search) askOne(ctx context.Context, address string, q link.Question) (r reply) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	r.address = address
	if r.Welcome, r.err = link.Ask(ctx, address, q); r.err != nil {
		return r
	}
	r.config, r.err = config.Decode(r.Configuration)
	switch own := s.e.b.cluster; {
	case r.err != nil:
		r.err = fmt.Errorf("%s: %w", address, r.err)
	case len(r.config.Voters) == 0:
		r.err = fmt.Errorf("%s: %w", address, link.ErrNotFounded)
	case own != 0 && own != r.Cluster:
		r.err = fmt.Errorf("%s belongs to cluster %016x, not to %016x", address, r.Cluster, own)
	}
	return r
}

// addresses are those that are asked, each once: those that were given, with names looked up
// anew, and those that were heard of.
func (s *search) addresses(ctx context.Context) (all []string) {
	for _, a := range s.e.b.join {
		all = append(all, s.e.b.resolve(ctx, a)...)
	}
	s.mu.Lock()
	all = append(append(all, s.more...), s.callers...)
	s.mu.Unlock()
	all = append(all, s.e.announcer.peers()...)
	seen := map[string]bool{"": true}
	if s.net != nil {
		seen[s.self.Address] = true
	}
	all = slices.DeleteFunc(all, func(a string) bool {
		again := seen[a] || checkDialable(a) != nil
		seen[a] = true
		return again
	})
	return all[:min(len(all), joinMax)]
}

// resolve is every address that an address of a name stands for now; itself, if that is not
// found out.
func (b *Builder) resolve(ctx context.Context, address string) (all []string) {
	host, port, err := splitAddress(address)
	if err != nil {
		return []string{address}
	}
	ctx, cancel := context.WithTimeout(ctx, lookUpLimit)
	defer cancel()
	lookUp := net.DefaultResolver.LookupHost
	if b.lookUp != nil {
		lookUp = b.lookUp
	}
	hosts, err := lookUp(ctx, host) // an IP address is itself
	if err != nil {
		return []string{address}
	}
	for _, h := range hosts {
		all = append(all, net.JoinHostPort(h, strconv.Itoa(port)))
	}
	return all
}
