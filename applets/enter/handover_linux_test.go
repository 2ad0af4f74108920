package enter

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"strings"
	"testing"

	"kdiag/applets/internal/pod/podproc"
	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux/wire"

	"golang.org/x/sys/unix"
)

// describe returns what a laptop would announce of a program, tool.
func describe(content string) wire.Program {
	sum := sha256.Sum256([]byte(content))
	return wire.Program{Name: "tool", Size: int64(len(content)), Sum: hex.EncodeToString(sum[:])}
}

// serveFiles hands files over at a socket, to processes that belong, once.
func serveFiles(t *testing.T, belongs bool, fds ...int) (socket string, sent <-chan bool) {
	t.Helper()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: "@kdiag-test-" + t.Name(), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })

	done := make(chan bool, 1)
	go func() {
		conn, err := listener.AcceptUnix()
		if err != nil {
			done <- false
			return
		}
		defer conn.Close()
		done <- sendFiles(conn, podproc.Membership(func(int, procfs.Cgroups) bool { return belongs }), fds)
	}()

	return listener.Addr().String(), done
}

// TestHandover passes programs to a process of the same container, and nothing to any other.
func TestHandover(t *testing.T) {
	for name, belongs := range map[string]bool{"own": true, "stranger": false} {
		t.Run(name, func(t *testing.T) {
			fd, err := writeToMemory("tool", strings.NewReader("content"))
			if err != nil {
				t.Fatal(err)
			}
			socket, sent := serveFiles(t, belongs, fd)
			files, err := fetchPrograms(options{EnterArguments: wire.EnterArguments{Programs: []string{describe("content").String()}, ProgramsFrom: socket}})
			if got := <-sent; got != belongs || (err == nil) != belongs {
				t.Fatalf("fetchPrograms = %v, %v, sent %t, want %t", files, err, got, belongs)
			}
			if !belongs {
				return
			}

			names := make([]byte, 16)
			n, _ := unix.Pread(files[0], names, 0)
			content := make([]byte, 16)
			m, _ := unix.Pread(files[1], content, 0)
			if string(names[:n]) != "tool\x00" || string(content[:m]) != "content" {
				t.Errorf("list %q and program %q, want tool and its content", names[:n], content[:m])
			}
		})
	}
}

// TestHandoverIsChecked refuses what is not the program that was announced, whoever sends it.
func TestHandoverIsChecked(t *testing.T) {
	sealed, err := writeToMemory("tool", strings.NewReader("content"))
	if err != nil {
		t.Fatal(err)
	}
	open, err := unix.MemfdCreate("tool", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(open, []byte("content")); err != nil {
		t.Fatal(err)
	}

	for name, c := range map[string]struct {
		fds  []int
		want wire.Program
		says string
	}{
		"not sealed":      {[]int{open}, describe("content"), "not sealed"},
		"another content": {[]int{sealed}, describe("CONTENT"), "SHA-256"},
		"another size":    {[]int{sealed}, describe("contents"), "size"},
		"two":             {[]int{sealed, sealed}, describe("content"), "2 files came"},
	} {
		t.Run(name, func(t *testing.T) {
			socket, _ := serveFiles(t, true, c.fds...)
			files, err := fetchPrograms(options{EnterArguments: wire.EnterArguments{Programs: []string{c.want.String()}, ProgramsFrom: socket}})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("fetchPrograms = %v, %v, want an error with %q", files, err, c.says)
			}
		})
	}
}

// TestTakeProgram refuses a program that is cut short, or another than was announced.
func TestTakeProgram(t *testing.T) {
	for content, says := range map[string]string{"content": "", "conten": "ended 1 bytes early", "Content": "SHA-256 is another"} {
		in := bytes.NewBufferString(content)
		fd, err := takeProgram(in, describe("content"))
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("takeProgram of %q = %d, %v, want an error with %q", content, fd, err, says)
		}
	}
}
