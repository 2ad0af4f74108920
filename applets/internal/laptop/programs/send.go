package programs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/units"
	"kdiag/kube"
	"kdiag/mux/wire"
)

// Loaded is a process in the pod that holds programs, until a shell has got them.
type Loaded struct {
	// Socket names the UNIX socket at which the shell gets them.
	Socket string

	stop context.CancelFunc
	done chan struct{}
}

// Release ends the process in the pod, if no shell has got the programs.
func (l *Loaded) Release() {
	l.stop()
	<-l.done
}

// Arguments returns what the processes in the pod are told of programs.
func Arguments(files []File) (words []string) {
	for _, f := range files {
		words = append(words, f.String())
	}
	return words
}

// Host is a container in which kdiag runs. A *containers.Shell is the usual one.
type Host interface {
	// Target returns the container that the host is for.
	Target() kube.TargetContainer
	// Image returns the host's image.
	Image() string
	// Exec runs a command in the host.
	Exec(ctx context.Context, e kube.ExecRequest) error
	// DescribeKill says what has killed a process of the host, as far as that is known.
	DescribeKill(ctx context.Context) string
}

// loading is the sending of programs.
type loading struct {
	host     Host
	files    []File
	progress func(string)

	stdin  *io.PipeWriter
	stdout *bufio.Reader
	stderr containers.ErrorText
	ended  chan error
}

// Send sends programs into the memory of a process in a host, where kdiag is at the path binary.
// Progress may be nil.
func Send(ctx context.Context, host Host, binary string, files []File, progress func(string)) (*Loaded, error) {
	ctx, cancel := context.WithCancel(ctx)
	stdin, toPod := io.Pipe()
	fromPod, stdout := io.Pipe()
	l := &loading{host: host, files: files, progress: progress, stdin: toPod, stdout: bufio.NewReaderSize(fromPod, wire.MaxLoaderLine), ended: make(chan error, 1)}

	loaded := &Loaded{done: make(chan struct{}), stop: func() { _ = toPod.Close(); cancel() }}
	command := append([]string{binary}, wire.EnterArguments{Load: true, Programs: Arguments(files)}.Args()...)
	go func() {
		defer close(loaded.done)
		err := host.Exec(ctx, kube.ExecRequest{Command: command, Stdin: stdin, Stdout: stdout, Stderr: &l.stderr})
		l.ended <- err
		_ = stdin.CloseWithError(io.ErrClosedPipe)
		_ = stdout.Close()
	}()

	socket, err := l.run(ctx)
	if err != nil {
		loaded.Release()
		return nil, err
	}

	loaded.Socket = socket
	return loaded, nil
}

// run sends the programs and returns the name of the socket.
func (l *loading) run(ctx context.Context) (socket string, err error) {
	arch, err := l.readLine(ctx, wire.LoaderGreeting)
	if err != nil {
		return "", err
	}
	for _, f := range l.files {
		if f.Arch != arch {
			err := fmt.Errorf("program %s is for %s, and node %s is %s", f.Path, f.Arch, l.host.Target().Pod.Spec.NodeName, wire.Printable(arch))
			return "", applets.WithHint(err, "bring one that was built for linux/%s", wire.Printable(arch))
		}
	}

	for _, f := range l.files {
		if err := l.sendFile(f); err != nil {
			return "", l.explain(ctx, err)
		}
	}

	return l.readLine(ctx, wire.LoaderReady)
}

// sendFile sends the content of a program.
func (l *loading) sendFile(f File) error {
	file, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer file.Close()

	out := &meter{to: l.stdin, told: time.Now(), tell: func(sent int64) {
		if l.progress != nil {
			l.progress(fmt.Sprintf("sending %s: %s of %s", f.Name, units.Size(sent), units.Size(f.Size)))
		}
	}}
	// No more than was announced, whatever has become of the file. The pod checks the sum.
	if _, err := io.CopyN(out, file, f.Size); err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%s has become shorter meanwhile", f.Path)
		}
		return err
	}

	return nil
}

// readLine reads a line with a beginning, and returns the rest of it.
func (l *loading) readLine(ctx context.Context, beginning string) (string, error) {
	line, err := l.stdout.ReadSlice('\n')
	if err != nil {
		return "", l.explain(ctx, err)
	}

	rest, ok := strings.CutPrefix(strings.TrimSuffix(string(line), "\n"), beginning)
	if !ok {
		return "", applets.WithHint(fmt.Errorf("send the programs: the container's program is not this kdiag: it says %q", wire.Printable(string(line))),
			"check that %s is an image of this kdiag", l.host.Image())
	}
	return rest, nil
}

// explain makes an error of a failure: what the process in the pod said, or why it ended.
func (l *loading) explain(ctx context.Context, err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
		return fmt.Errorf("send the programs: %w", err)
	}

	ended := <-l.ended
	var exit *kube.CommandExitError
	switch {
	case ended == nil:
		return errors.New("send the programs: connection lost before they had arrived")
	case !errors.As(ended, &exit):
		return ended
	case exit.Code == applets.ExitSIGKILL:
		// Not as a command's own exit code, which would become kdiag's.
		failed := fmt.Errorf("send the programs: the process that held them was killed, as when the pod's memory does not suffice for %s", units.Size(TotalSize(l.files)))
		if why := l.host.DescribeKill(ctx); why != "" {
			failed = fmt.Errorf("send the programs: %s", why)
		}
		return failed
	}

	if text, _ := l.stderr.Said(); text != "" {
		return fmt.Errorf("send the programs: %s", text)
	}
	return applets.WithHint(fmt.Errorf("send the programs: the process in the pod ended with exit code %d", exit.Code),
		"check that %s is an image of this kdiag", l.host.Image())
}

// meter tells how much was written, now and then.
type meter struct {
	to   io.Writer
	sent int64
	told time.Time
	tell func(sent int64)
}

// meterInterval lies between two messages.
const meterInterval = 200 * time.Millisecond

func (m *meter) Write(p []byte) (int, error) {
	n, err := m.to.Write(p)
	m.sent += int64(n)
	if time.Since(m.told) > meterInterval {
		m.told = time.Now()
		m.tell(m.sent)
	}
	return n, err
}
