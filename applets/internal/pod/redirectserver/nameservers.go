package redirectserver

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// answerPatience bounds the wait for one answer of a name server: the question is asked once more
	// after it, and by then a server that had to ask others knows.
	answerPatience = 2 * time.Second
	// maxUnanswered is how many questions a server may leave unanswered, if it answers none: those for
	// both families, asked twice.
	maxUnanswered = 4
)

// nameServers remembers, for one lookup, which name servers cannot be reached. A lookup asks many
// questions, for each domain of the search list and for both families. Without this, each would wait
// for its answer, although the first has shown that there is no server: the kernel limits how often it
// says that nobody listens.
type nameServers struct {
	mu    sync.Mutex
	known map[string]*nameServer // by address
}

// A nameServer is one that was asked in a lookup.
type nameServer struct {
	mu         sync.Mutex
	answered   bool
	unanswered int
	asking     map[net.Conn]struct{}
	dead       error // why it is asked no more
}

// find returns the server at an address.
func (n *nameServers) find(address string) *nameServer {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil {
		n.known = map[string]*nameServer{}
	}
	if n.known[address] == nil {
		n.known[address] = &nameServer{asking: map[net.Conn]struct{}{}}
	}
	return n.known[address]
}

// ask dials the server, unless it cannot be reached.
func (s *nameServer) ask(ctx context.Context, dial dialFunc, network, address string) (net.Conn, error) {
	if err := s.whyDead(); err != nil {
		return nil, err
	}

	conn, err := dial(ctx, network, address)
	if err != nil {
		return nil, err
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead != nil {
		_ = conn.Close()
		return nil, s.dead
	}
	s.asking[conn] = struct{}{}
	return conn, nil
}

func (s *nameServer) whyDead() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dead
}

// noteRead notes how the wait for an answer has ended. If that shows that nobody is there, it ends the
// other waits, too.
func (s *nameServer) noteRead(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.answered = true
		return nil
	case s.dead != nil:
		return s.dead
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.unanswered++
	}

	refused := errors.Is(err, syscall.ECONNREFUSED)
	if !s.answered && (refused || s.unanswered >= maxUnanswered) {
		s.dead = err
		for conn := range s.asking {
			_ = conn.Close()
		}
	}
	return err
}

// noteClosed forgets a connection.
func (s *nameServer) noteClosed(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.asking, conn)
}
