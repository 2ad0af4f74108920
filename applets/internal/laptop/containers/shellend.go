package containers

import (
	"context"
	"io"
	"time"

	"kdiag/kube"
	"kdiag/mux/wire"
)

// endDescriber is an API that may know what has ended a shell.
type endDescriber interface {
	DescribeShellEnd(ctx context.Context, target kube.TargetContainer, container string) string
}

// probeTimeout bounds the look whether the shell container lives.
const probeTimeout = 5 * time.Second

// DescribeKill says what has killed a process in the shell container, if that was the end of the
// container, of the target or of the pod. It returns "" if the container lives, so that the kill was
// the process's own business.
func (s *Shell) DescribeKill(ctx context.Context) string {
	describer, ok := s.api.(endDescriber)
	if !ok || s.container.Name == "" || s.isAlive(ctx) {
		return ""
	}
	return describer.DescribeShellEnd(ctx, s.target, s.container.Name)
}

// isAlive reports whether a program can still be started in the shell container. The API server
// learns of an end only a second or two later.
func (s *Shell) isAlive(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()

	stdin, closed := io.Pipe()
	_ = closed.Close()
	probe := kube.ExecRequest{Command: []string{wire.Binary, "help", "exit-codes"}, Stdin: stdin, Stdout: io.Discard, Stderr: io.Discard}
	return s.Exec(ctx, probe) == nil
}
