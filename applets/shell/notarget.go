package shell

import (
	"bytes"
	"errors"
	"io"

	"kdiag/applets/internal/laptop/containers"
	"kdiag/kube"
	"kdiag/mux/wire"
)

// maxHeld bounds what is held back of the launcher's error.
const maxHeld = 4096

// launcherErrors passes on what the launcher and its shell print, but for a first line that says
// that the target has no process: it was started anew since it was found, and kdiag tries again.
type launcherErrors struct {
	out    io.Writer
	marker []byte
	held   []byte
	past   bool   // something else has come
	answer func() // is called then
}

// newLauncherErrors makes one for a target with an ID.
func newLauncherErrors(out io.Writer, id string, answer func()) *launcherErrors {
	return &launcherErrors{out: out, marker: []byte(wire.ErrorPrefix + wire.NoProcess(id)), answer: answer}
}

func (l *launcherErrors) Write(p []byte) (int, error) {
	if l.past {
		return l.out.Write(p)
	}

	l.held = append(l.held, p...)
	if len(l.held) <= maxHeld && (bytes.HasPrefix(l.held, l.marker) || bytes.HasPrefix(l.marker, l.held)) {
		return len(p), nil
	}

	l.answer()
	return len(p), l.flush()
}

// flush writes what is held.
func (l *launcherErrors) flush() error {
	held := l.held
	l.held, l.past = nil, true
	if len(held) == 0 {
		return nil
	}
	_, err := l.out.Write(held)
	return err
}

// explain returns a *containers.NoProcessError for a command that was the launcher's failure to find
// the target, and err for any other. It is called once the command has ended.
func (l *launcherErrors) explain(err error) error {
	var exit *kube.CommandExitError
	if !l.past && errors.As(err, &exit) && bytes.HasPrefix(l.held, l.marker) {
		return &containers.NoProcessError{Said: string(l.held), Err: err}
	}
	if flushErr := l.flush(); err == nil {
		return flushErr
	}
	return err
}
