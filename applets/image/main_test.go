package image

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A fixture is a program of three lines, built for a test.
type fixture struct {
	module, os, arch, mode string
}

func kdiagFor(arch string) fixture {
	return fixture{module: module, os: "linux", arch: arch, mode: "exe"}
}

var fixtures = struct {
	sync.Mutex
	dir   string
	built map[fixture]string
}{built: map[fixture]string{}}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "kdiag-image-test-")
	if err != nil {
		panic(err)
	}
	fixtures.dir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// path builds the fixture, once, and returns its file.
func (f fixture) path(t testing.TB) string {
	t.Helper()
	fixtures.Lock()
	defer fixtures.Unlock()
	if file, ok := fixtures.built[f]; ok {
		return file
	}

	dir, err := os.MkdirTemp(fixtures.dir, "")
	if err != nil {
		t.Fatal(err)
	}

	writeText(t, filepath.Join(dir, "go.mod"), "module "+f.module+"\n")
	writeText(t, filepath.Join(dir, "main.go"), "package main\n\nfunc main() {}\n")
	build := exec.Command("go", "build", "-buildvcs=false", "-buildmode="+f.mode, "-o", "out", ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOOS="+f.os, "GOARCH="+f.arch)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %+v: %v\n%s", f, err, out)
	}

	fixtures.built[f] = filepath.Join(dir, "out")
	return fixtures.built[f]
}

func writeText(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// wantError checks a failure's text, part by part.
func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", parts)
		return
	}

	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q, want %q in it", err, part)
		}
	}

	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q: more than one line", err)
	}
}

// wantFiles checks what a directory holds.
func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}

	var got []string
	for _, entry := range entries {
		got = append(got, entry.Name())
	}

	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("files in the directory: %q, want %q", got, want)
	}
}
