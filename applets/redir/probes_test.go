package redir

import (
	"bytes"
	"strings"
	"testing"

	"kdiag/applets/internal/laptop/redirectclient"
	"kdiag/kube"
	"kdiag/mux/wire"
)

// probeOf makes a probe of a kind.
func probeOf(container, of, kind string) kube.HealthProbe {
	return kube.HealthProbe{Container: container, Of: of, Port: 80, Sent: []wire.Probe{{Kind: kind}}}
}

// TestProbesAreTold names a port's probes and where they go, with what goes with them.
func TestProbesAreTold(t *testing.T) {
	started := redirectclient.RedirectStarted{
		Redirect: redirectclient.Spec{Port: 80, Local: "localhost:3000"}, Backend: "nft",
		Probes: []kube.HealthProbe{
			probeOf("web", "readiness", wire.ProbeHTTP), probeOf("web", "liveness", wire.ProbeTLS), probeOf("web", "preStop", wire.ProbeHTTP),
			probeOf("rpc", "startup", wire.ProbeGRPC),
		},
	}
	const named = "readiness, liveness and preStop hook of web; startup of rpc"
	for _, c := range []struct {
		local bool
		want  string
	}{
		{false, "80 → localhost:3000 (nft); health probes go to the application: " + named +
			"; so do connections with the node's address that use TLS without a server name and gRPC, which can't be told from probes\n"},
		{true, "80 → localhost:3000 (nft); health probes go to localhost:3000: " + named + "\n"},
	} {
		started.ProbesLocal = c.local
		var text bytes.Buffer
		textEvents{newLines(&text)}.RedirectStarted(started)
		if text.String() != c.want {
			t.Errorf("local %t: %q, want %q", c.local, text.String(), c.want)
		}

		var document bytes.Buffer
		jsonEvents{newLines(&document)}.RedirectStarted(started)
		to := map[bool]string{true: `"probesTo":"local"`, false: `"probesTo":"app"`}[c.local]
		if got := document.String(); !strings.Contains(got, `{"container":"rpc","kind":"startup"}`) || !strings.Contains(got, to) {
			t.Errorf("local %t: %s, want every probe and %s", c.local, got, to)
		}
	}
}

// TestProbeCounts says at the end how many probes the application had.
func TestProbeCounts(t *testing.T) {
	for _, c := range []struct {
		probes, ambiguous int64
		want              string
	}{
		{0, 0, ""},
		{1, 0, "; 1 health probe went to the application"},
		{2, 1, "; 2 health probes went to the application; 1 connection that could not be told from probes did, too"},
		{0, 3, "; 3 connections that could not be told from health probes went to the application"},
	} {
		if got := formatProbeCounts(redirectclient.Counters{Probes: c.probes, Ambiguous: c.ambiguous}); got != c.want {
			t.Errorf("%d probes, %d ambiguous: %q, want %q", c.probes, c.ambiguous, got, c.want)
		}
	}

	var out bytes.Buffer
	jsonEvents{newLines(&out)}.ProbesCounted(redirectclient.ProbesCounted{
		Pod: redirectclient.Pod{Namespace: "n", Name: "p"}, Redirect: redirectclient.Spec{Port: 80}, Recognized: 2, Ambiguous: 1,
	})
	if want := `{"time":"2026-01-02T03:04:05Z","event":"probes","namespace":"n","pod":"p","redirect":"80","recognized":2,"ambiguous":1}` + "\n"; out.String() != want {
		t.Errorf("event %s, want %s", out.String(), want)
	}
}
