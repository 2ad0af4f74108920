package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/units"
	"kdiag/integration/testenv"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// run is a command line of "kdiag image".
func run(line ...string) (stdout, stderr string, err error) {
	var out, messages bytes.Buffer
	err = applets.Execute(context.Background(), Applet(), "kdiag", line,
		applets.Build{Version: "v1.2.3", Image: "localhost/kdiag:build"}, applets.Streams{Out: &out, Err: &messages})
	return out.String(), messages.String(), err
}

func TestSaveImage(t *testing.T) {
	t.Setenv("KDIAG_IMAGE", "")
	dir := t.TempDir()
	file, binary := filepath.Join(dir, "kdiag.tar"), kdiagFor("arm64").path(t)
	stdout, stderr, err := run("save", file, "--platform=linux/arm64", "--binary", binary)
	if err != nil || stdout != "" {
		t.Fatalf("save: stdout %q, %v", stdout, err)
	}

	wantFiles(t, dir, "kdiag.tar")
	img, err := tarball.ImageFromPath(file, nil)
	if err != nil {
		t.Fatal(err)
	}

	wantOnlyKdiag(t, img, binary)
	line := regexp.MustCompile(`^wrote (.*): localhost/kdiag:build linux/arm64, ([\d.]+ (?:B|KiB|MiB)), sha256:[0-9a-f]{64}\n$`)
	if m := line.FindStringSubmatch(stderr); m == nil || m[1] != file {
		t.Errorf("stderr %q, want it to match %s", stderr, line)
	} else if info, err := os.Stat(file); err != nil || m[2] != units.Size(info.Size()) {
		t.Errorf("stderr %q: the size is %d (%v)", stderr, info.Size(), err)
	}

	// Again, over the old file, and to stdout.
	first, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := run("save", "--platform=linux/arm64", "--binary", binary, file); err != nil {
		t.Fatal(err)
	}

	wantFiles(t, dir, "kdiag.tar")
	if again, err := os.ReadFile(file); err != nil || !bytes.Equal(first, again) {
		t.Errorf("the second file differs (%v)", err)
	}

	stdout, stderr, err = run("save", "-", "--platform=linux/arm64", "--binary", binary)
	if err != nil || stdout != string(first) {
		t.Errorf("save -: differs from the file (%v)", err)
	}
	if !strings.HasPrefix(stderr, "wrote to stdout: ") {
		t.Errorf("save -: stderr %q", stderr)
	}
}

// TestSaveNames checks which name goes into the file.
func TestSaveNames(t *testing.T) {
	base := []string{"save", "-", "--platform=linux/amd64", "--binary", kdiagFor("amd64").path(t)}
	for _, test := range []struct {
		variable string
		flags    []string
		want     string
	}{
		{"", nil, "localhost/kdiag:build "},
		{"registry.example/of:env", nil, "registry.example/of:env "},
		{"registry.example/of:env", []string{"--image=registry.example/of:flag"}, "registry.example/of:flag "},
		{"", []string{"--image=me/kdiag"}, "docker.io/me/kdiag:latest "},
	} {
		t.Setenv("KDIAG_IMAGE", test.variable)
		_, stderr, err := run(append(base, test.flags...)...)
		if err != nil || !strings.Contains(stderr, ": "+test.want) {
			t.Errorf("%q %q: %q, %v, want %q", test.variable, test.flags, stderr, err, test.want)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, line := range [][]string{
		{"save"},
		{"save", "a", "b"},
		{"save", "a", "--", "b"},
		{"save", "a", "--image=UPPER"},
		{"save", "a", "--platform=windows/amd64"},
		{"push"},
		{"push", "a", "b"},
		{"push", "registry.example/kdiag@sha256:00"},
		{"push", "registry.example/kdiag", "--platform=linux/amd64,"},
	} {
		stdout, _, err := run(line...)
		if stdout != "" && line[0] == "save" || applets.ExitCode(err) != applets.ExitUsage {
			t.Errorf("%q: %v, exit code %d, want a usage error", line, err, applets.ExitCode(err))
		}
	}
}

// TestSaveLeavesNothing fails in each of the ways that a save can.
func TestSaveLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	good := buildOptions{Platform: "linux/amd64", Binary: kdiagFor("amd64").path(t)}
	bad := buildOptions{Platform: "linux/amd64", Binary: kdiagFor("arm64").path(t)}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	file := filepath.Join(dir, "file")
	writeText(t, file, "")
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}

	for _, test := range []struct {
		name string
		o    buildOptions
		file string
		want string
	}{
		{"no directory", good, filepath.Join(dir, "none", "x.tar"), "image save: write " + filepath.Join(dir, "none", "x.tar") + ": "},
		{"a file for a directory", good, filepath.Join(file, "x.tar"), "image save: write "},
		{"a directory", good, filepath.Join(dir, "sub"), "is a directory"},
		{"a wrong binary", bad, filepath.Join(dir, "x.tar"), "not for linux/amd64"},
		{"cancelled", good, filepath.Join(dir, "x.tar"), "context canceled"},
	} {
		if test.name == "cancelled" {
			cancel()
		}
		err := saveImage(ctx, applets.Streams{Out: io.Discard, Err: io.Discard}, saveOptions{buildOptions: test.o, File: test.file, Image: "kdiag"})
		wantError(t, err, test.want)
		if strings.Contains(err.Error(), ".tmp") {
			t.Errorf("%s: error %q names a file that the user did not", test.name, err)
		}
		wantFiles(t, dir, "file", "sub")
	}
}

// TestSaveUnwritable writes to a directory that takes no files, not even
// root's.
func TestSaveUnwritable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		dir = "/proc"
	}
	if runtime.GOOS != "linux" {
		t.Skip("needs a directory that nobody can write to")
	}

	_, _, err := run("save", filepath.Join(dir, "kdiag.tar"), "--platform=linux/amd64", "--binary", kdiagFor("amd64").path(t))
	wantError(t, err, "image save: write "+dir+"/kdiag.tar: ")
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	writeText(t, file, "old")

	// A failure halfway leaves the old file.
	failure := errors.New("halfway")
	_, err := writeFile(file, func(w io.Writer) error {
		if _, err := w.Write(make([]byte, 3<<20)); err != nil {
			t.Error(err)
		}
		return failure
	})
	if !errors.Is(err, failure) {
		t.Errorf("writeFile = %v, want %v", err, failure)
	}

	wantFiles(t, dir, "file")
	if got, _ := os.ReadFile(file); string(got) != "old" {
		t.Errorf("after a failure the file holds %d bytes, want the old ones", len(got))
	}

	// Until the end the old file is there, the new one then; links stay.
	link := filepath.Join(dir, "link")
	if err := os.Symlink("file", link); err != nil {
		testenv.Missing(t, "no symbolic links: %v", err)
	}

	size, err := writeFile(link, func(w io.Writer) error {
		if got, _ := os.ReadFile(file); string(got) != "old" {
			t.Errorf("while writing the file holds %q", got)
		}
		_, err := io.WriteString(w, "newer")
		return err
	})
	if err != nil || size != 5 {
		t.Errorf("writeFile = %d, %v, want 5", size, err)
	}
	if got, _ := os.ReadFile(file); string(got) != "newer" {
		t.Errorf("the file holds %q", got)
	}
	if target, err := os.Readlink(link); target != "file" {
		t.Errorf("the link is gone: %q, %v", target, err)
	}

	wantFiles(t, dir, "file", "link")
}

// TestMeter checks the line that a terminal shows.
func TestMeter(t *testing.T) {
	var shown bytes.Buffer
	clock := time.Unix(1000, 0)
	m := newMeter(&shown)
	m.startTask("silent", 10)
	m.setDone(5, 10)
	m.clear()
	if shown.Len() > 0 {
		t.Errorf("shown without a terminal: %q", shown.String())
	}

	m = &meter{out: &shown, now: func() time.Time { return clock }}
	m.startTask("packing for linux/amd64", 0)
	m.setDone(1<<20, 4<<20)
	m.setDone(2<<20, 4<<20) // too soon
	clock = clock.Add(time.Second)
	m.startTask("sending", 2<<20)
	m.addDone(3 << 20)
	m.clear()
	clock = clock.Add(time.Second)
	m.addDone(1)
	first, second := "packing for linux/amd64: 25% of 4.0 MiB", "sending: 100% of 2.0 MiB"
	want := "\r" + first + "\r" + second + strings.Repeat(" ", len(first)-len(second)) + "\r" + strings.Repeat(" ", len(second)) + "\r"
	if shown.String() != want {
		t.Errorf("shown %q, want %q", shown.String(), want)
	}
}
