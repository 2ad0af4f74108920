package cp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"kdiag/applets"
	"kdiag/applets/files"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/pod/targetfiles"
	"kdiag/applets/internal/testkit/fakecluster"
	"kdiag/kube"
	"kdiag/mux/filecopy"
	"kdiag/mux/wire"

	"golang.org/x/sys/unix"
)

// pod is a directory in place of a container's root, with a real in-pod half.
type pod struct {
	root string
	// byWalk has paths opened without openat2.
	byWalk bool
	// cutAfter ends the connection after so many bytes from the pod or to it, if it is not 0.
	cutAfter int64
	// toPod and fromPod count what went over the connection.
	toPod, fromPod atomic.Int64
	// lie replaces the in-pod half.
	lie func(in io.Reader, out io.Writer)
}

func newPod(t *testing.T) *pod {
	t.Helper()
	fakecluster.KeepHome(t)
	return &pod{root: t.TempDir()}
}

// runExec does what an exec of "kdiag files" would.
func (p *pod) runExec(ctx context.Context, _ int, e kube.ExecRequest) error {
	cut := make(chan struct{})
	breakOff := sync.OnceFunc(func() { close(cut) })
	in := &countedReader{Reader: e.Stdin, count: &p.toPod, limit: p.cutAfter, cut: breakOff}
	out := &countedWriter{Writer: e.Stdout, count: &p.fromPod, limit: p.cutAfter, cut: breakOff}
	done := make(chan error, 1)
	go func() {
		if p.lie != nil {
			p.lie(in, out)
			done <- nil
			return
		}
		arguments, err := wire.ParseFilesArguments(e.Command[2:])
		if err == nil {
			err = p.serve(in, out, arguments.Write)
		}
		done <- err
	}()

	select {
	case err := <-done:
		return err
	case <-cut:
		if slices.Contains(e.Command, "--write") {
			<-done // it keeps what is there, or removes it
		}
		return errors.New("connection lost")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *pod) serve(in io.Reader, out io.Writer, writes bool) error {
	fd, err := unix.Open(p.root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	root := targetfiles.NewRoot(fd)
	if p.byWalk {
		root = targetfiles.NewRootByWalk(fd)
	}
	defer root.Close()
	return files.Serve(applets.Streams{In: in, Out: out}, root, wire.FilesHello{ReadsAll: true}, writes)
}

var errCutOff = errors.New("cut off")

type countedReader struct {
	io.Reader
	count *atomic.Int64
	limit int64
	cut   func()
}

func (r *countedReader) Read(p []byte) (int, error) {
	if r.limit > 0 && r.count.Load() >= r.limit {
		r.cut()
		return 0, io.EOF
	}
	n, err := r.Reader.Read(p)
	r.count.Add(int64(n))
	return n, err
}

type countedWriter struct {
	io.Writer
	count *atomic.Int64
	limit int64
	cut   func()
}

func (w *countedWriter) Write(p []byte) (int, error) {
	if w.limit > 0 && w.count.Load() >= w.limit {
		w.cut()
		return 0, errCutOff
	}
	w.count.Add(int64(len(p)))
	return w.Writer.Write(p)
}

// ran is how a copy ended.
type ran struct {
	err            error
	stdout, stderr string
}

// copy runs "kdiag cp" with two words, of which one begins with "web:".
func (p *pod) copy(t *testing.T, source, destination string, change ...func(*copyOptions)) ran {
	t.Helper()
	return p.copyWith(t, strings.NewReader(""), source, destination, change...)
}

func (p *pod) copyWith(t *testing.T, stdin io.Reader, source, destination string, change ...func(*copyOptions)) ran {
	t.Helper()
	from, fromPod, err := parseRemote(source, false, false)
	if err != nil {
		t.Fatal(err)
	}
	to, _, err := parseRemote(destination, false, false)
	if err != nil {
		t.Fatal(err)
	}
	c := copyOptions{remote: to, local: source, upload: true}
	if fromPod {
		c = copyOptions{remote: from, local: destination}
	}
	for _, one := range change {
		one(&c)
	}

	cluster := &fakecluster.Fake{RunExec: p.runExec}
	request := containers.Request{Pod: kube.Selection{Kind: "pods", Name: "web"}, Container: "app", Timeout: time.Minute}
	var stdout, stderr bytes.Buffer
	err = c.runCopy(t.Context(), cluster, request, applets.Streams{In: stdin, Out: &stdout, Err: &stderr})
	if err != nil {
		applets.PrintError(&stderr, err)
	}
	return ran{err, stdout.String(), stderr.String()}
}

func (r ran) mustSucceed(t *testing.T) {
	t.Helper()
	if r.err != nil {
		t.Fatalf("cp: %v\n%s", r.err, r.stderr)
	}
}

// mustFail wants an error, and each of the texts in what is printed.
func (r ran) mustFail(t *testing.T, texts ...string) {
	t.Helper()
	if r.err == nil {
		t.Fatalf("cp succeeded, want an error with %q\n%s", texts, r.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(r.stderr, text) {
			t.Errorf("stderr %q\nwant %q in it", r.stderr, text)
		}
	}
}

func resuming(c *copyOptions)   { c.resume = true }
func preserving(c *copyOptions) { c.preserve = true }

// must ends a test for an error of its own doing.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, path string, content []byte, mode fs.FileMode) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, content, 0o600))
	must(t, os.Chmod(path, mode))
}

// pattern returns bytes that depend on their place.
func pattern(size int) []byte {
	all := make([]byte, size)
	for i := range all {
		all[i] = byte(i*7>>3) | 1
	}
	return all
}

// listTree describes each file below a directory: all that a copy keeps.
func listTree(t *testing.T, root string, owners bool) []string {
	t.Helper()
	var lines []string
	inodes := map[uint64]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		info, err := entry.Info()
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		line := fmt.Sprintf("%q %v %d", name, info.Mode(), info.ModTime().UnixNano())
		if owners {
			line += fmt.Sprintf(" %d:%d", stat.Uid, stat.Gid)
		}
		switch info.Mode().Type() {
		case fs.ModeSymlink:
			text, _ := os.Readlink(path)
			line += " -> " + text
		case 0:
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			d := filecopy.NewDigest()
			d.Add(content)
			line += fmt.Sprintf(" %d %x", len(content), d.Sum())
			if first, again := inodes[stat.Ino]; again {
				line += " same as " + first
			}
			inodes[stat.Ino] = name
		}
		lines = append(lines, line)
		return nil
	})
	must(t, err)
	return lines
}

// sameTrees wants two trees to be the same.
func sameTrees(t *testing.T, got, want string, owners bool) {
	t.Helper()
	one, other := listTree(t, got, owners), listTree(t, want, owners)
	if !slices.Equal(one, other) {
		t.Errorf("%s has\n%s\nwant\n%s", got, strings.Join(one, "\n"), strings.Join(other, "\n"))
	}
}

// noLeftovers wants no temporary file below a directory.
func noLeftovers(t *testing.T, root string) {
	t.Helper()
	_ = filepath.WalkDir(root, func(path string, _ fs.DirEntry, _ error) error {
		if strings.HasPrefix(filepath.Base(path), ".kdiag-") {
			t.Errorf("%s was left", path)
		}
		return nil
	})
}

// lieNot has the real in-pod half, and tells g of what it sends.
func (p *pod) lieNot(g interface{ note(n int) }) *pod {
	p.lie = func(in io.Reader, out io.Writer) {
		_ = p.serve(in, writerFunc(func(b []byte) (int, error) { g.note(len(b)); return out.Write(b) }), false)
	}
	return p
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
