package kube

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubectl/pkg/util/podutils"
)

// DescribePodEnd says how a pod ends or has ended, as what follows its name: "was deleted", "was
// evicted (…)", "has completed". It returns "" for a pod that stays.
func DescribePodEnd(pod *corev1.Pod) string {
	switch disruption := findDisruption(pod); {
	case disruption != nil:
		return withDetail("was "+disruptionWord(disruption.Reason), disruption.Message)
	case pod.Status.Phase == corev1.PodSucceeded:
		return "has completed"
	case pod.Status.Phase == corev1.PodFailed && pod.Status.Reason == "Evicted":
		return withDetail("was evicted", pod.Status.Message)
	case pod.Status.Phase == corev1.PodFailed:
		return withDetail("has failed", describeEnd(pod))
	case pod.DeletionTimestamp != nil:
		return "was deleted"
	}

	return ""
}

// findDisruption returns the condition that says who ends a pod (KEP-3329), if the pod ends.
func findDisruption(pod *corev1.Pod) *corev1.PodCondition {
	ends := pod.DeletionTimestamp != nil || isFinished(pod)
	for i := range pod.Status.Conditions {
		c := &pod.Status.Conditions[i]
		if ends && c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	return nil
}

// disruptionWord says in a word what a disruption's reason means.
func disruptionWord(reason string) string {
	switch reason {
	case corev1.PodReasonPreemptionByScheduler:
		return "preempted"
	case "DeletionByPodGC":
		return "removed"
	}
	return "evicted"
}

// withDetail adds a detail in parentheses, if there is one.
func withDetail(text, detail string) string {
	if detail == "" {
		return text
	}
	return fmt.Sprintf("%s (%s)", text, detail)
}

// isFinished reports whether the pod's containers have ended for good.
func isFinished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// IsFinished reports whether a pod's containers have ended for good, kdiag's too.
func IsFinished(pod *corev1.Pod) bool { return isFinished(pod) }

// IsReady reports whether a pod is ready, as its Services see it.
func IsReady(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodRunning && podutils.IsPodReady(pod)
}

// DescribeUnschedulable says why no node takes a pod; "" if one does, or may.
func DescribeUnschedulable(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return withDetail("no node takes the pod", c.Message)
		}
	}
	return ""
}

// BestPod returns the best of several pods, as FindPod does; nil if all are being deleted.
func BestPod(pods []corev1.Pod) *corev1.Pod { return bestPod(pods) }
