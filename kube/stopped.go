package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

// StoppedContainer says what is known of a container that has run and does not run now.
type StoppedContainer struct {
	TargetContainer
	// Facts says in one line how it ended, when, and how often it was restarted.
	Facts string
	// LastWords lists the last lines of its log, printable and not long.
	LastWords []string
	// LogErr says why there are no LastWords, if they could not be read.
	LogErr error
	// Restarts says that the kubelet is going to start it again.
	Restarts bool
}

// DescribeStopped returns what is known of a container that does not run: the named one, or the pod's
// default. ok is false for one that runs, has never run, or does not exist.
func (c *Cluster) DescribeStopped(ctx context.Context, pod *corev1.Pod, name string) (stopped StoppedContainer, ok bool) {
	target := TargetContainer{Pod: pod, Container: name}
	if name == "" {
		target.Container, _ = pickDefaultContainer(pod)
	}

	status := findStatus(pod, target.Container)
	if status == nil || status.State.Running != nil {
		return StoppedContainer{}, false
	}
	ended := lastTermination(status)
	if ended == nil {
		return StoppedContainer{}, false
	}

	stopped = StoppedContainer{
		TargetContainer: target,
		Facts:           describeLastEnd(status, ended, time.Now()),
		Restarts:        isGoingToStart(pod, target.Container, status),
	}
	stopped.LastWords, stopped.LogErr = c.readLastWords(ctx, target, status.State.Terminated == nil)

	return stopped, true
}

// lastTermination returns how a container that does not run has ended last, or nil.
func lastTermination(status *corev1.ContainerStatus) *corev1.ContainerStateTerminated {
	if status.State.Terminated != nil {
		return status.State.Terminated
	}
	return status.LastTerminationState.Terminated
}

// describeLastEnd says how a container has ended last, how long ago, and how often it was restarted.
func describeLastEnd(status *corev1.ContainerStatus, ended *corev1.ContainerStateTerminated, now time.Time) string {
	text := "it ended"
	if !ended.FinishedAt.IsZero() {
		// The node's clock may be ahead.
		text += " " + duration.HumanDuration(max(now.Sub(ended.FinishedAt.Time), 0)) + " ago"
	}
	if ran := ended.FinishedAt.Sub(ended.StartedAt.Time); !ended.StartedAt.IsZero() && ran >= 0 {
		text += ", after running for " + duration.HumanDuration(ran)
	}

	how := describeTermination(ended)
	if signal := fatalSignals[ended.ExitCode]; signal != "" && ended.Reason != "OOMKilled" {
		how = joinReason(how, signal)
	}
	text += ": " + how

	switch status.RestartCount {
	case 0:
		return text
	case 1:
		return text + "; it was restarted once before"
	}
	return fmt.Sprintf("%s; it was restarted %d times before", text, status.RestartCount)
}

// fatalSignals names the signals behind the usual exit codes of programs that were killed.
var fatalSignals = map[int32]string{134: "SIGABRT", 135: "SIGBUS", 136: "SIGFPE", 137: "SIGKILL", 139: "SIGSEGV", 143: "SIGTERM"}

// The bounds on what is shown of a log.
const (
	lastWordsLines  = 5
	lastWordsLength = 200
	lastWordsBytes  = 64 << 10
	lastWordsTime   = 3 * time.Second
)

// readLastWords reads the last lines of a container's log. previous has it be that of the instance
// before the present one. A log that is gone, or a kubelet that does not answer, is no error: there is
// nothing to show.
func (c *Cluster) readLastWords(ctx context.Context, target TargetContainer, previous bool) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, lastWordsTime)
	defer cancel()

	tail := int64(lastWordsLines)
	log, err := c.OpenLog(ctx, LogRequest{
		Namespace: target.Pod.Namespace, Pod: target.Pod.Name, UID: target.Pod.UID, Container: target.Container,
		Previous: previous, Bare: true, Tail: &tail, Limit: lastWordsBytes,
	})
	switch {
	case errors.Is(err, ErrNoLog), errors.Is(err, ErrNoPod), ctx.Err() != nil:
		return nil, nil
	case err != nil:
		return nil, err
	}
	defer log.Close()

	text, err := io.ReadAll(io.LimitReader(log, lastWordsBytes))
	if err != nil && len(text) == 0 {
		return nil, nil //nolint:nilerr // there is nothing to show
	}

	return cutLastWords(string(text)), nil
}

// cutLastWords returns the last lines of a text that say anything, each printable and cut.
func cutLastWords(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(wire.Printable(strings.TrimRight(line, "\r\n")), " ")
		if line == "" {
			continue
		}
		if runes := []rune(line); len(runes) > lastWordsLength {
			line = string(runes[:lastWordsLength-1]) + "…"
		}
		lines = append(lines, line)
	}
	return lines[max(len(lines)-lastWordsLines, 0):]
}
