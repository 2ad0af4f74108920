package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/guard"
	"kdiag/mux/wire"
)

// viewer is a program that shows packets while they come, Wireshark.
type viewer struct {
	command *exec.Cmd
	input   io.WriteCloser
	out     interruptible // writes to input
	said    *containers.ErrorText
	ended   chan struct{}
	err     error
}

// findWireshark returns the program, or an error that says how to get it.
func findWireshark() (string, error) {
	program, err := exec.LookPath("wireshark")
	if err == nil || errors.Is(err, exec.ErrDot) {
		return program, err
	}

	const onMac = "/Applications/Wireshark.app/Contents/MacOS/Wireshark"
	if runtime.GOOS == "darwin" {
		if program, macErr := exec.LookPath(onMac); macErr == nil {
			return program, nil
		}
	}
	if runtime.GOOS == "windows" {
		if program, winErr := exec.LookPath(`C:\Program Files\Wireshark\Wireshark.exe`); winErr == nil {
			return program, nil
		}
	}

	return "", applets.WithHint(errors.New("start Wireshark: no program wireshark in PATH"), "%s", installHint(runtime.GOOS))
}

// installHint says how Wireshark comes onto a system.
func installHint(system string) string {
	how := "install it with 'apt-get install wireshark' or your system's package manager"
	switch system {
	case "darwin":
		how = "install it with 'brew install --cask wireshark'"
	case "windows":
		how = "install it with 'winget install WiresharkFoundation.Wireshark'"
	}

	return how + ", or write to a file with -w"
}

// startViewer starts a program that reads packets from its stdin.
func startViewer(ctx context.Context, program string, args ...string) (*viewer, error) {
	v := &viewer{command: exec.Command(program, args...), said: &containers.ErrorText{}, ended: make(chan struct{})}
	v.command.Stderr, v.command.SysProcAttr = v.said, guard.Apart()

	var err error
	if v.input, err = v.command.StdinPipe(); err == nil {
		err = v.command.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start Wireshark: %w", err)
	}
	v.out = interruptible{ctx: ctx, to: v.input}

	go func() {
		defer close(v.ended)
		v.err = v.command.Wait()
	}()

	return v, nil
}

// startWireshark starts Wireshark, which begins to capture from its stdin at once.
func startWireshark(ctx context.Context) (*viewer, error) {
	program, err := findWireshark()
	if err != nil {
		return nil, err
	}

	return startViewer(ctx, program, "-k", "-i", "-")
}

// errViewerGone says that the program does not read any more.
var errViewerGone = errors.New("the window of Wireshark was closed")

// Write hands packets to the program. What it does not want any more is no fault.
func (v *viewer) Write(p []byte) (int, error) {
	n, err := v.out.Write(p)
	if err != nil {
		return n, errViewerGone
	}

	return n, nil
}

func (v *viewer) isFull(int64) bool { return false }
func (v *viewer) next() error       { return nil }

// close ends the program's input. The window stays open with what was captured: the user closes it.
func (v *viewer) close() error {
	_ = v.input.Close()

	return nil
}

// discardIfEmpty ends a program that has nothing to show.
func (v *viewer) discardIfEmpty() {
	_ = v.input.Close()
	_ = v.command.Process.Kill()
	<-v.ended
}

// lastTime bounds the wait for the end of a program that reads no more.
const lastTime = time.Second

// result returns why a program that reads no more has ended, if it did so with a failure.
func (v *viewer) result() error {
	select {
	case <-v.ended:
	case <-time.After(lastTime):
		return nil
	}

	var exit *exec.ExitError
	if errors.As(v.err, &exit) && exit.ExitCode() > 0 {
		return fmt.Errorf("show packets in Wireshark: it ended with exit code %d: %s", exit.ExitCode(), v.lastWords())
	}

	return nil
}

// lastWords returns the last line that the program has printed to stderr.
func (v *viewer) lastWords() string {
	text := strings.TrimSpace(v.said.String())

	return wire.OneLine(text[strings.LastIndexByte(text, '\n')+1:])
}
