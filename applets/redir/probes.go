package redir

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/redirectclient"
	"kdiag/kube"
	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
)

// The values of --probes.
const probesToApp, probesToLocal = "app", "local"

// probeFinder finds the health probes of the redirected pod.
type probeFinder struct {
	cluster containers.API
	pod     func() *corev1.Pod
}

// find returns the health probes that come to a port, and the addresses that the kubelet may have,
// where some of the probes are recognized by them.
func (f probeFinder) find(ctx context.Context, port uint16) (found []kube.HealthProbe, nodes []netip.Addr) {
	pod := f.pod()
	for _, probe := range kube.HealthProbes(pod) {
		if probe.Port == port {
			found = append(found, probe)
		}
	}

	if len(ambiguousKinds(found)) > 0 {
		nodes = f.cluster.NodeAddresses(ctx, pod)
	}
	return found, nodes
}

// ambiguousKinds lists the kinds among some probes that are recognized by the node's address.
func ambiguousKinds(probes []kube.HealthProbe) (kinds []string) {
	for _, kind := range []string{wire.ProbeTLS, wire.ProbeGRPC, wire.ProbeH2C} {
		if slices.ContainsFunc(probes, func(p kube.HealthProbe) bool { return hasKind(p, kind) }) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

func hasKind(probe kube.HealthProbe, kind string) bool {
	return slices.ContainsFunc(probe.Sent, func(sent wire.Probe) bool { return sent.Kind == kind })
}

// formatProbes says where a port's health probes go; nothing if it has none.
func formatProbes(e redirectclient.RedirectStarted) string {
	if len(e.Probes) == 0 {
		return ""
	}

	goal := "the application"
	if e.ProbesLocal {
		goal = e.Redirect.Local
	}
	return fmt.Sprintf("health probes go to %s: %s", goal, nameProbes(e.Probes))
}

// nameProbes names some probes by container: "liveness and readiness of web".
func nameProbes(probes []kube.HealthProbe) string {
	var names []string
	kinds := map[string][]string{}
	for _, probe := range probes {
		if kinds[probe.Container] == nil {
			names = append(names, probe.Container)
		}
		kind := probe.Of
		if probe.IsHook() {
			kind += " hook"
		}
		kinds[probe.Container] = append(kinds[probe.Container], kind)
	}

	for i, container := range names {
		names[i] = joinAnd(kinds[container]) + " of " + container
	}
	return strings.Join(names, "; ")
}

// joinAnd joins words as a sentence does.
func joinAnd(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

// formatAmbiguous says which connections go with a port's probes although they may be none.
func formatAmbiguous(e redirectclient.RedirectStarted) string {
	if e.ProbesLocal {
		return ""
	}

	kinds := ambiguousKinds(e.Probes)
	if len(kinds) == 0 {
		return ""
	}
	for i, kind := range kinds {
		kinds[i] = map[string]string{
			wire.ProbeTLS: "TLS without a server name", wire.ProbeGRPC: "gRPC", wire.ProbeH2C: "HTTP/2",
		}[kind]
	}
	return "so do connections with the node's address that use " + joinAnd(kinds) + ", which can't be told from probes"
}
