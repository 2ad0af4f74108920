package integration

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kdiag/integration/kit"
)

// runCp runs "kdiag cp" and wants it to succeed.
func runCp(t *testing.T, namespace string, words ...string) kit.Result {
	t.Helper()
	got := kit.RunKdiag(t, append([]string{"cp", "-q", "-n", namespace}, words...)...)
	if got.Code != 0 || got.Stderr != "" {
		t.Fatalf("cp %q: %v\nwant code 0 and no message", words, got)
	}
	return got
}

// inShell runs a line of shell in a container.
func inShell(t *testing.T, namespace, target, line string) string {
	t.Helper()
	got := kit.RunKdiag(t, "shell", "-q", "-n", namespace, target, "--", "-c", line)
	if got.Code != 0 {
		t.Fatalf("%s: %v", line, got)
	}
	return got.Stdout
}

// makeLocalTree makes a tree with what copying most often changes.
func makeLocalTree(t *testing.T) string {
	t.Helper()
	root := t.TempDir() + "/tree"
	mustDo(t, os.MkdirAll(root+"/with space/deep", 0o750))
	mustDo(t, os.WriteFile(root+"/with space/deep/large", patternBytes(3<<20), 0o640))
	mustDo(t, os.WriteFile(root+"/new\nline", nil, 0o444))
	mustDo(t, os.Symlink("../outside", root+"/link"))
	mustDo(t, os.Link(root+"/new\nline", root+"/same"))
	sparse, err := os.Create(root + "/sparse")
	mustDo(t, err)
	_, err = sparse.WriteAt([]byte("end"), 1<<30)
	mustDo(t, err)
	mustDo(t, sparse.Close())
	at := time.Unix(981173106, 123456789)
	for _, path := range []string{"with space/deep/large", "with space/deep", "with space", "sparse", "new\nline"} {
		mustDo(t, os.Chtimes(root+"/"+path, at, at))
	}
	return root
}

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// describeFiles describes each file below a directory.
func describeFiles(t *testing.T, root string) string {
	t.Helper()
	var lines strings.Builder
	mustDo(t, filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err != nil || path == root {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		text, _ := os.Readlink(path)
		fmt.Fprintf(&lines, "%q %v %d %d links, %s", strings.TrimPrefix(path, root), info.Mode(), info.Size(), stat.Nlink, text)
		if text == "" && !info.IsDir() {
			fmt.Fprintf(&lines, " %d, holes %v", info.ModTime().UnixNano(), stat.Blocks*512 < info.Size())
		}
		lines.WriteByte('\n')
		return nil
	}))
	return lines.String()
}

// TestCp copies a tree, a file and streams to a container without any tool, and back, with each
// profile.
func TestCp(t *testing.T) {
	namespace := kit.SharedPods(t)
	tree := makeLocalTree(t)
	want := describeFiles(t, tree)
	for _, profile := range []string{"chroot", "baseline"} {
		t.Run(profile, func(t *testing.T) {
			with := "--profile=" + profile
			at := "deploy/web:/cp-" + profile
			back := t.TempDir()
			runCp(t, namespace, with, tree, at)
			runCp(t, namespace, with, at, back+"/tree")
			if got := describeFiles(t, back+"/tree"); got != want {
				t.Errorf("the tree came back as\n%s\nwant\n%s", got, want)
			}
			content, err := os.ReadFile(back + "/tree/with space/deep/large")
			if err != nil || !bytes.Equal(content, patternBytes(3<<20)) {
				t.Errorf("the large file came back as %d other bytes, %v", len(content), err)
			}

			stream := string(patternBytes(300_000))
			kit.RunKdiagWith(t, stream, nil, "cp", "-q", "-n", namespace, with, "-", at+"/stream")
			if got := runCp(t, namespace, with, at+"/stream", "-"); got.Stdout != stream {
				t.Errorf("%d bytes through stdin and stdout, want %d", len(got.Stdout), len(stream))
			}
			inShell(t, namespace, "deploy/web", "rm -r /cp-"+profile)
		})
	}
}

// TestCpAsTarget writes as the application's user, says as whom else, and says in one line what it
// cannot write.
func TestCpAsTarget(t *testing.T) {
	namespace := kit.SharedPods(t)
	local := t.TempDir() + "/file"
	mustDo(t, os.WriteFile(local, []byte("x"), 0o644))

	runCp(t, namespace, local, "nonroot:/dev/shm/own", "--as-target")
	got := kit.RunKdiag(t, "cp", "-n", namespace, local, "nonroot:/dev/shm/roots")
	if note := "note: files are written in the container as user 0; the application runs as user 1000, as which --as-target writes\n"; got.Code != 0 || got.Stderr != note {
		t.Errorf("cp: %v\nwant the note %q", got, note)
	}
	if owners := inShell(t, namespace, "nonroot", "stat -c %u /dev/shm/own /dev/shm/roots; rm /dev/shm/*"); owners != "1000\n0\n" {
		t.Errorf("owners = %q, want 1000 and 0", owners)
	}

	got = kit.RunKdiag(t, "cp", "-q", "-n", namespace, local, "nonroot:/file", "--as-target")
	if got.Code != 1 || !strings.Contains(got.Stderr, "permission denied") {
		t.Errorf("cp to the root directory as the target: %v\nwant that it is denied", got)
	}
	got = kit.RunKdiag(t, "cp", "-q", "-n", namespace, local, "readonly:/file")
	if got.Code != 1 || !strings.Contains(got.Stderr, "read-only file system\nhint: ") || strings.Count(got.Stderr, "\n") != 2 {
		t.Errorf("cp to a read-only root: %v\nwant one error and a hint", got)
	}
}

// TestCpResumes kills a copy in the middle of a file, and goes on from there.
func TestCpResumes(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	at := t.TempDir()
	const size = 64 << 20
	content := patternBytes(size)
	mustDo(t, os.WriteFile(at+"/large", content, 0o644))
	runCp(t, namespace, at+"/large", "root:/large")

	first := kit.StartKdiag(t, "cp", "-q", "-n", namespace, "root:/large", at+"/copy")
	part := int64(0)
	kit.WaitUntil(t, "a part of the file", func() bool {
		part = partSize(at)
		return part > 1<<20
	})
	first.Signal(syscall.SIGKILL)
	first.WaitForEnd()
	if _, err := os.Stat(at + "/copy"); err == nil {
		t.Fatal("the copy was complete before it was killed")
	}

	runCp(t, namespace, "--resume", "root:/large", at+"/copy")
	got, err := os.ReadFile(at + "/copy")
	if err != nil || !bytes.Equal(got, content) || partSize(at) != 0 {
		t.Errorf("after %d bytes, --resume made %d bytes, %v, want the %d of the file", part, len(got), err, size)
	}
}

// partSize returns the size of the incomplete file in a directory, 0 for none.
func partSize(dir string) int64 {
	found, _ := filepath.Glob(dir + "/.kdiag-*.part")
	if len(found) == 0 {
		return 0
	}
	info, err := os.Stat(found[0])
	if err != nil {
		return 0
	}
	return info.Size()
}

// TestCpHostileTree reads and writes nothing outside of the container, waits for nothing, and tells
// what it leaves out.
func TestCpHostileTree(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	inShell(t, namespace, "root", `mkdir -p /h/sub; cd /h; echo own > own; mkfifo fifo; ln -s / root; ln -s ../../../../../../etc/passwd up;
		ln -s /proc/1/root/proc/1/root magic; ln -s loop loop; mknod null c 1 3; printf '\033[2J' > "$(printf 'esc\033[2J')"`)
	to := t.TempDir()
	got := kit.RunKdiag(t, "cp", "-n", namespace, "root:/h", to)
	if got.Code != 1 || strings.Contains(got.Stderr, "\x1b") {
		t.Fatalf("cp: %v\nwant code 1, and nothing for the terminal", got)
	}
	for _, text := range []string{"/h/fifo: not copied: it is a FIFO", "/h/null: not copied: it is a device", "files that are not copied as they are: 2"} {
		if !strings.Contains(got.Stderr, text) {
			t.Errorf("stderr = %q, want %q in it", got.Stderr, text)
		}
	}
	if own, err := os.ReadFile(to + "/h/own"); string(own) != "own\n" {
		t.Errorf("the file beside them = %q, %v", own, err)
	}

	for _, path := range []string{"/h/up", "/h/loop", "/h/magic/etc", "/h/fifo", "/h/null", "/proc/1/root"} {
		if got := kit.RunKdiag(t, "cp", "-q", "-n", namespace, "root:"+path, "-"); got.Code != 1 || got.Stdout != "" {
			t.Errorf("cp %s: %v\nwant an error", path, got)
		}
	}
	mustDo(t, os.WriteFile(to+"/planted", []byte("x"), 0o644))
	runCp(t, namespace, to+"/planted", "root:/h/root/../../../planted")
	if out := inShell(t, namespace, "root", "cat /planted"); out != "x" {
		t.Errorf("/planted = %q, want the file in the container's root", out)
	}
}
