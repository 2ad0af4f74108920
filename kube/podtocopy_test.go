package kube

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestCompareNeed looks at pods that do not work before those that do, and at those that something else has
// ended, as an eviction long ago, after both.
func TestCompareNeed(t *testing.T) {
	minute := 0
	pod := func(name string, phase corev1.PodPhase, reason string, ready bool) corev1.Pod {
		minute++
		made := corev1.Pod{Status: corev1.PodStatus{Phase: phase, Reason: reason}}
		made.Name, made.CreationTimestamp = name, metav1.NewTime(time.Unix(int64(minute)*60, 0))
		if ready {
			made.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		}
		return made
	}
	pods := []corev1.Pod{
		pod("failed", corev1.PodFailed, "", false), pod("crashing", corev1.PodRunning, "", false), pod("ready", corev1.PodRunning, "", true),
		pod("done", corev1.PodSucceeded, "", false), pod("evicted", corev1.PodFailed, "Evicted", false), pod("going", corev1.PodRunning, "", false),
	}
	pods[5].DeletionTimestamp = &metav1.Time{}
	slices.SortFunc(pods, compareNeed)

	var names []string
	for _, p := range pods {
		names = append(names, p.Name)
	}
	if got, want := strings.Join(names, " "), "crashing failed ready evicted done going"; got != want {
		t.Errorf("order %s, want %s", got, want)
	}
}
