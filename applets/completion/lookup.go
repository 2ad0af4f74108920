package completion

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"kdiag/applets"
	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
)

// clusterLookup asks the cluster for candidates for one line.
type clusterLookup struct {
	ctx     context.Context
	cluster *kube.Cluster
	line    *applets.Partial
}

// proposeTargets proposes pods, and types with a slash. After the slash it proposes
// names.
func (l *clusterLookup) proposeTargets() answer {
	if spelled, _, typed := strings.Cut(l.line.Word, "/"); typed {
		resource, ok := kube.ParseResource(spelled)
		if l.takesNodes() && spelled == nodeType {
			resource, ok = kube.Nodes, true
		}
		if !ok {
			return answer{directive: noFiles}
		}
		return l.proposeNames(resource, spelled+"/")
	}

	found := l.proposeNames("pods", "")
	for _, t := range kube.TargetTypes() {
		found.candidates = append(found.candidates, candidate{t.Short + "/", t.Resource})
	}
	if l.takesNodes() {
		found.candidates = append(found.candidates, candidate{nodeType + "/", kube.Nodes})
	}

	return found
}

// nodeType is the type of a target that is a node.
const nodeType = "node"

// takesNodes reports whether the line's command works on nodes, too.
func (l *clusterLookup) takesNodes() bool {
	return l.line.Applet != nil && l.line.Applet.Name == "shell"
}

// proposeNames proposes the names of a resource's objects, after a prefix.
func (l *clusterLookup) proposeNames(resource, prefix string) answer {
	found := answer{directive: noFiles}
	objects, _ := l.cluster.ListNames(l.ctx, resource)
	for _, o := range objects {
		if !o.Deleting {
			found.candidates = append(found.candidates, candidate{word: prefix + o.Name})
		}
	}
	return found
}

// proposeSelectors completes the last requirement of a label selector: its key, or
// its value after "=".
func (l *clusterLookup) proposeSelectors() answer {
	found := answer{directive: noFiles}
	before, last := "", l.line.Word
	if at := strings.LastIndex(last, ","); at >= 0 {
		before, last = last[:at+1], last[at+1:]
	}

	key, operator, valued := last, "", false
	if at := strings.IndexAny(last, "!="); at >= 0 {
		key, valued = last[:at], true
		operator = last[at : len(last)-len(strings.TrimLeft(last[at:], "!="))]
	}

	pods, _ := l.cluster.ListNames(l.ctx, "pods")
	seen := map[string]int{}
	for _, pod := range pods {
		for label, value := range pod.Labels {
			switch {
			case !valued:
				seen[before+label+"="]++
			case label == key:
				seen[before+key+operator+value]++
			}
		}
	}

	for word, count := range seen {
		found.candidates = append(found.candidates, candidate{word, applets.CountOf(count, "pod", "pods")})
	}

	slices.SortFunc(found.candidates, func(a, b candidate) int { return cmp.Compare(a.word, b.word) })
	return found
}

// readSelection reads which pods the line names so far.
func (l *clusterLookup) readSelection() (kube.Selection, error) {
	target, selector := "", ""
	if pods := l.line.ValuesOf(applets.KindPod); len(pods) > 0 {
		target = pods[0]
	}
	if selectors := l.line.ValuesOf(applets.KindSelector); len(selectors) > 0 {
		selector = selectors[0]
	}
	if target == "" && selector == "" && len(l.line.Args) > 0 {
		target = l.line.Args[0]
		if l.line.Applet.Args[0] == applets.KindCopied {
			target = podAmong(l.line.Args)
		}
	}

	return kube.ParseSelection(target, selector)
}

// findPod finds the pod that the line names so far.
func (l *clusterLookup) findPod() (*corev1.Pod, error) {
	selection, err := l.readSelection()
	if err != nil {
		return nil, err
	}
	return l.cluster.FindPod(l.ctx, selection)
}

func (l *clusterLookup) proposeContainers() answer {
	found := answer{directive: noFiles}
	pod, err := l.findPod()
	if err != nil {
		return found
	}

	for _, c := range kube.ContainersOf(pod) {
		about := c.Image
		if c.Init {
			about = "init, " + about
		}
		found.candidates = append(found.candidates, candidate{c.Name, about})
	}

	return found
}

// proposePorts proposes the ports that the pod's containers declare, or those of a Service that
// the line names.
func (l *clusterLookup) proposePorts() answer {
	if selection, err := l.readSelection(); err == nil && selection.Kind == "services" {
		return l.proposeServicePorts(selection.Name)
	}

	found := answer{directive: noFiles}
	pod, err := l.findPod()
	if err != nil {
		return found
	}

	for _, c := range kube.ContainersOf(pod) {
		for _, port := range kube.DeclaredPorts(pod, c.Name) {
			word := strconv.Itoa(int(port))
			if !slices.ContainsFunc(found.candidates, func(c candidate) bool { return c.word == word }) {
				found.candidates = append(found.candidates, candidate{word, "container " + c.Name})
			}
		}
	}

	return found
}

// proposeServicePorts proposes the TCP ports of a Service.
func (l *clusterLookup) proposeServicePorts(name string) answer {
	found := answer{directive: noFiles}
	service, err := l.cluster.GetService(l.ctx, name)
	if err != nil {
		return found
	}

	for _, port := range service.Spec.Ports {
		if port.Protocol == corev1.ProtocolTCP || port.Protocol == "" {
			found.candidates = append(found.candidates, candidate{strconv.Itoa(int(port.Port)), strings.TrimSpace("port " + port.Name)})
		}
	}
	return found
}
