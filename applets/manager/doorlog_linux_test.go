package manager_test

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"kdiag/applets/internal/testkit/runctest"
	"kdiag/mux"
	"kdiag/mux/muxtest"
	"kdiag/mux/wire"
	"kdiag/netfilter/netnstest"
)

// refusalsFor20MiB is the number of refusals that made 20 MiB of log when each had a line of 135
// bytes, without what a runtime writes before it.
const refusalsFor20MiB = 20 << 20 / 135

// maxLog bounds what a manager may write, however many it refuses, in bytes. A kubelet moves to
// another file at 10 MiB.
const maxLog = 64 << 10

// TestRefusalsDoNotFillLog has strangers refused as often as once made 20 MiB of log. The log is
// of both streams, as a kubelet's is.
func TestRefusalsDoNotFillLog(t *testing.T) {
	ns, log := netnstest.New(t), createLog(t)
	cmd, _ := managerCommand(t, "--role=net", "--user="+mux.PublicText(muxtest.NewKey(t)))
	cmd.Stdout, cmd.Stderr = log, log
	if err := ns.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var started wire.Ready
	first := func() []byte {
		text, _ := os.ReadFile(log.Name())
		line, _, _ := bytes.Cut(text, []byte("\n"))
		return line
	}

	if !runctest.WaitUntil(func() bool { return json.Unmarshal(first(), &started) == nil }) {
		t.Fatalf("first line of the log: %q", first())
	}

	var left atomic.Int64
	left.Store(refusalsFor20MiB)
	var lanes sync.WaitGroup
	for range 4 {
		lanes.Go(func() {
			err := ns.Do(func() error {
				for left.Add(-1) >= 0 {
					if err := beRefused(started.Port); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}

	lanes.Wait()

	info, err := os.Stat(log.Name())
	if err != nil {
		t.Fatal(err)
	}

	t.Logf("%d refusals: %d bytes of log, %s of CPU", refusalsFor20MiB, info.Size(), cpuTime(t, cmd.Process.Pid))
	if info.Size() > maxLog {
		t.Errorf("%d refusals made %d bytes of log, want %d at most", refusalsFor20MiB, info.Size(), maxLog)
	}
	if json.Unmarshal(first(), &started) != nil || started.Port == 0 {
		t.Errorf("first line of the log: %q, want the one that says that the manager is ready", first())
	}
	if err := syscall.Kill(cmd.Process.Pid, 0); err != nil {
		t.Errorf("the manager after all that: %v", err)
	}
}

// beRefused sends what no kdiag sends, and waits until the manager closes the connection.
func beRefused(port uint16) error {
	conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))), 20*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()

	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = conn.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
	_, err = conn.Read(make([]byte, 1))
	if os.IsTimeout(err) {
		return err
	}
	// A reset, so that no TIME-WAIT holds a port.
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}

	return nil
}
