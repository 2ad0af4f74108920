package kube

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// TestLogOfOtherPod reads no log of a pod that only has the name of the one that is meant.
func TestLogOfOtherPod(t *testing.T) {
	const now = "2" // the UID of the pod that has the name
	routes := http.NewServeMux()
	routes.HandleFunc("GET /api/v1/namespaces/ns/pods/web/log", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a line\n") })
	routes.HandleFunc("GET /api/v1/namespaces/ns/pods/web", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, `{"kind": "Pod", "apiVersion": "v1", "metadata": {"namespace": "ns", "name": "web", "uid": "`+now+`"}}`)
	})
	routes.HandleFunc("GET /api/v1/namespaces/ns/pods/gone/log", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a line\n") })
	cluster := connectTo(t, routes)

	for _, c := range []struct {
		pod   string
		uid   types.UID
		other bool
	}{
		{"web", "", false}, {"web", now, false}, {"web", "1", true},
		{"gone", "1", false}, // it ended while its log was open
	} {
		log, err := cluster.OpenLog(t.Context(), LogRequest{Namespace: "ns", Pod: c.pod, Container: "app", UID: c.uid})
		if err != nil {
			t.Fatal(err)
		}

		text, err := io.ReadAll(log)
		log.Close()
		if errors.Is(err, ErrNoPod) != c.other || (string(text) == "a line\n") == c.other {
			t.Errorf("the log of pod %s with UID %q: %q, %v, want another pod's: %t", c.pod, c.uid, text, err, c.other)
		}
	}
}
