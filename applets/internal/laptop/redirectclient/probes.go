package redirectclient

import (
	"context"
	"maps"
	"slices"
	"strings"

	"kdiag/kube"
	"kdiag/mux/wire"
)

// addProbes adds to a request what must reach the application, and returns the port's probes.
func (c *Client) addProbes(ctx context.Context, request *wire.Attach) []kube.HealthProbe {
	if request.Outgoing || c.config.FindProbes == nil {
		return nil
	}

	probes, nodes := c.config.FindProbes(ctx, request.Port)
	if c.config.LocalProbes || len(probes) == 0 {
		return probes
	}

	room := maxHeaders
	for _, probe := range probes {
		for _, sent := range probe.Sent {
			request.Probes = append(request.Probes, withoutLongHeaders(sent, &room))
		}
	}
	request.NodeAddresses = nodes
	return probes
}

// maxHeaders bounds what the manager is told of the headers of a port's probes, in bytes: a request
// is 64 KiB at most.
const maxHeaders = 16 << 10

// withoutLongHeaders leaves headers out that find no room. Then more looks like the probe, and the
// application gets it.
func withoutLongHeaders(probe wire.Probe, room *int) wire.Probe {
	kept := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(probe.Headers)) {
		size := len(name) + len(strings.Join(probe.Headers[name], ""))
		switch {
		case *room >= size:
			*room -= size
			kept[name] = probe.Headers[name]
		case strings.EqualFold(name, "User-Agent"):
			probe.Agent = "" // any
		}
	}

	probe.Headers = kept
	return probe
}

// handleProbed notes and reports how many probes there were.
func (c *Client) handleProbed(counted wire.Probed) {
	r := c.findRedirect(counted.ID)
	if r == nil {
		return
	}

	r.noteProbed(counted)
	r.reportProbed(c.observer, c.pod)
}

// probeCount counts a redirect's probes: those of the manager's that has it now, and of those before.
type probeCount struct{ before, now wire.Probed }

// noteProbed takes over the manager's count.
func (r *redirect) noteProbed(counted wire.Probed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.probed.now = counted
}

// keepProbed adds the count of a manager that does not have the redirect any more. mu is held.
func (r *redirect) keepProbed() {
	r.probed.before.Recognized += r.probed.now.Recognized
	r.probed.before.Ambiguous += r.probed.now.Ambiguous
	r.probed.now = wire.Probed{}
}

// countProbes returns the counts so far.
func (r *redirect) countProbes() (recognized, ambiguous int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, now := r.probed.before, r.probed.now
	return before.Recognized + now.Recognized, before.Ambiguous + now.Ambiguous
}

// reportProbed reports the counts, unless nothing more is to be said of the redirect.
func (r *redirect) reportProbed(o Observer, pod Pod) {
	recognized, ambiguous := r.countProbes()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reported && !r.silenced {
		o.ProbesCounted(ProbesCounted{pod, r.Spec, recognized, ambiguous})
	}
}
