package shell

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"

	"kdiag/applets/internal/laptop/containers"
	"kdiag/kube"
	"kdiag/mux/wire"
)

// maxHeld bounds what is held back of the launcher's error.
const maxHeld = 4096

// launcherErrors passes on what the launcher and its shell print, but for a first line that says
// that the target has no process, or that the launcher is older than this kdiag. A target without one
// was started anew since it was found, and kdiag tries again. Only the launcher is believed: a target
// may print the same.
type launcherErrors struct {
	out  io.Writer
	host shellHost
	// markers begin such lines; the first one is that of a target without a process.
	markers [][]byte
	answer  func() // is called when something else has come

	mu   sync.Mutex
	held []byte
	past bool // the launcher's words
}

// newLauncherErrors makes one for a host's target.
func newLauncherErrors(out io.Writer, host shellHost, answer func()) *launcherErrors {
	l := &launcherErrors{out: out, host: host, answer: answer}
	for _, said := range []string{wire.NoProcess(host.Target().ID), wire.UnknownFlag, wire.UnknownCommand} {
		l.markers = append(l.markers, []byte(wire.ErrorPrefix+said))
	}
	return l
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
	mayBegin := func(marker []byte) bool { return bytes.HasPrefix(all, marker) || bytes.HasPrefix(marker, all) }
	if !l.past && len(all) <= maxHeld && slices.ContainsFunc(l.markers, mayBegin) {
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

// release returns what is held, and whether it is the launcher's.
func (l *launcherErrors) release() (held []byte, isLaunchers bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	held, isLaunchers = l.held, !l.past
	l.held, l.past = nil, true
	return held, isLaunchers
}

// explain returns a *containers.NoProcessError for a command that was the launcher's failure to find
// the target, a *containers.OlderImageError for its failure to understand, and err for any other. It is
// called once the command has ended.
func (l *launcherErrors) explain(err error) error {
	held, isLaunchers := l.release()
	first, _, _ := bytes.Cut(held, []byte("\n"))
	said, isError := strings.CutPrefix(strings.TrimSpace(string(first)), wire.ErrorPrefix)
	var exit *kube.CommandExitError
	switch {
	case !isLaunchers || !isError || !errors.As(err, &exit):
	case bytes.HasPrefix(held, l.markers[0]):
		return &containers.NoProcessError{Said: string(held), Err: err}
	case wire.IsFromOlder(said):
		return containers.NewOlderImageError("enter "+l.host.Target().String(), l.host.Image(), wire.OneLine(said), err)
	}

	if len(held) == 0 {
		return err
	}
	if _, writeErr := l.out.Write(held); err == nil {
		return writeErr
	}
	return err
}
