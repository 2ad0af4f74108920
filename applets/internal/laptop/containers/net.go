package containers

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"time"

	"kdiag/applets"
	"kdiag/kube"
	"kdiag/mux"
	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
)

// Net is the handle on a pod's net container.
type Net struct {
	api      API
	request  Request
	messages Messages
	owner    *owner

	// These are what OpenSession found. ReopenSession may find another manager.
	pod     *corev1.Pod
	of      int // how many pods it was chosen from
	key     ed25519.PrivateKey
	manager manager

	reopening reopening
}

// manager is the one in a net container.
type manager struct {
	container string
	isNew     bool // the container was added for it
	ready     wire.Ready
}

// NewNet returns a handle, and begins to read the user's key. It asks the
// cluster nothing yet.
func NewNet(api API, r Request, m Messages) *Net {
	return &Net{api: api, request: r, messages: m, owner: loadOwner(m.Notice)}
}

// Pod returns the pod that OpenSession found; nil before.
func (n *Net) Pod() *corev1.Pod { return n.pod }

// ChosenOf returns how many pods OpenSession chose the pod from; 0 if the request names it.
func (n *Net) ChosenOf() int { return n.of }

// OpenSession finds the pod, has its net container run, and opens a session
// with the manager in it, through one port-forward. A container that the
// request names must be in the pod. The caller closes the session.
func (n *Net) OpenSession(ctx context.Context, o mux.SessionOptions) (*mux.Session, error) {
	ctx, cancel := kube.WithTimeout(ctx, n.request.Timeout)
	defer cancel()

	if err := n.findPod(ctx); err != nil {
		return nil, err
	}

	if err := n.startManager(ctx, n.messages); err != nil {
		return nil, err
	}

	session, err := n.connect(ctx, o)
	if err == nil || n.manager.isNew {
		return session, err
	}

	// The container may have been found although its manager had just ended.
	ended := n.awaitManagerEnd(ctx)
	if ended == nil || ended.Pod {
		return nil, err
	}
	if err := n.replaceManager(ctx, ended); err != nil {
		return nil, err
	}
	return n.connect(ctx, o)
}

const (
	// endNewsTime limits the wait for the news that a container has ended: the kubelet tells the
	// API server a moment later.
	endNewsTime  = 3 * time.Second
	endNewsEvery = 200 * time.Millisecond
)

// awaitManagerEnd returns how the manager that does not answer has ended, or nil if it has not.
func (n *Net) awaitManagerEnd(ctx context.Context) *kube.GoneError {
	ctx, cancel := context.WithTimeout(ctx, endNewsTime)
	defer cancel()
	tick := time.NewTicker(endNewsEvery)
	defer tick.Stop()

	for {
		var ended *kube.GoneError
		if errors.As(n.checkGone(ctx), &ended) {
			return ended
		}

		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// findPod finds the pod, and the container in it that the request names.
func (n *Net) findPod(ctx context.Context) error {
	found, key, err := n.owner.findPod(ctx, n.api, n.request.Pod)
	if err != nil {
		return err
	}
	n.pod, n.of, n.key = found.pod, found.of, key

	if n.request.Container != "" {
		if err := kube.CheckHasContainer(n.pod, n.request.Container); err != nil {
			return err
		}
	}
	if n.request.CheckPod != nil {
		if err := n.request.CheckPod(ctx, n.pod); err != nil {
			return AddTimeoutHint(ctx, err)
		}
	}
	return n.request.checkMemory(ctx, n.api, n.pod)
}

// startManager has the net container run and reads what its manager printed:
// where it listens, and the key that it is known by. The API server vouches for
// it.
func (n *Net) startManager(ctx context.Context, m Messages) error {
	request := kube.NetRequest{Pod: n.pod, ManagerContainer: n.request.managerContainer(mux.PublicText(n.key))}
	request.Manager.IdleTimeout = n.owner.chooseIdleTimeout(n.request.IdleTimeout)
	progress, silence := m.ProgressUntil()
	defer silence()
	request.Ledger, request.Progress, request.Notice = n.owner.ledger, progress, m.Notice
	container, err := n.api.EnsureNet(ctx, request)
	if err != nil {
		return explainEnsure(ctx, err)
	}

	line, err := n.api.WaitForReadyLine(ctx, n.pod.Namespace, n.pod.Name, container.Name)
	if err != nil {
		return err
	}

	ready, err := n.parseReady(container.Name, line)
	if err == nil {
		n.manager = manager{container.Name, container.Created, ready}
	}
	return err
}

// parseReady reads the line of a manager that this kdiag can talk to.
func (n *Net) parseReady(container string, line []byte) (wire.Ready, error) {
	ready, err := wire.ParseReady(line)
	if err == nil && ready.Key != "" {
		if err := mux.CheckPeerVersion(ready.Protocol); err != nil {
			return ready, addUpgradeHint(fmt.Errorf("the manager in container %s: %w", container, err))
		}
	}

	if err != nil || !ready.Serves() {
		return ready, applets.WithHint(
			fmt.Errorf("the log of container %s does not say where its manager listens: %q", container, line),
			"check that %s is an image of this kdiag", n.request.Image)
	}

	return ready, nil
}

// maxAttempts is how often the manager's port is tried, where the connection
// ends without an answer: other processes in the pod may flood it.
const maxAttempts = 3

// connect opens a session with the manager. It tries again where the manager
// closed the connection in favour of others, maxAttempts times in all.
func (n *Net) connect(ctx context.Context, o mux.SessionOptions) (*mux.Session, error) {
	for attempt := 1; ; attempt++ {
		session, err := n.connectOnce(ctx, o)
		var away *mux.TurnedAwayError
		if errors.As(err, &away) && attempt < maxAttempts && ctx.Err() == nil {
			continue
		}
		return session, err
	}
}

// connectOnce opens the one port-forward and the session in it.
func (n *Net) connectOnce(ctx context.Context, o mux.SessionOptions) (*mux.Session, error) {
	conn, err := n.api.PortForward(ctx, n.pod.Namespace, n.pod.Name, n.manager.ready.Port, n.request.Timeout)
	if err != nil {
		return nil, err
	}

	return n.beginSession(ctx, conn, o)
}

// beginSession begins a session on a connection to the manager.
func (n *Net) beginSession(ctx context.Context, conn net.Conn, o mux.SessionOptions) (*mux.Session, error) {
	session, err := mux.Client(ctx, conn, n.key, n.manager.ready.Key, o)
	if err != nil {
		return nil, addUpgradeHint(fmt.Errorf("connect to the manager in pod %s/%s: %w", n.pod.Namespace, n.pod.Name, err))
	}

	return session, nil
}

// addUpgradeHint adds to a *mux.VersionError which side to upgrade, and nothing
// to any other error.
func addUpgradeHint(err error) error {
	var version *mux.VersionError
	if !errors.As(err, &version) {
		return err
	}

	side := "kdiag on this machine"
	if version.PeerIsOlder() {
		side = "the image in the pod (--image)"
	}

	return applets.WithHint(err, "upgrade %s", side)
}

// ShellBeside returns a handle on a shell container beside the container that
// was named, in the pod that OpenSession found.
func (n *Net) ShellBeside() *Shell {
	request := n.request
	request.Pod = kube.Selection{Kind: "pods", Name: n.pod.Name}
	request.Profile = kube.ProfileAuto
	messages := n.messages
	messages.Note = func(string) {} // what was chosen here is no news to the user
	return &Shell{api: n.api, request: request, messages: messages, owner: n.owner}
}
