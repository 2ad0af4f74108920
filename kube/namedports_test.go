package kube

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// newPortsPod makes a pod with a port of each kind.
func newPortsPod() *corev1.Pod {
	always := corev1.ContainerRestartPolicyAlways
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1"},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{
				{Name: "web", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}, {Name: "dns", ContainerPort: 53, Protocol: "UDP"}, {ContainerPort: 70}}},
				{Name: "broken", Ports: []corev1.ContainerPort{{Name: "admin", ContainerPort: 9090, Protocol: "TCP"}, {ContainerPort: 70}}},
			},
			InitContainers: []corev1.Container{
				{Name: "migrate", Ports: []corev1.ContainerPort{{Name: "once", ContainerPort: 1000}}},
				{Name: "mesh", RestartPolicy: &always, Ports: []corev1.ContainerPort{{Name: "stats", ContainerPort: 15090}}},
			},
		},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{Name: "web", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
			{Name: "broken", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}},
		}},
	}
}

// wantPort wants a port, or an error that has a text.
func wantPort(t *testing.T, what string, got uint16, err error, want uint16, wantErr string) {
	t.Helper()
	if wantErr == "" && err == nil && got == want {
		return
	}
	if wantErr == "" || err == nil || !strings.Contains(err.Error(), wantErr) {
		t.Errorf("%s = %d, %v, want %d, %q", what, got, err, want, wantErr)
	}
}

func TestFindNamedPort(t *testing.T) {
	for name, want := range map[string]struct {
		port uint16
		err  string
	}{
		"http":  {8080, ""},
		"admin": {9090, ""},
		"stats": {15090, ""},
		"dns":   {0, `find port "dns" of pod shop/web-1: it is a port of UDP, and only TCP is redirected`},
		"once":  {0, `find port "once" of pod shop/web-1: no container declares it; named ports of the pod: http (8080), admin (9090), stats (15090)`},
	} {
		got, err := FindNamedPort(newPortsPod(), name)
		wantPort(t, "FindNamedPort "+name, got, err, want.port, want.err)
	}

	_, err := FindNamedPort(&corev1.Pod{}, "http")
	wantPort(t, "FindNamedPort of a pod without ports", 0, err, 0, "no container declares a TCP port by a name")
}

// newPortsService makes a Service with a port of each kind.
func newPortsService(clusterIP string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: corev1.ServiceSpec{ClusterIP: clusterIP, Ports: []corev1.ServicePort{
			{Name: "dns", Port: 53, Protocol: "UDP", TargetPort: intstr.FromInt32(5353)},
			{Name: "dns-tcp", Port: 53, Protocol: "TCP", TargetPort: intstr.FromInt32(5354)},
			{Name: "http", Port: 80, TargetPort: intstr.FromString("http")},
			{Name: "same", Port: 81},
			{Name: "lost", Port: 82, TargetPort: intstr.FromString("nowhere")},
			{Name: "media", Port: 83, Protocol: "SCTP"},
		}},
	}
}

func TestFindTargetPort(t *testing.T) {
	for _, c := range []struct {
		clusterIP string
		number    uint16
		name      string
		want      uint16
		err       string
	}{
		{"10.0.0.1", 53, "", 5354, ""},
		{"10.0.0.1", 80, "", 8080, ""},
		{"10.0.0.1", 0, "http", 8080, ""},
		{"10.0.0.1", 81, "", 81, ""},
		{"None", 80, "", 80, ""},
		{"10.0.0.1", 82, "", 0, `port 82 of service web: find port "nowhere" of pod shop/web-1: no container declares it; named ports`},
		{"10.0.0.1", 83, "", 0, "find port 83 of service web: it is a port of SCTP, and only TCP is redirected"},
		{"10.0.0.1", 0, "dns", 0, "find port dns of service web: it is a port of UDP"},
		{"10.0.0.1", 8080, "", 0, "find port 8080 of service web: the service has no such port; it has 53/UDP (dns), 53 (dns-tcp), 80 (http), 81 (same), 82 (lost), 83/SCTP (media)"},
		{"10.0.0.1", 0, "web", 0, "find port web of service web: the service has no such port; it has 53/UDP"},
	} {
		service, pod := newPortsService(c.clusterIP), newPortsPod()
		port, err := FindServicePort(service, pod, c.number, c.name)
		var got uint16
		if err == nil {
			got, err = FindTargetPort(service, pod, port)
		}
		wantPort(t, "target of port "+c.name, got, err, c.want, c.err)
	}

	_, err := FindServicePort(newPortsService("10.0.0.1"), newPortsPod(), 8080, "")
	var explained *Error
	if !errors.As(err, &explained) || explained.Next != "write pod/web-1 to redirect a port of the pod's own" {
		t.Errorf("FindServicePort = %+v, want a hint at the pod", err)
	}
}

func TestDescribePort(t *testing.T) {
	for port, want := range map[uint16]PortDeclaration{
		8080:  {},
		53:    {Protocol: "UDP"},
		70:    {}, // of two containers, of which one runs
		9090:  {Container: "broken", Reason: "it is waiting: CrashLoopBackOff"},
		1000:  {},
		12345: {},
	} {
		if got := DescribePort(newPortsPod(), port); got != want {
			t.Errorf("DescribePort(%d) = %+v, want %+v", port, got, want)
		}
	}
}
