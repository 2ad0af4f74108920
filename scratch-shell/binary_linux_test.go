package scratchshell

import (
	"bytes"
	"debug/elf"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

var architectures = map[string]struct {
	machine elf.Machine
	qemu    string
}{
	"amd64": {elf.EM_X86_64, "qemu-x86_64-static"},
	"arm64": {elf.EM_AARCH64, "qemu-aarch64-static"},
}

// file returns the shell for arch as it lies in bin/, which for another architecture than ours is not embedded.
func file(t *testing.T, arch string) (path string, data []byte) {
	t.Helper()
	path = "bin/busybox-linux-" + arch
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		skip(t, "no shell for %s: run 'scratch-shell/build.sh %s'", arch, arch)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path, data
}

func TestStatic(t *testing.T) {
	for arch, want := range architectures {
		t.Run(arch, func(t *testing.T) {
			_, data := file(t, arch)
			f, err := elf.NewFile(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if f.Machine != want.machine || f.Type != elf.ET_EXEC {
				t.Errorf("the file is %v for %v, want %v for %v", f.Type, f.Machine, elf.ET_EXEC, want.machine)
			}

			for _, p := range f.Progs {
				if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
					t.Errorf("the file has a %v segment, want a static program", p.Type)
				}
			}

			if got, limit := len(data), 2<<20; got > limit {
				t.Errorf("the file has %d bytes, want at most %d", got, limit)
			}
		})
	}
}

func TestOnlyOurArchitectureIsEmbedded(t *testing.T) {
	files, err := fs.Glob(bin, "bin/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if file != name && file != name+".placeholder" {
			t.Errorf("%s is embedded, want %s only", file, name)
		}
	}
}

// The shell for the other architecture, as far as the emulator carries: it does not follow an exec of /proc/self/exe, so
// that ash can be tried only with what it runs in a forked copy of itself. Other applets are run directly.
func TestOtherArchitecture(t *testing.T) {
	tests := []struct {
		args []string
		want result
	}{
		{[]string{"ash", "-c", `printf '%s\n' b a | sort | head -n 1; x=$(ls -d /proc); [[ $x = /proc ]] && echo $((7 * 6)); echo e >&2
			(exit 9) & wait $!; exit $?`}, result{"a\n42\n", "e\n", 9}},
		{[]string{"sed", "s/a/b/"}, result{"bc\n", "", 0}},
		{[]string{"awk", "{ print length($0) * 1.5 }"}, result{"3\n", "", 0}},
		{[]string{"sha256sum"}, result{"e65e57cd580d50b5773636697fa5230e967c2d1ec7f4d13f2794a42401d9b1cf  -\n", "", 0}},
	}

	for arch, a := range architectures {
		if arch == runtime.GOARCH {
			continue
		}

		path, _ := file(t, arch)
		qemu, err := exec.LookPath(a.qemu)
		if err != nil {
			skip(t, "%s is missing: run 'apt-get install qemu-user-static'", a.qemu)
		}

		run := func(args ...string) result {
			cmd := exec.Command(qemu, append([]string{"-0", argv0, path}, args...)...)
			cmd.Env = []string{"PATH="}
			var stdout, stderr strings.Builder
			cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader("ac\n"), &stdout, &stderr
			if err := cmd.Run(); cmd.ProcessState == nil {
				t.Fatal(err)
			}
			return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
		}

		for _, test := range tests {
			if got := run(test.args...); got != test.want {
				t.Errorf("%s: %q = %+v, want %+v", arch, test.args, got, test.want)
			}
		}

		ours, _ := file(t, runtime.GOARCH)
		want, err := exec.Command(ours, "--list").Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := run("--list").stdout; got != string(want) {
			t.Errorf("%s has the applets\n%s\nwant those of %s\n%s", arch, got, runtime.GOARCH, want)
		}
	}
}
