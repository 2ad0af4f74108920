package kube

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// LogContainers selects the containers of a pod whose logs to read.
type LogContainers struct {
	// Names lists the containers to read. If it is empty the other fields decide.
	Names []string
	Which ContainerChoice
	// Init and Ephemeral add the init and the ephemeral containers, but not kdiag's own,
	// when all containers are read.
	Init, Ephemeral bool
}

// ContainerChoice selects containers when none is named.
type ContainerChoice int

const (
	// DefaultElseAll selects the one that the pod's annotation names, or else all.
	DefaultElseAll ContainerChoice = iota
	// AllContainers selects all, whatever the annotation says.
	AllContainers
	// OneContainer selects the one that the annotation names, or else the first.
	OneContainer
)

// SelectFrom lists the names of the selected containers of a pod.
func (l LogContainers) SelectFrom(pod *corev1.Pod) []string {
	all := listLogContainers(pod, true, true, true)
	if len(l.Names) > 0 {
		return slices.DeleteFunc(all, func(name string) bool { return !slices.Contains(l.Names, name) })
	}

	first, _ := pickDefaultContainer(pod)
	annotated := first != "" && pod.Annotations[defaultContainerAnnotation] == first
	switch {
	case first == "":
		return nil
	case l.Which == OneContainer, l.Which == DefaultElseAll && annotated:
		return []string{first}
	}

	return listLogContainers(pod, l.Init, l.Ephemeral, false)
}

// LogContainerNames lists all containers of a pod, ephemeral ones too.
func LogContainerNames(pod *corev1.Pod) []string { return listLogContainers(pod, true, true, true) }

// listLogContainers lists containers in the order in which they start. managers adds kdiag's
// own.
func listLogContainers(pod *corev1.Pod, initial, ephemeral, managers bool) []string {
	var names []string
	if initial {
		for i := range pod.Spec.InitContainers {
			names = append(names, pod.Spec.InitContainers[i].Name)
		}
	}

	for i := range pod.Spec.Containers {
		names = append(names, pod.Spec.Containers[i].Name)
	}

	if !ephemeral {
		return names
	}

	for i := range pod.Spec.EphemeralContainers {
		if _, ours := parseManager(&pod.Spec.EphemeralContainers[i]); !ours || managers {
			names = append(names, pod.Spec.EphemeralContainers[i].Name)
		}
	}

	return names
}

// Instance describes one run of a container, from its start to its end.
type Instance struct {
	// ID identifies it in the runtime; empty before the container has started.
	ID string
	// Restarts counts the instances before it.
	Restarts int
	Running  bool
}

// NewestInstance returns the newest instance of a container, or a zero one if there is none
// yet.
func NewestInstance(pod *corev1.Pod, container string) Instance {
	status := findStatus(pod, container)
	if status == nil {
		return Instance{}
	}
	return Instance{
		ID: status.ContainerID, Restarts: int(status.RestartCount), Running: status.State.Running != nil,
	}
}
