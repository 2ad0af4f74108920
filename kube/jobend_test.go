package kube

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestAwaitJobEnd waits for a Job, by a watch or without the right to one, until it is over or gone.
func TestAwaitJobEnd(t *testing.T) {
	job := func(uid, status string) string {
		return fmt.Sprintf(`{"kind": "Job", "apiVersion": "batch/v1", "metadata": {"name": "x", "uid": %q, "resourceVersion": "1"}, "status": {"conditions": [%s]}}`, uid, status)
	}
	for name, test := range map[string]struct {
		later string // what the second read says; "" for nothing
		want  JobEnd
	}{
		"completes":     {job("1", `{"type": "Complete", "status": "True"}`), JobEnd{true, "has completed"}},
		"fails":         {job("1", `{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}`), JobEnd{false, "has failed (BackoffLimitExceeded: too often)"}},
		"is deleted":    {"", JobEnd{false, "was deleted"}},
		"is made again": {job("2", ""), JobEnd{false, "was deleted, and another one has its name"}},
	} {
		for _, mayWatch := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, watched: %t", name, mayWatch), func(t *testing.T) {
				var reads atomic.Int32
				routes := http.NewServeMux()
				routes.HandleFunc("GET /apis/batch/v1/namespaces/ns/jobs/x", func(w http.ResponseWriter, _ *http.Request) {
					switch first := reads.Add(1) == 1; {
					case first:
						answerJSON(w, job("1", `{"type": "Suspended", "status": "True"}, {"type": "FailureTarget", "status": "True"}`))
					case test.later == "":
						answerStatus(w, http.StatusNotFound, metav1.StatusReasonNotFound)
					default:
						answerJSON(w, test.later)
					}
				})
				routes.HandleFunc("GET /apis/batch/v1/namespaces/ns/jobs", func(w http.ResponseWriter, r *http.Request) {
					if !mayWatch {
						answerStatus(w, http.StatusForbidden, metav1.StatusReasonForbidden)
						return
					}
					answerJSON(w, `{"type": "MODIFIED", "object": `+job("1", "")+`}`)
					answerJSON(w, `{"type": "DELETED", "object": `+job("1", "")+`}`)
					<-r.Context().Done()
				})

				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				cluster := connectTo(t, routes)
				if end, err := cluster.ReadJobEnd(ctx, "x"); end != nil || err != nil {
					t.Fatalf("ReadJobEnd = %v, %v, want that it is not over", end, err)
				}
				reads.Store(0)
				if end := cluster.AwaitJobEnd(ctx, "x"); end == nil || *end != test.want {
					t.Errorf("AwaitJobEnd = %+v, want %+v", end, test.want)
				}
			})
		}
	}
}
