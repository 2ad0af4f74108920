package kube

import (
	"context"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// ownerKind says how an object of a type owns pods: by the controller that a pod names (KEP-1148),
// or by that controller's own.
type ownerKind struct {
	group, kind string
	// between is the kind of the objects between it and its pods, and betweenIn their resource.
	// Both are empty where there are none.
	between, betweenIn string
}

// ownerKinds has the types of target that own their pods. A Service owns none: it selects them.
var ownerKinds = map[string]ownerKind{
	"deployments":  {"apps", "Deployment", "ReplicaSet", "replicasets"},
	"replicasets":  {"apps", "ReplicaSet", "", ""},
	"statefulsets": {"apps", "StatefulSet", "", ""},
	"daemonsets":   {"apps", "DaemonSet", "", ""},
	"jobs":         {"batch", "Job", "", ""},
	"cronjobs":     {"batch", "CronJob", "Job", "jobs"},
}

// targetPods tells a target's pods from others: the API lists what options select, and of these
// owner knows the target's. Owner is nil where all of them are.
type targetPods struct {
	options metav1.ListOptions
	owner   *podOwner
}

// podOwner knows which pods a target owns. Two Deployments may have one selector, as a canary does
// beside what it is tried for, and then labels do not tell their pods apart. A target is known by
// its name: one that is made again goes on to be the target. One goroutine at a time may use it.
type podOwner struct {
	*Cluster
	target Selection
	ownerKind
	// selector selects the objects between.
	selector string
	// mine has the objects between that are known, and whether the target owns them.
	mine map[types.UID]bool
	// denied says that this user may not list them.
	denied bool
}

// newPodOwner returns what knows a target's pods among those that a selector matches; nil for a
// target that owns none.
func (c *Cluster) newPodOwner(s Selection, selector string) *podOwner {
	kind, owns := ownerKinds[s.Kind]
	if !owns || s.Name == "" {
		return nil
	}
	if s.Kind == "cronjobs" {
		selector = "" // of its pods; its Jobs may have any labels
	}
	return &podOwner{Cluster: c, target: s, ownerKind: kind, selector: selector, mine: map[types.UID]bool{}}
}

// owns reports whether the target owns a pod. Where an object between is not known, it asks for all
// of them again: they are made before their pods.
func (o *podOwner) owns(ctx context.Context, pod *corev1.Pod) bool {
	controller := metav1.GetControllerOf(pod)
	if controller == nil {
		return false
	}
	if o.between == "" {
		return o.isTarget(controller)
	}
	if !isController(controller, o.group, o.between) {
		return false
	}

	if _, known := o.mine[controller.UID]; !known && !o.denied {
		o.listBetween(ctx)
	}
	mine, known := o.mine[controller.UID]
	if !known {
		mine = o.isNamedAfterTarget(controller.Name, pod)
		o.mine[controller.UID] = mine
	}
	return mine
}

// isTarget reports whether a reference to a controller is to the target.
func (o *podOwner) isTarget(controller *metav1.OwnerReference) bool {
	return isController(controller, o.group, o.kind) && controller.Name == o.target.Name
}

// isController reports whether a reference is to an object of a kind, in any version of its group.
func isController(reference *metav1.OwnerReference, group, kind string) bool {
	version, err := schema.ParseGroupVersion(reference.APIVersion)
	return err == nil && version.Group == group && reference.Kind == kind
}

// listBetween learns of the objects between the target and its pods, if it gets an answer.
func (o *podOwner) listBetween(ctx context.Context) {
	if o.between == "" {
		return
	}

	options := metav1.ListOptions{LabelSelector: o.selector}
	var err error
	if o.betweenIn == "jobs" {
		var list *batchv1.JobList
		list, err = listObjects[batchv1.JobList](ctx, resource{o.batch, o.codec, o.betweenIn, o.Namespace}, options)
		for i := range list.Items {
			o.noteBetween(&list.Items[i])
		}
	} else {
		var list *appsv1.ReplicaSetList
		list, err = listObjects[appsv1.ReplicaSetList](ctx, resource{o.apps, o.codec, o.betweenIn, o.Namespace}, options)
		for i := range list.Items {
			o.noteBetween(&list.Items[i])
		}
	}

	o.denied = IsAccessError(err)
}

// noteBetween notes whose an object between is.
func (o *podOwner) noteBetween(object metav1.Object) {
	controller := metav1.GetControllerOf(object)
	o.mine[object.GetUID()] = controller != nil && o.isTarget(controller)
}

// isNamedAfterTarget tells by its name whether an object between is the target's, for users who may
// not list them, and for one that is deleted already. A Deployment names a ReplicaSet after itself
// and the hash that it labels the pods with (pkg/controller/deployment/sync.go), a CronJob names a
// Job after itself and the minute (pkg/controller/cronjob/utils.go).
func (o *podOwner) isNamedAfterTarget(name string, pod *corev1.Pod) bool {
	suffix, ok := strings.CutPrefix(name, o.target.Name+"-")
	if !ok || suffix == "" {
		return false
	}

	if o.between == "ReplicaSet" {
		return suffix == pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
	}
	return strings.Trim(suffix, "0123456789") == ""
}

// listTargetPods lists a target's pods. Others counts those that its selector matches although they
// are not the target's.
func (c *Cluster) listTargetPods(ctx context.Context, t targetPods) (pods []corev1.Pod, others int, err error) {
	learned := make(chan struct{})
	go func() {
		defer close(learned)
		if t.owner != nil {
			t.owner.listBetween(ctx) // meanwhile
		}
	}()

	list, err := listObjects[corev1.PodList](ctx, c.pods(c.Namespace), t.options)
	<-learned
	if err != nil {
		return nil, 0, err
	}

	pods = slices.DeleteFunc(list.Items, func(pod corev1.Pod) bool { return !t.has(ctx, &pod) })
	return pods, len(list.Items) - len(pods), nil
}

// has reports whether a pod that the API listed is the target's.
func (t targetPods) has(ctx context.Context, pod *corev1.Pod) bool {
	return t.owner == nil || t.owner.owns(ctx, pod)
}

// filterWatch returns a watch that passes on what concerns the target's pods. One that the target
// gives up is gone, as it is for the target.
func (t targetPods) filterWatch(ctx context.Context, w PodWatch) PodWatch {
	if t.owner == nil {
		return w
	}

	told := map[types.UID]bool{}
	filtered := w
	filtered.Changed = func(pod *corev1.Pod) {
		switch owned := t.has(ctx, pod); {
		case owned:
			told[pod.UID] = true
			w.Changed(pod)
		case told[pod.UID]:
			filtered.Gone(pod.UID)
		}
	}

	filtered.Last = func(pod *corev1.Pod) {
		if told[pod.UID] && w.Last != nil {
			w.Last(pod)
		}
	}
	filtered.Gone = func(uid types.UID) {
		if told[uid] {
			delete(told, uid)
			w.Gone(uid)
		}
	}

	return filtered
}
