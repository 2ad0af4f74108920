package kube

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	"k8s.io/kubectl/pkg/util/podutils"
)

// Selection selects pods. Either Name or Labels is set, or neither to select all pods of the
// namespace.
type Selection struct {
	// Kind is "pods" or the resource that owns the pods: "deployments",
	// "statefulsets", "daemonsets", "replicasets", "jobs", "cronjobs", "services".
	Kind string
	Name string
	// Labels is a label selector, for example "app=web,tier!=db".
	Labels string
}

// targetTypes maps kubectl's spellings of types to resources.
var targetTypes = map[string]string{
	"po": "pods", "pod": "pods", "pods": "pods",
	"deploy": "deployments", "deployment": "deployments", "deployments": "deployments",
	"sts": "statefulsets", "statefulset": "statefulsets", "statefulsets": "statefulsets",
	"ds": "daemonsets", "daemonset": "daemonsets", "daemonsets": "daemonsets",
	"rs": "replicasets", "replicaset": "replicasets", "replicasets": "replicasets",
	"job": "jobs", "jobs": "jobs",
	"cj": "cronjobs", "cronjob": "cronjobs", "cronjobs": "cronjobs",
	"svc": "services", "service": "services", "services": "services",
}

// TargetType is a type of object that a target may have.
type TargetType struct {
	// Short is its usual spelling in TYPE/NAME, Resource its name in the API.
	Short, Resource string
}

// TargetTypes lists the types of target, each once.
func TargetTypes() []TargetType {
	var types []TargetType
	for _, short := range []string{"deploy", "sts", "ds", "rs", "job", "cj", "svc", "pod"} {
		types = append(types, TargetType{short, targetTypes[short]})
	}
	return types
}

// ParseResource returns the resource of a type in any of kubectl's spellings.
func ParseResource(spelled string) (string, bool) {
	// kubectl prints "deployment.apps/x".
	short, _, _ := strings.Cut(strings.ToLower(spelled), ".")
	resource, ok := targetTypes[short]
	return resource, ok
}

// ParseSelection parses a target from the command line: POD or TYPE/NAME, or nothing together with
// a label selector.
func ParseSelection(target, labelSelector string) (Selection, error) {
	switch {
	case target == "" && labelSelector == "":
		return Selection{}, fmt.Errorf("specify a pod: POD, TYPE/NAME or -l SELECTOR")
	case target != "" && labelSelector != "":
		return Selection{}, fmt.Errorf("use either %s or -l %s, not both", target, labelSelector)
	case labelSelector != "":
		if _, err := labels.Parse(labelSelector); err != nil {
			return Selection{}, fmt.Errorf("-l %s: %w", labelSelector, err)
		}
		return Selection{Kind: "pods", Labels: labelSelector}, nil
	}

	kind, name, typed := strings.Cut(target, "/")
	if !typed {
		return Selection{Kind: "pods", Name: target}, nil
	}

	resource, ok := ParseResource(kind)
	if !ok || name == "" || strings.Contains(name, "/") {
		return Selection{}, fmt.Errorf("invalid target %q: use POD or TYPE/NAME, where TYPE is pod, deploy, sts, ds, rs, job, cj or svc; for pods of any other type use -l SELECTOR", target)
	}

	return Selection{Kind: resource, Name: name}, nil
}

func (s Selection) String() string {
	switch {
	case s.Labels != "":
		return "selector " + s.Labels
	case s.Name == "":
		return "the namespace"
	case s.Kind == "pods":
		return "pod " + s.Name
	}
	return strings.TrimSuffix(s.Kind, "s") + "/" + s.Name
}

// FindPod returns the best pod of a selection: a ready one before a running one before any other,
// and the newest of those. A pod that is terminating comes after those, a finished one last.
func (c *Cluster) FindPod(ctx context.Context, s Selection) (*corev1.Pod, error) {
	pod, _, err := c.ChoosePod(ctx, s)
	return pod, err
}

// ChoosePod returns the pod that FindPod does, and of how many that serve or may soon. The number
// is 0 if the selection names the pod.
func (c *Cluster) ChoosePod(ctx context.Context, s Selection) (pod *corev1.Pod, of int, err error) {
	if s.Kind == "pods" && s.Name != "" {
		pod, err = c.getNamedPod(ctx, s.Name)
		return pod, 0, err
	}

	pods, err := c.listSelection(ctx, s)
	if err != nil {
		return nil, 0, err
	}

	best := bestPod(pods)
	return best, countCandidates(pods), nil
}

// listSelection lists the pods of a selection that does not name one. It fails if there are none.
func (c *Cluster) listSelection(ctx context.Context, s Selection) ([]corev1.Pod, error) {
	found, err := c.findTargetPods(ctx, s)
	if err != nil {
		return nil, err
	}

	doing := "find a pod of " + s.String()
	pods, others, err := c.listTargetPods(ctx, found)
	if err != nil {
		return nil, c.explainError(ctx, doing, rightListPods.scopedTo(c.Namespace, ""), err)
	}
	if len(pods) == 0 {
		return nil, &Error{Doing: doing, Err: fmt.Errorf("%s in namespace %q", describeNone(others), c.Namespace),
			Next: fmt.Sprintf("kubectl get pods -n %s -l %q", c.Namespace, found.options.LabelSelector)}
	}

	return pods, nil
}

// countCandidates counts the pods that are not ending and have not ended.
func countCandidates(pods []corev1.Pod) (count int) {
	for i := range pods {
		phase := pods[i].Status.Phase
		if pods[i].DeletionTimestamp == nil && phase != corev1.PodSucceeded && phase != corev1.PodFailed {
			count++
		}
	}
	return count
}

// describeNone says that a target has no pods. Others have some with the labels that it selects.
func describeNone(others int) string {
	if others == 0 {
		return "no pods"
	}
	return fmt.Sprintf("no pods of its own (pods with the same labels that it does not own: %d)", others)
}

// bestPod returns the best of several pods, or nil if there are none.
func bestPod(pods []corev1.Pod) *corev1.Pod {
	if len(pods) == 0 {
		return nil
	}

	return new(slices.MinFunc(pods, func(a, b corev1.Pod) int {
		if d := podRank(&a) - podRank(&b); d != 0 {
			return d
		}
		if d := b.CreationTimestamp.Compare(a.CreationTimestamp.Time); d != 0 {
			return d
		}
		return strings.Compare(a.Name, b.Name)
	}))
}

// podRank rates a pod by its state; the lowest is the best. A pod that may still serve is better
// than one that is terminating, and that is better than one whose containers have ended.
func podRank(p *corev1.Pod) int {
	switch {
	case isFinished(p):
		return 4
	case p.DeletionTimestamp != nil:
		return 3
	case p.Status.Phase == corev1.PodRunning && podutils.IsPodReady(p):
		return 0
	case p.Status.Phase == corev1.PodRunning:
		return 1
	}
	return 2
}

// getNamedPod reads a pod by its name.
func (c *Cluster) getNamedPod(ctx context.Context, name string) (*corev1.Pod, error) {
	doing := "find pod " + name
	pod, err := getObject[corev1.Pod](ctx, c.pods(c.Namespace), name)
	switch {
	case isNotFound(err):
		return nil, &Error{Doing: doing, Err: err, Next: c.listPodsHint(ctx)}
	case err != nil:
		return nil, c.explainError(ctx, doing, rightGetPods.scopedTo(c.Namespace, name), err)
	}

	return pod, nil
}

// listPodsHint lists the namespace's pods in a hint.
func (c *Cluster) listPodsHint(ctx context.Context) string {
	const maxShown = 10
	list, err := listObjects[corev1.PodList](ctx, c.pods(c.Namespace), metav1.ListOptions{Limit: 500})
	if err != nil {
		return fmt.Sprintf("kubectl get pods -n %s", c.Namespace)
	}

	var names []string
	for i := range list.Items {
		if list.Items[i].DeletionTimestamp == nil {
			names = append(names, list.Items[i].Name)
		}
	}

	if len(names) == 0 {
		return fmt.Sprintf("namespace %q has no pods; choose another with -n NAMESPACE", c.Namespace)
	}

	sort.Strings(names)
	more := ""
	if len(names) > maxShown {
		more = fmt.Sprintf(" and %d more", len(names)-maxShown)
		names = names[:maxShown]
	}

	return fmt.Sprintf("pods in namespace %q: %s%s", c.Namespace, strings.Join(names, ", "), more)
}

// findTargetPods finds out which pods are a target's. It fails for an object that does not exist.
func (c *Cluster) findTargetPods(ctx context.Context, s Selection) (targetPods, error) {
	selector := s.Labels
	if s.Name != "" {
		var err error
		if selector, err = c.findSelector(ctx, s); err != nil {
			return targetPods{}, err
		}
	}
	return targetPods{metav1.ListOptions{LabelSelector: selector}, c.newPodOwner(s, selector)}, nil
}

// findSelector reads the label selector of the object that owns the pods.
func (c *Cluster) findSelector(ctx context.Context, s Selection) (string, error) {
	switch s.Kind {
	case "deployments":
		return readOwnerSelector(ctx, c, c.apps, s,
			func(d *appsv1.Deployment) *metav1.LabelSelector { return d.Spec.Selector })
	case "statefulsets":
		return readOwnerSelector(ctx, c, c.apps, s,
			func(d *appsv1.StatefulSet) *metav1.LabelSelector { return d.Spec.Selector })
	case "daemonsets":
		return readOwnerSelector(ctx, c, c.apps, s,
			func(d *appsv1.DaemonSet) *metav1.LabelSelector { return d.Spec.Selector })
	case "replicasets":
		return readOwnerSelector(ctx, c, c.apps, s,
			func(d *appsv1.ReplicaSet) *metav1.LabelSelector { return d.Spec.Selector })
	case "jobs":
		return readOwnerSelector(ctx, c, c.batch, s,
			func(d *batchv1.Job) *metav1.LabelSelector { return d.Spec.Selector })
	case "cronjobs":
		return readOwnerSelector(ctx, c, c.batch, s, func(*batchv1.CronJob) *metav1.LabelSelector { return jobPods })
	case "services":
		return readOwnerSelector(ctx, c, c.core, s,
			func(d *corev1.Service) *metav1.LabelSelector {
				return &metav1.LabelSelector{MatchLabels: d.Spec.Selector}
			})
	}

	return "", fmt.Errorf("%s has no pods", s)
}

// jobPods selects the pods of all Jobs. A CronJob has no selector.
var jobPods = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
	{Key: "job-name", Operator: metav1.LabelSelectorOpExists},
}}

// readOwnerSelector reads an object of one type, and its label selector.
func readOwnerSelector[T any, P apiObject[T]](ctx context.Context, c *Cluster, client rest.Interface, s Selection, selector func(P) *metav1.LabelSelector) (string, error) {
	doing := "find " + s.String()
	owner, err := getObject[T, P](ctx, resource{client, c.codec, s.Kind, c.Namespace}, s.Name)
	if isNotFound(err) {
		return "", &Error{Doing: doing, Err: err, Next: fmt.Sprintf("kubectl get %s -n %s", s.Kind, c.Namespace)}
	}

	if err != nil {
		right := accessRight{verb: "get", group: client.APIVersion().Group, resource: s.Kind, namespace: c.Namespace, name: s.Name}
		return "", c.explainError(ctx, doing, right, err)
	}

	parsed, err := metav1.LabelSelectorAsSelector(selector(owner))
	if err != nil {
		return "", &Error{Doing: doing, Err: err}
	}
	if parsed.Empty() {
		return "", &Error{Doing: doing, Err: fmt.Errorf("it has no selector, so it selects no pods")}
	}

	return parsed.String(), nil
}
