package shell

import (
	"context"
	"fmt"
	"slices"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/guard"
	"kdiag/applets/internal/laptop/programs"
	"kdiag/applets/internal/laptop/statusline"
	"kdiag/applets/internal/laptop/temppod"
	"kdiag/applets/kubeflags"
	"kdiag/kube"
	"kdiag/mux/wire"

	"github.com/urfave/cli/v2"
	corev1 "k8s.io/api/core/v1"
)

// copyCategory groups the flags of pods that kdiag makes.
const copyCategory = "copy"

// temporaryFlags lists the flags of shells in pods that kdiag makes.
func temporaryFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "copy", Usage: "Make a copy of the pod whose container waits instead of running"},
		applets.OneOf(&cli.StringFlag{
			Name: "copy-containers", Usage: "Which other containers the copy has", Value: string(temppod.WithInit), Category: copyCategory,
		}, string(temppod.TargetOnly), string(temppod.WithInit), string(temppod.AllContainers)),
		applets.OneOf(&cli.StringFlag{
			Name: "copy-claims", Usage: "How the copy gets PersistentVolumeClaims", Value: string(temppod.ClaimsAuto), Category: copyCategory,
		}, string(temppod.ClaimsAuto), string(temppod.ClaimsReadOnly), string(temppod.ClaimsWrite), string(temppod.ClaimsEmpty)),
		&cli.DurationFlag{Name: "deadline", Usage: "How long the copy, or a node's pod, lives at most", Value: temppod.DefaultDeadline, Category: copyCategory},
		&cli.BoolFlag{Name: "keep", Usage: "Don't delete the copy, or a node's pod, when the shell ends", Category: copyCategory},
	}
}

// The flags that make sense only with a pod of kdiag's own, those only for a copy, and those only
// without either.
var (
	onlyTemporary = []string{"deadline", "keep"}
	onlyCopy      = []string{"copy-containers", "copy-claims"}
	neverForOwn   = []string{"profile", "idle-timeout", "keep-capabilities"}
)

// isTemporary reports whether the line asks for a shell in a pod that kdiag makes.
func isTemporary(inv *applets.Invocation) bool {
	_, isNode := kubeflags.NodeTarget(inv)
	return isNode || inv.Flags.Bool("copy")
}

// refuseTemporaryFlags fails if the line has flags of pods that kdiag makes, but is about none.
func refuseTemporaryFlags(inv *applets.Invocation) error {
	return refuseFlags(inv, "needs --copy or node/NAME", slices.Concat(onlyTemporary, onlyCopy))
}

// refuseFlags fails if one of some flags is on the line.
func refuseFlags(inv *applets.Invocation, why string, names []string) error {
	for _, name := range names {
		if inv.Flags.IsSet(name) {
			return applets.Usage("--%s %s", name, why)
		}
	}
	return nil
}

// temporary is a shell in a pod that is made for it.
type temporary struct {
	cluster  *kube.Cluster
	request  containers.Request
	options  options
	streams  applets.Streams
	line     *statusline.Line
	messages containers.Messages
	guard    *guard.Guard
	deadline time.Duration
	keep     bool
}

// runTemporary makes a pod and runs one shell in it.
func runTemporary(ctx context.Context, inv *applets.Invocation) error {
	node, isNode := kubeflags.NodeTarget(inv)
	request, err := parseTemporary(inv, node, isNode)
	if err != nil {
		return err
	}
	if err := checkFlags(inv); err != nil {
		return err
	}
	brought, err := readPrograms(inv)
	if err != nil {
		return err
	}

	cluster, err := kubeflags.Connect(ctx, kubeflags.WithoutWarnings(inv))
	if err != nil {
		return err
	}

	t := newTemporary(inv, cluster, request, brought)
	defer t.line.End()
	defer t.guard.Close()
	if isNode {
		return t.runOnNode(ctx, node)
	}
	return t.runInCopy(ctx, inv)
}

// parseTemporary reads what pod is to be made. Every error is a wrong usage.
func parseTemporary(inv *applets.Invocation, node string, isNode bool) (request containers.Request, err error) {
	switch {
	case isNode && inv.Flags.Bool("copy"):
		return request, applets.Usage("--copy makes a copy of a pod, not of a node")
	case isNode:
		if err := refuseFlags(inv, "needs --copy", onlyCopy); err != nil {
			return request, err
		}
		request, err = kubeflags.ParseNode(inv, node)
	default:
		request, err = kubeflags.ParseShell(inv)
	}

	if err == nil {
		err = refuseFlags(inv, "can't be combined with --copy or node/NAME", neverForOwn)
	}
	if err == nil && inv.Flags.Duration("deadline") < time.Second {
		err = applets.Usage("--deadline must be at least 1s")
	}
	return request, err
}

// newTemporary makes one from a line's flags.
func newTemporary(inv *applets.Invocation, cluster *kube.Cluster, request containers.Request, brought []programs.File) *temporary {
	t := &temporary{
		cluster: cluster, request: request, options: parseOptions(inv, brought), streams: inv.Streams,
		line: statusline.New(inv.Err), deadline: inv.Flags.Duration("deadline"), keep: inv.Flags.Bool("keep"),
		guard: guard.New(kubeflags.Options(inv)),
	}
	if withoutStdin(inv) {
		t.streams = emptyInput(t.streams)
	}

	t.messages = containers.NotesTo(t.line.WriterAbove())
	t.messages.Progress = t.line.Show
	if t.options.quiet {
		// What keeps the pod waiting, or leaves it, is told in any case.
		t.messages.Note, t.messages.Progress = func(string) {}, nil
	}
	return t
}

// printPlan says what is going to be made.
func (t *temporary) printPlan(lines []string) {
	if t.options.quiet {
		return
	}
	t.line.Above(func() {
		for i, line := range lines {
			if i > 0 {
				line = "  " + line
			}
			fmt.Fprintln(t.streams.Err, wire.Printable(line))
		}
	})
}

// lifecycle returns what makes the pod, in which kdiag is at a path.
func (t *temporary) lifecycle(binary string) temppod.Lifecycle {
	return temppod.Lifecycle{
		API: t.cluster, Watcher: t.guard, Messages: t.messages, Timeout: t.request.Timeout, Keep: t.keep,
		End: append([]string{binary}, wire.HoldArguments{End: true}.Args()...),
	}
}

// ownContainer is the container of a pod that was made for a shell.
type ownContainer struct {
	temporary *temporary
	target    kube.TargetContainer
}

func (c ownContainer) Target() kube.TargetContainer { return c.target }
func (c ownContainer) Note(text string)             { c.temporary.messages.Note(text) }

// Image returns kdiag's image.
func (c ownContainer) Image() string { return c.temporary.request.Image }

// DescribeKill says what has killed a process of the container.
func (c ownContainer) DescribeKill(ctx context.Context) string {
	return c.temporary.cluster.DescribeShellEnd(ctx, c.target, c.target.Container)
}

// Exec runs a command in the container. It fills in where that is.
func (c ownContainer) Exec(ctx context.Context, e kube.ExecRequest) error {
	e.Namespace, e.Pod, e.Container = c.target.Pod.Namespace, c.target.Pod.Name, c.target.Container
	e.OpenTimeout = c.temporary.request.Timeout
	return c.temporary.cluster.Exec(ctx, e)
}

// runSession runs one shell in the pod, which adjust tells where it is.
func (t *temporary) runSession(ctx context.Context, pod *corev1.Pod, container string, adjust func(*shellSession)) error {
	target, err := kube.PickContainer(pod, container)
	if err != nil {
		return err
	}
	host := ownContainer{t, target}
	session, err := newShellSession(host, newReplayedInput(readKeys(t.streams, t.options)), t.options)
	if err != nil {
		return err
	}
	session.enter.Target = wire.TargetArguments{}
	adjust(session)

	notePrograms(host, t.options.programs)
	loaded, err := session.bring(ctx, t.options.programs, t.line)
	if err != nil {
		return err
	}
	defer loaded.Release()

	t.line.Clear()
	err = session.run(ctx, t.streams)
	return explainEnd(ctx, host, err)
}
