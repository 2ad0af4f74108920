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
		case isClosed(stopped):
			return toApplication
		}

		select {
		case <-changed:
		case <-stopped:
		case <-doubtTimer(changed):
		}
	}
}

// routeNow says where a new connection goes, unless it has to wait: until changed is closed, or for a
// moment if that is nil.
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
	case s.laptopIs.away:
		return toLaptop, false, s.attended
	}
	return toLaptop, s.laptop.SilentFor() < doubtAfter, nil
}

// doubtTimer returns a timer's channel if there is nothing else to wait for.
func doubtTimer(changed <-chan struct{}) <-chan time.Time {
	if changed != nil {
		return nil
	}
	return time.After(doubtPause)
}

// noteAttendance wakes connections that wait for the laptop. mu is held.
func (s *redirectSession) noteAttendance() {
	close(s.attended)
	s.attended = make(chan struct{})
}
