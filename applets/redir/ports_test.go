package redir

import (
	"slices"
	"strings"
	"testing"

	"kdiag/applets/internal/laptop/redirectclient"
	"kdiag/applets/internal/testkit/fakecluster"
	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// TestResolvePorts finds what numbers and names mean for a pod and for a Service.
func TestResolvePorts(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 8080}}}}},
	}
	cluster := &fakecluster.Fake{Service: &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "front"},
		Spec: corev1.ServiceSpec{ClusterIP: "10.0.0.1", Ports: []corev1.ServicePort{
			{Name: "http", Port: 80, TargetPort: intstr.FromString("web")}, {Name: "admin", Port: 81, TargetPort: intstr.FromInt32(8080)},
		}},
	}}

	for _, c := range []struct {
		kind  string
		ports string
		want  []redirectclient.Spec
		err   string
	}{
		{"pods", "80 web", []redirectclient.Spec{{Port: 80, Local: "localhost:80"}, {Port: 8080, Local: "localhost:8080", PortName: "web"}}, ""},
		{"deployments", "web:3000", []redirectclient.Spec{{Port: 8080, Local: "localhost:3000", PortName: "web"}}, ""},
		{"pods", "http", nil, "named ports of the pod: web (8080)"},
		{"services", "80", []redirectclient.Spec{{Port: 8080, Local: "localhost:80", Service: "front", ServicePort: 80}}, ""},
		{"services", "80:3000", []redirectclient.Spec{{Port: 8080, Local: "localhost:3000", Service: "front", ServicePort: 80}}, ""},
		{"services", "http", []redirectclient.Spec{{Port: 8080, Local: "localhost:80", PortName: "http", Service: "front", ServicePort: 80}}, ""},
		{"services", "8080", nil, "the service has no such port; it has 80 (http), 81 (admin)"},
		{"services", "web", nil, "the service has no such port"},
		{"services", "80 admin", nil, "redirect port 8080 of pod shop/web-1: it is given twice, as 80 and as admin"},
		{"pods", "web 8080", nil, "it is given twice, as web and as 8080"},
	} {
		specs, err := parseSpecs(strings.Fields(c.ports), nil)
		if err != nil {
			t.Fatal(err)
		}

		got, err := resolvePorts(t.Context(), cluster, kube.Selection{Kind: c.kind, Name: "front"}, pod, specs)
		if !slices.Equal(got, c.want) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("ports %q of %s = %+v, %v, want %+v, %q", c.ports, c.kind, got, err, c.want, c.err)
		}
	}

	outgoing := []redirectclient.Spec{{Outgoing: true, Port: 5432, Local: "localhost:5432"}}
	if got, err := resolvePorts(t.Context(), &fakecluster.Fake{}, kube.Selection{Kind: "services"}, pod, outgoing); err != nil || !slices.Equal(got, outgoing) {
		t.Errorf("outgoing ports beside a service = %+v, %v, want them as they are", got, err)
	}
}

// TestResolveHeadlessPorts takes the pod's own ports beside those of a headless Service, which may
// have none.
func TestResolveHeadlessPorts(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "kafka-0"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "kafka", Ports: []corev1.ContainerPort{{Name: "kafka", ContainerPort: 9093}}}}},
	}
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "kafka"}, Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone}}
	withPorts := service.DeepCopy()
	withPorts.Spec.Ports = []corev1.ServicePort{{Name: "admin", Port: 81}, {Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP}}

	for _, c := range []struct {
		service *corev1.Service
		port    string
		want    redirectclient.Spec
		err     string
	}{
		{service, "9093", redirectclient.Spec{Port: 9093, Local: "localhost:9093"}, ""},
		{service, "9093:3000", redirectclient.Spec{Port: 9093, Local: "localhost:3000"}, ""},
		{service, "kafka", redirectclient.Spec{Port: 9093, Local: "localhost:9093", PortName: "kafka"}, ""},
		{service, "http", redirectclient.Spec{}, "named ports of the pod: kafka (9093)"},
		{withPorts, "9093", redirectclient.Spec{Port: 9093, Local: "localhost:9093"}, ""},
		{withPorts, "81", redirectclient.Spec{Port: 81, Local: "localhost:81", Service: "kafka", ServicePort: 81}, ""},
		{withPorts, "53", redirectclient.Spec{}, "it is a port of UDP"},
	} {
		specs, err := parseSpecs([]string{c.port}, nil)
		if err != nil {
			t.Fatal(err)
		}

		got, err := resolvePorts(t.Context(), &fakecluster.Fake{Service: c.service}, kube.Selection{Kind: "services", Name: "kafka"}, pod, specs)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("port %s = %+v, %v, want %q", c.port, got, err, c.err)
			}
			continue
		}
		if err != nil || !slices.Equal(got, []redirectclient.Spec{c.want}) {
			t.Errorf("port %s = %+v, %v, want %+v", c.port, got, err, c.want)
		}
	}
}

// TestPortIsCheckedFirst adds no container for a port that does not exist.
func TestPortIsCheckedFirst(t *testing.T) {
	cluster := &fakecluster.Fake{}
	err := redirectWith(t, cluster, "", options{output: "text", redirects: []redirectclient.Spec{{PortName: "http"}}})
	if err == nil || !strings.Contains(err.Error(), `find port "http" of pod default/web`) || len(cluster.Nets()) != 0 {
		t.Errorf("redirectPod = %v with %d containers, want an error and none", err, len(cluster.Nets()))
	}
}
