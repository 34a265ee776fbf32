package server

import (
	"context"
	"slices"
)

// Alive reports whether every loop has found time for a function before ctx is over.
func (s *Server) Alive(ctx context.Context) bool {
	s.mu.Lock()
	loops := slices.Clone(s.loops)
	s.mu.Unlock()
	done := make(chan struct{}, len(loops))
	for _, f := range loops {
		if f.do(func() { done <- struct{}{} }) != nil {
			return false
		}
	}
	for range loops {
		select {
		case <-done:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// Finish ends the connections of clients: what they have asked for is answered, then each is
// closed. It does not wait. Those of other members stay: a member ends its own when it has heard
// what became of all that it forwarded here, and knows another leader.
func (s *Server) Finish() {
	byLoop := map[*front][]*conn{}
	s.mu.Lock()
	for _, p := range s.clients {
		if !p.proxied.Load() {
			byLoop[p.conn.front] = append(byLoop[p.conn.front], p.conn)
		}
	}
	s.mu.Unlock()
	for f, list := range byLoop {
		_ = f.do(func() { // a loop that has ended has closed them
			for _, c := range list {
				if !c.closed {
					c.finish()
				}
			}
		})
	}
}

// Left is how many connections there are: of clients, and of members that forward commands.
func (s *Server) Left() (clients, members int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.clients {
		if p.proxied.Load() {
			members++
		} else {
			clients++
		}
	}
	return clients, members
}
