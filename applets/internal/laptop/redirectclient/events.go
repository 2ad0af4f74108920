package redirectclient

import (
	"net/netip"
	"time"

	"kdiag/kube"
)

// Observer is told what happens. A Client calls it from several goroutines at
// once, and waits for it: so it must not block, or it stops the session.
type Observer interface {
	PodChosen(PodChosen)
	RedirectStarted(RedirectStarted)
	RedirectMoved(RedirectMoved)
	// ProbesCounted is called when the count has changed, now and then.
	ProbesCounted(ProbesCounted)
	ConnectionOpened(Connection)
	ConnectionRefused(ConnectionRefused)
	ConnectionClosed(ConnectionClosed)
	ConnectionsReset(ConnectionsReset)
	Problem(Problem)
	DrainStarted(DrainStarted)
	Paused(Paused)
	Disconnected(Disconnected)
	Reconnected(Reconnected)
	SessionLost(SessionLost)
	Finished(Summary)
}

// Pod names the pod whose connections are redirected. Every event has it.
type Pod struct{ Namespace, Name string }

func (p Pod) String() string { return p.Namespace + "/" + p.Name }

// PodChosen is the first event: connections of this pod are to be redirected.
type PodChosen struct {
	Pod Pod
	// Of is how many pods it was chosen from; 0 if the user named it.
	Of int
}

// Declaration says what is remarkable in how a pod declares a port.
type Declaration struct {
	// Protocol is set if the port is declared, but not as TCP.
	Protocol string
	// Container is the one that declares it if that does not run, and Reason says why.
	Container, Reason string
}

// RedirectStarted is the first event of a redirect: new connections come here
// from now on.
type RedirectStarted struct {
	Pod      Pod
	Redirect Spec
	// Backend is what redirects in the kernel: nft or iptables.
	Backend string
	// Mesh is the service mesh whose traffic is taken behind its sidecar; empty
	// for none.
	Mesh string
	// Established connections stay with the application; those TakenOver were
	// closed.
	Established, TakenOver int
	// Addresses are what the redirect's host leads to; none for any destination. Endpoints are
	// destinations of the host with other ports.
	Addresses []netip.Addr
	Endpoints []netip.AddrPort
	// Listening is one of wire.Listening…, and Declared what the pod's spec says, of an incoming
	// redirect's port.
	Listening string
	Declared  Declaration
	// Unproven says what of the redirect the manager could not test, and why.
	Unproven string
	// Probes are the health probes of the port, which go to the application, or to the program
	// here if that is what was asked for.
	Probes      []kube.HealthProbe
	ProbesLocal bool
}

// ProbesCounted says how many connections of a redirect went to the application as health probes
// so far.
type ProbesCounted struct {
	Pod      Pod
	Redirect Spec
	// Recognized were probes by what they said; Ambiguous could not be told from probes.
	Recognized, Ambiguous int64
}

// RedirectMoved says that the redirect's host leads to more addresses now.
type RedirectMoved struct {
	Pod      Pod
	Redirect Spec
	// Addresses and Endpoints are all that it has led to, and Added those that are new.
	Addresses []netip.Addr
	Endpoints []netip.AddrPort
	Added     []netip.AddrPort
	// Full says that there is room for no others.
	Full bool
}

// Connection is one that came by a redirect.
type Connection struct {
	Pod                 Pod
	Redirect            Spec
	Source, Destination netip.AddrPort
}

// ConnectionRefused is a connection that the local program did not take. Its
// caller got a reset.
type ConnectionRefused struct {
	Connection
	Err error
}

// ConnectionClosed is a connection that has ended on both sides.
type ConnectionClosed struct {
	Connection
	// Received and Sent are the bytes that came from the pod and went to it.
	Received, Sent int64
	Duration       time.Duration
	// Err is why it was reset; nil for one that ended in good order.
	Err error
}

// ConnectionsReset says that connections of a redirect were reset on their way, and never reached the
// program here: their callers got a reset.
type ConnectionsReset struct {
	Pod      Pod
	Redirect Spec
	// Count is how many more there are than were told of before.
	Count  int64
	Reason string
}

// Paused says that this process is about to be stopped: new connections go where they went before, and
// those that are open wait for up to Grace.
type Paused struct {
	Pod   Pod
	Open  int64
	Grace time.Duration
}

// Problem is a failure that ends nothing else.
type Problem struct {
	Pod Pod
	Err error
}

// DrainStarted says that new connections go where they went before, and that
// those still open have up to Limit to end.
type DrainStarted struct {
	Pod   Pod
	Open  int64
	Limit time.Duration
	// TakenOver says that new connections go to other sessions of the user's.
	TakenOver bool
}

// Disconnected says that the connection to the pod was lost, and is tried to make
// again. Open connections wait for it.
type Disconnected struct {
	Pod Pod
	// Err is why, in one clause.
	Err error
	// Grace is how long they wait at most.
	Grace time.Duration
}

// Reconnected says that all works again.
type Reconnected struct {
	Pod Pod
	// After is how long it did not.
	After time.Duration
	// Kept counts the connections that were open at the loss and go on, or have ended
	// well; Cut those that were reset.
	Kept, Cut int
	// Renewed says that the redirects had to be made again, in another session.
	Renewed bool
}

// SessionLost says that the session with the manager has ended for good, and all
// redirects with it.
type SessionLost struct {
	Pod Pod
	Err error
}

// Summary is the last event.
type Summary struct {
	Pod Pod
	Counters
	Duration time.Duration
	// Pods names the pods whose connections it counts, if they are not Pod's alone. A Client leaves
	// it empty.
	Pods []string
}

// Counters count connections and bytes of all redirects of a session.
type Counters struct {
	// Open are open now; Total were opened; of those Refused were not taken here.
	Open, Total, Refused int64
	// Cut, of the total, were reset because their session ended. Reset were reset on their way, and
	// are not among the total.
	Cut, Reset int64
	// Received and Sent are the bytes that came from the pod and went to it.
	Received, Sent int64
	// Probes reached the application, and Ambiguous connections, which could not be told from
	// probes. Neither counts as a connection.
	Probes, Ambiguous int64
}
