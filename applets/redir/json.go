package redir

import (
	"io"
	"net/netip"
	"strings"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/redirectclient"
)

// jsonEvents prints each event as a JSON object on a line of its own.
type jsonEvents struct{ *lineWriter }

// eventJSON is what every event has.
type eventJSON struct {
	Time      time.Time `json:"time"`
	Event     string    `json:"event"`
	Namespace string    `json:"namespace"`
	Pod       string    `json:"pod"`
}

func (p jsonEvents) newEvent(name string, pod redirectclient.Pod) eventJSON {
	return eventJSON{p.now().UTC(), name, pod.Namespace, pod.Name}
}

func (p jsonEvents) printEvent(event any) {
	p.writeLine(func(out io.Writer) { _ = applets.WriteJSON(out, event, "") })
}

type podJSON struct {
	eventJSON
	// Of is how many pods the target selects, unless it names the pod.
	Of int `json:"of,omitempty"`
}

func (p jsonEvents) PodChosen(e redirectclient.PodChosen) {
	p.printEvent(podJSON{p.newEvent("pod", e.Pod), e.Of})
}

type redirectJSON struct {
	eventJSON
	// Redirect is the port, or what --outgoing named.
	Redirect    string       `json:"redirect"`
	Local       string       `json:"local"`
	Backend     string       `json:"backend"`
	Mesh        string       `json:"mesh,omitempty"`
	Established int          `json:"established,omitempty"`
	TakenOver   int          `json:"takenOver,omitempty"`
	Addresses   []netip.Addr `json:"addresses,omitempty"`
	// Endpoints are destinations with other ports than the redirect's.
	Endpoints []netip.AddrPort `json:"endpoints,omitempty"`
	Unproven  string           `json:"unproven,omitempty"`
	Probes    []probeJSON      `json:"probes,omitempty"`
	// ProbesTo is "app" or "local", where there are probes.
	ProbesTo string `json:"probesTo,omitempty"`
	// PortName is the port's name if it was given, Service and ServicePort what it was given of.
	PortName    string `json:"portName,omitempty"`
	Service     string `json:"service,omitempty"`
	ServicePort uint16 `json:"servicePort,omitempty"`
	// Listening, DeclaredProtocol and IdleContainer say why it may take nothing.
	Listening        string `json:"listening,omitempty"`
	DeclaredProtocol string `json:"declaredProtocol,omitempty"`
	IdleContainer    string `json:"idleContainer,omitempty"`
}

type probeJSON struct {
	Container string `json:"container"`
	Kind      string `json:"kind"`
}

func (p jsonEvents) RedirectStarted(e redirectclient.RedirectStarted) {
	event := redirectJSON{
		eventJSON: p.newEvent("redirect", e.Pod), Redirect: e.Redirect.String(), Local: e.Redirect.Local,
		Backend: e.Backend, Mesh: e.Mesh, Established: e.Established, TakenOver: e.TakenOver,
		Addresses: e.Addresses, Endpoints: e.Endpoints, Unproven: e.Unproven,
		PortName: e.Redirect.PortName, Service: e.Redirect.Service, ServicePort: e.Redirect.ServicePort,
		Listening: e.Listening, DeclaredProtocol: e.Declared.Protocol, IdleContainer: e.Declared.Container,
	}
	for _, probe := range e.Probes {
		event.Probes = append(event.Probes, probeJSON{probe.Container, probe.Of})
		event.ProbesTo = probesToApp
		if e.ProbesLocal {
			event.ProbesTo = probesToLocal
		}
	}
	p.printEvent(event)
}

type probesJSON struct {
	eventJSON
	Redirect   string `json:"redirect"`
	Recognized int64  `json:"recognized"`
	Ambiguous  int64  `json:"ambiguous"`
}

func (p jsonEvents) ProbesCounted(e redirectclient.ProbesCounted) {
	p.printEvent(probesJSON{p.newEvent("probes", e.Pod), e.Redirect.String(), e.Recognized, e.Ambiguous})
}

type movedJSON struct {
	eventJSON
	Redirect  string           `json:"redirect"`
	Addresses []netip.Addr     `json:"addresses,omitempty"`
	Endpoints []netip.AddrPort `json:"endpoints,omitempty"`
	// Added are those that are new.
	Added []netip.AddrPort `json:"added,omitempty"`
	Full  bool             `json:"full,omitempty"`
}

func (p jsonEvents) RedirectMoved(e redirectclient.RedirectMoved) {
	p.printEvent(movedJSON{p.newEvent("moved", e.Pod), e.Redirect.String(), e.Addresses, e.Endpoints, e.Added, e.Full})
}

type connectionJSON struct {
	eventJSON
	Redirect    string         `json:"redirect"`
	Local       string         `json:"local"`
	Source      netip.AddrPort `json:"source"`
	Destination netip.AddrPort `json:"destination"`
}

func (p jsonEvents) newConnection(name string, e redirectclient.Connection) connectionJSON {
	return connectionJSON{p.newEvent(name, e.Pod), e.Redirect.String(), e.Redirect.Local, e.Source, e.Destination}
}

func (p jsonEvents) ConnectionOpened(e redirectclient.Connection) {
	p.printEvent(p.newConnection("open", e))
}

type refusedJSON struct {
	connectionJSON
	Error string `json:"error"`
}

func (p jsonEvents) ConnectionRefused(e redirectclient.ConnectionRefused) {
	p.printEvent(refusedJSON{p.newConnection("refused", e.Connection), e.Err.Error()})
}

type closedJSON struct {
	connectionJSON
	// Received and Sent are bytes from the pod and to it.
	Received int64   `json:"received"`
	Sent     int64   `json:"sent"`
	Seconds  float64 `json:"seconds"`
	// Error is why it was reset.
	Error string `json:"error,omitempty"`
}

func (p jsonEvents) ConnectionClosed(e redirectclient.ConnectionClosed) {
	event := closedJSON{p.newConnection("close", e.Connection), e.Received, e.Sent, e.Duration.Seconds(), ""}
	if e.Err != nil {
		event.Error = e.Err.Error()
	}
	p.printEvent(event)
}

type resetJSON struct {
	eventJSON
	Redirect string `json:"redirect"`
	Count    int64  `json:"count"`
	Error    string `json:"error"`
}

func (p jsonEvents) ConnectionsReset(e redirectclient.ConnectionsReset) {
	p.printEvent(resetJSON{p.newEvent("reset", e.Pod), e.Redirect.String(), e.Count, e.Reason})
}

type pausedJSON struct {
	eventJSON
	Open    int64   `json:"open"`
	Seconds float64 `json:"seconds"`
}

func (p jsonEvents) Paused(e redirectclient.Paused) {
	p.printEvent(pausedJSON{p.newEvent("paused", e.Pod), e.Open, e.Grace.Seconds()})
}

type errorJSON struct {
	eventJSON
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
}

func (p jsonEvents) Problem(e redirectclient.Problem) {
	p.printEvent(errorJSON{p.newEvent("error", e.Pod), e.Err.Error(), strings.Join(applets.Hints(e.Err), "; ")})
}

func (p jsonEvents) Disconnected(e redirectclient.Disconnected) {
	p.printEvent(errorJSON{p.newEvent("disconnected", e.Pod), e.Err.Error(), ""})
}

type reconnectedJSON struct {
	eventJSON
	Seconds float64 `json:"seconds"`
	Kept    int     `json:"kept"`
	Cut     int     `json:"cut"`
	// Renewed says that the redirects were made again.
	Renewed bool `json:"renewed,omitempty"`
}

func (p jsonEvents) Reconnected(e redirectclient.Reconnected) {
	p.printEvent(reconnectedJSON{p.newEvent("reconnected", e.Pod), e.After.Seconds(), e.Kept, e.Cut, e.Renewed})
}

// StillAway and Blinked print nothing: a program has seen each event itself.
func (p jsonEvents) StillAway(stillAway) {}
func (p jsonEvents) Blinked(blinked)     {}

type missedJSON struct {
	eventJSON
	Count int `json:"count"`
}

// Missed says how many events are not printed because the output was blocked.
func (p jsonEvents) Missed(pod redirectclient.Pod, count int) {
	p.printEvent(missedJSON{p.newEvent("missed", pod), count})
}

type drainingJSON struct {
	eventJSON
	Open    int64   `json:"open"`
	Seconds float64 `json:"seconds"`
}

func (p jsonEvents) DrainStarted(e redirectclient.DrainStarted) {
	p.printEvent(drainingJSON{p.newEvent("draining", e.Pod), e.Open, e.Limit.Seconds()})
}

func (p jsonEvents) SessionLost(e redirectclient.SessionLost) {
	p.printEvent(errorJSON{p.newEvent("lost", e.Pod), e.Err.Error(), ""})
}

type summaryJSON struct {
	eventJSON
	Connections int64 `json:"connections"`
	Refused     int64 `json:"refused"`
	// Cut, of the connections, were reset at the session's end; Reset are not among them.
	Cut      int64   `json:"cut,omitempty"`
	Reset    int64   `json:"reset,omitempty"`
	Received int64   `json:"received"`
	Sent     int64   `json:"sent"`
	Seconds  float64 `json:"seconds"`
	// Probes and Ambiguous went to the application, and are not among the connections.
	Probes    int64 `json:"probes,omitempty"`
	Ambiguous int64 `json:"ambiguous,omitempty"`
	// Pods lists the pods that were redirected, if it was not one.
	Pods []string `json:"pods,omitempty"`
}

func (p jsonEvents) Finished(e redirectclient.Summary) {
	p.printEvent(summaryJSON{
		p.newEvent("summary", e.Pod), e.Total, e.Refused, e.Cut, e.Reset, e.Received, e.Sent, e.Duration.Seconds(), e.Probes, e.Ambiguous, e.Pods,
	})
}
