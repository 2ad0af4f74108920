package kube

import (
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

func TestParseServiceHost(t *testing.T) {
	for host, want := range map[string]struct {
		name, in string
		certain  bool
	}{
		"web":                         {"web", "shop", true},
		"Web.prod":                    {"web", "prod", false},
		"web.prod.svc":                {"web", "prod", true},
		"web.prod.svc.cluster.local":  {"web", "prod", true},
		"web.prod.svc.cluster.local.": {"web", "prod", true},
		"db.example.com":              {},
		"10.0.0.1":                    {},
		"fd00::1":                     {},
	} {
		if name, in, certain := parseServiceHost(host, "shop"); name != want.name || in != want.in || certain != want.certain {
			t.Errorf("parseServiceHost(%q) = %q, %q, %t, want %+v", host, name, in, certain, want)
		}
	}
}

// TestEndpointsOf takes the endpoints of the Service's port, each with its own.
func TestEndpointsOf(t *testing.T) {
	port := func(name string, number int32, protocol corev1.Protocol) discoveryv1.EndpointPort {
		return discoveryv1.EndpointPort{Name: &name, Port: &number, Protocol: &protocol}
	}
	slice := &discoveryv1.EndpointSlice{
		Ports:     []discoveryv1.EndpointPort{port("http", 8080, "TCP"), port("dns", 53, "UDP"), port("", 9090, "TCP")},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.1.0.1"}}, {Addresses: []string{"10.1.0.2", "a host"}}},
	}

	for name, want := range map[string][]netip.AddrPort{
		"http":  {netip.MustParseAddrPort("10.1.0.1:8080"), netip.MustParseAddrPort("10.1.0.2:8080")},
		"":      {netip.MustParseAddrPort("10.1.0.1:9090"), netip.MustParseAddrPort("10.1.0.2:9090")},
		"dns":   nil,
		"other": nil,
	} {
		if got := endpointsOf(slice, name); !slices.Equal(got, want) {
			t.Errorf("endpointsOf port %q = %v, want %v", name, got, want)
		}
	}
}
