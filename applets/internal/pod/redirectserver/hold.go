package redirectserver

import (
	"time"

	"kdiag/mux/wire"
)

const (
	// doubtAfter is how long a laptop may be silent until new connections wait for a sign of life:
	// a little more than the time between two heartbeats (mux.SessionOptions).
	doubtAfter = 4 * time.Second
	// doubtPause is the time from one look to the next.
	doubtPause = 50 * time.Millisecond
)

// awaitLaptop waits while the laptop is away, and says where a connection goes that came
// meanwhile: to the application once its redirect is stopped. The laptop has nothing of it yet, so
// that it can still go anywhere.
func (s *redirectSession) awaitLaptop(stopped <-chan struct{}) route {
	for {
		goal, known, changed := s.routeNow()
		switch {
		case known:
			return goal
		case wire.IsClosed(stopped):
			return toApplication
		}

		select {
		case <-changed:
		case <-stopped:
		}
	}
}

// routeNow says where a new connection goes, unless it has to wait until changed is closed.
func (s *redirectSession) routeNow() (goal route, known bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return toApplication, true, nil
	case s.laptopIs.overdue && s.onDisconnect == wire.OnDisconnectApp:
		return toApplication, true, nil
	case s.laptopIs.overdue && s.onDisconnect == wire.OnDisconnectReset:
		return nowhere, true, nil
	case !s.laptopIs.away && s.laptop.SilentFor() < doubtAfter:
		return toLaptop, true, nil
	case !s.laptopIs.away && !s.doubted:
		s.doubted = true
		s.helpers.Go(s.watchDoubt)
	}
	return toLaptop, false, s.attended
}

// watchDoubt looks for a sign of life of the laptop, for all connections that wait for it, until there
// is one, or it is known to be away.
func (s *redirectSession) watchDoubt() {
	tick := time.NewTicker(doubtPause)
	defer tick.Stop()
	for range tick.C {
		if s.resolveDoubt() {
			return
		}
	}
}

// resolveDoubt reports whether there is no doubt any more, and wakes who waits for that.
func (s *redirectSession) resolveDoubt() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended && !s.laptopIs.away && s.laptop.SilentFor() >= doubtAfter {
		return false
	}

	s.doubted = false
	s.noteAttendance()
	return true
}

// noteAttendance wakes connections that wait for the laptop. mu is held.
func (s *redirectSession) noteAttendance() {
	close(s.attended)
	s.attended = make(chan struct{})
}
