package containers

import (
	"context"
	"crypto/ed25519"
	"net"
	"time"

	"kdiag/mux"

	"k8s.io/apimachinery/pkg/types"
)

// An Ending is all that another process needs to end a session with a manager. It has the user's key:
// it must stay in memory, and in pipes between kdiag's own processes.
type Ending struct {
	Namespace, Pod string
	Port           uint16 // where the manager listens
	ManagerKey     string // its mux.HashKey
	Session        string // its mux.Session.Ticket
	Key            []byte // the seed of the user's
	// DeletesPod says that the pod itself is to be deleted, and nothing else.
	DeletesPod bool
}

// Ending returns how another process ends a session of the handle's.
func (n *Net) Ending(s *mux.Session) Ending {
	return Ending{
		Namespace: n.pod.Namespace, Pod: n.pod.Name, Port: n.manager.ready.Port, ManagerKey: n.manager.ready.Key,
		Session: s.Ticket(), Key: n.key.Seed(),
	}
}

// Forwarder opens port-forwards. *kube.Cluster is the real one.
type Forwarder interface {
	PortForward(ctx context.Context, namespace, pod string, port uint16, openTimeout time.Duration) (net.Conn, error)
}

// podDeleter is a Forwarder that can delete pods as well.
type podDeleter interface {
	DeletePod(ctx context.Context, namespace, name string, uid types.UID) error
}

// endTimeout bounds the wait for a port-forward to end a session.
const endTimeout = 5 * time.Second

// End ends the session. One that has ended is no error.
func (e Ending) End(ctx context.Context, api Forwarder) error {
	if deleter, ok := api.(podDeleter); ok && e.DeletesPod {
		return deleter.DeletePod(ctx, e.Namespace, e.Pod, "")
	}

	conn, err := api.PortForward(ctx, e.Namespace, e.Pod, e.Port, endTimeout)
	if err != nil {
		return err
	}
	return mux.EndSession(ctx, conn, ed25519.NewKeyFromSeed(e.Key), e.ManagerKey, e.Session)
}
