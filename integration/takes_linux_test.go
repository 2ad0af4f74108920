package integration

import (
	"strings"
	"testing"
)

// TestRedirCrashing redirects from a pod whose application does not stay up:
// the sandbox is there, and that is when one wants to run it elsewhere.
func TestRedirCrashing(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "crashing.yaml"))
	eventually(t, "the pod to crash", func() bool {
		return strings.Contains(kubectl(t, "get", "pod", "-n", namespace, "crashing", "-o", "jsonpath={.status.containerStatuses}"), "CrashLoopBackOff")
	})
	redirecting(t, 1, "-n", namespace, "crashing", "8080:1").interrupt()
}

// TestQuota is a namespace where every pod must have limits, within a range:
// neither is asked of ephemeral containers, which share their pod's.
func TestQuota(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "quota.yaml"))
	waitForPods(t, namespace)
	if limits := kubectl(t, "get", "pod", "-n", namespace, "limited", "-o", "jsonpath={.spec.containers[*].resources.limits}"); !strings.Contains(limits, `"memory":"32Mi"`) {
		t.Fatalf("limits: %s, want those of the LimitRange", limits)
	}

	got := kdiag(t, "shell", "-n", namespace, "limited", "--", "-c", "echo here")
	if got.code != 0 || got.stdout != "here\n" || strings.Contains(got.stderr, "refused") {
		t.Errorf("shell: %v\nwant one of the first choice", got)
	}

	redirecting(t, 1, "-n", namespace, "limited", "8080:1").interrupt()
	if got := kdiag(t, "ps", "-n", namespace, "limited"); got.code != 0 {
		t.Errorf("ps: %v", got)
	}
	if used := kubectl(t, "get", "quota", "-n", namespace, "all", "-o", "jsonpath={.status.used.pods}"); used != "1" {
		t.Errorf("pods counted by the quota: %s, want 1", used)
	}
}
