package files

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"kdiag/applets"
	"kdiag/applets/internal/pod/credentials"
	"kdiag/applets/internal/pod/lastuse"
	"kdiag/applets/internal/pod/podproc"
	"kdiag/applets/internal/pod/targetfiles"
	"kdiag/mux/filecopy"
	"kdiag/mux/wire"

	"golang.org/x/sys/unix"
)

// run copies what the laptop asks for. It goes on until the laptop ends stdin.
func run(streams applets.Streams, arguments wire.FilesArguments) error {
	// The user that the root is opened as is a thread's (package credentials).
	runtime.LockOSThread()
	lastuse.MarkUsed()
	// The container's own processes have one processor each. One for the stream and one for the
	// files keep the two apart.
	runtime.GOMAXPROCS(2)
	widenPipe(streams.Out)

	own, err := credentials.ReadOwnStatus()
	if err != nil {
		return err
	}
	process, err := podproc.FindFirst(arguments.Target)
	if err != nil {
		return err
	}
	root, status, err := openTargetRoot(process, own)
	if err != nil {
		return err
	}
	defer root.Close()

	if err := takeRights(arguments, status, own); err != nil {
		return err
	}
	hello, err := describeOwn(status)
	if err != nil {
		return err
	}

	return Serve(streams, root, hello, arguments.Write)
}

// Serve copies to or from a root what comes over the streams asks for.
func Serve(streams applets.Streams, root *targetfiles.Root, hello wire.FilesHello, writes bool) error {
	unix.Umask(0) // modes are the source's
	return newSession(streams, root).serve(hello, writes)
}

// widenPipe lets more wait in the pipe to the runtime, so that the two change places less often.
func widenPipe(stream io.Writer) {
	const room = 256 << 10
	if file, ok := applets.Underlying(stream).(*os.File); ok {
		_, _ = unix.FcntlInt(file.Fd(), unix.F_SETPIPE_SZ, room) // it works with any size
	}
}

// describeOwn says as whom files are read and written.
func describeOwn(target targetStatus) (wire.FilesHello, error) {
	own, err := credentials.ReadOwnStatus()
	if err != nil {
		return wire.FilesHello{}, err
	}
	caps := own.Caps.Effective
	return wire.FilesHello{
		UID: own.UIDs.FS, GID: own.GIDs.FS, TargetUID: target.UIDs.Effective,
		ReadsAll: caps.Has(unix.CAP_DAC_OVERRIDE) || caps.Has(unix.CAP_DAC_READ_SEARCH),
	}, nil
}

// session serves one copy.
type session struct {
	root *targetfiles.Root
	link *filecopy.Link
}

func newSession(streams applets.Streams, root *targetfiles.Root) *session {
	return &session{root: root, link: filecopy.NewLink(streams.In, streams.Out, filecopy.LinkOptions{
		OwnRoom: wire.FilesRoomInPod, PeerRoom: wire.FilesRoomOnLaptop,
	})}
}

// serve greets the laptop, does what it asks for, and waits for it to end the streams: the end of
// this process would cut off what is under way.
func (s *session) serve(hello wire.FilesHello, writes bool) error {
	if err := s.link.Start(); err != nil {
		return err
	}
	if err := s.link.SendJSON(wire.FrameHello, hello); err != nil {
		return err
	}
	request, err := s.readRequest()
	if err != nil {
		return err
	}

	done := make(chan error, 1)
	go func() { done <- s.copyFiles(request, writes) }()
	if !writes {
		// A sender may wait for a laptop that has gone. It has nothing to clean up.
		select {
		case err = <-done:
		case <-s.link.Ended():
			return nil
		}
	} else {
		err = <-done
	}

	if err != nil && s.link.Failure() == nil {
		_ = s.link.SendProblem(wire.FrameFailure, explainFailure(err, request)) // a broken stream ends below
	}
	<-s.link.Ended()
	return nil
}

// readRequest reads what the laptop asks for.
func (s *session) readRequest() (wire.FilesRequest, error) {
	frame, err := s.link.Receive()
	if err != nil {
		return wire.FilesRequest{}, err
	}
	defer s.link.Release(frame)

	var request wire.FilesRequest
	if frame.Kind != wire.FrameRequest {
		return request, fmt.Errorf("a frame %q where a request was expected", frame.Kind)
	}
	if err := json.Unmarshal(frame.Content, &request); err != nil {
		return request, fmt.Errorf("request: %w", err)
	}
	if request.Base != "" && !wire.IsFileName(string(request.Base)) {
		return request, fmt.Errorf("request: base %q is not a file's name", request.Base)
	}
	return request, nil
}

func (s *session) copyFiles(request wire.FilesRequest, writes bool) error {
	if writes {
		return s.receive(request)
	}
	return s.send(request)
}

// tell has the laptop print what is wrong with one file.
func (s *session) tell(p wire.FilesProblem) error { return s.link.SendProblem(wire.FrameProblem, p) }

// send reads what a path leads to.
func (s *session) send(request wire.FilesRequest) error {
	source, err := s.root.OpenSource(string(request.Path))
	if err != nil {
		return fmt.Errorf("open %s: %w", request.Path, err)
	}
	defer source.Dir.Close()
	if request.FileOnly && source.Name == "" {
		return applets.WithHint(fmt.Errorf("%s is a directory: only a file can be written to stdout", request.Path), "name a directory as the destination")
	}

	totals := make(chan wire.FilesTotals, 1)
	sender := filecopy.NewSender(s.link, filecopy.SendOptions{Resume: request.Resume, Problem: s.tell, Totals: totals})
	if source.Name != "" {
		return sender.SendFile(source.Dir, source.Name)
	}

	if request.Totals {
		go s.countAll(string(request.Path), totals)
	}
	return sender.SendDirectory(source.Dir, source.Info)
}

// countAll counts what there is to send, beside the copy.
func (s *session) countAll(path string, totals chan<- wire.FilesTotals) {
	again, err := s.root.OpenSource(path)
	if err != nil {
		return
	}
	defer again.Dir.Close()
	totals <- filecopy.CountTree(again.Dir)
}

// receive writes what the laptop sends.
func (s *session) receive(request wire.FilesRequest) error {
	receiver := filecopy.NewReceiver(s.link, filecopy.ReceiveOptions{
		Preserve: request.Preserve, Resume: request.Resume, Problem: s.tell,
		Place: func(top wire.Entry) (filecopy.Placement, error) {
			place, err := s.root.OpenPlace(filecopy.Destination{
				Path: string(request.Path), Base: string(request.Base), Contents: request.Contents,
				IsDirectory: top.Kind == wire.KindDirectory, Resume: request.Resume,
			})
			if err != nil {
				return place, fmt.Errorf("open %s: %w", request.Path, err)
			}
			return place, nil
		},
	})
	return receiver.Run()
}

// explainFailure puts what ended a copy into words.
func explainFailure(err error, request wire.FilesRequest) wire.FilesProblem {
	said := wire.FilesProblem{Text: err.Error(), Denied: errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)}
	for _, hint := range applets.Hints(err) {
		said.Hint = hint
	}

	var partial *filecopy.PartialError
	switch kept := errors.As(err, &partial); {
	case errors.Is(err, unix.EROFS):
		said.Hint = "this part of the container cannot be written; a volume of the pod may be: kubectl kdiag shell POD -- mount"
	case isFull(err) && kept:
		said.Hint = fmt.Sprintf("make room, and run the same command again with --resume: %d bytes of the file are kept in %s beside it", partial.Size, partial.Temp)
	case isFull(err) && !request.Resume:
		said.Hint = "nothing of the file was left there; with --resume, what is there is kept, for a copy that goes on"
	}
	return said
}

func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
