package kubeflags

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"kdiag/applets"
	"kdiag/kube"
	"kdiag/mux"
	"kdiag/mux/wire"

	"github.com/urfave/cli/v2"
)

// ShellFlags are the flags that Shell reads.
func ShellFlags() []cli.Flag {
	profile := applets.OneOf(&cli.StringFlag{Name: "profile", Usage: "How to join the target", Value: string(kube.ProfileAuto)}, kube.Profiles()...)
	return slices.Concat(Target("Container name (default the pod's default container)"), []cli.Flag{profile},
		Injection("1m with profile chroot or setns, else 10m"), Connection())
}

// Shell is a request for a shell container, read off a command line.
type Shell struct {
	Cluster *kube.Cluster
	kube.ShellRequest
	selection kube.Selection
	container string
	injected  string
	user      *user
}

// ParseShell reads the flags; it asks the cluster nothing.
func ParseShell(inv *applets.Invocation) (*Shell, error) {
	s := &Shell{}
	var err error
	if s.selection, s.container, err = Selection(inv, inv.Args); err != nil {
		return nil, err
	}

	c, err := parseContainer(inv)
	if err != nil {
		return nil, err
	}

	s.Cluster, s.Image, s.PullPolicy, s.Manager, s.user = c.cluster, c.image, c.pullPolicy, c.manager, c.user
	s.Ledger = c.ledger
	s.Manager.Role, s.Manager.Profile = wire.RoleShell, kube.Profile(inv.Flags.String("profile"))
	return s, nil
}

// Ensure finds the target and has a shell container run beside it. Where the
// container was to be had by choice, notes says which one was taken, and why one
// does not start.
func (s *Shell) Ensure(ctx context.Context, notes io.Writer) (kube.Injected, error) {
	pod, key, err := s.user.find(ctx, s.Cluster, s.selection)
	if err != nil {
		return kube.Injected{}, err
	}
	if s.Target, err = kube.PickContainer(pod, s.container); err != nil {
		return kube.Injected{}, err
	}

	if len(s.Target.Others) > 0 {
		applets.Note(notes, "container %s; there are also: %s (choose with -c)",
			s.Target.Container, strings.Join(s.Target.Others, ", "))
	}

	if s.Notice == nil {
		s.Notice = noticeOn(notes)
	}

	s.Manager.User, s.Manager.Target = mux.PublicText(key), s.Target.Container
	injected, err := s.Cluster.EnsureShell(ctx, s.ShellRequest)
	s.injected = injected.Name
	return injected, explainEnsure(ctx, err)
}

// Ended reports whether the container that Ensure returned, if any, has ended.
func (s *Shell) Ended(ctx context.Context) bool {
	return s.injected != "" && s.Cluster.Ended(ctx, s.Target.Pod.Namespace, s.Target.Pod.Name, s.injected)
}

// explainEnsure adds the flag to turn where one is why there is no container.
func explainEnsure(ctx context.Context, err error) error {
	var other *kube.IdleTimeoutError
	if errors.As(err, &other) {
		return &applets.ExitError{Code: applets.ExitUsage, Err: applets.WithHint(err,
			"nothing changes a container that is there: leave out --idle-timeout, or wait until it has ended")}
	}
	return timedOut(ctx, err)
}

// timedOut adds the flag to turn when it was --timeout that ended a run.
func timedOut(ctx context.Context, err error) error {
	var late *kube.TimeoutError
	if err != nil && errors.As(context.Cause(ctx), &late) {
		return applets.WithHint(err, "--timeout waits longer than %s", late.After)
	}
	return err
}
