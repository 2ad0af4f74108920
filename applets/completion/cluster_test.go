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
	}, {
		Name: "cp", Args: []applets.Kind{applets.KindCopied, applets.KindCopied, applets.KindNone}, Flags: kubeflags.ShellFlags(),
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

// TestCopied proposes pods up to the colon where the line may have one, and local files elsewhere.
func TestCopied(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		pod := `{"metadata": {"name": "web"}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}}`
		switch r.URL.Path {
		case "/api/v1/namespaces/default/pods":
			_, _ = w.Write([]byte(`{"items": [` + pod + `]}`))
		case "/api/v1/namespaces/default/pods/web":
			_, _ = w.Write([]byte(pod))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	t.Setenv("KUBECONFIG", t.TempDir()+"/none")
	for line, want := range map[string]string{
		"w": "web:\n:2\n", "de": "deploy/\tdeployments\n:2\n", "./w": ":0\n", "my.file": ":0\n", "web:/e": ":4\n",
		"web:/etc/motd w": ":0\n", "./file w": "web:\n:6\n", "a b ": ":4\n",
		"web:/etc/motd . -c ": "app\tapp:1\n:4\n", ". web:/tmp -c ": "app\tapp:1\n:4\n", "./file -c ": ":4\n",
	} {
		if got := answered(t, append([]string{"cp", "--server", server.URL}, strings.Split(line, " ")...)...); got != want {
			t.Errorf("cp %s: answer = %q, want %q", line, got, want)
		}
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
