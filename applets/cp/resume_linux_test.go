package cp

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kdiag/integration/testenv"
	"kdiag/mux/filecopy"
)

const largeSize = 8 << 20

// copyCut copies a tree with one large file, and has the connection break in the middle of that. It
// returns where the copy is, and the copy of what is left to do.
func copyCut(t *testing.T, p *pod, upload bool) (from, to string, again func(...func(*copyOptions)) ran) {
	t.Helper()
	laptop := t.TempDir()
	from, to = p.root+"/tree", laptop+"/copy"
	source, destination := "web:/tree", to
	if upload {
		from, to = laptop+"/tree", p.root+"/copy"
		source, destination = from, "web:/copy"
	}
	writeFile(t, from+"/large", pattern(largeSize), 0o640)
	writeFile(t, from+"/small", []byte("x"), 0o640)

	again = func(change ...func(*copyOptions)) ran { return p.copy(t, source, destination, change...) }
	p.cutAfter = largeSize / 2
	again().mustFail(t, "connection lost", "--resume to go on")
	p.cutAfter = 0
	return from, to, again
}

// partOf returns the size of the one incomplete file in a directory.
func partOf(t *testing.T, dir string) int64 {
	t.Helper()
	found, err := filepath.Glob(dir + "/.kdiag-*.part")
	if err != nil || len(found) != 1 {
		t.Fatalf("incomplete files in %s: %q, %v, want one", dir, found, err)
	}
	info, err := os.Stat(found[0])
	must(t, err)
	return info.Size()
}

// TestResume goes on where a copy broke off, and sends only the rest.
func TestResume(t *testing.T) {
	for name, upload := range map[string]bool{"download": false, "upload": true} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t)
			from, to, again := copyCut(t, p, upload)
			over := func() ran { return p.copy(t, "web:/tree/.", to, resuming) }
			if upload {
				over = func() ran { return p.copy(t, from+"/.", "web:/copy", resuming) }
			}
			if _, err := os.Stat(to + "/large"); err == nil {
				t.Error("the incomplete file has its name")
			}
			if size := partOf(t, to); size < largeSize/4 || size >= largeSize {
				t.Errorf("%d bytes were kept of %d", size, largeSize)
			}

			p.toPod.Store(0)
			p.fromPod.Store(0)
			again(resuming).mustSucceed(t)
			if sent := p.toPod.Load() + p.fromPod.Load(); sent > largeSize*3/4 {
				t.Errorf("%d bytes went over the connection, want only the rest of %d", sent, largeSize)
			}
			sameTrees(t, to, from, false)
			noLeftovers(t, to)

			// All is there: nothing is sent again.
			p.toPod.Store(0)
			p.fromPod.Store(0)
			over().mustSucceed(t)
			if sent := p.toPod.Load() + p.fromPod.Load(); sent > 1<<20 {
				t.Errorf("%d bytes went over the connection for what was there", sent)
			}
		})
	}
}

// TestResumeOfAnotherFile begins anew if the source is another one by now, or what was kept is.
func TestResumeOfAnotherFile(t *testing.T) {
	for _, upload := range []bool{false, true} {
		for _, spoil := range []string{"source", "kept"} {
			p := newPod(t)
			from, to, again := copyCut(t, p, upload)
			path := from + "/large"
			if spoil == "kept" {
				found, err := filepath.Glob(to + "/.kdiag-*.part")
				must(t, err)
				path = found[0]
			}
			file, err := os.OpenFile(path, os.O_WRONLY, 0)
			must(t, err)
			_, err = file.WriteAt([]byte("changed"), 100)
			must(t, err)
			must(t, file.Close())

			again(resuming).mustSucceed(t)
			sameTrees(t, to, from, false)
			noLeftovers(t, to)
		}
	}
}

// TestResumeAmongStrangers does not go on with what is no incomplete file of its own.
func TestResumeAmongStrangers(t *testing.T) {
	p := newPod(t)
	from, to, _ := copyCut(t, p, true)
	found, err := filepath.Glob(to + "/.kdiag-*.part")
	must(t, err)
	outside := t.TempDir() + "/outside"
	writeFile(t, outside, pattern(largeSize/4), 0o600)

	for _, put := range []func() error{
		func() error { return os.Symlink(outside, found[0]) },
		func() error { return os.Link(outside, found[0]) },
		func() error { return syscall.Mkfifo(found[0], 0o600) },
	} {
		must(t, os.RemoveAll(found[0]))
		must(t, os.RemoveAll(to+"/large"))
		if err := put(); err != nil {
			t.Logf("put a stranger: %v", err)
			continue
		}
		p.copy(t, from+"/.", "web:/copy", resuming).mustSucceed(t)
		if content, _ := os.ReadFile(to + "/large"); !bytes.Equal(content, pattern(largeSize)) {
			t.Error("the copy is another file")
		}
		noLeftovers(t, to)
		if content, _ := os.ReadFile(outside); !bytes.Equal(content, pattern(largeSize/4)) {
			t.Fatal("what is outside was written to")
		}
	}
}

// TestSecondCopyOfTheSame does not write what another copy writes.
func TestSecondCopyOfTheSame(t *testing.T) {
	p := newPod(t)
	_, to, again := copyCut(t, p, false)
	found, err := filepath.Glob(to + "/.kdiag-*.part")
	must(t, err)
	file, err := os.Open(found[0])
	must(t, err)
	defer file.Close()
	must(t, syscall.Flock(int(file.Fd()), syscall.LOCK_EX))

	again(resuming).mustFail(t, filecopy.ErrBusy.Error())
}

// mountSmall mounts a file system of 4 MiB.
func mountSmall(t *testing.T, at string, flags uintptr) {
	t.Helper()
	testenv.MustHaveRoot(t)
	must(t, os.MkdirAll(at, 0o755))
	must(t, syscall.Mount("tmpfs", at, "tmpfs", flags, "size=4m"))
	t.Cleanup(func() { _ = syscall.Unmount(at, syscall.MNT_DETACH) })
}

// TestNoSpace says in one line that there is no space, and keeps a part only for a copy that goes
// on.
func TestNoSpace(t *testing.T) {
	for name, upload := range map[string]bool{"download": false, "upload": true} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t)
			laptop := t.TempDir()
			from, to := p.root+"/large", laptop+"/full"
			source, destination := "web:/large", to
			if upload {
				from, to = laptop+"/large", p.root+"/full"
				source, destination = from, "web:/full"
			}
			writeFile(t, from, pattern(largeSize), 0o600)
			mountSmall(t, to, 0)

			p.copy(t, source, destination).mustFail(t, "no space left on device")
			noLeftovers(t, to)

			got := p.copy(t, source, destination, resuming)
			got.mustFail(t, "no space left on device", "--resume")
			partOf(t, to)
			must(t, syscall.Mount("", to, "", syscall.MS_REMOUNT, "size=16m"))
			p.copy(t, source, destination, resuming).mustSucceed(t)
			content, err := os.ReadFile(to + "/large")
			must(t, err)
			if !bytes.Equal(content, pattern(largeSize)) {
				t.Error("the copy is another file")
			}
			noLeftovers(t, to)
		})
	}
}

// TestReadOnly says in one line what cannot be written.
func TestReadOnly(t *testing.T) {
	p := newPod(t)
	mountSmall(t, p.root+"/fixed", 0)
	must(t, syscall.Mount("", p.root+"/fixed", "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	local := t.TempDir() + "/tree"
	writeFile(t, local+"/one", []byte("x"), 0o644)
	writeFile(t, local+"/two", []byte("x"), 0o644)

	got := p.copy(t, local, "web:/fixed")
	got.mustFail(t, "read-only file system", "a volume of the pod may be")
	if lines := strings.Count(got.stderr, "kdiag: "); lines != 1 {
		t.Errorf("stderr = %q, want one error", got.stderr)
	}
}

// TestResumeBeforeHole goes on with a file that has more than is used of it, where the source has a
// hole by now.
func TestResumeBeforeHole(t *testing.T) {
	p := newPod(t)
	begin, end := pattern(1<<20), []byte("end")
	writeFile(t, p.root+"/file", begin, 0o644)
	source, err := os.OpenFile(p.root+"/file", os.O_WRONLY, 0)
	must(t, err)
	_, err = source.WriteAt(end, 2<<20)
	must(t, err)
	must(t, source.Close())

	laptop := t.TempDir()
	sum := sha256.Sum256([]byte("file"))
	writeFile(t, fmt.Sprintf("%s/.kdiag-%x.part", laptop, sum[:8]), append(begin, "of an older file"...), 0o600)
	p.fromPod.Store(0)
	p.copy(t, "web:/file", laptop+"/file", resuming).mustSucceed(t)
	sameTrees(t, laptop+"/file", p.root+"/file", false)
	if sent := p.fromPod.Load(); sent > 1<<19 {
		t.Errorf("%d bytes were sent, want those behind the hole", sent)
	}
}
