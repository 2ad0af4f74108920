package kube

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestFindEventVersion wants a wait to end with the kubelet's event, on a watch that does not
// begin with all events of the namespace.
func TestFindEventVersion(t *testing.T) {
	added := make(chan string, 1) // the container's name
	routes := http.NewServeMux()
	routes.HandleFunc("PATCH /api/v1/namespaces/ns/pods/web/ephemeralcontainers", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Spec struct {
				EphemeralContainers []corev1.EphemeralContainer `json:"ephemeralContainers"`
			}
		}

		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || len(body.Spec.EphemeralContainers) != 1 {
			t.Errorf("PATCH with %+v, %v, want one container", body, err)
			return
		}

		if accept := r.Header.Get("Accept"); !strings.HasPrefix(accept, "application/vnd.kubernetes.protobuf,") {
			t.Errorf("Accept: %s, want protobuf first: JSON takes each start a few milliseconds more", accept)
		}

		added <- body.Spec.EphemeralContainers[0].Name
		spec, _ := json.Marshal(body.Spec)
		answerJSON(w, fmt.Sprintf(`{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "web", "namespace": "ns", "uid": "1234", "resourceVersion": "5"}, "spec": %s}`, spec))
	})

	routes.HandleFunc("GET /api/v1/namespaces/ns/events", func(w http.ResponseWriter, r *http.Request) {
		asked := r.URL.Query()
		if asked.Get("watch") == "" {
			if asked.Get("limit") != "1" {
				t.Errorf("GET %s, want one event at most", r.URL)
			}
			answerJSON(w, `{"kind": "EventList", "apiVersion": "v1", "metadata": {"resourceVersion": "77"}, "items": []}`)
			return
		}

		if asked.Get("resourceVersion") != "77" || asked.Get("fieldSelector") != "involvedObject.uid=1234" {
			t.Errorf("GET %s, want the pod's events from version 77 on", r.URL)
		}

		name := <-added
		for _, reason := range []string{"Pulled", "Started"} {
			answerJSON(w, fmt.Sprintf(`{"type": "ADDED", "object": {"kind": "Event", "apiVersion": "v1", "reason": %q,
				"involvedObject": {"uid": "1234", "fieldPath": "spec.ephemeralContainers{%s}"}}}`, reason, name))
		}

		<-r.Context().Done()
	})

	routes.HandleFunc("GET /api/v1/namespaces/ns/pods", func(w http.ResponseWriter, r *http.Request) {
		answerJSON(w, "")
		<-r.Context().Done()
	})
	cluster := connectTo(t, routes)

	ctx, cancel := WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web"}}
	if _, err := cluster.EnsureNet(ctx, NetRequest{Pod: pod, ManagerContainer: ManagerContainer{Image: "kdiag"}}); err != nil {
		t.Error(err)
	}
	if cluster.waitPrepared() == nil {
		t.Error("no connection was made ahead, want one from the first event on")
	}
}

// connectTo connects to an API server that answers by routes.
func connectTo(t *testing.T, routes http.Handler) *Cluster {
	t.Helper()
	server := httptest.NewTLSServer(routes)
	t.Cleanup(server.Close)
	t.Setenv("KUBECONFIG", "/nonexistent")
	cluster, err := Connect(ConnectOptions{Server: server.URL, Namespace: "ns", InsecureSkipTLSVerify: true}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return cluster
}

func answerJSON(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, text)
	_ = http.NewResponseController(w).Flush()
}
