package enter

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/pod/footprint"
	"kdiag/applets/internal/pod/lastuse"
	"kdiag/applets/internal/pod/lockdown"
	"kdiag/applets/internal/pod/podproc"
	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux/wire"

	"golang.org/x/sys/unix"
)

// loadPrograms takes programs from stdin into memory, and hands them over to the first process of its
// own container that asks for them. It ends then, or when the laptop ends stdin.
func loadPrograms(ctx context.Context, streams applets.Streams, texts []string) error {
	programs, err := wire.ParsePrograms(texts)
	if err != nil {
		return &applets.UsageError{Err: err}
	}
	if len(programs) == 0 {
		return applets.Usage("--load needs --program=NAME:SIZE:SHA256")
	}

	lastuse.MarkUsed()
	if err := lockdown.KeepCapabilities(0, 0); err != nil {
		return err
	}
	footprint.ReduceMemory(footprint.WaitingLimit)

	if _, err := fmt.Fprintf(streams.Out, "%s%s\n", wire.LoaderGreeting, runtime.GOARCH); err != nil {
		return fmt.Errorf("greet the laptop: %w", err)
	}

	fds := make([]int, len(programs))
	for i, p := range programs {
		if fds[i], err = takeProgram(streams.In, p); err != nil {
			return err
		}
	}

	return handOver(ctx, streams, fds)
}

// takeProgram reads a program into a file in memory.
func takeProgram(in io.Reader, p wire.Program) (fd int, err error) {
	sum := sha256.New()
	content := &io.LimitedReader{R: io.TeeReader(in, sum), N: p.Size}
	if fd, err = writeToMemory(p.Name, content); err != nil {
		return -1, err
	}

	switch {
	case content.N > 0:
		return -1, fmt.Errorf("take program %s: the connection ended %d bytes early", p.Name, content.N)
	case hex.EncodeToString(sum.Sum(nil)) != p.Sum:
		return -1, fmt.Errorf("take program %s: it is not the one that was announced: its SHA-256 is another", p.Name)
	}

	return fd, nil
}

// handOver gives files to the first process of this container that connects to a socket, whose name
// it prints. The socket is in the pod's network namespace, where others may connect, too: they get
// nothing. It is in no file system.
func handOver(ctx context.Context, streams applets.Streams, fds []int) error {
	cgroups, err := procfs.ReadCgroups(os.Getpid())
	if err != nil {
		return err
	}

	name := "@kdiag-" + rand.Text()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return fmt.Errorf("open a socket for the programs: %w", err)
	}
	defer listener.Close()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, streams.In)
	}()
	context.AfterFunc(ctx, func() { _ = listener.Close() })

	if _, err := fmt.Fprintf(streams.Out, "%s%s\n", wire.LoaderReady, name); err != nil {
		return fmt.Errorf("say that the programs are here: %w", err)
	}

	for {
		conn, err := listener.AcceptUnix()
		if err != nil {
			return nil //nolint:nilerr // the laptop has gone, or needs them no more
		}
		sent := sendFiles(conn, podproc.SameCgroups(cgroups), fds)
		_ = conn.Close()
		if sent {
			return nil
		}
	}
}

// handoverTime bounds each step of a handover.
const handoverTime = 10 * time.Second

// sendFiles sends files to a peer, if that belongs, and reports whether it has them.
func sendFiles(conn *net.UnixConn, belongs podproc.Membership, fds []int) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}

	var peer *unix.Ucred
	var peerErr error
	err = raw.Control(func(fd uintptr) { peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil || peerErr != nil || !podproc.IsMember(int(peer.Pid), belongs) {
		return false
	}

	_ = conn.SetDeadline(time.Now().Add(handoverTime))
	if _, _, err := conn.WriteMsgUnix([]byte{byte(len(fds))}, unix.UnixRights(fds...), nil); err != nil {
		return false
	}

	// The peer says that it has taken them.
	_, err = conn.Read(make([]byte, 1))
	return err == nil
}

// fetchPrograms gets the programs that the options name from the process that has loaded them, and
// returns a list of their names in memory and then each of them. Nobody can change their content, and
// it is checked: whoever sent them does not matter.
func fetchPrograms(opts options) (files []int, err error) {
	wanted, err := wire.ParsePrograms(opts.Programs)
	if err != nil || len(wanted) == 0 {
		return nil, err
	}

	fds, err := receiveFiles(opts.ProgramsFrom, len(wanted))
	if err != nil {
		return nil, fmt.Errorf("get the programs: %w", err)
	}

	var names []byte
	for i, p := range wanted {
		if err := checkProgram(fds[i], p); err != nil {
			return nil, fmt.Errorf("get program %s: %w", p.Name, err)
		}
		names = append(append(names, p.Name...), 0)
	}

	list, err := writeToMemory("kdiag-programs", bytes.NewReader(names))
	return append([]int{list}, fds...), err
}

// receiveFiles connects to a socket and receives so many files.
func receiveFiles(name string, many int) ([]int, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer conn.Close()

	_ = conn.SetDeadline(time.Now().Add(handoverTime))
	rights := make([]byte, unix.CmsgSpace(4*wire.MaxPrograms))
	_, length, _, _, err := conn.ReadMsgUnix(make([]byte, 1), rights)
	if err != nil {
		return nil, err
	}

	messages, err := unix.ParseSocketControlMessage(rights[:length])
	if err != nil || len(messages) != 1 {
		return nil, errors.New("no files came")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != many {
		return nil, fmt.Errorf("%d files came, want %d", len(fds), many)
	}

	_, err = conn.Write([]byte{1})
	return fds, err
}

// checkProgram wants an open file to be a file in memory that nobody can change, with a program's
// content.
func checkProgram(fd int, p wire.Program) error {
	unix.CloseOnExec(fd)
	if has, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err != nil || has&seals != seals {
		return errors.New("it is not sealed in memory")
	}

	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil || stat.Size != p.Size {
		return errors.New("its size is another")
	}

	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(readDescriptor(fd), 0, p.Size)); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != p.Sum {
		return errors.New("its SHA-256 is another")
	}

	return nil
}

// A readDescriptor reads from an open file that package os knows nothing of.
type readDescriptor int

func (d readDescriptor) ReadAt(p []byte, offset int64) (int, error) {
	n, err := unix.Pread(int(d), p, offset)
	if err == nil && n == 0 {
		err = io.EOF
	}
	return max(n, 0), err
}

// leaveProgramsOpen leaves what fetchPrograms has returned open for the shell.
func leaveProgramsOpen(files []int) error {
	for i, fd := range files {
		if err := leaveOpen(fd, programListFD+i); err != nil {
			return err
		}
	}
	return nil
}
