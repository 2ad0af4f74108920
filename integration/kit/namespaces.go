package kit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"sync"
	"testing"
)

// CreateNamespace creates a namespace with labels as "key=value", and returns its
// name. It is deleted at the end of the test.
func CreateNamespace(t *testing.T, labels ...string) string {
	t.Helper()
	name := makeNamespace(t, labels...)
	// The node gets slow with the pods of all tests.
	t.Cleanup(func() { deleteNamespace(name) })
	return name
}

// deleteNamespace asks for a namespace's end, and does not wait for it.
func deleteNamespace(name string) {
	_, _ = TryKubectl(context.Background(), "", "delete", "namespace", name, "--wait=false", "--ignore-not-found")
}

// createSharedNamespace creates a namespace that stays until the end of the run.
func createSharedNamespace(t *testing.T) string {
	t.Helper()
	name := makeNamespace(t)
	current.mu.Lock()
	defer current.mu.Unlock()
	current.namespaces = append(current.namespaces, name)
	return name
}

// makeNamespace creates a namespace with labels as "key=value", and returns its
// name.
func makeNamespace(t *testing.T, labels ...string) string {
	t.Helper()
	var random [4]byte
	_, _ = rand.Read(random[:])
	name := "kdiag-test-" + hex.EncodeToString(random[:])

	RunKubectl(t, "create", "namespace", name)
	if len(labels) > 0 {
		RunKubectl(t, append([]string{"label", "namespace", name}, labels...)...)
	}

	// Until it is there no pod is admitted.
	WaitUntil(t, "the default service account of "+name, func() bool {
		_, err := TryKubectl(t.Context(), "", "get", "serviceaccount", "-n", name, "default")
		return err == nil
	})
	return name
}

// CreatePods creates a namespace with the pods of a file of testdata/manifests,
// waits until they run, and returns its name.
func CreatePods(t *testing.T, file string, labels ...string) (namespace string) {
	t.Helper()
	namespace = CreateNamespace(t, labels...)
	AddPods(t, namespace, ReadManifest(t, file))
	return namespace
}

// CreateRootPod creates a namespace with the pod "root", whose application runs
// as root, waits until it runs, and returns its name.
func CreateRootPod(t *testing.T, labels ...string) (namespace string) {
	t.Helper()
	return CreatePods(t, "rootpod.yaml", labels...)
}

// CreatePolicedPod creates a namespace with the pod "root", and a policy of
// testdata/manifests that allows shells no better profile than the one given. It
// waits until the policy holds, for the API server learns of it some seconds
// late. A dry run tells: a container that came before the policy would stay.
func CreatePolicedPod(t *testing.T, policy, profile string) (namespace string) {
	t.Helper()
	namespace = CreateNamespace(t, "kdiag-test="+policy)
	// A policy is in no namespace: another run on the same cluster has its own.
	ApplyClusterWide(t, strings.ReplaceAll(ReadManifest(t, policy+".yaml"), "kdiag-test-"+policy, namespace))
	AddPods(t, namespace, ReadManifest(t, "rootpod.yaml"))

	WaitUntil(t, "the policy to hold", func() bool {
		report := RunDoctor(t, "-n", namespace, "root")
		return strings.Contains(report.Checks["pod security: shell"].Detail, "profile "+profile+": ")
	})
	return namespace
}

// lazyNamespace carries a namespace that the first test to ask for it creates,
// and all of them share.
type lazyNamespace struct {
	once sync.Once
	name string
}

// get returns the namespace, which create creates the first time.
func (l *lazyNamespace) get(t *testing.T, create func() string) string {
	t.Helper()
	l.once.Do(func() { l.name = create() })
	if l.name == "" {
		t.Fatal("the shared namespace could not be created")
	}
	return l.name
}

var sharedPods, sharedPodsWithUserNamespaces, sharedLogs lazyNamespace

// SharedPods returns the namespace with the pods of pods.yaml, running. Tests of
// user namespaces have one of their own.
func SharedPods(t *testing.T) string {
	t.Helper()
	which := &sharedPods
	if wantsUserNamespaces(t) {
		which = &sharedPodsWithUserNamespaces
	}
	return which.get(t, func() string {
		name := createSharedNamespace(t)
		AddPods(t, name, ReadManifest(t, "pods.yaml"))
		return name
	})
}

// LogsNamespace returns the namespace in which all tests of logs have their pods,
// each under a label of its own.
func LogsNamespace(t *testing.T) string {
	t.Helper()
	return sharedLogs.get(t, func() string { return createSharedNamespace(t) })
}
