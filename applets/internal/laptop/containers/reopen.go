package containers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"kdiag/kube"
	"kdiag/mux"
)

// Redial opens another port-forward to the manager that the last session is with, as
// mux.SessionOptions.Redial. When all is well it asks the cluster nothing else. Its error is
// mux.ErrGivenUp where the pod, or the manager's container, has ended.
func (n *Net) Redial(ctx context.Context) (net.Conn, error) {
	conn, err := n.api.PortForward(ctx, n.pod.Namespace, n.pod.Name, n.manager.ready.Port, n.request.Timeout)
	answered := err == nil || kube.IsAnswer(err)
	if err == nil {
		conn, err = awaitGreeting(ctx, conn)
	}
	if err == nil && !n.reopening.noteGreeting() {
		return conn, nil
	}

	// Without an answer the cluster would not say, either, what has become of the pod.
	if answered {
		if gone := n.checkGone(ctx); gone != nil {
			if err == nil {
				_ = conn.Close()
			}
			return nil, fmt.Errorf("%w: %w", mux.ErrGivenUp, gone)
		}
	}

	return conn, err
}

// checkGoneTimeout bounds the look at the pod. It must leave time to try again.
const checkGoneTimeout = 2 * time.Second

// checkGone returns a *kube.GoneError if the pod or the manager's container has ended.
func (n *Net) checkGone(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkGoneTimeout)
	defer cancel()
	return n.api.CheckGone(ctx, n.pod, n.manager.container)
}

// greetedConn is a connection of which the first byte was read already.
type greetedConn struct {
	net.Conn
	first []byte
}

func (c *greetedConn) Read(p []byte) (int, error) {
	if len(c.first) == 0 {
		return c.Conn.Read(p)
	}

	n := copy(p, c.first)
	c.first = c.first[n:]
	return n, nil
}

// awaitGreeting waits for the first byte, which the manager sends of its own accord: a
// port-forward to a port where nobody listens can be opened, too. It closes conn if it fails.
func awaitGreeting(ctx context.Context, conn net.Conn) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()

	first := make([]byte, 1)
	n, err := conn.Read(first)
	if n == 1 && stop() {
		return &greetedConn{conn, first}, nil
	}

	_ = conn.Close()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return nil, fmt.Errorf("wait for the manager: %w", err)
}

// reopening is what Redial and ReopenSession know of earlier attempts.
type reopening struct {
	greeted time.Time   // when a manager, or what has its port, last answered
	added   []time.Time // when containers were added
}

// tooSoon is how soon after a manager has answered it is strange to need another connection:
// something else in the pod may have its port.
const tooSoon = 3 * time.Second

// noteGreeting notes that something answered at the manager's port, and reports whether that is
// strange so soon.
func (r *reopening) noteGreeting() (strange bool) {
	strange = !r.greeted.IsZero() && time.Since(r.greeted) < tooSoon
	r.greeted = time.Now()
	return strange
}

// reopenTimeout bounds one attempt to reach the same manager. What hangs is tried anew: a network
// that is back does not always revive what was begun before.
const reopenTimeout = 5 * time.Second

// ReopenSession opens another session with a manager in the pod that OpenSession found, after the
// last session has ended: with the same manager, or with one in another container if that has
// ended. Its error is mux.ErrGivenUp if the pod has ended, or container after container does.
func (n *Net) ReopenSession(ctx context.Context, o mux.SessionOptions) (*mux.Session, error) {
	session, err := n.reconnect(ctx, o)
	var gone *kube.GoneError
	if !errors.As(err, &gone) || gone.Pod {
		return session, err
	}

	if err := n.replaceManager(ctx, gone); err != nil {
		return nil, err
	}
	return n.reconnect(ctx, o)
}

// reconnect opens a session with the manager that there was.
func (n *Net) reconnect(ctx context.Context, o mux.SessionOptions) (*mux.Session, error) {
	ctx, cancel := kube.WithTimeout(ctx, reopenTimeout)
	defer cancel()

	conn, err := n.Redial(ctx)
	if err != nil {
		return nil, err
	}
	return n.beginSession(ctx, conn, o)
}

const (
	// maxAdded limits how many containers are added in addedWithin: a pod keeps the entry of each.
	maxAdded    = 3
	addedWithin = 10 * time.Minute
)

// replaceManager finds another manager of this user's in the pod, or adds a container for one.
func (n *Net) replaceManager(ctx context.Context, ended *kube.GoneError) error {
	if added := n.reopening.added; len(added) >= maxAdded && time.Since(added[len(added)-maxAdded]) < addedWithin {
		return fmt.Errorf("%w: kdiag's containers end again and again, at last: %w", mux.ErrGivenUp, ended)
	}

	ctx, cancel := kube.WithTimeout(ctx, n.request.Timeout)
	defer cancel()
	pod, err := n.api.FindPod(ctx, kube.Selection{Kind: "pods", Name: n.pod.Name})
	if err != nil {
		return err
	}
	if pod.UID != n.pod.UID {
		return fmt.Errorf("%w: the pod was deleted, and another one has its name", mux.ErrGivenUp)
	}
	n.pod = pod

	// The status line shows that the connection is away.
	silent := Messages{Note: func(string) {}, Notice: n.messages.Notice}
	if err := n.startManager(ctx, silent); err != nil {
		return err
	}

	n.reopening.greeted = time.Time{}
	if n.manager.isNew {
		n.reopening.added = append(n.reopening.added, time.Now())
	}
	return nil
}
