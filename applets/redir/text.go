package redir

import (
	"fmt"
	"io"
	"net/netip"
	"strings"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/redirectclient"
	"kdiag/applets/internal/laptop/units"
	"kdiag/mux/wire"
)

// textEvents prints a line for people for each event.
type textEvents struct{ *lineWriter }

// printLine makes the line printable: names and errors in it may be the pod's
// own words.
func (p textEvents) printLine(format string, args ...any) {
	p.writeLine(func(out io.Writer) { fmt.Fprintln(out, wire.Printable(p.podPrefix()+fmt.Sprintf(format, args...))) })
}

func (p textEvents) PodChosen(e redirectclient.PodChosen) {
	if e.Of > 0 {
		p.printLine("redirecting pod %s (1 of %d)", e.Pod, e.Of)
		return
	}
	p.printLine("redirecting pod %s", e.Pod)
}

func (p textEvents) RedirectStarted(e redirectclient.RedirectStarted) {
	origin := ""
	if text := e.Redirect.Origin(); text != "" {
		origin = " (" + text + ")"
	}
	p.printLine("%s%s → %s (%s)%s", e.Redirect, origin, e.Redirect.Local, e.Backend, formatRemarks(e))
}

func (p textEvents) RedirectMoved(e redirectclient.RedirectMoved) {
	if len(e.Added) > 0 {
		p.printLine("%s now also leads to %s", e.Redirect, formatDestinations(e.Redirect, e.Added))
	}
	if e.Full {
		p.printLine("%s leads to more addresses than the %d that are redirected", e.Redirect, len(e.Addresses)+len(e.Endpoints))
	}
}

// ProbesCounted prints nothing: the summary has the counts.
func (p textEvents) ProbesCounted(redirectclient.ProbesCounted) {}

func (p textEvents) ConnectionOpened(e redirectclient.Connection) {
	p.printLine("%s → %s  opened", e.Source, e.Redirect)
}

func (p textEvents) ConnectionRefused(e redirectclient.ConnectionRefused) {
	p.printLine("%s → %s  reset: %s", e.Source, e.Redirect, e.Err)
}

func (p textEvents) ConnectionClosed(e redirectclient.ConnectionClosed) {
	ended := ""
	if e.Err != nil {
		ended = "  reset: " + e.Err.Error()
	}
	p.printLine("%s → %s  %s in, %s out, %s%s", e.Source, e.Redirect,
		units.Size(e.Received), units.Size(e.Sent), units.Span(e.Duration.Seconds()), ended)
}

func (p textEvents) ConnectionsReset(e redirectclient.ConnectionsReset) {
	p.printLine("%s: %s reset in the pod: %s", e.Redirect, applets.CountOf(int(e.Count), "connection was", "connections were"), e.Reason)
}

func (p textEvents) Paused(e redirectclient.Paused) {
	waiting := ""
	if e.Open > 0 {
		waiting = fmt.Sprintf("; open connections: %d, which wait for up to %s", e.Open, units.Span(e.Grace.Seconds()))
	}
	p.printLine("stopped by Ctrl-Z: new connections go where they went before%s (fg redirects them again)", waiting)
}

func (p textEvents) Missed(_ redirectclient.Pod, count int) {
	p.printLine("the output was blocked: %s not shown", applets.CountOf(count, "event", "events"))
}

func (p textEvents) Problem(e redirectclient.Problem) {
	p.printLine("%s", e.Err)
	for _, hint := range applets.Hints(e.Err) {
		p.printLine("hint: %s", hint)
	}
}

func (p textEvents) Disconnected(e redirectclient.Disconnected) {
	p.printLine("lost the connection to pod %s: %s; connecting again (open connections wait, up to %s)", e.Pod, e.Err, units.Span(e.Grace.Seconds()))
}

func (p textEvents) Reconnected(e redirectclient.Reconnected) {
	renewed := ""
	if e.Renewed {
		renewed = ", and redirected anew"
	}
	p.printLine("connected again after %s%s; connections kept: %d, cut: %d", units.Span(e.After.Seconds()), renewed, e.Kept, e.Cut)
}

func (p textEvents) StillAway(e stillAway) {
	p.printLine("no connection to pod %s for %s: %s", e.pod, units.Span(e.after.Seconds()), e.err)
}

func (p textEvents) Blinked(e blinked) {
	p.printLine("the connection to pod %s was lost and made again %s in the last %s, for %s in all; the last time: %s",
		e.pod, applets.CountOf(e.times, "more time", "more times"), units.Span(e.within.Seconds()), units.Span(e.away.Seconds()), e.err)
}

func (p textEvents) DrainStarted(e redirectclient.DrainStarted) {
	if e.TakenOver {
		p.printLine("open connections: %d, which may go on for up to %s", e.Open, units.Span(e.Limit.Seconds()))
		return
	}
	p.printLine("new connections go where they went before; open connections: %d, which may go on for up to %s (Ctrl-C resets them)",
		e.Open, units.Span(e.Limit.Seconds()))
}

// SessionLost prints nothing: it is the error that the command ends with.
func (p textEvents) SessionLost(redirectclient.SessionLost) {}

func (p textEvents) Finished(e redirectclient.Summary) {
	refused := ""
	if e.Refused > 0 {
		refused = fmt.Sprintf(", %d of them refused on this machine", e.Refused)
	}
	if e.Cut > 0 {
		refused += fmt.Sprintf(", %d reset at the end of the session", e.Cut)
	}
	if e.Reset > 0 {
		refused += fmt.Sprintf(", %d more reset before they reached this machine", e.Reset)
	}
	p.printLine("connections: %d in %s%s%s; %s in, %s out%s", e.Total, units.Span(e.Duration.Seconds()), formatPods(e.Pods), refused,
		units.Size(e.Received), units.Size(e.Sent), formatProbeCounts(e.Counters))
}

// formatProbeCounts says how many connections the application got as health probes.
func formatProbeCounts(c redirectclient.Counters) string {
	text := ""
	if c.Probes > 0 {
		text += "; " + applets.CountOf(int(c.Probes), "health probe", "health probes") + " went to the application"
	}
	if c.Ambiguous > 0 {
		text += "; " + applets.CountOf(int(c.Ambiguous), "connection", "connections") + " that could not be told from probes did, too"
	}
	if c.Probes == 0 {
		text = strings.Replace(text, "probes did, too", "health probes went to the application", 1)
	}
	return text
}

// formatRemarks says what there is to say of a redirect beside where it leads.
func formatRemarks(e redirectclient.RedirectStarted) string {
	var remarks []string
	if len(e.Addresses)+len(e.Endpoints) > 0 {
		var all []netip.AddrPort
		for _, address := range e.Addresses {
			all = append(all, netip.AddrPortFrom(address, e.Redirect.Port))
		}
		remarks = append(remarks, "to "+formatDestinations(e.Redirect, append(all, e.Endpoints...)))
	}
	if e.TakenOver > 0 {
		remarks = append(remarks, "closed "+applets.CountOf(e.TakenOver, "established connection", "established connections"))
	}
	if e.Established > 0 {
		remarks = append(remarks, applets.CountOf(e.Established, "established connection stays", "established connections stay")+
			stayWhere(e.Redirect)+" (--take-over closes them)")
	}
	remarks = append(remarks, portRemarks(e)...)
	if e.Mesh != "" {
		remarks = append(remarks, e.Mesh+": redirects only what the mesh's proxy passes to the application")
	}
	for _, remark := range []string{formatProbes(e), formatAmbiguous(e)} {
		if remark != "" {
			remarks = append(remarks, remark)
		}
	}
	if e.Unproven != "" {
		remarks = append(remarks, "could not be tested: "+e.Unproven)
	}
	if len(remarks) == 0 {
		return ""
	}

	return "; " + strings.Join(remarks, "; ")
}

// stayWhere says with whom established connections stay.
func stayWhere(s redirectclient.Spec) string {
	if s.Outgoing {
		return " as they are"
	}
	return " with the application"
}

// portRemarks says why an incoming redirect may take nothing.
func portRemarks(e redirectclient.RedirectStarted) []string {
	var remarks []string
	switch e.Listening {
	case wire.ListeningNone:
		remarks = append(remarks, "nothing in the pod listens on this port")
	case wire.ListeningLoopback:
		remarks = append(remarks, "the pod listens on it on loopback only, where callers from outside do not reach it")
	}
	if e.Declared.Protocol != "" {
		remarks = append(remarks, fmt.Sprintf("the pod declares it for %s, but only TCP is redirected", e.Declared.Protocol))
	}
	if e.Declared.Container != "" {
		remarks = append(remarks, fmt.Sprintf("container %s, which declares it, is not running: %s", e.Declared.Container, e.Declared.Reason))
	}

	return remarks
}

// maxShown is how many destinations a line names.
const maxShown = 8

// formatDestinations lists destinations, with their ports where those are not the redirect's.
func formatDestinations(s redirectclient.Spec, all []netip.AddrPort) string {
	var texts []string
	for i, destination := range all {
		if i == maxShown {
			texts = append(texts, fmt.Sprintf("and %d more", len(all)-maxShown))
			break
		}
		text := destination.String()
		if destination.Port() == s.Port {
			text = destination.Addr().String()
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}
