package redirectserver

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// Drain stops every redirect, and waits for some time at most until their connections have ended.
func (s *Server) Drain(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()

	s.mu.Lock()
	sessions := slices.Collect(maps.Keys(s.sessions))
	s.mu.Unlock()

	var all sync.WaitGroup
	for _, session := range sessions {
		all.Go(func() { session.drainRedirects(ctx) })
	}
	all.Wait()
}

// drainRedirects stops a session's redirects, and waits for their connections until ctx ends.
func (s *redirectSession) drainRedirects(ctx context.Context) {
	s.mu.Lock()
	redirects := slices.Collect(maps.Values(s.redirects))
	s.mu.Unlock()

	for _, r := range redirects {
		if err := r.stopRedirecting(); err != nil {
			r.log.Warn("stop redirecting", "err", err)
		}
	}

	_ = s.awaitConnections(ctx) // its only failure is that the time is up
}
