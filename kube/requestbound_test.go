package kube

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestBoundRequests wants requests without an answer to end, and watches, logs and streams not to.
func TestBoundRequests(t *testing.T) {
	deaf := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(deaf.Close)
	bounded := boundRequests(20 * time.Millisecond)(http.DefaultTransport)

	for path, want := range map[string]bool{
		"/api/v1/namespaces/ns/pods": true, "/api/v1/namespaces/ns/pods/web": true, "/version": true,
		"/api/v1/namespaces/ns/pods/web/log?follow=true": false,
		"/api/v1/namespaces/ns/pods?watch=true":          false, "/api/v1/namespaces/ns/pods/web/exec": false,
	} {
		ctx, cancel := context.WithCancel(t.Context())
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, deaf.URL+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}

		if got := !isLongLived(request); got != want {
			t.Errorf("%s is bounded: %t, want %t", path, got, want)
		}
		if want {
			response, err := bounded.RoundTrip(request)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v, want the time to be over", path, err)
			}
			if err == nil {
				_ = response.Body.Close()
			}
		}
		cancel()
	}
}
