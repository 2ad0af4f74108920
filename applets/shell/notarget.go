package shell

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"kdiag/applets/internal/laptop/containers"
	"kdiag/kube"
	"kdiag/mux/wire"
)

// maxHeld bounds what is held back of the launcher's error.
const maxHeld = 4096

// launcherErrors passes on what the launcher and its shell print, but for a first line that says
// that the target has no process: it was started anew since it was found, and kdiag tries again. Only
// the launcher is believed: a target may print the same.
type launcherErrors struct {
	out    io.Writer
	marker []byte
	answer func() // is called when something else has come

	mu   sync.Mutex
	held []byte
	past bool // the launcher's words
}

// newLauncherErrors makes one for a target with an ID.
func newLauncherErrors(out io.Writer, id string, answer func()) *launcherErrors {
	return &launcherErrors{out: out, marker: []byte(wire.ErrorPrefix + wire.NoProcess(id)), answer: answer}
}

func (l *launcherErrors) Write(p []byte) (int, error) {
	text := l.hold(p)
	if len(text) == 0 {
		return len(p), nil
	}
	_, err := l.out.Write(text)
	return len(p), err
}

// hold returns what is to be written now that p has come.
func (l *launcherErrors) hold(p []byte) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := append(l.held, p...)
	if !l.past && len(all) <= maxHeld && (bytes.HasPrefix(all, l.marker) || bytes.HasPrefix(l.marker, all)) {
		l.held = all
		return nil
	}

	l.held = nil
	if !l.past {
		l.past = true
		l.answer()
	}
	return all
}

// endLauncher says that the launcher has become the shell: nothing that comes now is its own. It
// does not wait for the user, who may be getting what came before.
func (l *launcherErrors) endLauncher() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.past {
		l.past = true
		l.answer()
	}
}

// release returns what is held, and whether the launcher has said that its target has no process.
func (l *launcherErrors) release() (held []byte, noProcess bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	held, noProcess = l.held, !l.past && bytes.HasPrefix(l.held, l.marker)
	l.held, l.past = nil, true
	return held, noProcess
}

// explain returns a *containers.NoProcessError for a command that was the launcher's failure to find
// the target, and err for any other. It is called once the command has ended.
func (l *launcherErrors) explain(err error) error {
	held, noProcess := l.release()
	var exit *kube.CommandExitError
	if noProcess && errors.As(err, &exit) {
		return &containers.NoProcessError{Said: string(held), Err: err}
	}
	if len(held) == 0 {
		return err
	}
	if _, writeErr := l.out.Write(held); err == nil {
		return writeErr
	}
	return err
}
