package kit

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
)

// ConnectCluster connects package kube to the cluster as its admin, with what
// change makes of the options.
func ConnectCluster(t *testing.T, namespace string, change func(*kube.ConnectOptions)) *kube.Cluster {
	t.Helper()
	options := kube.ConnectOptions{Kubeconfig: KubeconfigPath(), Namespace: namespace}
	if change != nil {
		change(&options)
	}

	cluster, err := kube.Connect(options, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return cluster
}

// FindPod finds a pod as package kube does.
func FindPod(t *testing.T, cluster *kube.Cluster, name string) *corev1.Pod {
	t.Helper()
	pod, err := cluster.FindPod(t.Context(), kube.Selection{Kind: "pods", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// VerifyError fails the test unless an error of package kube has these words in
// it and in its hint.
func VerifyError(t *testing.T, what string, err error, words, hint string) {
	t.Helper()
	var failed *kube.Error
	if !errors.As(err, &failed) || !strings.Contains(failed.Error(), words) || !strings.Contains(failed.Hint(), hint) {
		t.Errorf("%s: %v (hint %v)\nwant %q and a hint with %q", what, err, failed, words, hint)
	}
}

// testerKey encodes a public key, as a net manager wants one of its user: the
// base point of ed25519, whose private half is of no use to the tests.
const testerKey = "WGZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmY"

// NewNetRequest returns a request for a net container in a pod.
func NewNetRequest(pod *corev1.Pod) kube.NetRequest {
	return kube.NetRequest{
		Pod: pod, ManagerContainer: kube.ManagerContainer{
			Image: ImageUnderTest(), PullPolicy: corev1.PullIfNotPresent,
			Manager: kube.Manager{User: testerKey, Version: "v0", IdleTimeout: time.Minute},
		},
	}
}
