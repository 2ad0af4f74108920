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

	"kdiag/integration/testenv"
)

var architectures = map[string]struct {
	machine elf.Machine
	qemu    string
}{
	"amd64": {elf.EM_X86_64, "qemu-x86_64-static"},
	"arm64": {elf.EM_AARCH64, "qemu-aarch64-static"},
}

// readShell reads the shell for an architecture from bin/. Only the one for the
// running architecture is embedded.
func readShell(t *testing.T, arch string) (path string, data []byte) {
	t.Helper()
	path = "bin/busybox-linux-" + arch
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		testenv.Missing(t, "no shell for %s: run 'scratch-shell/build.sh %s'", arch, arch)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path, data
}

func TestStatic(t *testing.T) {
	for arch, want := range architectures {
		t.Run(arch, func(t *testing.T) {
			_, data := readShell(t, arch)
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
	files, err := fs.Glob(embedded, "bin/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if file != shellFile && file != shellFile+".placeholder" {
			t.Errorf("%s is embedded, want only %s", file, shellFile)
		}
	}
}

// TestOtherArchitecture runs the shell for the other architecture in an emulator.
// The emulator does not follow an exec of /proc/self/exe, so the scripts use only
// what ash runs in a forked copy of itself, and other applets run directly.
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

		path, _ := readShell(t, arch)
		qemu, err := exec.LookPath(a.qemu)
		if err != nil {
			testenv.Missing(t, "%s is missing: run 'apt-get install qemu-user-static'", a.qemu)
		}

		run := func(args ...string) result {
			var stdout, stderr strings.Builder
			cmd := exec.Command(qemu, append([]string{"-0", argv0, path}, args...)...)
			cmd.Env = []string{"PATH="}
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

		ours, _ := readShell(t, runtime.GOARCH)
		want, err := exec.Command(ours, "--list").Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := run("--list").stdout; got != string(want) {
			t.Errorf("%s has the applets\n%s\nwant those of %s\n%s", arch, got, runtime.GOARCH, want)
		}
	}
}
