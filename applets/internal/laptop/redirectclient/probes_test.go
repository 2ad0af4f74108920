package redirectclient

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"kdiag/kube"
	"kdiag/mux/wire"
)

// TestLongProbes asks for a redirect however much the pod's spec says of its probes.
func TestLongProbes(t *testing.T) {
	long := map[string][]string{"A": {"1"}, "User-Agent": {strings.Repeat("x", 20<<10)}, "Z": {strings.Repeat("z", 15<<10), "z"}}
	probe := kube.HealthProbe{Sent: []wire.Probe{{Kind: wire.ProbeHTTP, Target: "/", Agent: "kube-probe/", Headers: long}}}
	c := &Client{config: Config{FindProbes: func(context.Context, uint16) ([]kube.HealthProbe, []netip.Addr) {
		return []kube.HealthProbe{probe, probe, probe}, nil
	}}}

	request := wire.Attach{Port: 80}
	c.addProbes(t.Context(), &request)
	body, err := json.Marshal(request)
	if err != nil || len(body) > 60<<10 {
		t.Errorf("the request has %d bytes, %v, want that it fits into a message", len(body), err)
	}
	for i, sent := range request.Probes {
		if sent.Agent != "" || sent.Headers["A"] == nil || sent.Headers["User-Agent"] != nil {
			t.Errorf("probe %d: agent %q, headers of %d names, want the short ones, and any agent", i, sent.Agent, len(sent.Headers))
		}
	}
	if len(request.Probes) != 3 || request.Probes[0].Headers["Z"] == nil || request.Probes[2].Headers["Z"] != nil {
		t.Error("what finds room is left out, or the other way round")
	}
}
