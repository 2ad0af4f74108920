package integration

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// recorder stands between kdiag and the API server, as the cluster's admin, and
// keeps which rights each request takes. Kdiag impersonates its user.
type recorder struct {
	*httptest.Server
	mu   sync.Mutex
	used []usedRight
}

// usedRight is a right that a request was allowed by, or refused for want of.
type usedRight struct {
	right   string // as "get pods.apps/sub"
	allowed bool
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", shared.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}

	// An upgrade of a connection is none of HTTP/2's.
	config.NextProtos = []string{"http/1.1"}
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}

	r := &recorder{}
	to := server(t)
	r.Server = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:        func(p *httputil.ProxyRequest) { p.SetURL(to) },
		Transport:      transport,
		FlushInterval:  -1,
		ModifyResponse: r.record,
	})

	t.Cleanup(r.Close)
	return r
}

// flags lead a command through the recorder, as a user.
func (r *recorder) flags(user string) []string {
	return []string{"--kubeconfig=/dev/null", "--server=" + r.URL, "--as=" + user}
}

// record keeps the rights that an answer is about: those of a namespace's objects.
func (r *recorder) record(response *http.Response) error {
	request := response.Request
	parts := strings.Split(strings.Trim(request.URL.Path, "/"), "/")
	group := ""
	if parts[0] == "apis" && len(parts) > 1 {
		group, parts = "."+parts[1], parts[1:]
	}
	if len(parts) < 4 || parts[2] != "namespaces" {
		return nil // not of a namespace
	}

	resource, name, subresource := "namespaces", parts[3], ""
	if len(parts) > 4 {
		resource, name = parts[4], ""
	}
	if len(parts) > 5 {
		name = parts[5]
	}
	if len(parts) > 6 {
		subresource = "/" + parts[6]
	}

	verb := map[string]string{http.MethodPatch: "patch", http.MethodPost: "create", http.MethodGet: "get"}[request.Method]
	switch {
	case request.URL.Query().Has("watch"):
		verb = "watch"
	case verb == "get" && name == "":
		verb = "list"
	}

	on, allowed := " "+resource+group+subresource, response.StatusCode != http.StatusForbidden
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used = append(r.used, usedRight{verb + on, allowed})
	if allowed && verb == "get" && request.Header.Get("Upgrade") != "" {
		// Since Kubernetes 1.35.
		r.used = append(r.used, usedRight{"create" + on, allowed})
	}

	return nil
}

// rights are those that were used, and of them those that were not there.
func (r *recorder) rights() (allowed, refused []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, used := range r.used {
		if used.allowed {
			allowed = append(allowed, used.right)
		} else {
			refused = append(refused, used.right)
		}
	}

	slices.Sort(allowed)
	slices.Sort(refused)
	return slices.Compact(allowed), slices.Compact(refused)
}
