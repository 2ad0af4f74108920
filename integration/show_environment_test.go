package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// environmentPod has a container of each kind of variable, from a scratch image, and one whose wrapper
// changes its environment.
const environmentPod = `
apiVersion: v1
kind: Secret
metadata: {name: db}
stringData: {user: admin-user, password: "s3cret-word's"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {LEVEL: debug, TEXT: "two\nlines"}
---
apiVersion: v1
kind: Pod
metadata: {name: app}
spec:
  terminationGracePeriodSeconds: 1
  enableServiceLinks: false
  containers:
  - name: app
    image: localhost/kdiag-sample:scratch
    imagePullPolicy: Never
    envFrom: [{prefix: CFG_, configMapRef: {name: settings}}]
    env:
    - {name: WHO, valueFrom: {secretKeyRef: {name: db, key: user}}}
    - {name: DB_PASSWORD, valueFrom: {secretKeyRef: {name: db, key: password}}}
    - {name: DB_URL, value: "postgres://app:$(DB_PASSWORD)@db/app"}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
  - name: wrapped
    image: localhost/kdiag-sample:logger
    imagePullPolicy: Never
    command: [sh, -c, "export MODE=wrapped; unset GONE; exec sleep 1000"]
    env: [{name: MODE, value: plain}, {name: GONE, value: x}, {name: KEPT, value: kept}]
`

// shownEnvironment is what "env -o json" prints, as far as the test reads it.
type shownEnvironment struct {
	Variables []struct {
		Name, Value string
		Masked      bool
		Changed     bool
		From        struct{ Kind, Name, Key string }
	}
	Missing []string
}

// describe lists the variables that a test looks at, a line each.
func (e shownEnvironment) describe() string {
	var text strings.Builder
	for _, v := range e.Variables {
		if !strings.HasPrefix(v.Name, "KUBERNETES_") && v.Name != "HOSTNAME" {
			fmt.Fprintf(&text, "%s=%q %s/%s/%s masked=%t changed=%t\n", v.Name, v.Value, v.From.Kind, v.From.Name, v.From.Key, v.Masked, v.Changed)
		}
	}
	return text.String()
}

// runEnv runs "env -o json", which must succeed.
func runEnv(t *testing.T, args ...string) (shownEnvironment, kit.Result) {
	t.Helper()
	got := kit.RunKdiag(t, append([]string{"env", "app", "-o", "json"}, args...)...)
	var shown shownEnvironment
	if err := json.Unmarshal([]byte(got.Stdout), &shown); err != nil || got.Code != 0 {
		t.Fatalf("env: %v\n%v", err, got)
	}
	return shown, got
}

// TestEnv shows the environment of a process in a scratch image, says where each variable is from,
// and shows no secret to anybody who does not ask for it.
func TestEnv(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.AddPods(t, namespace, environmentPod)
	shown, got := runEnv(t, "-n", namespace, "-c", "app")
	node := kit.ReadPodField(t, namespace, "app", "{.spec.nodeName}")
	for _, want := range []string{
		`WHO="********" secret/db/user masked=true`, `DB_PASSWORD="********" secret/db/password masked=true`,
		`DB_URL="postgres://app:********@db/app" spec// masked=true changed=false`, fmt.Sprintf(`NODE=%q field//spec.nodeName masked=false`, node),
		`CFG_LEVEL="debug" other// masked=false`,
	} {
		if !strings.Contains(shown.describe(), want) {
			t.Errorf("env printed\n%swant %s", shown.describe(), want)
		}
	}

	container := kit.ListEphemeralContainers(t, namespace, "app")[0]
	logged := kit.RunKubectl(t, "logs", "-n", namespace, "app", "-c", container)
	for where, text := range map[string]string{"output": got.String(), "log": logged} {
		if strings.Contains(text, "s3cret") || strings.Contains(text, "admin-user") {
			t.Errorf("a secret is in the %s of kdiag: %s", where, text)
		}
	}

	sourced := kit.RunKdiag(t, "env", "app", "-n", namespace, "-c", "app", "-o", "shell", "--show")
	read := kit.RunCommand(t, sourced.Stdout+"\n"+`printf '%s|' "$DB_PASSWORD" "$CFG_TEXT"`, nil, "sh")
	if read.Stdout != "s3cret-word's|two\nlines|" || strings.Contains(sourced.Stderr, "masked") {
		t.Errorf("a shell that sources -o shell --show: %v\nof %v", read, sourced)
	}
	if got := kit.RunKdiag(t, "env", "app", "-n", namespace, "-c", "app", "-o", "dotenv"); !strings.Contains(got.Stdout, "# DB_PASSWORD is masked") ||
		!strings.Contains(got.Stdout, "CFG_TEXT='two\nlines'\n") || !strings.Contains(got.Stderr, "note: 3 values are masked") {
		t.Errorf("env -o dotenv: %v", got)
	}

	wrapped, got := runEnv(t, "-n", namespace, "-c", "wrapped")
	if text := wrapped.describe(); !strings.Contains(text, `MODE="wrapped" spec// masked=false changed=true`) ||
		!strings.Contains(text, `KEPT="kept" spec// masked=false changed=false`) || strings.Join(wrapped.Missing, " ") != "GONE" ||
		!strings.Contains(got.Stderr, "does not have: GONE") {
		t.Errorf("env of a process with a wrapper: %s%v", text, got)
	}
}
