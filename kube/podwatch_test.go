package kube

import (
	"context"
	"net/http"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestWatchNamedPodRecovers tells when a watch works again that could not be restarted, and when it
// cannot the next time.
func TestWatchNamedPodRecovers(t *testing.T) {
	const pod = `{"kind": "Pod", "apiVersion": "v1", "metadata": {"namespace": "ns", "name": "web", "uid": "1", "resourceVersion": "2"}}`
	watches := 0
	routes := http.NewServeMux()
	routes.HandleFunc("GET /api/v1/namespaces/{namespace}/pods", func(w http.ResponseWriter, _ *http.Request) {
		switch watches++; watches {
		case 2:
			answerJSON(w, `{"type": "MODIFIED", "object": `+pod+`}`)
		case 4:
			answerJSON(w, `{"type": "DELETED", "object": `+pod+`}`)
		default:
			http.Error(w, "not now", http.StatusServiceUnavailable)
		}
	})
	routes.HandleFunc("GET /api/v1/namespaces/{namespace}/pods/web", func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, pod) })
	cluster := connectTo(t, routes)

	var told []bool
	cluster.WatchNamedPod(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", UID: "1"}}, PodWatch{
		Changed: func(*corev1.Pod) {}, Gone: func(types.UID) {},
		Broken: func(err error) { told = append(told, err != nil) },
	})
	if want := []bool{true, false, true}; !slices.Equal(told, want) {
		t.Errorf("told that it is broken: %t, want %t", told, want)
	}
}

// TestWatchPodsForbidden tells once that pods cannot be watched, although they can be listed, and goes
// on by lists.
func TestWatchPodsForbidden(t *testing.T) {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /api/v1/namespaces/{namespace}/pods", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("watch") {
			http.Error(w, "forbidden", http.StatusForbidden)
			return
		}
		answerJSON(w, `{"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": [{"metadata": {"name": "web", "uid": "1"}}]}`)
	})
	cluster := connectTo(t, routes)

	lists := 0
	var told []error
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_ = cluster.WatchPods(ctx, Selection{Labels: "app=web"}, PodWatch{
		Changed: func(*corev1.Pod) {
			if lists++; lists == 3 {
				cancel()
			}
		},
		Gone: func(types.UID) {}, Listed: func() {}, Broken: func(err error) { told = append(told, err) },
	})
	if len(told) != 1 || told[0] == nil {
		t.Errorf("told %q, want once that it is forbidden", told)
	}
}
