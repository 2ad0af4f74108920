package kube

import (
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
			http.Error(w, "not now", http.StatusForbidden)
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
