package kubeflags

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"kdiag/applets"
	"kdiag/kube"

	"github.com/urfave/cli/v2"
)

// ShellFlags are the flags that Shell reads.
func ShellFlags() []cli.Flag {
	return append(append(Target(), Injection()...), Connection()...)
}

// Shell is a request for a shell container, read off a command line.
type Shell struct {
	Cluster *kube.Cluster
	kube.ShellRequest
	selection kube.Selection
	container string
	injected  string
}

// ParseShell reads the flags; it asks the cluster nothing.
func ParseShell(inv *applets.Invocation) (*Shell, error) {
	s := &Shell{}
	var err error
	if s.selection, s.container, err = Selection(inv); err != nil {
		return nil, err
	}
	if s.PullPolicy, err = PullPolicy(inv); err != nil {
		return nil, err
	}
	s.Image = Image(inv)
	s.Manager = kube.Manager{
		Role: "shell", Version: inv.Build.Version, IdleTimeout: inv.Flags.Duration("idle-timeout"),
	}
	if s.Manager.Profile, err = kube.ParseProfile(inv.Flags.String("profile")); err != nil {
		return nil, applets.Usage("--profile: %w", err)
	}
	if inv.Flags.Duration("timeout") <= 0 || s.Manager.IdleTimeout <= 0 {
		return nil, applets.Usage("--timeout and --idle-timeout are longer than 0")
	}
	if s.Cluster, err = Connect(inv); err != nil {
		return nil, err
	}
	s.Manager.User, err = UserKey(inv)
	return s, err
}

// Ensure finds the target and has a shell container run beside it. Where the
// container was to be had by choice, notes says which one was taken.
func (s *Shell) Ensure(ctx context.Context, notes io.Writer) (kube.Injected, error) {
	pod, err := s.Cluster.FindPod(ctx, s.selection)
	if err != nil {
		return kube.Injected{}, timedOut(ctx, err)
	}
	if s.Target, err = kube.PickContainer(pod, s.container); err != nil {
		return kube.Injected{}, err
	}
	if len(s.Target.Others) > 0 {
		fmt.Fprintf(notes, "note: container %s; there are also: %s (choose with -c)\n",
			s.Target.Container, strings.Join(s.Target.Others, ", "))
	}
	s.Manager.Target = s.Target.Container
	injected, err := s.Cluster.EnsureShell(ctx, s.ShellRequest)
	s.injected = injected.Name
	return injected, timedOut(ctx, err)
}

// Ended reports whether the container that Ensure returned, if any, has ended.
func (s *Shell) Ended(ctx context.Context) bool {
	return s.injected != "" && s.Cluster.Ended(ctx, s.Target.Pod.Namespace, s.Target.Pod.Name, s.injected)
}

// timedOut adds the flag to turn when it was --timeout that ended a run.
func timedOut(ctx context.Context, err error) error {
	var late *kube.TimeoutError
	if err != nil && errors.As(context.Cause(ctx), &late) {
		return applets.WithHint(err, "--timeout waits longer than %s", late.After)
	}
	return err
}
