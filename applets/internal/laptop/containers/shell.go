package containers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"kdiag/kube"
	"kdiag/mux"
)

// Shell is the handle on a shell container beside a target.
type Shell struct {
	api      API
	request  Request
	messages Messages
	owner    *owner

	// toldStopped says that the user knows why the target does not run.
	toldStopped bool

	// target and container are what Ensure found and made.
	target    kube.TargetContainer
	container kube.Injected
}

// NewShell returns a handle, and begins to read the user's key. It asks the
// cluster nothing yet.
func NewShell(api API, r Request, m Messages) *Shell {
	return &Shell{api: api, request: r, messages: m, owner: loadOwner(m.Notice)}
}

// Target returns the container beside which Ensure has the shell container run.
func (s *Shell) Target() kube.TargetContainer { return s.target }

// Image returns the image of the shell container.
func (s *Shell) Image() string { return s.request.Image }

// Note tells the user something, as the handle itself does.
func (s *Shell) Note(text string) { s.messages.Note(text) }

// Notice tells the user what they should know in any case.
func (s *Shell) Notice(text string) { s.messages.Notice(text) }

// KeepTarget has later uses look for the same pod and container as Ensure has found, which it returns,
// and for no other one that was meant as well.
func (s *Shell) KeepTarget() kube.TargetContainer {
	s.request.Pod = kube.Selection{Kind: "pods", Name: s.target.Pod.Name}
	s.request.Container = s.target.Container
	return s.target
}

// CheckGone returns an error if a target, or its pod, has ended for good.
func (s *Shell) CheckGone(ctx context.Context, target kube.TargetContainer) error {
	ctx, cancel := context.WithTimeout(ctx, checkGoneTimeout)
	defer cancel()

	if err := s.api.CheckGone(ctx, target.Pod, target.Container); err != nil {
		return fmt.Errorf("look at %s: %w", target, err)
	}
	return nil
}

// Timeout returns the bound on the wait for the container and for each connection to it.
func (s *Shell) Timeout() time.Duration { return s.request.Timeout }

// Ensure finds the target and has a shell container run beside it: one that
// this user's kdiag made earlier, or a new one.
func (s *Shell) Ensure(ctx context.Context) (kube.Injected, error) {
	ctx, cancel := kube.WithTimeout(ctx, s.request.Timeout)
	defer cancel()

	return s.ensureBesideLiving(ctx)
}

const (
	// maxStarts limits how often a container is added, or looked for, beside a target that ends again
	// and again: a pod keeps the entry of each.
	maxStarts = 3
	// targetNewsTime limits the wait for the news that a target has ended.
	targetNewsTime = 3 * time.Second
)

// ensureBesideLiving does what Ensure does within the time that ctx leaves. kdiag's container ends
// with the first process of its target, or does not start: beside a target that was started anew
// meanwhile it tries again.
func (s *Shell) ensureBesideLiving(ctx context.Context) (kube.Injected, error) {
	for try := 1; ; try++ {
		made, err := s.ensureOnce(ctx)
		if try == maxStarts || !kube.IsNotStarted(err) || !s.api.TargetChanged(ctx, s.target, targetNewsTime) {
			return made, explainEnsure(ctx, err)
		}
		s.noteRestart()
	}
}

// noteRestart says that the target has ended, and that kdiag begins anew.
func (s *Shell) noteRestart() {
	s.messages.Note(fmt.Sprintf("container %s has restarted meanwhile; trying again", s.target.Container))
}

// ensureOnce finds the target, which it waits for, and has a shell container run beside it.
func (s *Shell) ensureOnce(ctx context.Context) (kube.Injected, error) {
	s.container = kube.Injected{}

	found, key, err := s.owner.findPod(ctx, s.api, s.request.Pod)
	if err != nil {
		return kube.Injected{}, err
	}
	s.noteStopped(ctx, found.pod)
	if s.target, err = s.api.AwaitContainer(ctx, found.pod, s.request.Container, s.messages.Note); err != nil {
		return kube.Injected{}, s.hintCopy(found.pod, err)
	}
	if s.target.Pod.DeletionTimestamp != nil {
		s.messages.Note(fmt.Sprintf("pod %s is terminating; this works until its application has ended", s.target.Pod.Name))
	}

	if len(s.target.Others) > 0 {
		s.messages.Note(fmt.Sprintf("using container %s; the pod also has: %s (choose one with -c)",
			s.target.Container, strings.Join(s.target.Others, ", ")))
	}

	if err := s.request.checkMemory(ctx, s.api, found.pod); err != nil {
		return kube.Injected{}, err
	}

	request := s.request.shellRequest(mux.PublicText(key), s.target)
	request.Manager.IdleTimeout = s.owner.chooseIdleTimeout(s.request.IdleTimeout)
	progress, silence := s.messages.ProgressUntil()
	defer silence()
	request.Ledger, request.Progress, request.Notice = s.owner.ledger, progress, s.messages.Note
	s.container, err = s.api.EnsureShell(ctx, request)
	return s.container, s.hintCopyInstead(err)
}

// Exec runs a command in the container that Ensure returned, as kube.Cluster's
// Exec does. It fills in the namespace, the pod and the container.
func (s *Shell) Exec(ctx context.Context, e kube.ExecRequest) error {
	e.Namespace, e.Pod, e.Container = s.target.Pod.Namespace, s.target.Pod.Name, s.container.Name
	e.OpenTimeout = s.request.Timeout
	return s.api.Exec(ctx, e)
}

// Use has a shell container run and calls use with it. A container that ended
// between the two, as an idle one does, or with its target, is replaced, and use is
// called again, if mayRepeat says of its error that this does no harm. What
// ended with an exit code of its own is never repeated.
func (s *Shell) Use(ctx context.Context, use func(context.Context, kube.Injected) error, mayRepeat func(error) bool) error {
	// All tries together have the time that one has.
	ensuring, cancel := kube.WithTimeout(ctx, s.request.Timeout)
	defer cancel()

	for try := 1; ; try++ {
		container, err := s.ensureBesideLiving(ensuring)
		if err != nil {
			return err
		}

		err = use(ctx, container)
		if err == nil || ctx.Err() != nil || try == maxStarts || !s.mayUseAnother(ctx, err, mayRepeat) {
			return err
		}
	}
}

// mayUseAnother reports whether a use that failed may be repeated, and would fare better.
func (s *Shell) mayUseAnother(ctx context.Context, err error, mayRepeat func(error) bool) bool {
	var exit *kube.CommandExitError
	var noProcess *NoProcessError
	switch {
	case !mayRepeat(err):
		return false
	case errors.As(err, &noProcess):
		if s.api.TargetChanged(ctx, s.target, targetNewsTime) {
			s.noteRestart()
			return true
		}
		return false
	case errors.As(err, &exit):
		return false
	}
	return s.HasEnded(ctx)
}

// HasEnded reports whether the container that Ensure returned, if any, has
// ended. The API learns of it late, so a no takes a few seconds.
func (s *Shell) HasEnded(ctx context.Context) bool {
	return s.container.Name != "" && s.api.ContainerEnded(ctx, s.target.Pod.Namespace, s.target.Pod.Name, s.container.Name)
}
