package completion

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"kdiag/applets"
	"kdiag/applets/kubeflags"
)

func registry() []applets.Applet {
	return []applets.Applet{{
		Name: "shell", Args: []applets.Kind{applets.KindTarget}, Flags: kubeflags.Connection(),
		Run: Applet().Run,
	}, {
		Name: "redir", Args: []applets.Kind{applets.KindTarget, applets.KindPort}, Flags: kubeflags.Connection(),
		Run: Applet().Run,
	}}
}

// answered is what the hidden applet prints for a line.
func answered(t *testing.T, words ...string) string {
	t.Helper()
	var out, stderr strings.Builder
	a := Candidates(registry, func() []applets.Topic { return nil })
	err := applets.Execute(t.Context(), a, "kdiag", words, applets.Build{}, applets.Streams{In: strings.NewReader(""), Out: &out, Err: &stderr})
	if err != nil || stderr.Len() > 0 {
		t.Errorf("__complete %q: %v, stderr %q, want silence", words, err, stderr.String())
	}
	return out.String()
}

// TestPodsThatGo are not proposed.
func TestPodsThatGo(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"items": [{"metadata": {"name": "going", "deletionTimestamp": "2026-01-01T00:00:00Z"}}, {"metadata": {"name": "good"}}]}`))
	}))
	defer server.Close()
	t.Setenv("KUBECONFIG", t.TempDir()+"/none")
	if got, want := answered(t, "shell", "--server", server.URL, "go"), "good\n:4\n"; got != want {
		t.Errorf("answer = %q, want %q", got, want)
	}
}

// TestServicePorts proposes the ports of a Service, not those of its pods.
func TestServicePorts(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/api/v1/namespaces/default/services/web" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(`{"spec": {"ports": [{"port": 80, "name": "http", "targetPort": 8080}, {"port": 81}, {"port": 82, "protocol": "UDP"}]}}`))
	}))
	defer server.Close()
	t.Setenv("KUBECONFIG", t.TempDir()+"/none")
	if got, want := answered(t, "redir", "--server", server.URL, "svc/web", "8"), "80\tport http\n81\tport\n:4\n"; got != want {
		t.Errorf("answer = %q, want %q", got, want)
	}
}
