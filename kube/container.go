package kube

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// defaultContainerAnnotation names the container that kubectl uses when none is given
// (KEP-2227).
const defaultContainerAnnotation = "kubectl.kubernetes.io/default-container"

// TargetContainer identifies a running container to work on.
type TargetContainer struct {
	Pod       *corev1.Pod
	Container string
	// ID is the container ID in the runtime, without the scheme before it.
	ID string
	// Others lists the containers that the user may have meant when none was named.
	Others []string
	// beside names the container in whose PID namespace an ephemeral container has its processes;
	// empty for any other container.
	beside string
}

func (t TargetContainer) String() string {
	return fmt.Sprintf("container %s of pod %s/%s", t.Container, t.Pod.Namespace, t.Pod.Name)
}

// SharesPIDs reports whether the target's PID namespace has processes of other containers or
// of the node.
func (t TargetContainer) SharesPIDs() bool { return t.beside != "" || sharesPIDs(t.Pod) }

// Neighbour returns the container beside which kdiag's own is to run to see the target's processes:
// the target itself, but for an ephemeral container.
func (t TargetContainer) Neighbour() TargetContainer {
	if t.beside == "" {
		return t
	}
	return TargetContainer{Pod: t.Pod, Container: t.beside}
}

// sharesPIDs reports whether a pod's containers share one PID namespace, or the node's.
func sharesPIDs(pod *corev1.Pod) bool {
	shared := pod.Spec.ShareProcessNamespace
	return pod.Spec.HostPID || shared != nil && *shared
}

// PickContainer finds the container of a pod to work on: the named one, which may be an init,
// sidecar or ephemeral container, or else the pod's default. If that does not run, the error wraps
// a *NotRunningError.
func PickContainer(pod *corev1.Pod, name string) (TargetContainer, error) {
	target := TargetContainer{Pod: pod, Container: name}
	if name == "" {
		target.Container, target.Others = pickDefaultContainer(pod)
	}

	doing := "enter " + target.String()
	if err := requireContainer(doing, pod, target.Container); err != nil {
		return TargetContainer{}, err
	}

	var err error
	if ephemeral := findEphemeral(pod, target.Container); ephemeral != nil {
		if target.beside, err = findNeighbour(doing, pod, ephemeral); err != nil {
			return TargetContainer{}, err
		}
	}

	status := findStatus(pod, target.Container)
	if status == nil || status.State.Running == nil {
		return TargetContainer{}, &Error{Doing: doing, Err: newNotRunningError(pod, target.Container), Next: runningHint(pod, target.Container)}
	}

	target.ID = trimScheme(status.ContainerID)
	return target, nil
}

// trimScheme returns a container ID without the runtime's name before it.
func trimScheme(containerID string) string {
	_, id, _ := strings.Cut(containerID, "://")
	return id
}

// CheckHasContainer returns an error if a pod has no container of that name. Init, sidecar and
// ephemeral containers count, running or not.
func CheckHasContainer(pod *corev1.Pod, name string) error {
	return requireContainer("find "+TargetContainer{Pod: pod, Container: name}.String(), pod, name)
}

// requireContainer does what CheckHasContainer does, for an operation that the error names.
func requireContainer(doing string, pod *corev1.Pod, name string) error {
	names := slices.Concat(containerNames(pod), foreignEphemeral(pod))
	if slices.Contains(names, name) || findEphemeral(pod, name) != nil {
		return nil
	}
	return &Error{Doing: doing, Err: fmt.Errorf("the pod has no such container"),
		Next: "containers in this pod: " + strings.Join(names, ", ")}
}

// pickDefaultContainer returns the container that the pod's annotation names, or else the
// first one together with the others that could be meant.
func pickDefaultContainer(pod *corev1.Pod) (name string, others []string) {
	names := make([]string, 0, len(pod.Spec.Containers))
	for i := range pod.Spec.Containers {
		names = append(names, pod.Spec.Containers[i].Name)
	}

	if annotated := pod.Annotations[defaultContainerAnnotation]; slices.Contains(names, annotated) {
		return annotated, nil
	}
	if len(names) == 0 {
		return "", nil
	}

	return names[0], names[1:]
}

// Container describes a container by the pod's spec.
type Container struct {
	Name, Image string
	// Init marks init and sidecar containers.
	Init bool
}

// ContainersOf lists the containers of a pod, without the ephemeral ones.
func ContainersOf(pod *corev1.Pod) []Container {
	var all []Container
	for i := range pod.Spec.Containers {
		all = append(all, Container{pod.Spec.Containers[i].Name, pod.Spec.Containers[i].Image, false})
	}
	for i := range pod.Spec.InitContainers {
		all = append(all, Container{pod.Spec.InitContainers[i].Name, pod.Spec.InitContainers[i].Image, true})
	}
	return all
}

// containerNames lists the names of a pod's containers, without the ephemeral ones.
func containerNames(pod *corev1.Pod) []string {
	var names []string
	for _, c := range ContainersOf(pod) {
		names = append(names, c.Name)
	}
	return names
}

// findStatus finds the status of a container of any kind. It returns nil if there is none yet.
func findStatus(pod *corev1.Pod, container string) *corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{
		pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses,
	} {
		for i := range list {
			if list[i].Name == container {
				return &list[i]
			}
		}
	}
	return nil
}

// describeNotRunning says in a few words why a container does not run, by the kubelet's
// account. The status may be nil.
func describeNotRunning(pod *corev1.Pod, status *corev1.ContainerStatus) string {
	switch {
	case status != nil && status.State.Terminated != nil:
		ended := status.State.Terminated
		return joinReason(fmt.Sprintf("it exited with code %d", ended.ExitCode), ended.Reason, ended.Message) + describePodFailure(pod)
	case status != nil && status.State.Waiting != nil:
		return joinReason("it is waiting", status.State.Waiting.Reason, status.State.Waiting.Message)
	}

	for i := range pod.Status.Conditions {
		condition := &pod.Status.Conditions[i]
		if condition.Type == corev1.PodScheduled && condition.Status != corev1.ConditionTrue {
			return joinReason("the pod is not scheduled", condition.Reason, condition.Message)
		}
	}

	return fmt.Sprintf("the pod is %s", joinReason(string(pod.Status.Phase), pod.Status.Reason, pod.Status.Message))
}

// describePodFailure says why a pod has failed as a whole, such as that it was evicted, if its status
// tells. That is then why its containers ended, whatever their exit codes.
func describePodFailure(pod *corev1.Pod) string {
	if pod.Status.Phase != corev1.PodFailed || pod.Status.Reason == "" {
		return ""
	}
	return "; the pod has failed: " + joinReason(pod.Status.Reason, strings.TrimSpace(pod.Status.Message))
}

// joinReason joins the parts that are not empty with colons.
func joinReason(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ": ")
}

// runningHint suggests the pod's running containers instead of one that does not run.
func runningHint(pod *corev1.Pod, except string) string {
	var running []string
	for _, name := range containerNames(pod) {
		if s := findStatus(pod, name); name != except && s != nil && s.State.Running != nil {
			running = append(running, name)
		}
	}
	if len(running) > 0 {
		return "running containers: " + strings.Join(running, ", ") + "; choose one with -c"
	}

	return describePodHint(pod)
}

// describePodHint names the command that tells more about a pod.
func describePodHint(pod *corev1.Pod) string {
	return fmt.Sprintf("run 'kubectl describe pod -n %s %s' for details", pod.Namespace, pod.Name)
}
