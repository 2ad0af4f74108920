package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"kdiag/applets"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func buildFixture(t *testing.T, arch string) v1.Image {
	t.Helper()
	img, err := buildImage(context.Background(), buildOptions{
		Platform: "linux/" + arch, Binary: kdiagFor(arch).path(t), Version: "v1.2.3",
	})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestBuildImage(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		img := buildFixture(t, arch)
		if err := validate.Image(img); err != nil {
			t.Errorf("%s: %v", arch, err)
		}
		if media, err := img.MediaType(); err != nil || media != types.OCIManifestSchema1 {
			t.Errorf("%s: media type %s, %v", arch, media, err)
		}

		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if got := config.Platform().String(); got != "linux/"+arch {
			t.Errorf("platform %s, want linux/%s", got, arch)
		}

		want := v1.Config{
			Entrypoint: []string{"/kdiag"}, WorkingDir: "/",
			Labels: map[string]string{
				"org.opencontainers.image.title":    "kdiag",
				"org.opencontainers.image.version":  "v1.2.3",
				"org.opencontainers.image.licenses": "Apache-2.0 AND GPL-2.0-only AND MIT",
			},
		}
		if !reflect.DeepEqual(config.Config, want) {
			t.Errorf("config %+v, want %+v", config.Config, want)
		}

		wantOnlyKdiag(t, img, kdiagFor(arch).path(t))
	}
}

// wantOnlyKdiag checks an image's file system.
func wantOnlyKdiag(t *testing.T, img v1.Image, binary string) {
	t.Helper()
	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}

	flat := mutate.Extract(img)
	defer flat.Close()
	files := tar.NewReader(flat)
	for count := 0; ; count++ {
		entry, err := files.Next()
		if err == io.EOF && count == 1 {
			return
		}
		if err != nil {
			t.Fatalf("file %d of the image: %v", count, err)
		}
		if entry.Name != "kdiag" || entry.Typeflag != tar.TypeReg || entry.Mode != 0o755 || entry.Uid != 0 || entry.Gid != 0 {
			t.Errorf("file of the image: %+v", entry)
		}
		if got, err := io.ReadAll(files); err != nil || !bytes.Equal(got, content) {
			t.Errorf("/kdiag is not %s (%v)", binary, err)
		}
	}
}

func TestBuildIsReproducible(t *testing.T) {
	binary := kdiagFor("amd64").path(t)
	copied := filepath.Join(t.TempDir(), "elsewhere")
	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, content, 0o600); err != nil {
		t.Fatal(err)
	}

	var first []byte
	for _, file := range []string{binary, binary, copied} {
		img, err := buildImage(context.Background(), buildOptions{Platform: "linux/amd64", Binary: file})
		if err != nil {
			t.Fatal(err)
		}

		var archive bytes.Buffer
		if err := writeNamedArchive(&archive, "localhost/kdiag:dev", img); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = archive.Bytes()
		}
		if !bytes.Equal(first, archive.Bytes()) {
			t.Errorf("the archive of %s differs from the first", file)
		}
	}
}

func TestBuildImageRefuses(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "script")
	writeText(t, text, "#!/bin/sh\nexec kdiag \"$@\"\n")
	empty := filepath.Join(dir, "empty")
	writeText(t, empty, "")
	whole, err := os.ReadFile(kdiagFor("amd64").path(t))
	if err != nil {
		t.Fatal(err)
	}

	cut := filepath.Join(dir, "cut")
	writeText(t, cut, string(whole[:3000]))
	for _, test := range []struct {
		name, file string
		want, hint string
	}{
		{"another architecture", kdiagFor("arm64").path(t), "built for linux/arm64, not for linux/amd64", "--platform=linux/arm64"},
		{"another system", fixture{module, "freebsd", "amd64", "exe"}.path(t), "built for freebsd/amd64, not", ""},
		{"a Mac's program", fixture{module, "darwin", "amd64", "exe"}.path(t), "not a Linux program: bad magic number", ""},
		{"a dynamic program", fixture{module, "linux", "amd64", "pie"}.path(t), "dynamically linked, and the image has no /lib", "CGO_ENABLED=0"},
		{"another module", fixture{"example.com/other", "linux", "amd64", "exe"}.path(t), `its Go module is "example.com/other"`, ""},
		{"a script", text, "not a Linux program: bad magic number", ""},
		{"an empty file", empty, "not a Linux program: ", ""},
		{"half a file", cut, "binary " + cut + ": not a ", ""},
		{"a directory", dir, "binary " + dir + ": ", ""},
		{"no file", filepath.Join(dir, "none"), "no such file", ""},
	} {
		_, err := buildImage(context.Background(), buildOptions{Platform: "linux/amd64", Binary: test.file})
		if test.name == "no file" && runtime.GOOS == "windows" {
			test.want = "none"
		}
		wantError(t, err, test.want)
		if hints := strings.Join(applets.Hints(err), "\n"); !strings.Contains(hints, test.hint) {
			t.Errorf("%s: hints %q, want %q in them", test.name, hints, test.hint)
		}
	}
}

// TestBuildRefusesSystemPrograms tries a program that C made.
func TestBuildRefusesSystemPrograms(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs a Linux program")
	}
	_, err := buildImage(context.Background(), buildOptions{Binary: "/bin/ls"})
	wantError(t, err, "binary /bin/ls: not a kdiag: no Go build information found")
}

func TestCheckLibrary(t *testing.T) {
	library := executable{platform: platform{"linux", "amd64"}, module: module}
	wantError(t, library.checkFor(library.platform), "a library, not a program")
	library.runs = true
	if err := library.checkFor(library.platform); err != nil {
		t.Errorf("check of a program = %v", err)
	}
}

// TestBuildCancelled ends a build halfway.
func TestBuildCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	_, err := buildImage(ctx, buildOptions{
		Platform: "linux/amd64", Binary: kdiagFor("amd64").path(t),
		Packed: func(_, _ int64) { cancel() },
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("buildImage = %v, want %v", err, context.Canceled)
	}
}

// TestFindBinary covers the machines that a binary is looked for on.
func TestFindBinary(t *testing.T) {
	dir := t.TempDir()
	sibling := filepath.Join(dir, "kdiag-linux-arm64")
	writeText(t, sibling, "")
	own := filepath.Join(dir, "kdiag")
	on := func(system, arch string) *program {
		return &program{name: own, file: "/proc/self/exe", platform: platform{system, arch}}
	}
	linuxARM := platform{"linux", "arm64"}
	for _, test := range []struct {
		name   string
		o      buildOptions
		target platform
		want   string
	}{
		{"itself", buildOptions{self: on("linux", "arm64")}, linuxARM, "/proc/self/exe"},
		{"the sibling, other architecture", buildOptions{self: on("linux", "amd64")}, linuxARM, sibling},
		{"the sibling, other system", buildOptions{self: on("darwin", "arm64")}, linuxARM, sibling},
		{"the one named", buildOptions{self: on("linux", "arm64"), Binary: "that"}, linuxARM, "that"},
	} {
		if got, err := test.o.findBinary(test.target); got != test.want || err != nil {
			t.Errorf("%s: findBinary = %q, %v, want %q", test.name, got, err, test.want)
		}
	}

	missing := buildOptions{self: on("windows", "amd64")}
	_, err := missing.findBinary(platform{"linux", "amd64"})
	wantError(t, err, "find a kdiag for linux/amd64: this one is for windows/amd64, and there is no "+filepath.Join(dir, "kdiag-linux-amd64"))
	if hints := applets.Hints(err); len(hints) != 1 || !strings.Contains(hints[0], "--binary") {
		t.Errorf("hints %q", hints)
	}
}

func TestRunningProgram(t *testing.T) {
	self, err := runningProgram()
	if err != nil {
		t.Fatal(err)
	}

	named, err := os.Stat(self.name)
	if err != nil {
		t.Fatal(err)
	}

	read, err := os.Stat(self.file)
	if err != nil || !os.SameFile(named, read) {
		t.Errorf("runningProgram() = %+v: two files (%v)", self, err)
	}
	if shown := (buildOptions{}).displayName(self.file); shown != self.name {
		t.Errorf("the running program is shown as %q, want %q", shown, self.name)
	}
}

func TestParsePlatforms(t *testing.T) {
	amd, arm := platform{"linux", "amd64"}, platform{"linux", "arm64"}
	for _, test := range []struct {
		lists []string
		want  []platform
	}{
		{nil, []platform{{"linux", runtime.GOARCH}}},
		{[]string{"linux/arm64"}, []platform{arm}},
		{[]string{"linux/arm64/v8"}, []platform{arm}},
		{[]string{"linux/amd64,linux/arm64"}, []platform{amd, arm}},
		{[]string{"linux/amd64, Linux/ARM64", "linux/amd64"}, []platform{amd, arm}},
		{[]string{"arm64"}, nil},
		{[]string{"linux/"}, nil},
		{[]string{"darwin/arm64"}, nil},
		{[]string{"linux/../x"}, nil},
		{[]string{"linux/arm/v6"}, nil},
	} {
		got, err := parsePlatforms(test.lists)

		if !reflect.DeepEqual(got, test.want) || (err == nil) != (test.want != nil) {
			t.Errorf("parsePlatforms(%q) = %v, %v, want %v", test.lists, got, err, test.want)
		}
		if err != nil && applets.ExitCode(err) != applets.ExitUsage {
			t.Errorf("parsePlatforms(%q): exit code %d", test.lists, applets.ExitCode(err))
		}
	}
}
