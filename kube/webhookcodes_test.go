package kube

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// deniedAs returns the answer of an API server to a request that a webhook denies with a status of
// its own: code, reason and details are the webhook's.
func deniedAs(code int32, reason metav1.StatusReason, details *metav1.StatusDetails) *metav1.Status {
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: code, Reason: reason, Details: details,
		Message: `admission webhook "guard.example.com" denied the request: not today`,
	}
}

// webhookAnswers lists what webhooks may answer so that it looks like the API server's own word.
func webhookAnswers() []*metav1.Status {
	var answers []*metav1.Status
	for code, reasons := range ownReasons {
		reasons = append([]metav1.StatusReason{"", "NoDebugging"}, reasons...)
		for _, reason := range reasons {
			answers = append(answers, deniedAs(code, reason, nil),
				deniedAs(code, reason, &metav1.StatusDetails{Kind: "pods", Name: "web"}),
				deniedAs(code, reason, &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: metav1.CauseTypeFieldValueInvalid, Field: "spec"}}}))
		}
	}
	return answers
}

// TestWebhookCodes wants a webhook's no taken for one, whatever its code, reason and details say: for
// a container that is to be added, an exec and a port-forward.
func TestWebhookCodes(t *testing.T) {
	var answer *metav1.Status
	deny := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(int(answer.Code))
		_ = json.NewEncoder(w).Encode(answer)
	}
	routes := http.NewServeMux()
	routes.HandleFunc("PATCH /api/v1/namespaces/ns/pods/web/ephemeralcontainers", deny)
	routes.HandleFunc("/api/v1/namespaces/ns/pods/web/exec", deny)
	routes.HandleFunc("/api/v1/namespaces/ns/pods/web/portforward", deny)
	routes.HandleFunc("GET /api/v1/namespaces/ns/pods/web", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, `{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "web", "namespace": "ns"}}`)
	})
	cluster := connectTo(t, routes)

	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web"}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, answer = range webhookAnswers() {
		_, added := cluster.EnsureNet(ctx, NetRequest{Pod: pod, ManagerContainer: ManagerContainer{Image: "kdiag"}})
		_, forwarded := cluster.PortForward(ctx, "ns", "web", 80, time.Minute)
		executed := cluster.Exec(ctx, ExecRequest{Namespace: "ns", Pod: "web", Container: "app", Command: []string{"true"}, Stdin: strings.NewReader(""), OpenTimeout: time.Minute})
		for what, err := range map[string]error{"add": added, "forward": forwarded, "exec": executed} {
			var said *Error
			if !errors.As(err, &said) || !strings.Contains(said.Error(), "not today") || !strings.Contains(said.Next, "whoever runs that webhook") {
				t.Errorf("%s with %d %s, details %v: %v, hint %q, want the webhook blamed", what, answer.Code, answer.Reason, answer.Details, err, said.Hint())
			}
		}
	}
}

// TestWebhookDenial wants no other answer taken for a webhook's.
func TestWebhookDenial(t *testing.T) {
	for message, want := range map[string]bool{
		`admission webhook "a" denied the request: no`:                 true,
		`admission webhook "a" denied the request without explanation`: true,
		`admission webhook "a" does not support dry run`:               false,
		`pods "admission webhook "a" denied the request" not found`:    false,
		`admission webhook`: false,
		"":                  false,
	} {
		if got := isWebhookDenial(message); got != want {
			t.Errorf("isWebhookDenial(%q) = %t, want %t", message, got, want)
		}
	}

	own := apierrors.NewUnauthorized("no")
	if isDeniedByWebhook(own) || !IsCredentialsError(own) {
		t.Error("the API server's own 401 is taken for a webhook's")
	}
}
