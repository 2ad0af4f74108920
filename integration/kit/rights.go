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

// RoleRule carries a rule of a Role.
type RoleRule struct {
	APIGroups []string `json:"apiGroups"`
	Resources []string `json:"resources"`
	Verbs     []string `json:"verbs"`
}

// BindRole gives a user a Role of their own, and waits until the API server knows
// of it.
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

// CreateRole creates a Role by the flags of "kubectl create role", and binds it to
// a user. It does not wait until the API server knows of it.
func CreateRole(t *testing.T, namespace, name, user string, flags ...string) {
	t.Helper()
	RunKubectl(t, append([]string{"create", "role", "-n", namespace, name}, flags...)...)
	RunKubectl(t, "create", "rolebinding", "-n", namespace, name, "--role="+name, "--user="+user)
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

// ListRights returns the rights that rules give, as "get deployments.apps".
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

// CreateAdminToken creates a service account that may do anything, and returns a
// token of its.
func CreateAdminToken(t *testing.T, namespace string) string {
	t.Helper()
	RunKubectl(t, "create", "serviceaccount", "-n", namespace, "tester")
	RunKubectl(t, "create", "rolebinding", "-n", namespace, "tester", "--clusterrole=cluster-admin", "--serviceaccount="+namespace+":tester")
	return RunKubectl(t, "create", "token", "-n", namespace, "tester")
}

// RightsRecorder stands between kdiag and the API server, as the cluster's admin,
// and records which rights each request needs. Kdiag impersonates its user.
type RightsRecorder struct {
	*httptest.Server
	mu   sync.Mutex
	used []usedRight
}

// usedRight carries a right that a request needed, and whether it was there.
type usedRight struct {
	right   string // as "get pods.apps/sub"
	allowed bool
}

// StartRightsRecorder starts a recorder.
func StartRightsRecorder(t *testing.T) *RightsRecorder {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", KubeconfigPath())
	if err != nil {
		t.Fatal(err)
	}

	// HTTP/2 has no upgrade of a connection.
	config.NextProtos = []string{"http/1.1"}
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}

	r := &RightsRecorder{}
	server := ReadServerURL(t)
	r.Server = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:        func(p *httputil.ProxyRequest) { p.SetURL(server) },
		Transport:      transport,
		FlushInterval:  -1,
		ModifyResponse: r.recordRight,
	})

	t.Cleanup(r.Close)
	return r
}

// Flags returns the flags that lead through the recorder, as a user.
func (r *RightsRecorder) Flags(user string) []string {
	return []string{"--kubeconfig=/dev/null", "--server=" + r.URL, "--as=" + user}
}

// recordRight records the right that a request needed, if it was about what is in
// a namespace.
func (r *RightsRecorder) recordRight(response *http.Response) error {
	right, ok := neededRight(response.Request)
	if !ok {
		return nil // about nothing in a namespace
	}

	allowed := response.StatusCode != http.StatusForbidden
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used = append(r.used, usedRight{right, allowed})
	verb, on, _ := strings.Cut(right, " ")
	if allowed && verb == "get" && response.Request.Header.Get("Upgrade") != "" {
		// Since Kubernetes 1.35 it takes this right, too.
		r.used = append(r.used, usedRight{"create " + on, allowed})
	}

	return nil
}

// neededRight returns the right that a request needs, as "get pods/exec", if it is
// about what is in a namespace.
func neededRight(request *http.Request) (right string, ok bool) {
	parts := strings.Split(strings.Trim(request.URL.Path, "/"), "/")
	group := ""
	if parts[0] == "apis" && len(parts) > 1 {
		group, parts = "."+parts[1], parts[1:]
	}
	if len(parts) < 4 || parts[2] != "namespaces" {
		return "", false
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

	verb := map[string]string{http.MethodPatch: "patch", http.MethodPost: "create", http.MethodGet: "get", http.MethodDelete: "delete"}[request.Method]
	switch {
	case request.URL.Query().Has("watch"):
		verb = "watch"
	case verb == "get" && name == "":
		verb = "list"
	}

	return verb + " " + resource + group + subresource, true
}

// UsedRights returns the rights that requests needed: those that the user has, and
// those that they lack.
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
