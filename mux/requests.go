package mux

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// sendMessage writes one control message.
func (s *Session) sendMessage(m message) error {
	s.writeLock.Lock()
	defer s.writeLock.Unlock()

	if err := writeMessage(s.control, m); err != nil {
		if cause := context.Cause(s.ctx); cause != nil {
			return cause
		}
		return err
	}

	return nil
}

// Notify sends an event, which has no answer.
func (s *Session) Notify(name string, body any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	return s.sendMessage(message{Kind: kindEvent, Name: name, Body: encoded})
}

// Call sends a request, waits for the answer and decodes it into result, which may be nil. It
// returns a *RemoteError if the peer could not serve the request.
func (s *Session) Call(ctx context.Context, name string, body, result any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}

	id, answer := s.lastID.Add(1), make(chan message, 1)
	s.mu.Lock()
	s.pendingCalls[id] = answer
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.pendingCalls, id)
		s.mu.Unlock()
	}()

	if err := s.sendMessage(message{Kind: kindRequest, ID: id, Name: name, Body: encoded}); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}

	select {
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", name, context.Cause(ctx))
	case <-s.ctx.Done():
		return fmt.Errorf("%s: %w", name, s.Err())
	case m := <-answer:
		return decodeAnswer(name, m, result)
	}
}

// decodeAnswer decodes the body of an answer into result, or returns the peer's error.
func decodeAnswer(name string, answer message, result any) error {
	if answer.Error != nil {
		return answer.Error
	}
	if result == nil {
		return nil
	}

	if err := json.Unmarshal(answer.Body, result); err != nil {
		return fmt.Errorf("%s: decode the answer: %w", name, err)
	}

	return nil
}

// readControl reads and handles the peer's messages until the control stream ends, and the session
// with it.
func (s *Session) readControl() {
	for {
		m, err := readMessage(s.control)
		if err != nil {
			s.endBroken("read the control stream", err)
			return
		}

		if err := s.handleMessage(m); err != nil {
			s.endSession(err)
			return
		}
	}
}

// maxRequests bounds the peer's requests that are answered at once.
const maxRequests = 256

// beginRequest has a request answered, unless the peer has too many.
func (s *Session) beginRequest(m message) error {
	s.mu.Lock()
	s.requests++
	many := s.requests
	s.mu.Unlock()
	if many > maxRequests {
		return fmt.Errorf("the other side made more than %d requests at once", maxRequests)
	}

	s.runTracked(func() {
		s.answerRequest(m)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests--
	})
	return nil
}

// handleMessage acts on one of the peer's messages. It does not block, for readControl's sake. An
// error ends the session.
func (s *Session) handleMessage(m message) error {
	switch m.Kind {
	case kindRequest:
		return s.beginRequest(m)
	case kindResponse:
		s.handleResponse(m)
	case kindEvent:
		s.options.Event(m.Name, m.Body)
	default:
		s.options.Log.Debug("control message of an unknown kind", "kind", m.Kind)
	}
	return nil
}

// handleResponse hands an answer to the Call that waits for it, if any.
func (s *Session) handleResponse(m message) {
	s.mu.Lock()
	answer := s.pendingCalls[m.ID]
	delete(s.pendingCalls, m.ID) // nobody waits for a second answer
	s.mu.Unlock()

	if answer != nil {
		answer <- m
	}
}

// answerRequest has the handler serve a request, and sends the answer.
func (s *Session) answerRequest(m message) {
	response := message{Kind: kindResponse, ID: m.ID}
	result, err := s.options.Handle(s.ctx, m.Name, m.Body)
	if err == nil {
		response.Body, err = json.Marshal(result)
	}

	if err != nil {
		if !errors.As(err, &response.Error) {
			response.Error = &RemoteError{Message: err.Error()}
		}
	}

	if err := s.sendMessage(response); err != nil {
		s.options.Log.Debug("answer", "request", m.Name, "err", err)
	}
}
