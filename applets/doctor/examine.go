package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"kdiag/applets/kubeflags"
	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
)

// The checks' names, in order; one on rights for each command comes between.
const (
	nameConfig  = "kubeconfig"
	nameServer  = "API server"
	nameVersion = "version"
	nameUser    = "credentials"
	nameRights  = "rights: "
	nameTarget  = "target"
	nameStreams = "streams"
	nameShell   = "pod security: shell"
	nameRedir   = "pod security: redir"
	nameImage   = "image"
	nameKernel  = "kernel"
)

func names() []string {
	list := []string{nameConfig, nameServer, nameVersion, nameUser}
	for _, command := range kube.CommandNames() {
		list = append(list, nameRights+command)
	}
	return append(list, nameTarget, nameStreams, nameShell, nameRedir, nameImage, nameKernel)
}

// examine makes every check, and hands each to add in order. What does not need
// the answer of another runs beside it. configErr is why there is no probe.
func examine(ctx context.Context, probe *kubeflags.Probe, configErr error, add func(Check)) {
	left := names()
	// tell says what came out, in the order of names, and reports whether to go
	// on.
	tell := func(checks ...Check) bool {
		for _, check := range checks {
			left = left[1:]
			add(check)
			if check.Status == Failed && stops(check.Name) {
				return false
			}
		}
		return true
	}

	stages(ctx, probe, configErr, tell)
	for _, name := range left {
		add(unknown(name, "not asked: see above"))
	}
}

// stops reports whether a check that fails makes all later ones moot.
func stops(name string) bool { return name == nameConfig || name == nameServer || name == nameUser }

func stages(ctx context.Context, probe *kubeflags.Probe, configErr error, tell func(...Check) bool) {
	if configErr != nil {
		tell(failed(nameConfig, configErr))
		return
	}

	e := examination{probe, probe.Cluster}
	if !tell(passed(nameConfig, "%s", e.cluster.Origin())) {
		return
	}

	// The first request runs a credential plugin, if there is one; alone, so
	// that it runs once.
	git, minor, err := e.cluster.ServerVersion(ctx)
	if !tell(serverChecks(e.cluster, git, minor, err)...) {
		return
	}

	user := start(func() []Check { return e.user(ctx) })
	rights := start(func() []Check { return e.rights(ctx) })
	rest := start(func() [][]Check { return e.target(ctx) })
	if !tell(<-user...) || !tell(<-rights...) {
		return
	}

	for _, checks := range <-rest {
		if !tell(checks...) {
			return
		}
	}
}

// start runs a part beside others.
func start[T any](part func() T) <-chan T {
	answer := make(chan T, 1)
	go func() { answer <- part() }()
	return answer
}

// examination is what the checks share.
type examination struct {
	probe   *kubeflags.Probe
	cluster *kube.Cluster
}

func serverChecks(cluster *kube.Cluster, git string, minor int, err error) []Check {
	switch {
	case kube.CredentialsAtFault(err):
		const why = "not told without credentials that it takes"
		return []Check{unknown(nameServer, "%s: %s", cluster.Server(), why), unknown(nameVersion, why), failed(nameUser, err)}
	case git == "":
		return []Check{failed(nameServer, err)}
	}

	server := passed(nameServer, "%s answers", cluster.Server())
	switch {
	case err != nil:
		return []Check{server, failed(nameVersion, err)}
	case minor < kube.OldestMinor:
		return []Check{server, {nameVersion, Failed, git + ", which has no ephemeral containers",
			fmt.Sprintf("kdiag needs Kubernetes 1.%d or later", kube.OldestMinor)}}
	}

	return []Check{server, passed(nameVersion, "%s, 1.%d or later is needed", git, kube.OldestMinor)}
}

func (e examination) user(ctx context.Context) []Check {
	name, err := e.cluster.WhoAmI(ctx)
	switch {
	case err != nil:
		return []Check{failed(nameUser, err)}
	case name == "":
		return []Check{passed(nameUser, "accepted; the server does not tell as whom")}
	}
	return []Check{passed(nameUser, "accepted as %s", name)}
}

func (e examination) rights(ctx context.Context) []Check {
	commands, err := e.cluster.Rights(ctx, e.probe.PodName())
	if err != nil {
		var checks []Check
		for _, command := range kube.CommandNames() {
			checks = append(checks, notKnown(nameRights+command, err))
		}
		return checks
	}

	checks := make([]Check, len(commands))
	for i, command := range commands {
		checks[i] = passed(nameRights+command.Command, "%s", strings.Join(command.Needed, "; "))
		if len(command.Lacking) > 0 {
			checks[i] = Check{nameRights + command.Command, Failed,
				fmt.Sprintf("no right to %s in namespace %q", strings.Join(command.Lacking, ", "), e.cluster.Namespace), command.Hint()}
		}
	}

	return checks
}

// target makes the checks that a target is for; without one, those that the
// namespace answers.
func (e examination) target(ctx context.Context) [][]Check {
	if !e.probe.Targeted {
		level := e.level(ctx)
		const give = "needs a target: kdiag doctor POD"
		return [][]Check{{unknown(nameTarget, "none given"), unknown(nameStreams, give)}, level,
			{unknown(nameImage, give), unknown(nameKernel, give)}}
	}

	pod, err := e.probe.Find(ctx)
	if err != nil {
		return [][]Check{{failed(nameTarget, err)}}
	}

	err = kube.TakesContainers(pod)
	var target kube.Target
	if err == nil {
		target, err = e.probe.Pick(pod)
	}
	if err != nil {
		return [][]Check{{failed(nameTarget, err)}}
	}

	streams := start(func() []Check { return e.streams(ctx, pod) })
	shell := start(func() []Check { return []Check{e.shell(ctx, target)} })
	redir := start(func() []Check { return []Check{e.redir(ctx, pod)} })
	node := start(func() []Check { return e.node(ctx, pod) })
	return [][]Check{{passed(nameTarget, "%s, on node %s", target, pod.Spec.NodeName)}, <-streams, <-shell, <-redir, <-node}
}

func (e examination) streams(ctx context.Context, pod *corev1.Pod) []Check {
	protocol, err := e.cluster.Streams(ctx, pod.Namespace, pod.Name)
	switch {
	case kube.IsDenied(err):
		return []Check{notKnown(nameStreams, err)}
	case err != nil:
		return []Check{failed(nameStreams, err)}
	case protocol == "SPDY":
		return []Check{passed(nameStreams, "SPDY; the server, or a proxy before it, has no WebSocket")}
	}
	return []Check{passed(nameStreams, "%s", protocol)}
}

func (e examination) shell(ctx context.Context, target kube.Target) Check {
	admission, err := e.cluster.AdmitsShell(ctx, e.probe.Shell(target))
	if err != nil {
		return refusal(nameShell, err)
	}
	check := passed(nameShell, "profile %s: %s", admission.Profile, admission.Profile.Means())
	if admission.Refused != "" {
		check.Detail += fmt.Sprintf("; %s was refused: %s", kube.FirstChoice, admission.Refused)
	}
	return check
}

func (e examination) redir(ctx context.Context, pod *corev1.Pod) Check {
	if _, err := e.cluster.AdmitsNet(ctx, e.probe.Net(pod)); err != nil {
		return refusal(nameRedir, err)
	}
	return passed(nameRedir, "a container with NET_ADMIN is admitted")
}

// refusal tells what is not admitted from what could not be asked.
func refusal(name string, err error) Check {
	var refused *kube.RefusedError
	if errors.As(err, &refused) {
		return failed(name, err)
	}
	return notKnown(name, err)
}

// level goes by the namespace's label, where there is no pod to try.
func (e examination) level(ctx context.Context) []Check {
	level, err := e.cluster.PolicyLevel(ctx)
	if err != nil {
		return []Check{notKnown(nameShell, err), notKnown(nameRedir, err)}
	}

	where := fmt.Sprintf("by the label of namespace %q (%s)", e.cluster.Namespace, level)
	if level == "" {
		where = fmt.Sprintf("unless the cluster's own default says otherwise: namespace %q has no label", e.cluster.Namespace)
	}

	taken, net := kube.AtLevel(level)
	checks := []Check{
		passed(nameShell, "profile %s, %s", taken, where),
		passed(nameRedir, "a container with NET_ADMIN, %s", where),
	}
	if !net {
		checks[1] = Check{nameRedir, Failed, "no container with NET_ADMIN, " + where,
			"redirects need the level privileged; ask who sets the namespace's policies"}
	}

	return checks
}

// node makes the checks on the image and on the kernel.
func (e examination) node(ctx context.Context, pod *corev1.Pod) []Check {
	node, err := e.cluster.Node(ctx, pod.Spec.NodeName)
	check := kernel(node, err)
	if check.Status != Failed {
		if found := e.nftables(ctx, pod); found != nil {
			check = *found
		}
	}
	return []Check{e.image(pod, node, err), check}
}

func (e examination) image(pod *corev1.Pod, node *corev1.Node, nodeErr error) Check {
	container, failure := kube.ImageSeen(pod, e.probe.Image)
	switch {
	case container != "":
		return passed(nameImage, "%s is on the node: container %s has run with it", e.probe.Image, container)
	case nodeErr == nil && kube.HasImage(node, e.probe.Image):
		return passed(nameImage, "%s is on node %s", e.probe.Image, node.Name)
	case failure != nil:
		return Check{nameImage, Failed, e.probe.Image + ": " + failure.Error(),
			"is the reference right, and can the node pull it? --image REF names another"}
	case nodeErr != nil:
		return notKnown(nameImage, fmt.Errorf("%s: only the node knows: %w", e.probe.Image, nodeErr))
	}

	check := unknown(nameImage, "%s is not among the images that node %s lists; whether it can pull it, only the node knows", e.probe.Image, node.Name)
	check.Hint = "kubectl kdiag shell tries it; --image REF names another"
	return check
}

func kernel(node *corev1.Node, nodeErr error) Check {
	if nodeErr != nil {
		return notKnown(nameKernel, nodeErr)
	}

	release := node.Status.NodeInfo.KernelVersion
	version, err := kube.ParseKernel(release)
	switch {
	case err != nil:
		return unknown(nameKernel, "node %s says %v", node.Name, err)
	case !version.RunsShells():
		return Check{nameKernel, Failed, fmt.Sprintf("%s, as node %s says", release, node.Name), "shells need Linux 5.3 or later"}
	case !version.OwnsTables():
		return passed(nameKernel, "%s, as node %s says: nftables without the owner flag (5.12), so a killed manager's rules stay until the next one starts", release, node.Name)
	}

	return passed(nameKernel, "%s, as node %s says: nftables with the owner flag (5.12 or later)", release, node.Name)
}
