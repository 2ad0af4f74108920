//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// hangUpWord has the test program do what TestHangUpTwice watches, and nothing else.
const hangUpWord = "KDIAG_TEST_HANG_UP"

// TestHangUpTwice lets the clean-up go on, however soon the second SIGHUP comes: when a terminal
// closes, the kernel sends one and the shell another.
func TestHangUpTwice(t *testing.T) {
	if os.Getenv(hangUpWord) != "" {
		cleanUpAfterHangUp()
	}

	for range 20 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestHangUpTwice$")
		cmd.Env = append(os.Environ(), hangUpWord+"=1")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err = cmd.Start(); err != nil {
			t.Fatal(err)
		}

		lines := bufio.NewReader(out)
		_, _ = lines.ReadString('\n')
		for range 500 {
			_ = cmd.Process.Signal(syscall.SIGHUP)
		}
		_ = stdin.Close()
		_, _ = io.Copy(io.Discard, lines)
		if err = cmd.Wait(); err != nil {
			t.Fatalf("after two SIGHUPs: %v, want a clean-up to its end", err)
		}
	}
}

// cleanUpAfterHangUp cleans up, until stdin ends, after a first signal.
func cleanUpAfterHangUp() {
	ctx, _ := withSignals(io.Discard)
	fmt.Println("ready")
	<-ctx.Done()
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}
