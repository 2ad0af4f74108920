package integration

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"kdiag/integration/kit"
	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
)

// TestEnsureNet adds a container with NET_ADMIN alone, and finds it again.
func TestEnsureNet(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	c := kit.ConnectCluster(t, namespace, nil)
	ctx, cancel := kube.WithTimeout(t.Context(), kube.DefaultTimeout)
	defer cancel()

	made, err := c.EnsureNet(ctx, kit.NewNetRequest(kit.FindPod(t, c, "root")))
	if err != nil || !made.Created || !strings.HasPrefix(made.Name, "kdiag-net-") {
		t.Fatalf("EnsureNet = %+v, %v, want a new kdiag-net-…", made, err)
	}

	line, err := c.WaitForReadyLine(ctx, namespace, "root", made.Name)
	var started struct{ Role string }
	if err != nil || json.Unmarshal(line, &started) != nil || started.Role != "net" {
		t.Errorf("WaitForReadyLine = %q, %v, want the role net", line, err)
	}

	again, err := c.EnsureNet(ctx, kit.NewNetRequest(kit.FindPod(t, c, "root")))
	if err != nil || again.Created || again.Name != made.Name {
		t.Errorf("EnsureNet once more = %+v, %v, want %s", again, err, made.Name)
	}

	var got []corev1.EphemeralContainer
	text := kit.ReadPodField(t, namespace, "root", "{.spec.ephemeralContainers}")
	if err = json.Unmarshal([]byte(text), &got); err != nil || len(got) != 1 || got[0].TargetContainerName != "" {
		t.Fatalf("ephemeral containers: %s, %v, want one without a target", text, err)
	}

	confined, err := json.Marshal(got[0].SecurityContext)
	if want := `{"capabilities":{"add":["NET_ADMIN"],"drop":["ALL"]},"runAsUser":0,"runAsGroup":0,"runAsNonRoot":false,` +
		`"readOnlyRootFilesystem":true,"allowPrivilegeEscalation":false,"seccompProfile":{"type":"RuntimeDefault"}}`; err != nil || string(confined) != want {
		t.Errorf("securityContext = %s, want %s", confined, want)
	}
}

// TestEnsureNetRefused refuses to touch the node's network, and says why the cluster
// refused.
func TestEnsureNetRefused(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.AddPods(t, namespace, `{apiVersion: v1, kind: Pod, metadata: {name: host}, spec: {hostNetwork: true, terminationGracePeriodSeconds: 1,
		containers: [{name: app, image: "localhost/kdiag-sample:scratch", imagePullPolicy: Never, args: ["127.0.0.1:0"]}]}}`)

	c := kit.ConnectCluster(t, namespace, nil)
	_, err := c.EnsureNet(t.Context(), kit.NewNetRequest(kit.FindPod(t, c, "host")))
	kit.VerifyError(t, "hostNetwork", err, "would affect the whole node", "without hostNetwork")
	if got := kit.ReadPodField(t, namespace, "host", "{.spec.ephemeralContainers}"); got != "" {
		t.Errorf("ephemeral containers: %s, want none", got)
	}

	for level, pods := range map[string]struct{ file, pod string }{
		"baseline": {"rootpod.yaml", "root"}, "restricted": {"restricted.yaml", "nonroot"},
	} {
		namespace := kit.CreatePods(t, pods.file, "pod-security.kubernetes.io/enforce="+level)
		c := kit.ConnectCluster(t, namespace, nil)
		_, err := c.EnsureNet(t.Context(), kit.NewNetRequest(kit.FindPod(t, c, pods.pod)))
		kit.VerifyError(t, level, err, `violates PodSecurity "`+level+`:latest"`, "NET_ADMIN")
	}
}

// TestManagerLine reads the line with which a manager starts, or says why there is
// none.
func TestManagerLine(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	c := kit.ConnectCluster(t, namespace, nil)
	ctx, cancel := kube.WithTimeout(t.Context(), kube.DefaultTimeout)
	defer cancel()

	target, err := kube.PickContainer(kit.FindPod(t, c, "root"), "")
	if err != nil {
		t.Fatal(err)
	}

	request := kube.ShellRequest{
		Target: target, ManagerContainer: kube.ManagerContainer{
			Image: kit.ImageUnderTest(), PullPolicy: corev1.PullIfNotPresent,
			Manager: kube.Manager{Role: "shell", Target: "app", User: "tester", Profile: kube.ProfileBaseline, Version: "v0", IdleTimeout: time.Minute},
		},
	}
	made, err := c.EnsureShell(ctx, request)
	if err != nil {
		t.Fatal(err)
	}

	started := time.Now()
	line, err := c.WaitForReadyLine(ctx, namespace, "root", made.Name)
	t.Logf("WaitForReadyLine after %s", time.Since(started))
	var said struct{ Role string }
	if err != nil || json.Unmarshal(line, &said) != nil || said.Role != "shell" {
		t.Errorf("WaitForReadyLine = %q, %v, want the role shell", line, err)
	}

	user := strings.ReplaceAll(namespace, "test", "nologs")
	_, err = kit.ConnectCluster(t, namespace, func(o *kube.ConnectOptions) { o.As = user }).WaitForReadyLine(ctx, namespace, "root", made.Name)
	kit.VerifyError(t, "no pods/log", err, "not allowed to get pods/log in namespace", `verb "get" on pods/log`)
	_, err = c.WaitForReadyLine(ctx, namespace, "root", "nothere")
	kit.VerifyError(t, "no such container", err, "nothere", "")

	// A manager that fails may start and end before anybody looks.
	request.Manager.Role = "nonsense"
	ended, _ := c.EnsureShell(ctx, request)
	if ended.Name == "" {
		ended.Name = kit.ReadPodField(t, namespace, "root", "{.spec.ephemeralContainers[1].name}")
	}

	_, err = c.WaitForReadyLine(ctx, namespace, "root", ended.Name)
	kit.VerifyError(t, "a manager that ends", err, "the container exited before it was ready: ", "kubectl logs")
	kit.VerifyError(t, "a manager that ends", err, "must be shell, net or capture", "")

	// An application prints other lines.
	short, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	_, err = c.WaitForReadyLine(short, namespace, "root", "app")
	kit.VerifyError(t, "a container that says something else", err, "deadline exceeded", "")
}
