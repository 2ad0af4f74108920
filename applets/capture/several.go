package capture

import (
	"context"
	"errors"
	"fmt"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/podset"
	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// maxPods bounds how many pods are captured at once.
	maxPods = 64
	// maxStarting limits how many of them get their containers at the same time.
	maxStarting = 4
)

// severalPods captures from all pods of a target, as they come and go. What it has is its
// goroutine's own, but for the output.
type severalPods struct {
	options options
	cluster cluster
	request containers.Request
	streams applets.Streams
	out     *counter

	set      *podset.Set
	starting chan struct{}
	ended    chan podEnd
	// seen are the pods that were taken or left out, running counts those that are captured now.
	seen    map[types.UID]bool
	running int
	// begun counts the pods whose capture has begun and ended, failed those that were not captured;
	// first is why the first of them was not.
	begun, failed int
	first         error
	// lost lists the pods whose capture has ended too early.
	lost []types.UID
}

// podEnd says that the capture of a pod is over, and whether it had begun.
type podEnd struct {
	pod   *corev1.Pod
	begun bool
	err   error
}

// captureAll captures from every pod of a target until ctx ends or there is enough.
func (o options) captureAll(
	ctx context.Context, c cluster, request containers.Request, out *counter, streams applets.Streams,
) error {
	finding, cancel := kube.WithTimeout(ctx, request.Timeout)
	defer cancel()
	if _, _, err := c.ChoosePod(finding, request.Pod); err != nil {
		return containers.AddTimeoutHint(finding, err)
	}

	s := &severalPods{
		options: o, cluster: c, request: request, streams: streams, out: out,
		starting: make(chan struct{}, maxStarting), ended: make(chan podEnd), seen: map[types.UID]bool{},
	}
	s.set = podset.New(s.noteBroken)

	return s.run(ctx)
}

// run follows the pods. It returns when the captures of all have ended.
func (s *severalPods) run(ctx context.Context) error {
	capturing, stop := context.WithCancel(ctx)
	defer stop()

	lost := make(chan error, 1)
	go func() { lost <- s.set.FollowAll(capturing, s.cluster, s.request.Pod) }()

	err := s.follow(ctx, capturing, lost)
	stop()
	for s.running > 0 {
		if failed := s.noteEnd(<-s.ended); err == nil {
			err = failed
		}
	}

	return s.conclude(ctx, err)
}

// follow begins captures as pods come, until ctx ends or it cannot go on.
func (s *severalPods) follow(ctx, capturing context.Context, lost <-chan error) error {
	for {
		s.takeNew(capturing)
		switch {
		case s.running > 0:
		case s.first != nil:
			return s.first
		case s.countLost() > 0:
			return nil // conclude says so
		}

		select {
		case <-ctx.Done():
			return nil
		case <-s.set.Changed():
		case end := <-s.ended:
			if err := s.noteEnd(end); err != nil {
				return err
			}
		case err := <-lost:
			lost = nil
			if s.running == 0 || ctx.Err() != nil {
				return unlessOver(ctx, err)
			}
			applets.Note(s.streams.Err, "%v; pods that start from now on are not captured", err)
		}
	}
}

// unlessOver returns an error, and nil once the user has ended the capture.
func unlessOver(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // it is of the end
	}

	return err
}

// takeNew begins to capture from each pod that runs and has not been seen.
func (s *severalPods) takeNew(ctx context.Context) {
	members, _ := s.set.Members()
	for _, m := range members {
		uid := m.Pod.UID
		if s.seen[uid] || !m.IsRunning() || ctx.Err() != nil {
			continue
		}

		s.seen[uid] = true
		if s.running == maxPods {
			applets.Note(s.streams.Err, "pod %s is left out: %d pods are captured already", m.Pod.Name, maxPods)
			continue
		}

		s.running++
		go s.capturePod(ctx, m.Pod)
	}
}

// capturePod captures from one pod until ctx ends or the pod goes.
func (s *severalPods) capturePod(ctx context.Context, pod *corev1.Pod) {
	end := podEnd{pod: pod}
	defer func() { s.ended <- end }()

	request := s.request
	request.Pod = kube.Selection{Kind: "pods", Name: pod.Name}
	handle := containers.NewCapture(s.cluster, request, s.messages(pod))

	select {
	case s.starting <- struct{}{}:
	case <-ctx.Done():
		return
	}
	injected, err := handle.Ensure(ctx)
	<-s.starting
	if err != nil {
		if ctx.Err() == nil { // else it was given up: there is enough, or the user wants no more
			end.err = err
		}
		return
	}

	end.err = s.options.capturePod(ctx, s.cluster, request, handle, injected, s.out, s.streams)
	if end.begun = !errors.Is(end.err, errNotBegun); !end.begun {
		end.err = nil
	}
}

// messages returns what tells the user about one pod of several.
func (s *severalPods) messages(pod *corev1.Pod) containers.Messages {
	note := func(text string) { applets.Note(s.streams.Err, "pod %s: %s", pod.Name, text) }

	return containers.Messages{Note: note, Notice: note}
}

// noteEnd tells why a capture has ended. It returns an error if the others cannot go on.
func (s *severalPods) noteEnd(end podEnd) error {
	s.running--
	if end.begun {
		s.begun++
	}
	if failure := s.out.failure(); failure != nil {
		return failure
	}

	if end.err == nil {
		return nil
	}

	member, _ := s.set.Find(end.pod.UID)
	switch {
	case end.begun && member.End != "":
		applets.Note(s.streams.Err, "pod %s %s; its capture has ended", end.pod.Name, member.End)
	case end.begun:
		s.lost = append(s.lost, end.pod.UID)
		applets.Note(s.streams.Err, "%v; its capture has ended", end.err)
	default:
		s.failed++
		if s.first == nil {
			s.first = end.err
		}
		applets.Note(s.streams.Err, "pod %s is not captured: %v", end.pod.Name, end.err)
	}

	return nil
}

// countLost returns how many captures have ended too early. What a pod's end has cut off is no fault,
// even if that became known only later.
func (s *severalPods) countLost() (lost int) {
	for _, uid := range s.lost {
		if member, _ := s.set.Find(uid); member.End == "" {
			lost++
		}
	}

	return lost
}

// conclude returns how the capture of all pods has ended.
func (s *severalPods) conclude(ctx context.Context, err error) error {
	lost := s.countLost()
	doing := fmt.Sprintf("capture packets of %s", s.request.Pod)
	switch {
	case err != nil:
		return err
	case s.failed > 0:
		return fmt.Errorf("%s: %d of %d pods were not captured", doing, s.failed, len(s.seen))
	case lost > 0:
		return fmt.Errorf("%s: the captures of %d of %d pods have ended too early", doing, lost, len(s.seen))
	case s.begun == 0:
		return context.Cause(ctx)
	}

	return nil
}

// noteBroken tells the user that pods cannot be followed for a while.
func (s *severalPods) noteBroken(err error) {
	if err == nil {
		applets.Note(s.streams.Err, "watching the pods of %s again", s.request.Pod)
		return
	}

	applets.Note(s.streams.Err, "%v; retrying", err)
}
