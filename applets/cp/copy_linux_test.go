package cp

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"kdiag/integration/testenv"
)

// makeSample makes a tree with all that a copy keeps.
func makeSample(t *testing.T, root string) {
	t.Helper()
	writeFile(t, root+"/empty", nil, 0o444)
	writeFile(t, root+"/a/small", []byte("small\n"), 0o640)
	writeFile(t, root+"/a/b/large", pattern(1<<20+3), 0o600)
	writeFile(t, root+"/a/none", []byte("x"), 0)
	writeFile(t, root+"/set", []byte("x"), 0o755)
	writeFile(t, root+"/with \n end, ümläut 'and' "+strings.Repeat("n", 200), pattern(70_000), 0o777)
	must(t, os.Mkdir(root+"/emptydir", 0o700))
	must(t, os.Mkdir(root+"/sticky", 0o755))
	must(t, os.Chmod(root+"/sticky", 0o1777|os.ModeSticky))
	must(t, os.Symlink("a/small", root+"/inner"))
	must(t, os.Symlink("../../../etc/passwd", root+"/outer"))
	must(t, os.Symlink("nowhere", root+"/dangling"))
	must(t, os.Symlink(".", root+"/a/loop"))
	must(t, os.Link(root+"/a/b/large", root+"/a/hard"))
	must(t, os.Link(root+"/a/small", root+"/hard"))
	sparse, err := os.Create(root + "/sparse")
	must(t, err)
	_, err = sparse.WriteAt([]byte("middle"), 40<<20)
	must(t, err)
	must(t, sparse.Truncate(64<<20))
	must(t, sparse.Close())

	must(t, os.Chmod(root+"/a/b", 0o555))
	for i, path := range []string{"a/b/large", "a/b", "a/small", "a", "sparse", "empty", ""} {
		at := time.Unix(981173106+int64(i), 123456789)
		must(t, os.Chtimes(filepath.Join(root, path), at, at))
	}
	must(t, os.Chtimes(root+"/set", time.Time{}, time.Unix(-5, 999999999)))
}

// TestTreeBothWays copies a tree into a container and back, and finds all of it the same.
func TestTreeBothWays(t *testing.T) {
	p := newPod(t)
	source, back := t.TempDir()+"/source", t.TempDir()+"/back"
	makeSample(t, source)

	got := p.copy(t, source, "web:/copied")
	got.mustSucceed(t)
	if want := "note: files are written in the container as user 0\n"; got.stderr != want {
		t.Errorf("stderr = %q, want %q", got.stderr, want)
	}
	sameTrees(t, p.root+"/copied", source, false)

	got = p.copy(t, "web:/copied", back)
	got.mustSucceed(t)
	if want := "note: symbolic links that lead out of the copy: 1\n"; got.stderr != want {
		t.Errorf("stderr = %q, want %q", got.stderr, want)
	}
	sameTrees(t, back, source, false)
	for _, path := range []string{p.root + "/copied/sparse", back + "/sparse"} {
		verifySparse(t, path)
	}
	noLeftovers(t, p.root)
	noLeftovers(t, back)

	// Once more over what is there. The directory itself stays as it is.
	p.copy(t, "web:/copied/.", back).mustSucceed(t)
	top, err := os.Stat(source)
	must(t, err)
	must(t, os.Chtimes(back, top.ModTime(), top.ModTime()))
	sameTrees(t, back, source, false)
}

// TestSilentStdin does not wait for a stdin that says nothing once the pod has said why it cannot go
// on.
func TestSilentStdin(t *testing.T) {
	p := newPod(t)
	writeFile(t, p.root+"/file", []byte("x"), 0o644)
	stdin, silent := io.Pipe()
	defer silent.Close()
	go func() { _, _ = silent.Write([]byte("x")) }()
	p.copyWith(t, stdin, "-", "web:/file/below").mustFail(t, "not a directory")
}

// TestNamesThatAreNoText copies a file of which neither the name nor the directory's is UTF-8.
func TestNamesThatAreNoText(t *testing.T) {
	const name = "n\xff\n\x1b[2J"
	p := newPod(t)
	laptop := t.TempDir()
	writeFile(t, laptop+"/"+name, []byte("x"), 0o644)
	must(t, os.Mkdir(p.root+"/"+name, 0o755))

	p.copy(t, laptop+"/"+name, "web:/"+name).mustSucceed(t)
	sameTrees(t, p.root+"/"+name+"/"+name, laptop+"/"+name, false)
	p.copy(t, "web:/"+name+"/"+name, laptop+"/back").mustSucceed(t)
	sameTrees(t, laptop+"/back", laptop+"/"+name, false)
}

// TestProblemOfDeepFile tells of a file whose path is longer than any frame, and copies the rest.
func TestProblemOfDeepFile(t *testing.T) {
	p := newPod(t)
	writeFile(t, p.root+"/tree/other", []byte("x"), 0o644)
	at, err := unix.Open(p.root+"/tree", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(t, err)
	for range 120 {
		name := strings.Repeat("\x01", 255)
		must(t, unix.Mkdirat(at, name, 0o755))
		next, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		must(t, err)
		must(t, unix.Close(at))
		at = next
	}
	must(t, unix.Mknodat(at, "fifo", unix.S_IFIFO|0o600, 0))
	must(t, unix.Close(at))

	to := t.TempDir() + "/copy"
	p.copy(t, "web:/tree", to).mustFail(t, "fifo: not copied: it is a FIFO", "files that are not copied as they are: 1")
	if content, err := os.ReadFile(to + "/other"); string(content) != "x" {
		t.Errorf("the other file = %q, %v", content, err)
	}
}

// verifySparse wants a file of 64 MiB to take little of that.
func verifySparse(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	if blocks := info.Sys().(*syscall.Stat_t).Blocks; info.Size() != 64<<20 || blocks*512 > 1<<20 {
		t.Errorf("%s: %d bytes in %d blocks, want 64 MiB with holes", path, info.Size(), blocks)
	}
}

// TestPreserve keeps owners and setuid if it is asked to, and else neither.
func TestPreserve(t *testing.T) {
	testenv.MustHaveRoot(t)
	p := newPod(t)
	writeFile(t, p.root+"/tree/su", []byte("x"), 0o755)
	must(t, os.Symlink("su", p.root+"/tree/link"))
	must(t, os.Lchown(p.root+"/tree/link", 12, 34))
	must(t, os.Chown(p.root+"/tree/su", 12, 34))
	must(t, os.Chmod(p.root+"/tree/su", 0o755|os.ModeSetuid|os.ModeSetgid))
	must(t, os.Chown(p.root+"/tree", 56, 78))
	at := t.TempDir()

	p.copy(t, "web:/tree", at+"/kept", preserving).mustSucceed(t)
	sameTrees(t, at+"/kept", p.root+"/tree", true)
	p.copy(t, at+"/kept", "web:/again", preserving).mustSucceed(t)
	sameTrees(t, p.root+"/again", p.root+"/tree", true)

	p.copy(t, "web:/tree", at+"/plain").mustSucceed(t)
	info, err := os.Stat(at + "/plain/su")
	must(t, err)
	if stat := info.Sys().(*syscall.Stat_t); info.Mode() != 0o755 || stat.Uid != 0 || stat.Gid != 0 {
		t.Errorf("without --preserve: mode %v of %d:%d, want 0755 of 0:0", info.Mode(), stat.Uid, stat.Gid)
	}
}

// TestDestinations puts what is copied where cp -r would.
func TestDestinations(t *testing.T) {
	for _, c := range []struct{ source, destination, want string }{
		{"file", "dir", "dir/file"}, {"file", "dir/", "dir/file"}, {"file", "dir/.", "dir/file"},
		{"file", "new", "new"}, {"file", "old", "old"}, {"file", "dir/new", "dir/new"},
		{"tree", "dir", "dir/tree/file"}, {"tree", "new", "new/file"}, {"tree", "new/", "new/file"},
		{"tree/", "dir", "dir/tree/file"}, {"tree/.", "dir", "dir/file"}, {"tree/.", "new", "new/file"},
		{"tree/../tree", "dir", "dir/tree/file"}, {"tofile", "new", "new"}, {"totree", "new", "new/file"},
		{"file", "todir", "dir/file"},
		{"file", "new/", ""}, {"file", "none/new", ""}, {"tree", "old", ""}, {"tree", "none/new", ""},
		{"none", "new", ""}, {"fifo", "new", ""}, {"file", "tofile", ""}, {"file", "fifo", ""},
	} {
		for _, upload := range []bool{false, true} {
			p := newPod(t)
			laptop := t.TempDir()
			from, to, word := p.root, laptop, func(a, b string) (string, string) { return "web:/" + a, laptop + "/" + b }
			if upload {
				from, to, word = laptop, p.root, func(a, b string) (string, string) { return laptop + "/" + a, "web:/" + b }
			}
			writeFile(t, from+"/file", []byte("content"), 0o644)
			writeFile(t, from+"/tree/file", []byte("content"), 0o644)
			must(t, os.Symlink("file", from+"/tofile"))
			must(t, os.Symlink("tree", from+"/totree"))
			must(t, syscall.Mkfifo(from+"/fifo", 0o600))
			must(t, os.Mkdir(to+"/dir", 0o755))
			writeFile(t, to+"/old", []byte("old"), 0o644)
			must(t, os.Symlink("dir", to+"/todir"))
			must(t, os.Symlink("old", to+"/tofile"))
			must(t, syscall.Mkfifo(to+"/fifo", 0o600))

			source, destination := word(c.source, c.destination)
			got := p.copy(t, source, destination)
			content, _ := os.ReadFile(filepath.Join(to, c.want))
			if c.want == "" {
				got.mustFail(t)
			} else if got.err != nil || string(content) != "content" {
				t.Errorf("cp %s %s: %v, %q in %s\n%s", source, destination, got.err, content, c.want, got.stderr)
			}
			if old, _ := os.ReadFile(to + "/old"); c.want != "old" && string(old) != "old" {
				t.Errorf("cp %s %s made %q of another file", source, destination, old)
			}
			noLeftovers(t, to)
		}
	}
}

// TestStreams copies from stdin and to stdout.
func TestStreams(t *testing.T) {
	p := newPod(t)
	content := append(append(make([]byte, 200_000), pattern(300_000)...), make([]byte, 100_000)...)
	p.copyWith(t, bytes.NewReader(content), "-", "web:/here").mustSucceed(t)
	written, err := os.ReadFile(p.root + "/here")
	must(t, err)
	if !bytes.Equal(written, content) {
		t.Errorf("%d bytes from stdin are not those of %d", len(written), len(content))
	}

	got := p.copy(t, "web:/here", "-")
	got.mustSucceed(t)
	if got.stdout != string(content) {
		t.Errorf("%d bytes to stdout are not those of %d", len(got.stdout), len(content))
	}

	// Holes are zeros there.
	must(t, os.Truncate(p.root+"/here", 1<<20))
	got = p.copy(t, "web:/here", "-")
	got.mustSucceed(t)
	if want := string(content) + string(make([]byte, 1<<20-len(content))); got.stdout != want {
		t.Errorf("%d bytes of a file with a hole, want %d", len(got.stdout), len(want))
	}

	p.copy(t, "web:/", "-").mustFail(t, "/ is a directory")
	p.copyWith(t, strings.NewReader("x"), "-", "web:/").mustFail(t, "it is a directory; name the file")
}

// TestUnsizedFile copies a file of the kernel's, whose size is said to be 0.
func TestUnsizedFile(t *testing.T) {
	p := newPod(t)
	p.root = "/proc/self"
	got := p.copy(t, "web:status", "-")
	got.mustSucceed(t)
	if !strings.HasPrefix(got.stdout, "Name:") {
		t.Errorf("stdout = %q", got.stdout)
	}
}

// TestSpecialFiles passes over what is no file, tells each, and waits for none.
func TestSpecialFiles(t *testing.T) {
	p := newPod(t)
	for _, upload := range []bool{false, true} {
		from, to := p.root+"/tree", t.TempDir()+"/copy"
		source, destination := "web:/tree", to
		if upload {
			from, to = t.TempDir(), p.root+"/copy"
			source, destination = from, "web:/copy"
		}
		writeFile(t, from+"/file", []byte("x"), 0o644)
		must(t, syscall.Mkfifo(from+"/fifo", 0o600))
		must(t, syscall.Mknod(from+"/socket", syscall.S_IFSOCK|0o600, 0))
		want := []string{"fifo: not copied: it is a FIFO", "socket: not copied: it is a socket", "files that are not copied as they are: "}
		if syscall.Mknod(from+"/device", syscall.S_IFCHR|0o600, 1<<8|5) == nil {
			want = append(want, "device: not copied: it is a device")
		}

		p.copy(t, source, destination).mustFail(t, want...)
		if content, _ := os.ReadFile(to + "/file"); string(content) != "x" {
			t.Errorf("the file beside them = %q", content)
		}
	}
}

// TestFileChanges tells of a file that was written to while it was copied.
func TestFileChanges(t *testing.T) {
	p := newPod(t)
	path := p.root + "/log"
	writeFile(t, path, pattern(8<<20), 0o644)
	grow := &growing{path: path, after: 1 << 20}
	local := t.TempDir() + "/log"
	cluster := p.lieNot(grow)
	cluster.copy(t, "web:/log", local).mustFail(t, "/log: changed while it was copied")
	if info, err := os.Stat(local); err != nil || info.Size() != 8<<20 {
		t.Errorf("copy of a file that grew: %v, %v, want the size at the start", info, err)
	}
}

// growing appends to a file once so many bytes have passed.
type growing struct {
	path  string
	after int
}

func (g *growing) note(n int) {
	if g.after -= n; g.after > 0 || g.path == "" {
		return
	}
	if file, err := os.OpenFile(g.path, os.O_APPEND|os.O_WRONLY, 0); err == nil {
		_, _ = file.WriteString("more")
		_ = file.Close()
	}
	g.path = ""
}
