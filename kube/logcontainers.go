package kube

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// LogContainers says which containers of a pod are meant where logs are.
type LogContainers struct {
	// Names are the containers that were named; empty for a choice by the rest.
	Names []string
	Which ContainerChoice
	// Init and Ephemeral add the init and the ephemeral containers, kdiag's own
	// aside, where all are meant.
	Init, Ephemeral bool
}

// ContainerChoice is which containers are meant where none is named.
type ContainerChoice int

const (
	// DefaultElseAll is the one that the pod's annotation names, else all.
	DefaultElseAll ContainerChoice = iota
	// AllContainers is all of them, whatever the annotation says.
	AllContainers
	// OneContainer is the one that the annotation names, else the first.
	OneContainer
)

// SelectFrom are the names of the containers of a pod that are meant.
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

// LogContainerNames are the containers of a pod, the ephemeral ones too.
func LogContainerNames(pod *corev1.Pod) []string { return listLogContainers(pod, true, true, true) }

// listLogContainers are containers in the order in which they start; managers says
// whether kdiag's own are among them.
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

// Instance is one run of a container, from its start to its end.
type Instance struct {
	// ID is the runtime's name for it; empty before the container has started.
	ID string
	// Restarts is how many instances there were before.
	Restarts int
	Running  bool
}

// NewestInstance is the newest instance of a container that has a log.
func NewestInstance(pod *corev1.Pod, container string) Instance {
	status := findStatus(pod, container)
	if status == nil {
		return Instance{}
	}
	return Instance{
		ID: status.ContainerID, Restarts: int(status.RestartCount), Running: status.State.Running != nil,
	}
}
