package containers

import (
	"context"
	"crypto/ed25519"
	"net"
	"time"

	"kdiag/mux"
)

// An Ending is all that another process needs to end a session with a manager. It has the user's key:
// it must stay in memory, and in pipes between kdiag's own processes.
type Ending struct {
	Namespace, Pod string
	Port           uint16 // where the manager listens
	ManagerKey     string // its mux.HashKey
	Session        string // its mux.Session.Ticket
	Key            []byte // the seed of the user's
}

// Ending returns how another process ends a session of the handle's.
func (n *Net) Ending(s *mux.Session) Ending {
	return Ending{n.pod.Namespace, n.pod.Name, n.manager.ready.Port, n.manager.ready.Key, s.Ticket(), n.key.Seed()}
}

// Forwarder opens port-forwards. *kube.Cluster is the real one.
type Forwarder interface {
	PortForward(ctx context.Context, namespace, pod string, port uint16, openTimeout time.Duration) (net.Conn, error)
}

// endTimeout bounds the wait for a port-forward to end a session.
const endTimeout = 5 * time.Second

// End ends the session. One that has ended is no error.
func (e Ending) End(ctx context.Context, api Forwarder) error {
	conn, err := api.PortForward(ctx, e.Namespace, e.Pod, e.Port, endTimeout)
	if err != nil {
		return err
	}
	return mux.EndSession(ctx, conn, ed25519.NewKeyFromSeed(e.Key), e.ManagerKey, e.Session)
}
