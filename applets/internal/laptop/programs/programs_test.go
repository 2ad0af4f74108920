package programs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/testkit/fakecluster"
	"kdiag/kube"
	"kdiag/mux/wire"
)

// image makes an ELF file with program headers of some types.
func image(kind elf.Type, machine elf.Machine, entry uint64, segments ...elf.ProgType) []byte {
	const headSize, segmentSize = 64, 56
	head := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(kind), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT), Entry: entry,
		Phoff: headSize, Ehsize: headSize, Phentsize: segmentSize, Phnum: uint16(len(segments)), Shentsize: 64,
	}
	var out bytes.Buffer
	_ = binary.Write(&out, binary.LittleEndian, head)
	for _, segment := range segments {
		_ = binary.Write(&out, binary.LittleEndian, elf.Prog64{Type: uint32(segment)})
	}
	return out.Bytes()
}

// writeFile writes a program and returns its path.
func writeFile(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var static = image(elf.ET_EXEC, elf.EM_X86_64, 1, elf.PT_LOAD)

// TestReadAll takes static programs, and says of each other file what it is.
func TestReadAll(t *testing.T) {
	sum := sha256.Sum256(static)
	path := writeFile(t, "strace", static)
	want := File{wire.Program{Name: "strace", Size: int64(len(static)), Sum: hex.EncodeToString(sum[:])}, path, "amd64"}
	if got, err := ReadAll([]string{path}); err != nil || !slices.Equal(got, []File{want}) {
		t.Errorf("ReadAll = %+v, %v, want %+v", got, err, want)
	}
	pie := writeFile(t, "pie", image(elf.ET_DYN, elf.EM_AARCH64, 1, elf.PT_LOAD))
	if got, err := ReadAll([]string{pie}); err != nil || got[0].Arch != "arm64" {
		t.Errorf("ReadAll of a static PIE = %+v, %v, want one for arm64", got, err)
	}

	for says, paths := range map[string][]string{
		"it is dynamically linked: it needs a loader": {writeFile(t, "dynamic", image(elf.ET_DYN, elf.EM_X86_64, 1, elf.PT_LOAD, elf.PT_INTERP))},
		"it is not a program for Linux$":              {writeFile(t, "library", image(elf.ET_DYN, elf.EM_X86_64, 0, elf.PT_LOAD))},
		"it is a script":                              {writeFile(t, "script", []byte("#!/bin/sh\n"))},
		"it is not a program for Linux (an ELF file)": {writeFile(t, "mach-o", []byte("\xcf\xfa\xed\xfe"))},
		"an ELF file":                                 {writeFile(t, "empty", nil)},
		"no such file":                                {filepath.Join(t.TempDir(), "nothere")},
		"not a regular file":                          {t.TempDir()},
		"the file's name must have":                   {writeFile(t, "a b", static)},
		"another program has the name strace":         {path, writeFile(t, "strace", static)},
		"over the limit of 8":                         manyFiles(t, wire.MaxPrograms+1),
	} {
		got, err := ReadAll(paths)
		if err == nil || !strings.Contains(err.Error()+"$", says) || applets.ExitCode(err) != applets.ExitUsage {
			t.Errorf("ReadAll(%q) = %+v, %v, want %q and code 2", paths, got, err, says)
		}
	}
}

func manyFiles(t *testing.T, many int) (paths []string) {
	for i := range many {
		paths = append(paths, writeFile(t, fmt.Sprint("tool", i), static))
	}
	return paths
}

// pretendLoader answers as "kdiag enter --load" does on a node of an architecture.
func pretendLoader(arch string, sizes int64, took *[]byte) func(context.Context, int, kube.ExecRequest) error {
	return func(_ context.Context, _ int, e kube.ExecRequest) error {
		fmt.Fprintf(e.Stdout, "%s%s\n", wire.LoaderGreeting, arch)
		content, err := io.ReadAll(io.LimitReader(e.Stdin, sizes))
		*took = content
		if err != nil || int64(len(content)) < sizes {
			return &kube.CommandExitError{Code: 1}
		}
		fmt.Fprintf(e.Stdout, "%s@there\n", wire.LoaderReady)
		_, _ = io.Copy(io.Discard, e.Stdin)
		return nil
	}
}

// openShell has a shell container run in a cluster.
func openShell(t *testing.T, cluster *fakecluster.Fake) *containers.Shell {
	t.Helper()
	fakecluster.KeepHome(t)
	request := containers.Request{Pod: kube.Selection{Kind: "pods", Name: "web"}, Container: "app", Image: "i", Timeout: time.Minute}
	shell := containers.NewShell(cluster, request, containers.NotesTo(io.Discard))
	if _, err := shell.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return shell
}

// TestSend sends all of the programs, one after the other, and ends the process in the pod when it is
// released.
func TestSend(t *testing.T) {
	other := image(elf.ET_EXEC, elf.EM_X86_64, 7, elf.PT_LOAD)
	files, err := ReadAll([]string{writeFile(t, "one", static), writeFile(t, "two", other)})
	if err != nil {
		t.Fatal(err)
	}

	var took []byte
	cluster := &fakecluster.Fake{RunExec: pretendLoader("amd64", TotalSize(files), &took)}
	loaded, err := Send(t.Context(), openShell(t, cluster), wire.Binary, files, nil)
	if err != nil || loaded.Socket != "@there" || !bytes.Equal(took, append(bytes.Clone(static), other...)) {
		t.Fatalf("Send = %+v, %v, sent %d bytes, want both programs", loaded, err, len(took))
	}
	loaded.Release()

	got, err := wire.ParseEnterArguments(cluster.Execs()[0].Command[2:])
	if err != nil || !got.Load || !slices.Equal(got.Programs, Arguments(files)) {
		t.Errorf("the pod is asked for %+v, %v, want to load both", got, err)
	}
}

// TestSendFails says why, and never with the exit code of what ran in the pod.
func TestSendFails(t *testing.T) {
	path := writeFile(t, "tool", static)
	files, err := ReadAll([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	var took []byte
	says := func(stdout, stderr string, err error) func(context.Context, int, kube.ExecRequest) error {
		return func(_ context.Context, _ int, e kube.ExecRequest) error {
			_, _ = io.WriteString(e.Stdout, stdout)
			_, _ = io.WriteString(e.Stderr, stderr)
			return err
		}
	}

	for want, run := range map[string]func(context.Context, int, kube.ExecRequest) error{
		"is for amd64, and node node is arm64":                  pretendLoader("arm64", files[0].Size, &took),
		"the container's program is not this kdiag: it says":    says("hello\n", "", nil),
		"connection lost before they had arrived":               says("", "", nil),
		"the process in the pod ended with exit code 2":         says("", "unknown flag --load\n", &kube.CommandExitError{Code: 2}),
		"send the programs: make a file in memory: no":          says(wire.LoaderGreeting+"amd64\n", "kdiag: make a file in memory: no\n", &kube.CommandExitError{Code: 1}),
		"was killed, as when the pod's memory does not suffice": says(wire.LoaderGreeting+"amd64\n", "", &kube.CommandExitError{Code: 137}),
		"no such container":                                     says("", "", errors.New("no such container")),
	} {
		cluster := &fakecluster.Fake{RunExec: run}
		loaded, err := Send(t.Context(), openShell(t, cluster), wire.Binary, files, nil)
		var exit *kube.CommandExitError
		if err == nil || !strings.Contains(err.Error(), want) || errors.As(err, &exit) {
			t.Errorf("Send = %+v, %v, want %q without an exit code", loaded, err, want)
		}
	}

	if err := os.Truncate(path, 3); err != nil {
		t.Fatal(err)
	}
	cluster := &fakecluster.Fake{RunExec: pretendLoader("amd64", files[0].Size, &took)}
	if loaded, err := Send(t.Context(), openShell(t, cluster), wire.Binary, files, nil); err == nil || !strings.Contains(err.Error(), "has become shorter") {
		t.Errorf("Send of a file that shrank = %+v, %v", loaded, err)
	}
}
