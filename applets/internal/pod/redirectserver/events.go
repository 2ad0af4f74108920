package redirectserver

import "kdiag/mux/wire"

// eventKey names what the laptop is to be told of. Only the latest of each counts.
type eventKey struct {
	event    string // one of wire.Event…
	redirect uint32
}

// noteTrouble has the laptop told of trouble with a redirect.
func (s *redirectSession) noteTrouble(trouble wire.Troubled) {
	s.tellLatest(wire.EventTroubled, trouble.ID, trouble)
}

// tellProbed has the laptop told how many probes there were.
func (s *redirectSession) tellProbed(p wire.Probed) { s.tellLatest(wire.EventProbed, p.ID, p) }

// tellRefused has the laptop told of connections that were reset.
func (s *redirectSession) tellRefused(counted wire.Refused) {
	s.tellLatest(wire.EventRefused, counted.ID, counted)
}

// tellLatest has the laptop told of something, instead of what is yet to be told under the same key. It
// does not wait for the link.
func (s *redirectSession) tellLatest(event string, redirect uint32, body any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}

	s.untold[eventKey{event, redirect}] = body
	if !s.telling {
		s.telling = true
		s.tellers.Go(s.sendUntold)
	}
}

// sendUntold sends what tellLatest has left.
func (s *redirectSession) sendUntold() {
	for {
		key, body, ok := s.nextUntold()
		if !ok {
			return
		}
		if err := s.laptop.Notify(key.event, body); err != nil {
			s.server.config.Log.Debug("tell the laptop", "event", key.event, "redirect", key.redirect, "err", err)
		}
	}
}

// nextUntold takes one of the events. If there is none, sendUntold has to end.
func (s *redirectSession) nextUntold() (eventKey, any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, body := range s.untold {
		delete(s.untold, key)
		return key, body, true
	}

	s.telling = false
	return eventKey{}, nil, false
}
