package kit

import (
	"encoding/json"
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

// RoleRule is one of a Role's.
type RoleRule struct {
	APIGroups []string `json:"apiGroups"`
	Resources []string `json:"resources"`
	Verbs     []string `json:"verbs"`
}

// BindRole gives a user a Role of their own, and waits until it counts.
func BindRole(t *testing.T, namespace, user string, rules []RoleRule) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": []any{
		map[string]any{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": map[string]any{"name": user}, "rules": rules},
		map[string]any{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": map[string]any{"name": user},
			"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user},
			"subjects": []any{map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}}},
	}})
	if err != nil {
		t.Fatal(err)
	}

	ApplyManifest(t, namespace, string(text))
	WaitForRight(t, namespace, user, ListRights(rules)[0])
}

// WaitForRight waits until the API server knows of a user's right.
func WaitForRight(t *testing.T, namespace, user, right string) {
	t.Helper()
	verb, resource, _ := strings.Cut(right, " ")
	resource, subresource, _ := strings.Cut(resource, "/")
	WaitUntil(t, user+"'s right to "+right, func() bool {
		_, err := TryKubectl(t.Context(), "", "auth", "can-i", verb, resource, "--subresource="+subresource, "-n", namespace, "--as="+user)
		return err == nil
	})
}

// ListRights are the rights that rules give, as "get deployments.apps".
func ListRights(rules []RoleRule) []string {
	var rights []string
	for _, r := range rules {
		for _, verb := range r.Verbs {
			resource, subresource, cut := strings.Cut(r.Resources[0], "/")
			if r.APIGroups[0] != "" {
				resource += "." + r.APIGroups[0]
			}
			if cut {
				resource += "/" + subresource
			}
			rights = append(rights, verb+" "+resource)
		}
	}

	return rights
}

// CreateAdminToken makes a service account that may do anything, and returns its token.
func CreateAdminToken(t *testing.T, namespace string) string {
	t.Helper()
	RunKubectl(t, "create", "serviceaccount", "-n", namespace, "tester")
	RunKubectl(t, "create", "rolebinding", "-n", namespace, "tester", "--clusterrole=cluster-admin", "--serviceaccount="+namespace+":tester")
	return RunKubectl(t, "create", "token", "-n", namespace, "tester")
}

// RightsRecorder stands between kdiag and the API server, as the cluster's admin, and
// keeps which rights each request takes. Kdiag impersonates its user.
type RightsRecorder struct {
	*httptest.Server
	mu   sync.Mutex
	used []usedRight
}

// Flags lead a command through the recorder, as a user.
func (r *RightsRecorder) Flags(user string) []string {
	return []string{"--kubeconfig=/dev/null", "--server=" + r.URL, "--as=" + user}
}

// recordRight keeps the rights that an answer is about: those of a namespace's objects.
func (r *RightsRecorder) recordRight(response *http.Response) error {
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

// UsedRights are those that were used, and of them those that were not there.
func (r *RightsRecorder) UsedRights() (allowed, refused []string) {
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

// usedRight is a right that a request was allowed by, or refused for want of.
type usedRight struct {
	right   string // as "get pods.apps/sub"
	allowed bool
}

func StartRightsRecorder(t *testing.T) *RightsRecorder {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", KubeconfigPath())
	if err != nil {
		t.Fatal(err)
	}

	// An upgrade of a connection is none of HTTP/2's.
	config.NextProtos = []string{"http/1.1"}
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}

	r := &RightsRecorder{}
	to := ReadServerURL(t)
	r.Server = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:        func(p *httputil.ProxyRequest) { p.SetURL(to) },
		Transport:      transport,
		FlushInterval:  -1,
		ModifyResponse: r.recordRight,
	})

	t.Cleanup(r.Close)
	return r
}
