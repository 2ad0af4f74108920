package kit

import (
	"errors"
	"io"
	"kdiag/kube"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// ConnectCluster is kube.Connect as an administrator, but for what change says.
func ConnectCluster(t *testing.T, namespace string, change func(*kube.Options)) *kube.Cluster {
	t.Helper()
	options := kube.Options{Kubeconfig: KubeconfigPath(), Namespace: namespace}
	if change != nil {
		change(&options)
	}
	c, err := kube.Connect(options, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// FindPod is a pod as it is now.
func FindPod(t *testing.T, c *kube.Cluster, name string) *corev1.Pod {
	t.Helper()
	pod, err := c.FindPod(t.Context(), kube.Selection{Kind: "pods", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// VerifyError wants words in an error and in its hint.
func VerifyError(t *testing.T, what string, err error, words, hint string) {
	t.Helper()
	var failed *kube.Error
	if !errors.As(err, &failed) || !strings.Contains(failed.Error(), words) || !strings.Contains(failed.Hint(), hint) {
		t.Errorf("%s: %v (hint %v)\nwant %q and a hint with %q", what, err, failed, words, hint)
	}
}

// testerKey is a public key, as a net manager wants one of its user: the base
// point of ed25519, whose private half is of no use to the tests.
const testerKey = "WGZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmY"

// NewNetRequest is a request for a net container.
func NewNetRequest(pod *corev1.Pod) kube.NetRequest {
	return kube.NetRequest{
		Pod: pod, Image: ImageUnderTest(), PullPolicy: corev1.PullIfNotPresent,
		Manager: kube.Manager{User: testerKey, Version: "v0", IdleTimeout: time.Minute},
	}
}
