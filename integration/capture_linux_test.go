package integration

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kdiag/integration/kit"
	"kdiag/netfilter/netnstest"
)

// nodeNetwork is the network of the node, which pods' traffic comes from.
const nodeNetwork netnstest.Namespace = "/run/netns/kdiag-node"

// TestCapture captures the same traffic with kdiag and with tcpdump, packet for packet.
func TestCapture(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	t.Run("node's end of the veth", func(t *testing.T) { captureBesideTcpdump(t, namespace, app) })
	t.Run("loopback", func(t *testing.T) { captureLoopback(t, namespace) })
	t.Run("slow reader", func(t *testing.T) { captureSlowly(t, namespace, app) })
	t.Run("own connection", func(t *testing.T) { captureOwnConnection(t, namespace, app) })
}

// captureBesideTcpdump compares what kdiag sees in the pod with what tcpdump sees on the node.
func captureBesideTcpdump(t *testing.T, namespace, app string) {
	const filter = "tcp port 8080 or udp"
	folder := t.TempDir()
	theirs, ours := filepath.Join(folder, "tcpdump.pcap"), filepath.Join(folder, "kdiag.pcapng")
	tcpdump := startTcpdump(t, nodeNetwork, findNodeEnd(t, namespace, "app"), theirs, filter)
	kdiag := kit.StartKdiag(t, "capture", "-n", namespace, "app", "-w", ours, filter)
	waitForStderr(t, kdiag, "capturing from lo, eth0 of pod "+namespace+"/app, with NET_RAW alone, which was added\n")

	for range 5 {
		kit.VerifyAnswer(t, nodeNetwork, app+":8080", "sample app on app")
	}
	sendDatagrams(t, app+":9999", 20, 1400)
	sendDatagrams(t, app+":9999", 2, 4000) // in fragments

	got := kdiag.Interrupt()
	have := readFrames(t, ours)
	want := endTcpdump(t, tcpdump, theirs, len(have))
	if len(want) < 5*8+20+6 || !slices.EqualFunc(want, have, bytes.Equal) {
		t.Errorf("kdiag captured %d packets, tcpdump %d, or they differ: %v", len(have), len(want), got)
	}
	if told := fmt.Sprintf("\n%d packets captured, 0 dropped by the kernel\n", len(have)); got.Code != 0 || !strings.HasSuffix(got.Stderr, told) {
		t.Errorf("kdiag: %v, want %q at the end", got, told)
	}

	// Directions, interfaces and counts are in the file.
	rows := runTshark(t, "-r", ours, "-Y", "udp.port==9999", "-T", "fields", "-e", "frame.interface_name", "-e", "frame.packet_flags_direction")
	if first, _, _ := strings.Cut(rows, "\n"); first != "app/eth0\t0x00000001" {
		t.Errorf("first datagram = %q, want it incoming at app/eth0", first)
	}
}

// captureLoopback checks that packets on loopback come once, as tcpdump has them.
func captureLoopback(t *testing.T, namespace string) {
	pod := kit.FindPodNetwork(t, namespace, "app")
	folder := t.TempDir()
	theirs, ours := filepath.Join(folder, "tcpdump.pcap"), filepath.Join(folder, "kdiag.pcapng")
	tcpdump := startTcpdump(t, pod, "lo", theirs, "tcp port 8080")
	kdiag := kit.StartKdiag(t, "capture", "-n", namespace, "app", "-i", "lo", "-w", ours, "tcp port 8080")
	waitForStderr(t, kdiag, "capturing from lo of ")

	kit.VerifyAnswer(t, pod, "127.0.0.1:8080", "sample app on app")
	got := kdiag.Interrupt()
	have := readFrames(t, ours)
	want := endTcpdump(t, tcpdump, theirs, len(have))
	// The connection's last packets may come after the capture's end.
	if len(have) < 7 || len(want) < len(have) || !slices.EqualFunc(want[:len(have)], have, bytes.Equal) {
		t.Errorf("kdiag captured %d packets on lo, tcpdump %d, or they differ: %v", len(have), len(want), got)
	}
}

// captureSlowly has a reader that does not read: the kernel drops packets and counts them, and nothing
// takes memory for them.
func captureSlowly(t *testing.T, namespace, app string) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	kdiag := exec.Command(kit.BinaryPath(), "capture", "-n", namespace, "app", "-i", "eth0", "-w", "-", "udp port 9999")
	kdiag.Env = kit.Environment()
	stderr := &kit.Output{}
	kdiag.Stdout, kdiag.Stderr = writer, stderr
	if err := kdiag.Start(); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	defer func() { _ = kdiag.Process.Kill() }()
	kit.WaitUntil(t, "the capture", func() bool { return strings.Contains(stderr.String(), "capturing from") })

	// Far more than the ring and all buffers on the way hold.
	const packets = 60000
	sendDatagrams(t, app+":9999", packets, 1400)
	inPod := findPacketsProcess(t, namespace)
	memory := kit.ReadAnonymousMemory(t, inPod) + kit.ReadAnonymousMemory(t, kdiag.Process.Pid)

	file := filepath.Join(t.TempDir(), "slow.pcapng")
	written := make(chan error, 1)
	go func() {
		content, err := io.ReadAll(reader)
		written <- errors.Join(err, os.WriteFile(file, content, 0o600))
	}()
	_ = kdiag.Process.Signal(os.Interrupt)
	if err := kdiag.Wait(); err != nil {
		t.Errorf("kdiag: %v: %s", err, stderr)
	}

	told := regexp.MustCompile(`(?m)^(\d+) packets captured, (\d+) dropped by the kernel$`).FindStringSubmatch(stderr.String())
	if told == nil {
		t.Fatalf("stderr = %q, want the counts", stderr)
	}
	sent, _ := strconv.Atoi(told[1])
	dropped, _ := strconv.Atoi(told[2])
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if got := len(readFrames(t, file)); got != sent || sent+dropped != packets || dropped == 0 {
		t.Errorf("%d packets are in the file, of %d; told: %s", got, packets, told[0])
	}
	if memory > 64<<20 {
		t.Errorf("both ends use %d MiB while nobody reads", memory>>20)
	}
}

// captureOwnConnection checks that kdiag's own connection is left out: the port-forward to a manager.
func captureOwnConnection(t *testing.T, namespace, app string) {
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	kit.StartRedirects(t, 1, "-n", namespace, "app", "8080:"+here.Port)
	_, manager := kit.ReadManagerLog(t, namespace)
	own := fmt.Sprintf("tcp port %d", manager.Port)

	folder := t.TempDir()
	theirs := filepath.Join(folder, "tcpdump.pcap")
	tcpdump := startTcpdump(t, kit.FindPodNetwork(t, namespace, "app"), "lo", theirs, own)
	kdiag := kit.StartKdiag(t, "capture", "-n", namespace, "app", "tcp")
	waitForStderr(t, kdiag, "capturing from ")
	if _, err := kit.FetchAnswer(nodeNetwork, app+":8080"); err != nil {
		t.Error(err)
	}

	got := kdiag.Interrupt()
	if port := fmt.Sprintf(".%d", manager.Port); strings.Contains(got.Stdout, port+" ") || strings.Contains(got.Stdout, port+":") || !strings.Contains(got.Stdout, ".8080") {
		t.Errorf("capture = %v, want port 8080, and not the manager's %d", got, manager.Port)
	}
	endTcpdump(t, tcpdump, theirs, 1) // there were some to be left out
}

// TestCaptureRights captures in namespaces with Pod Security levels: baseline allows it, with nothing
// that is added, restricted does not.
func TestCaptureRights(t *testing.T) {
	t.Run("baseline", func(t *testing.T) {
		namespace := kit.CreateRootPod(t, "pod-security.kubernetes.io/enforce=baseline")
		got := kit.RunKdiag(t, "capture", "-n", namespace, "root", "--for", "100ms", "-i", "lo")
		if got.Code != 0 || !strings.Contains(got.Stderr, "with NET_RAW alone, which the runtime grants by default\n") {
			t.Errorf("capture in a baseline namespace: %v", got)
		}
		pid := kit.FindContainerProcess(t, namespace, "root", "{.status.ephemeralContainerStatuses[0].containerID}")
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil || !strings.Contains(string(status), "CapBnd:\t0000000000002000\n") {
			t.Errorf("the container may have more than NET_RAW: %s, %v", status, err)
		}
	})
	t.Run("restricted", func(t *testing.T) {
		namespace := kit.CreateRootPod(t)
		kit.RunKubectl(t, "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
		kit.ExpectFailure(1, "add a capture container", "captures need the capability NET_RAW").
			Verify(t, "capture", kit.RunKdiag(t, "capture", "-n", namespace, "root"))
	})
}

// startTcpdump captures from an interface, and waits until it does. Interrupt ends it.
func startTcpdump(t *testing.T, in netnstest.Namespace, name, file, filter string) *kit.Process {
	t.Helper()
	p := kit.StartProgram(t, nil, "nsenter", "--net="+string(in), "tcpdump", "-i", name, "-w", file, "-U", "--immediate-mode", "-Z", "root", filter)
	waitForStderr(t, p, "listening on "+name)
	return p
}

// endTcpdump ends tcpdump once its file has so many packets, and returns them all.
func endTcpdump(t *testing.T, tcpdump *kit.Process, file string, least int) [][]byte {
	t.Helper()
	kit.WaitUntil(t, fmt.Sprintf("%d packets in tcpdump's file", least), func() bool {
		plain, _ := os.ReadFile(file)
		return len(splitFrames(plain)) >= least
	})
	tcpdump.Interrupt()
	return readFrames(t, file)
}

// waitForStderr waits until a program has said something on stderr.
func waitForStderr(t *testing.T, p *kit.Process, text string) {
	t.Helper()
	kit.WaitUntil(t, text, func() bool { return p.HasEnded() || strings.Contains(p.Stderr.String(), text) })
	if !strings.Contains(p.Stderr.String(), text) {
		t.Fatalf("stderr = %q, want %q", p.Stderr, text)
	}
}

// findNodeEnd returns the interface of the node that a pod's eth0 is joined to.
func findNodeEnd(t *testing.T, namespace, pod string) string {
	t.Helper()
	var index int
	if err := kit.FindPodNetwork(t, namespace, pod).Do(func() error {
		peer, err := exec.Command("ip", "-o", "link", "show", "eth0").Output()
		if err != nil {
			return err
		}
		_, err = fmt.Sscanf(regexp.MustCompile(`@if(\d+)`).FindString(string(peer)), "@if%d", &index)
		return err
	}); err != nil {
		t.Fatal(err)
	}

	var name string
	if err := nodeNetwork.Do(func() error {
		found, err := net.InterfaceByIndex(index)
		if err == nil {
			name = found.Name
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return name
}

// sendDatagrams sends datagrams from the node, each of which is different.
func sendDatagrams(t *testing.T, to string, count, size int) {
	t.Helper()
	err := nodeNetwork.Do(func() error {
		conn, err := net.Dial("udp", to)
		if err != nil {
			return err
		}
		defer conn.Close()
		data := make([]byte, size)
		for n := range count {
			binary.BigEndian.PutUint32(data, uint32(n))
			// Nobody listens there: the pod answers the first ones by ICMP, which makes a send fail
			// that sends nothing.
			for {
				if _, err = conn.Write(data); err == nil {
					break
				}
				if !strings.Contains(err.Error(), "connection refused") {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// runTshark runs tshark and returns what it prints.
func runTshark(t *testing.T, args ...string) string {
	t.Helper()
	tshark := exec.Command("tshark", args...)
	var stderr bytes.Buffer
	tshark.Stderr = &stderr
	out, err := tshark.Output()
	if err != nil {
		t.Errorf("tshark %q: %v: %s", args, err, &stderr)
	}
	return string(out)
}

// readFrames returns the frames of a capture file, as tshark reads them, sorted: those of two
// directions may pass in another order at the other end.
func readFrames(t *testing.T, file string) [][]byte {
	t.Helper()
	var frames [][]byte
	const packetBlock, packetHeader = 6, 28
	for rest := []byte(runTshark(t, "-r", file, "-w", "-", "-F", "pcapng")); len(rest) >= 12; {
		length := binary.LittleEndian.Uint32(rest[4:])
		if binary.LittleEndian.Uint32(rest) == packetBlock {
			frames = append(frames, rest[packetHeader:][:binary.LittleEndian.Uint32(rest[20:])])
		}
		rest = rest[length:]
	}
	slices.SortFunc(frames, bytes.Compare)
	return frames
}

// splitFrames returns the frames of a pcap file, which may lack its end.
func splitFrames(plain []byte) [][]byte {
	var frames [][]byte
	for rest := plain[min(24, len(plain)):]; len(rest) >= 16; {
		length := int(binary.LittleEndian.Uint32(rest[8:]))
		if len(rest) < 16+length {
			break
		}
		frames = append(frames, rest[16:][:length])
		rest = rest[16+length:]
	}
	return frames
}

// findPacketsProcess finds the process in a pod that captures.
func findPacketsProcess(t *testing.T, namespace string) int {
	t.Helper()
	uid := kit.ReadPodField(t, namespace, "app", "{.metadata.uid}")
	out, err := exec.Command("pgrep", "-f", "kdiag packets").Output()
	if err != nil {
		t.Fatalf("find kdiag packets: %v", err)
	}
	for word := range strings.FieldsSeq(string(out)) {
		cgroup, _ := os.ReadFile("/proc/" + word + "/cgroup")
		if strings.Contains(string(cgroup), uid) {
			pid, _ := strconv.Atoi(word)
			return pid
		}
	}
	t.Fatalf("no kdiag packets in pod %s among %q", uid, out)
	return 0
}
