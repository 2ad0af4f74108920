package cp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/inspection"
	"kdiag/applets/internal/laptop/statusline"
	"kdiag/kube"
	"kdiag/mux/filecopy"
	"kdiag/mux/wire"
)

// transfer is one run of the command.
type transfer struct {
	copyOptions
	streams applets.Streams
	line    *statusline.Line
	shell   *containers.Shell
	// begun says that the pod has answered, so that nothing is tried again.
	begun bool

	meter    meter
	link     *filecopy.Link
	problems atomic.Int64
	denied   atomic.Bool
	// stdinEnded says that all of stdin was read, if that is what is copied.
	stdinEnded atomic.Bool
	hello      wire.FilesHello
}

// use copies by an applet in the shell container.
func (t *transfer) use(ctx context.Context, container kube.Injected) error {
	t.line.Clear()
	if note := containers.GrantNote(container); note != "" {
		t.shell.Note(note)
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stdin, toPod := io.Pipe()
	t.link = filecopy.NewLink(nil, toPod, filecopy.LinkOptions{
		OwnRoom: wire.FilesRoomOnLaptop, PeerRoom: wire.FilesRoomInPod, Problem: func(p wire.FilesProblem) { _ = t.tell(p) },
	})
	in := t.startApplet(ctx, stdin)

	late := time.AfterFunc(t.shell.Timeout(), func() { cancel(&kube.TimeoutError{After: t.shell.Timeout()}) })
	defer late.Stop()
	err := t.greet()
	if err != nil {
		return in.explain(ctx, t, err)
	}
	late.Stop()

	stopShowing := t.showProgress()
	err = t.await(ctx, t.copyFiles)
	stopShowing()
	if err != nil {
		return in.explain(ctx, t, err)
	}
	return t.result()
}

// exec is the one of the applet in the pod.
type exec struct {
	stdin  *io.PipeReader
	stderr *containers.ErrorText
	ended  chan error
}

// startApplet runs "kdiag files" in the container until ctx ends.
func (t *transfer) startApplet(ctx context.Context, stdin *io.PipeReader) *exec {
	x := &exec{stdin: stdin, stderr: &containers.ErrorText{}, ended: make(chan error, 1)}
	fromPod := t.link.Input()
	stop := func() {
		fromPod.End()
		_ = stdin.CloseWithError(filecopy.ErrCut)
	}

	request := kube.ExecRequest{Command: t.command(), Stdin: stdin, Stdout: fromPod, Stderr: x.stderr}
	go func() {
		x.ended <- t.shell.Exec(ctx, request)
		stop()
	}()
	// What waits for the exec's streams waits no longer than for ctx.
	context.AfterFunc(ctx, stop)
	return x
}

func (t *transfer) command() []string {
	target := t.shell.Target()
	return append([]string{wire.Binary}, wire.FilesArguments{
		Target: wire.TargetArguments{ID: target.ID, SharedPIDs: target.SharesPIDs()},
		Write:  t.upload, AsTarget: t.asTarget, Preserve: t.preserve,
	}.Args()...)
}

// greet waits for the pod, and says what is to be copied.
func (t *transfer) greet() error {
	if err := t.link.Start(); err != nil {
		return err
	}
	frame, err := t.link.Receive()
	if err != nil {
		return err
	}
	defer t.link.Release(frame)
	if frame.Kind != wire.FrameHello {
		return fmt.Errorf("the pod sent a frame %q where its greeting was expected", frame.Kind)
	}
	if err := json.Unmarshal(frame.Content, &t.hello); err != nil {
		return fmt.Errorf("greeting of the pod: %w", err)
	}

	t.begun = true
	t.noteWriter()
	return nil
}

// noteWriter says as whom files are written in the container.
func (t *transfer) noteWriter() {
	if !t.upload || t.asTarget {
		return
	}
	text := fmt.Sprintf("files are written in the container as user %d", t.hello.UID)
	if t.hello.UID != t.hello.TargetUID {
		text += fmt.Sprintf("; the application runs as user %d, as which --as-target writes", t.hello.TargetUID)
	}
	t.shell.Note(text)
}

// await does what may wait for the user's own streams, until ctx ends.
func (t *transfer) await(ctx context.Context, do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-t.stdinIsNeedless():
		if t.stdinEnded.Load() {
			return <-done // it waits for the link only
		}
		return t.link.Failure()
	case <-ctx.Done():
	}

	// The link has ended, too. Who waits for files ends at once, and keeps or removes what is
	// incomplete; who waits for stdin or stdout may never end.
	const toCleanUp = 5 * time.Second
	patience := time.NewTimer(toCleanUp)
	defer patience.Stop()
	if t.local == stream {
		patience.Reset(0)
	}
	select {
	case err := <-done:
		return err
	case <-patience.C:
		return context.Cause(ctx)
	}
}

// stdinIsNeedless is closed when nobody takes what comes over stdin any more, which may be never.
func (t *transfer) stdinIsNeedless() <-chan struct{} {
	if t.upload && t.local == stream {
		return t.link.Ended()
	}
	return nil
}

// stdinToCopy is stdin, and notes its end.
type stdinToCopy struct{ *transfer }

func (s stdinToCopy) Read(p []byte) (int, error) {
	n, err := s.streams.In.Read(p)
	if err != nil {
		s.stdinEnded.Store(true)
	}
	return n, err
}

// explain says what has ended a copy: what the pod said, or the exec, or what was noticed first.
func (x *exec) explain(ctx context.Context, t *transfer, err error) error {
	_ = x.stdin.Close()
	var failure *filecopy.FailureError
	if errors.As(err, &failure) {
		return t.explainFailure(failure)
	}
	if !errors.Is(err, filecopy.ErrCut) {
		return t.withPartial(err)
	}

	var ended error
	select {
	case ended = <-x.ended:
	case <-ctx.Done():
		ended = context.Cause(ctx)
	}
	var exit *kube.CommandExitError
	switch {
	case errors.As(ended, &exit):
		ended = inspection.ExplainExit(ctx, t.shell, "copy files of", exit, x.stderr)
	case ended == nil:
		ended = err
	}
	if !t.begun {
		return ended
	}
	return t.withResumeHint(ctx, ended, err)
}
