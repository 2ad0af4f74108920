package logs

import (
	"fmt"
	"slices"
	"strings"

	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
)

// logSelection selects pods and some of their containers.
type logSelection struct {
	pods       kube.Selection
	containers kube.LogContainers
}

// selectionArgs holds the words of the command line that select pods and containers.
type selectionArgs struct {
	args      []string // POD or TYPE/NAME
	pods      []string // POD[:CONTAINER]
	selectors []string // SELECTOR[:CONTAINER]
	all       bool
	// everywhere is --all-namespaces, which selects all pods where nothing else selects any.
	everywhere bool
	// containers applies to selections without a container of their own.
	containers kube.LogContainers
}

func (r selectionArgs) parseSelections() ([]logSelection, error) {
	var chosen []logSelection
	add := func(target, labels, container string) error {
		pods, err := kube.ParseSelection(target, labels)
		s := logSelection{pods: pods, containers: r.containers}
		if container != "" {
			s.containers.Names = []string{container}
		}
		chosen = append(chosen, s)
		return err
	}

	for _, target := range slices.Concat(r.args, r.pods) {
		name, container, err := splitContainer(target)
		if err == nil {
			err = add(name, "", container)
		}
		if err != nil {
			return nil, err
		}
	}

	for _, selector := range r.selectors {
		labels, container, err := splitContainer(selector)
		if err == nil {
			err = add("", labels, container)
		}
		if err != nil {
			return nil, err
		}
	}

	switch {
	case r.all && len(chosen) > 0:
		return nil, fmt.Errorf("--all can't be combined with pod names or selectors")
	case r.all, r.everywhere && len(chosen) == 0:
		chosen = []logSelection{{kube.Selection{Kind: "pods"}, r.containers}}
	case len(chosen) == 0:
		return nil, fmt.Errorf("no pods selected: give POD, TYPE/NAME, -l selector or --all")
	}

	return chosen, nil
}

// splitContainer splits "NAME:CONTAINER". Neither names nor label selectors contain
// a colon.
func splitContainer(text string) (name, container string, err error) {
	name, container, given := strings.Cut(text, ":")
	if name == "" || given && container == "" || strings.Contains(container, ":") {
		return "", "", fmt.Errorf("%q: must be TARGET or TARGET:CONTAINER", text)
	}
	return name, container, nil
}

// checkContainers returns an error if a pod lacks a container that was named.
func (s logSelection) checkContainers(pod *corev1.Pod) error {
	there := kube.LogContainerNames(pod)
	for _, name := range s.containers.Names {
		if !slices.Contains(there, name) {
			return &kube.Error{
				Doing: fmt.Sprintf("read the log of container %s of pod %s/%s", name, pod.Namespace, pod.Name),
				Err:   fmt.Errorf("the pod has no such container"), Next: "containers in this pod: " + strings.Join(there, ", "),
			}
		}
	}
	return nil
}
