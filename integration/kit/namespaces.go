package kit

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
	"sync"
	"testing"
)

// CreateNamespace makes a namespace with labels as "key=value"; it goes with the
// run.
func CreateNamespace(t *testing.T, labels ...string) string {
	t.Helper()
	var random [4]byte
	_, _ = rand.Read(random[:])
	name := "kdiag-test-" + hex.EncodeToString(random[:])
	RunKubectl(t, "create", "namespace", name)
	current.mu.Lock()
	current.namespaces = append(current.namespaces, name)
	current.mu.Unlock()
	if len(labels) > 0 {
		RunKubectl(t, append([]string{"label", "namespace", name}, labels...)...)
	}

	WaitUntil(t, "the default service account of "+name, func() bool {
		_, err := TryKubectl(t.Context(), "", "get", "serviceaccount", "-n", name, "default")
		return err == nil
	})
	return name
}

// CreateRootPod is a namespace with the pod "root".
func CreateRootPod(t *testing.T) (namespace string) {
	t.Helper()
	namespace = CreateNamespace(t)
	ApplyManifest(t, namespace, ReadManifest(t, "rootpod.yaml"))
	WaitForPods(t, namespace)
	return namespace
}

// CreateHostilePod is the namespace of a running pod of hostile.yaml.
func CreateHostilePod(t *testing.T) (namespace string) {
	t.Helper()
	namespace = CreateNamespace(t)
	ApplyManifest(t, namespace, ReadManifest(t, "hostile.yaml"))
	WaitForPods(t, namespace)
	return namespace
}

// CreatePolicedPod is a namespace with the pod "root" and a policy of testdata/manifests
// that leaves shells a rung, which holds: the API server learns of it some
// seconds late. That is found out by dry run, for a container that came before
// the policy would stay.
func CreatePolicedPod(t *testing.T, policy, rung string) (namespace string) {
	t.Helper()
	namespace = CreateNamespace(t, "kdiag-test="+policy)
	// A policy is in no namespace: another run on the same cluster has its own.
	ApplyClusterWide(t, strings.ReplaceAll(ReadManifest(t, policy+".yaml"), "kdiag-test-"+policy, namespace))
	ApplyManifest(t, namespace, ReadManifest(t, "rootpod.yaml"))
	WaitForPods(t, namespace)
	WaitUntil(t, "the policy to hold", func() bool {
		checks, _ := RunDoctor(t, "-n", namespace, "root")
		return strings.Contains(checks["pod security: shell"].Detail, "profile "+rung+": ")
	})
	return namespace
}

// podSet are the pods of pods.yaml, which all tests share.
type podSet struct {
	once      sync.Once
	namespace string
}

var nodesUsers, ownUsers podSet

// SharedPods is the namespace with the pods of pods.yaml, running. Tests that want
// user namespaces have one of their own.
func SharedPods(t *testing.T) string {
	t.Helper()
	which := &nodesUsers
	if wantsUserNamespaces(t) {
		which = &ownUsers
	}

	which.once.Do(func() {
		namespace := CreateNamespace(t)
		ApplyManifest(t, namespace, ReadManifest(t, "pods.yaml"))
		WaitForPods(t, namespace)
		which.namespace = namespace
	})

	if which.namespace == "" {
		t.Fatal("the shared pods did not start")
	}

	return which.namespace
}
