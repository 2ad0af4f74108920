package integration

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"testing"

	"kdiag/integration/kit"
)

// TestConnectionFlags reaches the cluster by each of kubectl's flags.
func TestConnectionFlags(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	authority := writeKubeconfigData(t, "{.clusters[0].cluster.certificate-authority-data}")
	certificate := writeKubeconfigData(t, "{.users[0].user.client-certificate-data}")
	key := writeKubeconfigData(t, "{.users[0].user.client-key-data}")
	bare := []string{"--kubeconfig=/dev/null", "--server=" + kit.ReadServerURL(t).String()}

	// Two files: one has the cluster, the other the user and the context.
	dir := t.TempDir()
	clusters, users := filepath.Join(dir, "clusters"), filepath.Join(dir, "users")
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	write(clusters, `{apiVersion: v1, kind: Config, clusters: [{name: far, cluster: {server: "https://127.0.0.1:1"}},
		{name: near, cluster: {server: "`+kit.ReadServerURL(t).String()+`", certificate-authority: "`+authority+`"}}]}`)
	write(users, `{apiVersion: v1, kind: Config, current-context: wrong,
		users: [{name: nobody, user: {token: none}}, {name: me, user: {client-certificate: "`+certificate+`", client-key: "`+key+`"}}],
		contexts: [{name: wrong, context: {cluster: far, user: nobody}}, {name: right, context: {cluster: near, user: me, namespace: `+namespace+`}}]}`)
	both := []string{"KUBECONFIG=" + clusters + string(os.PathListSeparator) + users}

	inNamespace := func(flags ...string) []string { return append(flags, "-n", namespace) }
	for name, c := range map[string]struct {
		env   []string
		flags []string
	}{
		"token and authority":     {nil, inNamespace(append(bare, "--token="+kit.CreateAdminToken(t, namespace), "--certificate-authority="+authority)...)},
		"certificate":             {nil, inNamespace(append(bare, "--client-certificate="+certificate, "--client-key="+key, "--certificate-authority="+authority)...)},
		"no check of the server":  {nil, inNamespace(append(bare, "--client-certificate="+certificate, "--client-key="+key, "--insecure-skip-tls-verify")...)},
		"context of several":      {both, []string{"--context=right"}},
		"cluster and user":        {both, inNamespace("--cluster=near", "--user=me")},
		"group to act as":         {nil, inNamespace("--as=someone", "--as-group=system:authenticated", "--as-group=system:masters")},
		"bound on plain requests": {nil, inNamespace("--request-timeout=20s")},
	} {
		t.Run(name, func(t *testing.T) {
			got := kit.RunKdiagWith(t, "", c.env, append(append([]string{"shell"}, c.flags...), "root", "--", "-c", "echo there")...)
			if got.Code != 0 || got.Stdout != "there\n" {
				t.Errorf("shell %q: %v", c.flags, got)
			}
		})
	}

	kit.ExpectFailure(1, "not allowed to get pods", `verb "get" on pods`).Verify(t, "nobody's rights",
		kit.RunKdiag(t, "shell", "-n", namespace, "root", "--as=someone", "--as-group=system:authenticated"))

	// Which of its time-outs net/http names is chance; the hint is not.
	kit.ExpectFailure(1, "find pod web: API server https://127.0.0.1:", "--request-timeout").Verify(t, "a deaf server with --request-timeout",
		kit.RunKdiag(t, "shell", "web", "--server=https://127.0.0.1:"+kit.StartDeafServer(t, "127.0.0.1:0"), "--request-timeout=1s"))
}

// writeKubeconfigData decodes what the kubeconfig says in base64 at a path, and
// returns the path of a file with it.
func writeKubeconfigData(t *testing.T, path string) string {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(kit.RunKubectl(t, "config", "view", "--raw", "--minify", "-o", "jsonpath="+path))
	if err != nil || len(data) == 0 {
		t.Fatalf("kubeconfig: %s: %q, %v", path, data, err)
	}

	file := filepath.Join(t.TempDir(), "data.pem")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestWithoutWebSocket opens a shell through a proxy that knows no WebSocket: the
// same works over SPDY.
func TestWithoutWebSocket(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	proxy := kit.StartOldProxy(t)
	command := append([]string{"shell", "-n", namespace, "root"}, proxy.Flags(kit.CreateAdminToken(t, namespace))...)
	got := kit.RunKdiagWith(t, "in\n", nil, append(command, "--", "-c", "cat; echo err >&2; exit 7")...)
	if got.Code != 7 || got.Stdout != "in\n" || got.Stderr != "err\n" {
		t.Errorf("shell over SPDY: %v, want in, err and code 7", got)
	}
	proxy.VerifyFellBack(t)
}
