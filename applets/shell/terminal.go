package shell

import (
	"os"

	"kdiag/applets"
	"kdiag/kube"

	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/kubectl/pkg/util/interrupt"
	"k8s.io/kubectl/pkg/util/term"
)

// terminal is the user's terminal, if both stdin and stdout are one.
type terminal struct {
	tty  term.TTY
	wish terminalWish
	// separateStderr says that stderr must not be merged into stdout.
	separateStderr bool
}

// newTerminal looks at the streams. A script whose stderr is no terminal gets no
// terminal in the pod, because a terminal would merge stderr into stdout.
func newTerminal(streams applets.Streams, wish terminalWish, script bool) terminal {
	return terminal{wish: wish, separateStderr: script && !applets.IsTerminal(streams.Err), tty: term.TTY{
		In: streams.In, Out: applets.Underlying(streams.Out), Raw: true,
		// The signal itself is the caller's business; here it only has the
		// terminal restored.
		Parent: interrupt.New(func(os.Signal) {}),
	}}
}

// interactive reports whether the shell gets a terminal. To a user who asks for one, it
// matters as little as to kubectl exec where the output goes.
func (t terminal) interactive() bool {
	switch t.wish {
	case wantTerminal:
		return t.tty.IsTerminalIn()
	case noTerminal:
		return false
	}
	return t.tty.IsTerminalIn() && t.tty.IsTerminalOut() && !t.separateStderr
}

// run calls do. On a terminal it gives exec one too, puts the user's into raw
// mode meanwhile and follows its size; it is restored whatever happens.
func (t terminal) run(exec *kube.ExecRequest, do func() error) error {
	if !t.interactive() {
		return do()
	}
	exec.Sizes = sizes{t.tty.MonitorSize(t.tty.GetSize())} // the queue is nil if stdout is no terminal
	return t.tty.Safe(do)
}

// sizes hands kubectl's terminal sizes to client-go.
type sizes struct{ queue term.TerminalSizeQueue }

func (s sizes) Next() *remotecommand.TerminalSize {
	if s.queue == nil {
		return nil
	}
	size := s.queue.Next()
	if size == nil {
		return nil
	}
	return &remotecommand.TerminalSize{Width: size.Width, Height: size.Height}
}
