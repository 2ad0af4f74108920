package kube

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestDescribeLastEnd(t *testing.T) {
	now := time.Unix(1700000000, 0)
	at := func(ago time.Duration) metav1.Time { return metav1.NewTime(now.Add(-ago)) }
	for want, c := range map[string]struct {
		ended    corev1.ContainerStateTerminated
		restarts int32
	}{
		"it ended 12s ago, after running for 3s: exit code 7": {
			corev1.ContainerStateTerminated{ExitCode: 7, Reason: "Error", StartedAt: at(15 * time.Second), FinishedAt: at(12 * time.Second)}, 0},
		"it ended 5m ago: it was killed for lack of memory (OOMKilled): exit code 137; it was restarted once before": {
			corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled", FinishedAt: at(5 * time.Minute)}, 1},
		"it ended: exit code 139: SIGSEGV; it was restarted 4 times before": {corev1.ContainerStateTerminated{ExitCode: 139, Reason: "Error"}, 4},
		// The node's clock is ahead.
		"it ended 0s ago, after running for 1s: Completed: exit code 0": {
			corev1.ContainerStateTerminated{Reason: "Completed", StartedAt: at(-time.Minute), FinishedAt: at(-time.Minute - time.Second)}, 0},
	} {
		status := &corev1.ContainerStatus{RestartCount: c.restarts}
		if got := describeLastEnd(status, &c.ended, now); got != want {
			t.Errorf("describeLastEnd(%+v) = %q, want %q", c.ended, got, want)
		}
	}
}

func TestCutLastWords(t *testing.T) {
	long := strings.Repeat("ü", lastWordsLength+1)
	got := cutLastWords("1\n2\r\n\n \n\x1b[2Jred\n4\n" + long + "\n6")
	want := []string{"2", "\ufffd[2Jred", "4", strings.Repeat("ü", lastWordsLength-1) + "…", "6"}
	if !slices.Equal(got, want) {
		t.Errorf("cutLastWords = %q, want %q", got, want)
	}
	if got := cutLastWords(""); len(got) != 0 {
		t.Errorf("cutLastWords of nothing = %q", got)
	}
}

// TestDescribeStopped reads the log of the instance that ended, the last lines only, and says why it
// cannot.
func TestDescribeStopped(t *testing.T) {
	for name, c := range map[string]struct {
		state    corev1.ContainerState
		last     corev1.ContainerState
		status   int
		ok       bool
		restarts bool
		asks     string
		words    string
		logErr   string
	}{
		"crash loop": {state: waitingBecause("CrashLoopBackOff"), last: endedWith(7), ok: true, restarts: true,
			asks: "limitBytes=65536 previous=true tailLines=5", words: "last words"},
		"ended":           {state: endedWith(7), ok: true, restarts: true, asks: "limitBytes=65536 previous= tailLines=5", words: "last words"},
		"no log any more": {state: endedWith(7), status: http.StatusBadRequest, ok: true, restarts: true, asks: "limitBytes=65536 previous= tailLines=5"},
		"not allowed": {state: endedWith(7), status: http.StatusForbidden, ok: true, restarts: true, asks: "limitBytes=65536 previous= tailLines=5",
			logErr: "read the log of container app of pod ns/web"},
		"has never run": {state: waitingBecause("ImagePullBackOff")},
		"runs":          {state: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, last: endedWith(7)},
	} {
		asked := ""
		cluster := connectTo(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/log") {
				answerJSON(w, `{"kind":"Pod","apiVersion":"v1","metadata":{"uid":"1"}}`)
				return
			}
			q := r.URL.Query()
			asked = fmt.Sprintf("limitBytes=%s previous=%s tailLines=%s", q.Get("limitBytes"), q.Get("previous"), q.Get("tailLines"))
			if c.status != 0 {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(c.status)
				fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,"reason":%q,"message":"no"}`, c.status,
					map[int]string{400: "BadRequest", 403: "Forbidden"}[c.status])
				return
			}
			fmt.Fprintln(w, "last words")
		}))

		pod := crashingPod(c.state)
		pod.Status.ContainerStatuses[0].LastTerminationState = c.last
		got, ok := cluster.DescribeStopped(t.Context(), pod, "")
		said := ""
		if got.LogErr != nil {
			said = got.LogErr.Error()
		}
		if ok != c.ok || got.Restarts != c.restarts || asked != c.asks || strings.Join(got.LastWords, "|") != c.words || !strings.HasPrefix(said, c.logErr) ||
			(said == "") != (c.logErr == "") || ok && !strings.Contains(got.Facts, "exit code 7") {
			t.Errorf("%s: DescribeStopped = %+v, %t, asked for %q, want %+v", name, got, ok, asked, c)
		}
	}
}
