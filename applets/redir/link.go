package redir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"sync"
	"time"

	"kdiag/applets"
	"kdiag/applets/kubeflags"
	"kdiag/kube"
	"kdiag/mux"
	"kdiag/mux/wire"
)

// link is the session with the manager in a pod.
type link struct {
	net       *kubeflags.Net
	session   *mux.Session
	report    *report
	where     string // the pod, for messages
	redirects map[uint32]*redirect
	proxied   sync.WaitGroup
	proxier   mux.Proxier
	options   options
}

// connect has the pod's net container run and opens a session with the manager
// in it.
func connect(ctx context.Context, n *kubeflags.Net, o options, r *report) (*link, error) {
	ctx, cancel := kube.WithTimeout(ctx, o.timeout)
	defer cancel()
	n.Progress = r.line.Show
	if err := n.Find(ctx); err != nil {
		return nil, err
	}

	injected, err := n.Ensure(ctx)
	if err != nil {
		return nil, err
	}

	started, err := readStarted(ctx, n, injected.Name)
	if err != nil {
		return nil, err
	}

	l := &link{net: n, report: r, where: n.Pod.Namespace + "/" + n.Pod.Name, redirects: map[uint32]*redirect{}, options: o}
	if l.session, err = l.dial(ctx, started); err != nil {
		return nil, err
	}

	hello := wire.Hello{Version: n.Manager.Version, Holder: holder()}
	if err := l.session.Call(ctx, wire.RequestHello, hello, nil); err != nil {
		l.close()
		return nil, l.explain("greet the manager", err)
	}

	return l, nil
}

// readStarted is what the manager printed: where it listens, and the key that
// it is known by. The API server vouches for it.
func readStarted(ctx context.Context, n *kubeflags.Net, container string) (wire.Ready, error) {
	line, err := n.Cluster.ManagerLine(ctx, n.Pod.Namespace, n.Pod.Name, container)
	if err != nil {
		return wire.Ready{}, err
	}

	ready, err := wire.ParseReady(line)
	if err == nil && ready.Key != "" {
		if err := mux.CheckPeerVersion(ready.Protocol); err != nil {
			return ready, upgradeOne(fmt.Errorf("the manager in container %s: %w", container, err))
		}
	}

	if err != nil || !ready.Serves() {
		return ready, applets.WithHint(fmt.Errorf("the log of container %s does not say where its manager listens: %q", container, line),
			"is %s the image of this kdiag?", n.Image)
	}

	return ready, nil
}

// attempts is how often the manager's port is tried, where the connection ends
// without an answer: other processes in the pod may flood it.
const attempts = 3

// dial opens the one port-forward and the session in it.
func (l *link) dial(ctx context.Context, started wire.Ready) (*mux.Session, error) {
	for try := 1; ; try++ {
		session, err := l.dialOnce(ctx, started)
		var away *mux.TurnedAwayError
		if errors.As(err, &away) && try < attempts && ctx.Err() == nil {
			continue
		}
		return session, err
	}
}

// upgradeOne adds to a *mux.VersionError which side is to be upgraded, and
// nothing to any other error.
func upgradeOne(err error) error {
	var version *mux.VersionError
	if !errors.As(err, &version) {
		return err
	}
	side := "kdiag here"
	if version.PeerIsOlder() {
		side = "the image in the pod (--image)"
	}
	return applets.WithHint(err, "upgrade %s", side)
}

func (l *link) dialOnce(ctx context.Context, started wire.Ready) (*mux.Session, error) {
	conn, err := l.net.Cluster.PortForward(ctx, l.net.Pod.Namespace, l.net.Pod.Name, started.Port, l.options.timeout)
	if err != nil {
		return nil, err
	}
	session, err := mux.Client(ctx, conn, l.net.Key, started.Key, mux.Options{Event: l.event, Window: window})
	if err != nil {
		return nil, upgradeOne(l.explain("connect to the manager", err))
	}
	return session, nil
}

// window is what this side buffers of one stream for a local program that is
// slow, in bytes. The laptop has the memory, and the round trip is long.
const window = 4 << 20

func (l *link) explain(doing string, err error) error {
	var refused *mux.RemoteError
	if errors.As(err, &refused) && refused.Hint != "" {
		return applets.WithHint(fmt.Errorf("%s in pod %s: %w", doing, l.where, err), "%s", refused.Hint)
	}
	return fmt.Errorf("%s in pod %s: %w", doing, l.where, err)
}

func (l *link) close() { _ = l.session.Close() }

// event is what the manager says of its own accord.
func (l *link) event(name string, body json.RawMessage) {
	var moved wire.Moved
	if name != wire.EventMoved || json.Unmarshal(body, &moved) != nil {
		return
	}
	l.report.moved(moved)
}

// holder is who redirects, for others in the same pod to be told: USER@HOST.
func holder() string {
	name := "unknown"
	if who, err := user.Current(); err == nil {
		name = who.Username
	}
	host, err := os.Hostname()
	if err != nil {
		return name
	}
	return name + "@" + host
}

// redirect makes the redirects, serves their connections until ctx or the
// session ends, and gives the connections back.
func (l *link) redirect(ctx context.Context) error {
	every, err := l.prepare(ctx)
	if err != nil {
		return err
	}

	// Before the first redirect, whose connections may come at once.
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		l.accept()
	}()

	finish := func() {
		l.close()
		<-accepting
		l.proxied.Wait()
	}

	if err := l.attachAll(ctx, every); err != nil {
		finish()
		return err
	}

	l.report.begin()
	select {
	case <-ctx.Done():
		l.detachAll(ctx)
	case <-l.session.Done():
	}

	lost := l.session.Err()
	finish()
	l.report.summary()
	if lost != nil && ctx.Err() == nil {
		return applets.WithHint(fmt.Errorf("the session with pod %s ended: %w", l.where, lost),
			"the connections go to where they went before; run it again to redirect them")
	}

	return nil
}

// prepare makes the list of the redirects: those that were asked for, or every
// port that is listened on.
func (l *link) prepare(ctx context.Context) (every bool, err error) {
	specs := l.options.specs
	if every = len(specs) == 0; every {
		if specs, err = l.everyPort(ctx); err != nil {
			return every, err
		}
	}

	for i, s := range specs {
		r := &redirect{spec: s, id: uint32(i + 1)}
		l.redirects[r.id] = r
	}

	return every, nil
}

// attachAll makes the redirects. Of every port, those that cannot be had are
// told and left out.
func (l *link) attachAll(ctx context.Context, every bool) error {
	ctx, cancel := kube.WithTimeout(ctx, l.options.timeout)
	defer cancel()
	var failed error
	made := 0
	for _, r := range l.inOrder() {
		err := l.attach(ctx, r)
		switch {
		case err == nil:
			made++
		case !every || ctx.Err() != nil:
			return err
		default:
			failed = err
			l.report.failed(err)
		}
	}

	if made == 0 {
		return failed
	}

	return nil
}

func (l *link) inOrder() []*redirect {
	list := make([]*redirect, 0, len(l.redirects))
	for _, r := range l.redirects {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *redirect) int { return int(a.id) - int(b.id) })
	return list
}

func (l *link) attach(ctx context.Context, r *redirect) error {
	var done wire.Attached
	err := l.session.Call(ctx, wire.RequestAttach, wire.Attach{
		ID: r.id, Outgoing: r.outgoing, Port: r.port, Host: r.host,
		Backend: l.options.backend, TakeOver: l.options.takeOver,
	}, &done)
	if err != nil {
		return l.explain("redirect "+r.String(), err)
	}
	l.report.attached(r, done)
	return nil
}

// detachTimeout bounds the wait for the manager to give new connections back.
const detachTimeout = 5 * time.Second

// detachAll has new connections go where they went before, and waits for those
// in flight.
func (l *link) detachAll(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	giving, cancel := context.WithTimeout(ctx, detachTimeout)
	defer cancel()
	for _, r := range l.inOrder() {
		if err := l.session.Call(giving, wire.RequestDetach, wire.Detach{ID: r.id}, nil); err != nil {
			l.report.failed(l.explain("end redirect "+r.String(), err))
		}
	}
	l.drain(ctx)
}

// drain waits until the connections in flight have ended on both sides, for
// --drain at most, and at least for a moment: the end of one that is over here
// may still be on its way to its caller.
func (l *link) drain(ctx context.Context) {
	l.report.draining(l.options.drain)
	ctx, cancel := context.WithTimeout(ctx, max(l.options.drain, farewell))
	defer cancel()
	// Its only failure is that the time is up, or the session over.
	_ = l.session.Call(ctx, wire.RequestBye, nil, nil)
}

// farewell is the least that a drain takes.
const farewell = time.Second
