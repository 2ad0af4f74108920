package shell

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/testkit/fakecluster"
	"kdiag/integration/testenv"
	"kdiag/kube"
	"kdiag/mux/wire"

	"github.com/creack/pty"
)

// TestReplayedInput gives a second attempt what a first one took, and what it had begun to read.
func TestReplayedInput(t *testing.T) {
	in, out := io.Pipe()
	input := newReplayedInput(in)
	first := input.begin()
	go func() { _, _ = io.WriteString(out, "ab") }()
	buffer := make([]byte, 8)
	if n, err := first.Read(buffer); string(buffer[:n]) != "ab" || err != nil {
		t.Fatalf("first = %q, %v", buffer[:n], err)
	}

	left := make(chan error, 1)
	go func() {
		_, err := first.Read(buffer)
		left <- err
	}()
	second := input.begin()
	if err := <-left; !errors.Is(err, io.EOF) {
		t.Errorf("the first attempt's read = %v, want its end", err)
	}

	go func() {
		_, _ = io.WriteString(out, "cd")
		input.keepNoMore()
		_, _ = io.WriteString(out, "ef")
		_ = out.Close()
	}()
	all, err := io.ReadAll(second)
	if string(all) != "abcdef" || err != nil {
		t.Errorf("second = %q, %v, want everything", all, err)
	}
	if input.mayBegin() {
		t.Error("another attempt may begin after the command's answer")
	}
}

// TestReplayIsBounded keeps up to a limit of the input, and then no other attempt is made.
func TestReplayIsBounded(t *testing.T) {
	input := newReplayedInput(strings.NewReader(strings.Repeat("x", 3*maxReplay)))
	if n, err := io.Copy(io.Discard, input.begin()); n != 3*maxReplay || err != nil {
		t.Errorf("copied %d bytes, %v", n, err)
	}
	if input.mayBegin() || len(input.kept) > maxReplay {
		t.Errorf("%d bytes are kept, and another attempt may begin: %t", len(input.kept), input.mayBegin())
	}
}

// TestTargetRestartedMeanwhile tries again where the launcher finds no process of the target, with all
// of the input, and shows its error where the target has not restarted.
func TestTargetRestartedMeanwhile(t *testing.T) {
	said := wire.ErrorPrefix + wire.NoProcess("aaaaaaaaaaaaaaaa") + "; has it exited?\n"
	for name, c := range map[string]struct {
		restarts, missing int
		wantCode          int
		want              string
	}{
		"found at once":         {0, 0, 0, "got data"},
		"restarted":             {1, 1, 0, "got data"},
		"restarted twice":       {2, 2, 0, "got data"},
		"restarted three times": {3, 3, 1, said},
		"ended for good":        {0, 1, 1, said},
	} {
		cluster := &fakecluster.Fake{Restarts: c.restarts, RunExec: func(_ context.Context, call int, e kube.ExecRequest) error {
			text := readInputFrame(t, e.Stdin)
			if call <= c.missing {
				for _, part := range []string{said[:10], said[10:]} {
					_, _ = io.WriteString(e.Stderr, part)
				}
				return fakecluster.NewWithoutRelay(1)
			}
			_, _ = io.WriteString(e.Stderr, "got "+string(text))
			return nil
		}}

		fakecluster.KeepHome(t)
		var stderr strings.Builder
		request := containers.Request{Pod: kube.Selection{Kind: "pods", Name: "web"}, Container: "app", Timeout: 60e9}
		err := runShell(t.Context(), cluster, request, options{quiet: true}, applets.Streams{In: strings.NewReader("data"), Out: io.Discard, Err: &stderr})
		code := 0
		if err != nil {
			code = applets.ExitCode(err)
		}
		if code != c.wantCode || stderr.String() != c.want {
			t.Errorf("%s: %v, stderr %q, want code %d and %q", name, err, stderr.String(), c.wantCode, c.want)
		}
	}
}

// TestCommandIsNotTheLauncher runs a command once that prints what the launcher would say of a target
// without a process, although the target has restarted.
func TestCommandIsNotTheLauncher(t *testing.T) {
	said := wire.ErrorPrefix + wire.NoProcess("aaaaaaaaaaaaaaaa") + "; has it exited?\n"
	frames := append(wire.AppendRelayHead([]byte(wire.RelayGreeting), wire.RelayErrors, len(said)), said...)
	frames = wire.AppendRelayHead(frames, wire.RelayExit, 1)
	for name, interactive := range map[string]bool{"streams": false, "terminal": true} {
		t.Run(name, func(t *testing.T) {
			cluster := &fakecluster.Fake{Restarts: 1, RunExec: func(_ context.Context, _ int, e kube.ExecRequest) error {
				text := frames
				if interactive {
					session := enterArguments(t, e).Session
					text = []byte(wire.RelayBeginStart + session + ";" + strings.Repeat("0", wire.RelaySecretSize) + wire.RelayStringEnd + said)
				}
				_, _ = e.Stdout.Write(text)
				return fakecluster.NewWithoutRelay(1)
			}}

			var shown strings.Builder
			streams := applets.Streams{In: strings.NewReader(""), Out: io.Discard, Err: &shown}
			o := options{quiet: true}
			if interactive {
				streams, o.terminal = applets.Streams{In: openTerminal(t), Out: &shown, Err: io.Discard}, wantTerminal
			}
			fakecluster.KeepHome(t)
			request := containers.Request{Pod: kube.Selection{Kind: "pods", Name: "web"}, Container: "app", Timeout: time.Minute}
			err := runShell(t.Context(), cluster, request, o, streams)

			if runs := len(cluster.Shells()); runs != 1 {
				t.Errorf("the command ran %d times, want once", runs)
			}
			if code := applets.ExitCode(err); code != 1 || shown.String() != said {
				t.Errorf("runShell = %v, code %d, shown %q, want code 1 and %q", err, code, shown.String(), said)
			}
		})
	}
}

// openTerminal opens a terminal for one test.
func openTerminal(t *testing.T) *os.File {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		testenv.Missing(t, "no pseudo-terminals: %v", err)
	}
	t.Cleanup(func() {
		_ = master.Close()
		_ = tty.Close()
	})
	return tty
}

// readInputFrame reads what the relay in a pod gets as the beginning of stdin.
func readInputFrame(t *testing.T, stdin io.Reader) []byte {
	t.Helper()
	head := make([]byte, wire.RelayHeadSize)
	if _, err := io.ReadFull(stdin, head); err != nil || head[0] != wire.RelayInput {
		t.Fatalf("frame %q: %v, want one of stdin", head, err)
	}
	text := make([]byte, binary.BigEndian.Uint32(head[1:]))
	if _, err := io.ReadFull(stdin, text); err != nil {
		t.Fatal(err)
	}
	return text
}
