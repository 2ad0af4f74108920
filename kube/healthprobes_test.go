package kube

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

const probedPod = `
spec:
  initContainers:
  - name: setup
    readinessProbe: {tcpSocket: {port: 9}}
  containers:
  - name: web
    ports: [{name: http, containerPort: 8080}]
    startupProbe: {tcpSocket: {port: http}, timeoutSeconds: 7}
    readinessProbe: {httpGet: {path: "ready?a=b", port: "8081", httpHeaders: [{name: X, value: "1"}, {name: X, value: "2"}]}}
    livenessProbe: {httpGet: {path: "/a b%", port: http, scheme: HTTPS}}
    lifecycle:
      postStart: {httpGet: {path: /up, port: http, scheme: HTTPS}}
      preStop: {exec: {command: [stop]}}
  - name: rpc
    readinessProbe: {grpc: {port: 9000}}
    livenessProbe: {grpc: {port: 9000, mode: TLS}}
  - name: two
    startupProbe: {httpGet: {path: /, port: 80, protocol: HTTP2}}
    readinessProbe: {httpGet: {path: /, port: 80, host: elsewhere.example}}
    livenessProbe: {httpGet: {path: "", port: 80, host: 10.1.0.2}}
  - name: none
    livenessProbe: {httpGet: {path: /, port: missing}}
    readinessProbe: {exec: {command: [check]}}
  - name: istio-proxy
    env:
    - name: ISTIO_KUBE_APP_PROBERS
      value: '{"/app-health/web/livez":{"httpGet":{"path":"/was","port":"http"},"timeoutSeconds":3},"/app-health/web/else":{},"/app-lifecycle/web/prestopz":{"httpGet":{"path":"/bye","port":8080}},"/odd":null}'
status:
  podIP: 10.1.0.2
`

// TestHealthProbes reads what the kubelet sends from a pod's spec.
func TestHealthProbes(t *testing.T) {
	var pod corev1.Pod
	if err := yaml.UnmarshalStrict([]byte(probedPod), &pod); err != nil {
		t.Fatal(err)
	}

	var got []string
	for _, p := range HealthProbes(&pod) {
		for _, sent := range p.Sent {
			headers, _ := json.Marshal(sent.Headers)
			got = append(got, fmt.Sprintf("%s %s %d %s %s %s %s %d", p.Of, p.Container, p.Port, sent.Kind, sent.Target, sent.Agent, headers, sent.TimeoutSeconds))
		}
	}
	want := []string{
		`readiness setup 9 tcp   null 1`,
		`startup web 8080 tcp   null 7`,
		`readiness web 8081 http /ready?a=b kube-probe/ {"X":["1","2"]} 1`,
		`liveness web 8080 tls   null 1`,
		`postStart web 8080 tls   null 1`,
		`postStart web 8080 http /up kube-lifecycle/ null 1`,
		`readiness rpc 9000 grpc   null 1`,
		`liveness rpc 9000 tls   null 1`,
		`startup two 80 h2c / kube-probe/ null 1`,
		`liveness two 80 http / kube-probe/ null 1`,
		`liveness web 8080 http /was kube-probe/ null 3`,
		`preStop web 8080 http /bye kube-lifecycle/ null 1`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("probes:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestRequestTarget writes a path as the kubelet does.
func TestRequestTarget(t *testing.T) {
	for path, want := range map[string]string{
		"/": "/", "": "/", "healthz": "/healthz", "/a b": "/a%20b", "/a%20b?x=%2F": "/a%20b?x=%2F", "/a?b=c d": "/a?b=c d", "/%": "/%25",
		"/x#part": "/x", "//double": "/",
	} {
		if got := requestTarget(path); got != want {
			t.Errorf("requestTarget(%q) = %q, want %q", path, got, want)
		}
	}
	if p := (HealthProbe{Of: "preStop"}); !p.IsHook() || (HealthProbe{Of: "liveness"}).IsHook() {
		t.Error("hooks are not told from probes")
	}
}
