package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"kdiag/applets/internal/laptop/containers"
	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
)

// The names of the checks, in order. There is a check of rights for each command.
const (
	nameConfig  = "kubeconfig"
	nameServer  = "API server"
	nameVersion = "version"
	nameUser    = "credentials"
	nameRights  = "rights: "
	nameCopy    = "shell --copy"
	nameNode    = "shell node/NAME"
	nameTarget  = "target"
	nameStreams = "streams"
	nameShell   = "pod security: shell"
	nameRedir   = "pod security: redir"
	nameCapture = "pod security: capture"
	nameImage   = "image"
	nameKernel  = "kernel"
)

func checkNames() []string {
	list := []string{nameConfig, nameServer, nameVersion, nameUser}
	for _, command := range kube.CommandNames() {
		list = append(list, nameRights+command)
	}
	return append(list, nameCopy, nameNode, nameTarget, nameStreams, nameShell, nameRedir, nameCapture, nameImage, nameKernel)
}

// runChecks makes every check and passes each to add, in order. Checks that do not
// depend on each other run in parallel. configErr says why there is no cluster to ask. It
// returns the target, or nil if there is none.
func runChecks(ctx context.Context, e examination, configErr error, add func(Check)) *kube.TargetContainer {
	left := checkNames()
	// tell passes on checks, in the order of their names. It returns false if the
	// remaining checks make no sense.
	tell := func(checks ...Check) bool {
		for _, check := range checks {
			left = left[1:]
			add(check)
			if check.Status == Failed && endsChecks(check.Name) {
				return false
			}
		}
		return true
	}

	target := runStages(ctx, e, configErr, tell)
	for _, name := range left {
		add(unknownCheck(name, "skipped: see above"))
	}

	return target
}

// endsChecks reports whether the failure of a check makes all later ones pointless.
func endsChecks(name string) bool {
	return name == nameConfig || name == nameServer || name == nameUser
}

func runStages(ctx context.Context, e examination, configErr error, tell func(...Check) bool) *kube.TargetContainer {
	if configErr != nil {
		tell(failedCheck(nameConfig, configErr))
		return nil
	}

	if !tell(passedCheck(nameConfig, "%s", e.cluster.Origin())) {
		return nil
	}

	// The first request is sent alone, so that a credential plugin runs only once.
	version, minor, err := e.cluster.ReadServerVersion(ctx)
	if !tell(checkServer(e.cluster, version, minor, err)...) {
		return nil
	}

	user := startPart(func() []Check { return e.checkUser(ctx) })
	rights := startPart(func() []Check { return e.checkRights(ctx) })
	own := startPart(func() []Check { return e.checkOwnPods(ctx) })
	rest := startPart(func() targetChecks { return e.checkTarget(ctx) })
	if !tell(<-user...) || !tell(<-rights...) || !tell(<-own...) {
		return nil
	}

	found := <-rest
	for _, checks := range found.checks {
		if !tell(checks...) {
			break
		}
	}

	return found.target
}

// startPart runs a part of the checks in the background.
func startPart[T any](part func() T) <-chan T {
	answer := make(chan T, 1)
	go func() { answer <- part() }()
	return answer
}

// examination holds what the checks share.
type examination struct {
	cluster *kube.Cluster
	// request is for the containers that shell and redir would add. It names a
	// pod only where hasTarget is true.
	request   containers.Request
	hasTarget bool
	// user is the public half of the user's key; empty where there is none yet.
	user string
}

// podName returns the name of the pod if the target is one by name, else "".
func (e examination) podName() string {
	if e.request.Pod.Kind != "pods" {
		return ""
	}
	return e.request.Pod.Name
}

func checkServer(cluster *kube.Cluster, version string, minor int, err error) []Check {
	switch {
	case kube.IsCredentialsError(err):
		const why = "unknown without valid credentials"
		return []Check{unknownCheck(nameServer, "%s: %s", cluster.ServerAddress(), why), unknownCheck(nameVersion, why), failedCheck(nameUser, err)}
	case version == "":
		return []Check{failedCheck(nameServer, err)}
	}

	server := passedCheck(nameServer, "%s answers", cluster.ServerAddress())
	switch {
	case err != nil:
		return []Check{server, failedCheck(nameVersion, err)}
	case minor < kube.OldestMinor:
		return []Check{server, {nameVersion, Failed, version + " doesn't support ephemeral containers",
			fmt.Sprintf("kdiag needs Kubernetes 1.%d or later", kube.OldestMinor)}}
	}

	return []Check{server, passedCheck(nameVersion, "%s (1.%d or later is required)", version, kube.OldestMinor)}
}

func (e examination) checkUser(ctx context.Context) []Check {
	name, err := e.cluster.WhoAmI(ctx)
	switch {
	case err != nil:
		return []Check{failedCheck(nameUser, err)}
	case name == "":
		return []Check{passedCheck(nameUser, "accepted; the server doesn't say as which user")}
	}
	return []Check{passedCheck(nameUser, "accepted as %s", name)}
}

func (e examination) checkRights(ctx context.Context) []Check {
	commands, err := e.cluster.CheckRights(ctx, e.podName())
	if err != nil {
		var checks []Check
		for _, command := range kube.CommandNames() {
			checks = append(checks, unansweredCheck(nameRights+command, err))
		}
		return checks
	}

	checks := make([]Check, len(commands))
	for i, command := range commands {
		checks[i] = passedCheck(nameRights+command.Command, "%s", strings.Join(command.Needed, "; "))
		if len(command.Lacking) > 0 {
			checks[i] = Check{nameRights + command.Command, Failed,
				fmt.Sprintf("not allowed to %s in namespace %q", strings.Join(command.Lacking, ", "), e.cluster.Namespace), command.Hint()}
		}
	}

	return checks
}

// targetChecks holds the checks of a target, and the target if it was found.
type targetChecks struct {
	target *kube.TargetContainer
	checks [][]Check
}

// checkTarget makes the checks that need a target. Without a target, it checks what
// the namespace can tell.
func (e examination) checkTarget(ctx context.Context) targetChecks {
	if !e.hasTarget {
		level := e.checkPolicyLevel(ctx)
		const give = "needs a target: kdiag doctor POD"
		return targetChecks{checks: [][]Check{{unknownCheck(nameTarget, "none given"), unknownCheck(nameStreams, give)}, level,
			{unknownCheck(nameImage, give), unknownCheck(nameKernel, give)}}}
	}

	pod, err := e.cluster.FindPod(ctx, e.request.Pod)
	err = containers.AddTimeoutHint(ctx, err)
	if err == nil {
		err = kube.CheckTakesContainers(pod)
	}
	var target kube.TargetContainer
	if err == nil {
		target, err = kube.PickContainer(pod, e.request.Container)
	}
	if err == nil {
		err = kube.CheckAcceptsContainers(pod, e.user)
	}
	if err != nil {
		return targetChecks{checks: [][]Check{{failedCheck(nameTarget, err)}}}
	}

	streams := startPart(func() []Check { return e.checkStreams(ctx, pod) })
	shell := startPart(func() []Check { return []Check{e.checkShell(ctx, target)} })
	redir := startPart(func() []Check { return []Check{e.checkRedir(ctx, pod)} })
	capture := startPart(func() []Check { return []Check{e.checkCapture(ctx, pod)} })
	node := startPart(func() []Check { return e.checkNode(ctx, pod) })
	found := passedCheck(nameTarget, "%s, on node %s", target, pod.Spec.NodeName)
	return targetChecks{&target, [][]Check{{found}, <-streams, <-shell, <-redir, <-capture, <-node}}
}

func (e examination) checkStreams(ctx context.Context, pod *corev1.Pod) []Check {
	route, err := e.cluster.ProbeStreams(ctx, pod.Namespace, pod.Name)
	if err == nil {
		// What lets a port-forward through may still refuse an exec. Rights have a check of their own.
		if execErr := e.cluster.ProbeExec(ctx, pod.Namespace, pod.Name); !kube.IsDenied(execErr) {
			err = execErr
		}
	}
	switch {
	case kube.IsDenied(err):
		return []Check{unansweredCheck(nameStreams, err)}
	case err != nil:
		return []Check{failedCheck(nameStreams, err)}
	case route.MissingRight != "":
		return []Check{passedCheck(nameStreams, "%s; you don't have the right to %s, which WebSocket needs", route.Protocol, route.MissingRight)}
	case route.Protocol == kube.StreamsSPDY:
		return []Check{passedCheck(nameStreams, "%s; the server, or a proxy before it, doesn't support WebSocket", route.Protocol)}
	}
	return []Check{passedCheck(nameStreams, "%s", route.Protocol)}
}

func (e examination) checkShell(ctx context.Context, target kube.TargetContainer) Check {
	admission, err := e.cluster.AdmitsShell(ctx, containers.PreviewShell(e.request, e.user, target))
	if err != nil {
		return refusedCheck(nameShell, err)
	}
	check := passedCheck(nameShell, "profile %s: %s", admission.Profile, kube.DescribeProfile(admission.Profile))
	if admission.Refused != "" {
		check.Detail += fmt.Sprintf("; %s was refused: %s", kube.FirstChoice, admission.Refused)
	}
	return doubtChanged(check, admission.Changed)
}

// doubtChanged returns a check that passed as unknown, if the cluster did with a real container what
// it says that it would not do.
func doubtChanged(check Check, changed *kube.ChangedError) Check {
	if changed != nil {
		check.Status = Unknown
		check.Detail += "; but " + changed.Error()
		check.Hint = "a webhook or policy may not do in a dry run what it does then: try the command"
	}
	return check
}

func (e examination) checkRedir(ctx context.Context, pod *corev1.Pod) Check {
	admission, err := e.cluster.AdmitsNet(ctx, containers.PreviewNet(e.request, e.user, pod))
	if err != nil {
		return refusedCheck(nameRedir, err)
	}
	return doubtChanged(passedCheck(nameRedir, "a container with NET_ADMIN is allowed"), admission.Changed)
}

func (e examination) checkCapture(ctx context.Context, pod *corev1.Pod) Check {
	admission, err := e.cluster.AdmitsCapture(ctx, containers.PreviewCapture(e.request, e.user, pod))
	if err != nil {
		return refusedCheck(nameCapture, err)
	}
	check := passedCheck(nameCapture, "profile %s: %s", admission.Profile, kube.DescribeProfile(admission.Profile))
	return doubtChanged(check, admission.Changed)
}

// refusedCheck returns a failed check if the cluster refused a container, or an
// unanswered one if it could not be asked.
func refusedCheck(name string, err error) Check {
	var refused *kube.RefusedError
	if errors.As(err, &refused) {
		return failedCheck(name, err)
	}
	return unansweredCheck(name, err)
}

// checkPolicyLevel goes by the namespace's label, if there is no pod to try it on.
func (e examination) checkPolicyLevel(ctx context.Context) []Check {
	level, err := e.cluster.ReadPodSecurityLevel(ctx)
	if err != nil {
		return []Check{unansweredCheck(nameShell, err), unansweredCheck(nameRedir, err), unansweredCheck(nameCapture, err)}
	}

	where := fmt.Sprintf("according to the label of namespace %q (%s)", e.cluster.Namespace, level)
	if level == "" {
		where = fmt.Sprintf("unless the cluster's default is stricter: namespace %q has no Pod Security label", e.cluster.Namespace)
	}

	taken, net := kube.ProfileAtLevel(level)
	checks := []Check{
		passedCheck(nameShell, "profile %s is allowed, %s", taken, where),
		unknownCheck(nameRedir, "a container with NET_ADMIN is allowed, %s; whether a webhook or policy drops NET_ADMIN shows only with a target", where),
	}
	if !net {
		checks[1] = Check{nameRedir, Failed, "no container with NET_ADMIN is allowed, " + where,
			"redirects need Pod Security level privileged; ask your cluster administrator"}
	}

	return append(checks, checkCaptureLevel(level, where))
}

// checkCaptureLevel goes by a Pod Security level.
func checkCaptureLevel(level, where string) Check {
	taken, admitted := kube.CaptureProfileAtLevel(level)
	if !admitted {
		return Check{nameCapture, Failed, "no container with NET_RAW is allowed, " + where,
			"captures need Pod Security level baseline or privileged; ask your cluster administrator"}
	}
	return passedCheck(nameCapture, "profile %s is allowed, %s", taken, where)
}

// checkNode checks the image and the kernel.
func (e examination) checkNode(ctx context.Context, pod *corev1.Pod) []Check {
	node, err := e.cluster.ReadNode(ctx, pod.Spec.NodeName)
	check := checkKernel(node, err)
	if check.Status != Failed {
		if found := e.checkNftables(ctx, pod); found != nil {
			check = *found
		}
	}
	return []Check{e.checkImage(pod, node, err), check}
}

func (e examination) checkImage(pod *corev1.Pod, node *corev1.Node, nodeErr error) Check {
	container, failure := kube.FindPulledImage(pod, e.request.Image)
	switch {
	case container != "":
		return passedCheck(nameImage, "%s is on the node: container %s has used it", e.request.Image, container)
	case failure != nil:
		return Check{nameImage, Failed, e.request.Image + ": " + failure.Error(),
			"check the image name, and whether the node can pull it with the pod's imagePullSecrets; or choose another with --image"}
	case nodeErr == nil && kube.HasImage(node, e.request.Image):
		return passedCheck(nameImage, "%s is on node %s", e.request.Image, node.Name)
	case nodeErr != nil:
		return unansweredCheck(nameImage, fmt.Errorf("%s may or may not be on the node: %w", e.request.Image, nodeErr))
	}

	check := unknownCheck(nameImage, "%s is not listed on node %s, which may still be able to pull it", e.request.Image, node.Name)
	check.Hint = "try it with kubectl kdiag shell, or choose another image with --image"
	return check
}

func checkKernel(node *corev1.Node, nodeErr error) Check {
	if nodeErr != nil {
		return unansweredCheck(nameKernel, nodeErr)
	}

	release := node.Status.NodeInfo.KernelVersion
	version, err := kube.ParseKernel(release)
	switch {
	case err != nil:
		return unknownCheck(nameKernel, "node %s: %v", node.Name, err)
	case !version.RunsShells():
		return Check{nameKernel, Failed, fmt.Sprintf("%s on node %s", release, node.Name),
			fmt.Sprintf("shells need Linux %s or later", kube.OldestShellKernel)}
	case !version.OwnsTables():
		return passedCheck(nameKernel, "%s on node %s: nftables without the owner flag (needs %s), so the rules of a killed manager stay until the next one starts",
			release, node.Name, kube.OldestOwnerKernel)
	}

	return passedCheck(nameKernel, "%s on node %s: nftables with the owner flag", release, node.Name)
}
