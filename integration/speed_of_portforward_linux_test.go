//go:build bench

package integration

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"runtime/pprof"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"kdiag/integration/kit"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/portforward"
)

// speedPod describes a pod that sends at 7001, swallows at 7002 and answers with a byte, and
// echoes at 7777. What it sends or swallows of one connection is of a fixed size.
const speedPod = `
apiVersion: v1
kind: Pod
metadata: {name: speed}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: source, image: "localhost/kdiag-sample:full", imagePullPolicy: Never, command: [/bin/busybox, nc, -lk, -p, "7001", -e, /bin/busybox, dd, if=/dev/zero, bs=64k, count=%[1]d]}
  - {name: sink, image: "localhost/kdiag-sample:full", imagePullPolicy: Never, command: [/bin/busybox, nc, -lk, -p, "7002", -e, /bin/busybox, sh, -c, "/bin/busybox dd iflag=fullblock bs=64k count=%[1]d of=/dev/null 2>/dev/null; echo"]}
  - {name: echo, image: "localhost/kdiag-sample:full", imagePullPolicy: Never, command: [/bin/busybox, nc, -lk, -p, "7777", -e, /bin/cat]}
`

// forwardWay opens connections to the pod in one of several ways, and keeps how fast they were.
type forwardWay struct {
	label                 string
	open                  func(port uint16) (net.Conn, error)
	down, up, ping        []float64 // MB/s, and microseconds
	downCPU, upCPU, setUp []float64 // seconds of this process for each GiB, and milliseconds
}

// TestSpeedPortForward compares a port-forward of kdiag's with client-go's, in turns. It counts
// the processor time of the laptop's side only. KDIAG_SPEED_PROFILE is a file for a CPU profile
// of kdiag's.
func TestSpeedPortForward(t *testing.T) {
	mebibytes := readNumber("KDIAG_SPEED_MIB", 256)
	rounds := readNumber("KDIAG_SPEED_ROUNDS", 5)
	namespace := kit.CreateNamespace(t)
	kit.AddPods(t, namespace, fmt.Sprintf(speedPod, mebibytes*16))

	cluster := kit.ConnectCluster(t, namespace, nil)
	plain := startPlainForward(t, namespace, "speed", 7001, 7002, 7777)
	ways := []*forwardWay{
		{label: "kdiag", open: func(port uint16) (net.Conn, error) {
			return cluster.PortForward(t.Context(), namespace, "speed", port, openTimeout)
		}},
		{label: "client-go", open: func(port uint16) (net.Conn, error) {
			return net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(int(plain[port])))
		}},
	}
	if os.Getenv("KDIAG_SPEED_PROFILE") != "" {
		ways = ways[:1]
		startProfile(t, os.Getenv("KDIAG_SPEED_PROFILE"))
	}

	bytes := int64(mebibytes) << 20
	for range rounds {
		for _, w := range ways {
			w.measureRound(t, bytes)
		}
	}

	for _, w := range ways {
		fmt.Printf("%-9s  pod to laptop %4.0f MB/s, %.2f CPU s/GiB; laptop to pod %4.0f MB/s, %.2f CPU s/GiB; ping-pong %4.0f µs; opens in %.1f ms\n",
			w.label, median(w.down), median(w.downCPU), median(w.up), median(w.upCPU), median(w.ping), median(w.setUp))
	}
}

// measureRound measures each direction once, and a ping-pong.
func (w *forwardWay) measureRound(t *testing.T, size int64) {
	t.Helper()
	direction := os.Getenv("KDIAG_SPEED_ONLY")
	if direction != "up" {
		rate, cpu := w.measureTransfer(t, 7001, size, func(conn net.Conn) error { return receiveBytes(conn, size) })
		w.down, w.downCPU = append(w.down, rate), append(w.downCPU, cpu)
	}
	if direction != "down" {
		rate, cpu := w.measureTransfer(t, 7002, size, func(conn net.Conn) error { return sendBytes(conn, size) })
		w.up, w.upCPU = append(w.up, rate), append(w.upCPU, cpu)
	}
	if direction == "" {
		w.measurePing(t)
	}
}

// measureTransfer returns the rate of a transfer, in MB/s, and its processor time in seconds
// for each GiB.
func (w *forwardWay) measureTransfer(t *testing.T, port uint16, size int64, transfer func(net.Conn) error) (rate, cpu float64) {
	t.Helper()
	conn, err := w.open(port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	usedBefore, began := readProcessorTime(), time.Now()
	if err = transfer(conn); err != nil {
		t.Fatalf("%s at %d: %v", w.label, port, err)
	}
	took, used := time.Since(began), readProcessorTime()-usedBefore

	return float64(size) / 1e6 / took.Seconds(), used.Seconds() * (1 << 30) / float64(size)
}

// measurePing measures how long a byte takes there and back, in microseconds.
func (w *forwardWay) measurePing(t *testing.T) {
	t.Helper()
	began := time.Now()
	conn, err := w.open(7777)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	var times []float64
	for i := range 300 {
		sent := time.Now()
		if _, err = conn.Write([]byte("x")); err == nil {
			_, err = io.ReadFull(conn, make([]byte, 1))
		}
		if err != nil {
			t.Fatal(err)
		}

		if i == 0 {
			w.setUp = append(w.setUp, float64(time.Since(began).Microseconds())/1000)
		}
		times = append(times, float64(time.Since(sent).Microseconds()))
	}
	w.ping = append(w.ping, median(times))
}

// receiveBytes reads exactly so many bytes, and then the end.
func receiveBytes(conn net.Conn, size int64) error {
	got, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{conn}, make([]byte, readNumber("KDIAG_SPEED_READ", 64<<10)))
	if err == nil && got != size {
		err = fmt.Errorf("%d bytes, want %d", got, size)
	}
	return err
}

// sendBytes writes so many bytes and waits until they have been read.
func sendBytes(conn net.Conn, size int64) error {
	block := make([]byte, readNumber("KDIAG_SPEED_WRITE", 64<<10))
	for left := size; left > 0; {
		n, err := conn.Write(block[:min(left, int64(len(block)))])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	return readByte(conn)
}

// startPlainForward runs client-go's port-forward, as kubectl does, and returns the local port
// for each of the pod's.
func startPlainForward(t *testing.T, namespace, pod string, ports ...uint16) map[uint16]uint16 {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kit.KubeconfigPath())
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	dialer, err := portforward.NewSPDYOverWebsocketDialer(at.JoinPath("api/v1/namespaces", namespace, "pods", pod, "portforward"), config)
	if err != nil {
		t.Fatal(err)
	}

	var wanted []string
	for _, port := range ports {
		wanted = append(wanted, fmt.Sprintf("0:%d", port))
	}
	stop, ready := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop) })
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, wanted, stop, ready, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}

	ended := make(chan error, 1)
	go func() { ended <- forwarder.ForwardPorts() }()
	select {
	case <-ready:
	case err = <-ended:
		t.Fatal(err)
	}

	forwarded, err := forwarder.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	local := map[uint16]uint16{}
	for _, port := range forwarded {
		local[port.Remote] = port.Local
	}
	return local
}

// startProfile writes a CPU profile of the rest of the test.
func startProfile(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err = pprof.StartCPUProfile(file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pprof.StopCPUProfile(); _ = file.Close() })
}

// readProcessorTime returns how much processor time this process has used.
func readProcessorTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// readNumber returns the number in an environment variable, or else another.
func readNumber(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// median returns the middle of some numbers, and 0 of none.
func median(of []float64) float64 {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

