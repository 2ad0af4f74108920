package integration

import (
	"strings"
	"testing"
	"time"

	"kdiag/integration/kit"
)

// TestSmallMemory refuses a pod whose memory kdiag could use up, before it adds anything, and runs a
// shell in one that is a little larger. No application is killed.
func TestSmallMemory(t *testing.T) {
	kit.RequireOwnCluster(t, "pods whose memory is measured on this machine")
	namespace := kit.CreatePods(t, "small.yaml")

	for _, command := range []string{"shell", "redir"} {
		args := []string{command, "-n", namespace, "small"}
		if command == "redir" {
			args = append(args, "7000")
		}
		got := kit.RunKdiag(t, args...)
		if got.Code != 1 || !strings.Contains(got.Stderr, "limited to 16.0 MiB of memory") || !strings.Contains(got.Stderr, "--force") {
			t.Errorf("%s: %v, want that the memory is too little", command, got)
		}
	}
	kit.VerifyContainerCount(t, namespace, "small", 0)

	pod := kit.FindPodCgroup(t, namespace, "medium")
	for range 3 {
		if got := kit.RunKdiag(t, "shell", "-n", namespace, "medium", "--", "-c", "true"); got.Code != 0 {
			t.Errorf("shell in 24 MiB: %v", got)
		}
	}
	t.Logf("the pod of 24 MiB used %d KiB at most", pod.ReadPeak(t)>>10)
	verifyNobodyKilled(t, namespace, "medium", pod)
}

// verifyNobodyKilled fails the test if anything in a pod was killed for want of memory.
func verifyNobodyKilled(t *testing.T, namespace, name string, pod kit.PodCgroup) {
	t.Helper()
	if kills := pod.CountKills(t); kills > 0 {
		t.Errorf("%d processes of pod %s were killed for want of memory", kills, name)
	}
	restarts := kit.ReadPodField(t, namespace, name, "{.status.containerStatuses[*].restartCount}")
	if strings.Trim(restarts, "0 ") != "" {
		t.Errorf("restarts of pod %s: %s, want none", name, restarts)
	}
}

// slowHold is longer than a session may be silent (mux.SessionOptions.Dead).
const slowHold = 25 * time.Second

// TestSlowPod keeps a session with a manager that gets 10 ms of processor time a second: it misses
// none of its signs of life while connections come.
func TestSlowPod(t *testing.T) {
	kit.RequireOwnCluster(t, "a pod that can be called from this machine")
	namespace := kit.CreatePods(t, "small.yaml")
	address := kit.ReadPodField(t, namespace, "slow", "{.status.podIP}") + ":7000"
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	redir := kit.StartRedirects(t, 1, "-n", namespace, "slow", "7000:"+here.Port)

	answers := 0
	for began := time.Now(); time.Since(began) < slowHold; answers++ {
		if _, err := kit.FetchAnswer(kit.NodeNetwork, address); err != nil {
			t.Fatalf("after %d answers: %v", answers, err)
		}
	}
	t.Logf("%d answers", answers)

	if got := redir.Interrupt(); got.Code != 0 {
		t.Errorf("redir: %v, want code 0", got)
	}
	for event := range redir.Events {
		if event.Event == "disconnected" || event.Event == "lost" || event.Event == "error" {
			t.Errorf("event %+v, want none", event)
		}
	}
}
