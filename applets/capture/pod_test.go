package capture

import (
	"bufio"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/pcapng"
	"kdiag/kube"
	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fakePod answers an exec as "kdiag packets" does.
type fakePod struct {
	// answer writes records. It gets the lines that come from the laptop.
	answer func(lines *bufio.Reader, out, stderr io.Writer) error
}

func (f *fakePod) Pod() *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}
}
func (f *fakePod) Image() string                         { return "kdiag:test" }
func (f *fakePod) ManagerPorts(context.Context) []uint16 { return []uint16{4000} }
func (f *fakePod) DescribeKill(context.Context) string   { return "its container has ended" }

func (f *fakePod) Exec(ctx context.Context, e kube.ExecRequest) error {
	done := make(chan error, 1)
	go func() { done <- f.answer(bufio.NewReader(e.Stdin), e.Stdout, e.Stderr) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// records are those of one interface with some packets.
func records(packets int) []byte {
	stream, _ := wire.AppendInterface(nil, wire.PacketInterface{Name: "eth0", LinkType: wire.LinkEthernet})
	for range packets {
		stream = wire.AppendPacket(stream, wire.CapturedPacket{Length: 60, Data: make([]byte, 60)})
	}
	return stream
}

// named is the record of an interface.
func named(name string, link uint16) []byte {
	stream, _ := wire.AppendInterface(nil, wire.PacketInterface{Name: name, LinkType: link})
	return stream
}

// finish appends the statistics and the end.
func finish(stream []byte, received, dropped, sent uint64) []byte {
	stream = wire.AppendStatistics(stream, wire.PacketStatistics{Time: time.Unix(1, 0), Received: received, Dropped: dropped, Sent: sent})
	return wire.AppendEnd(stream)
}

// countingSink counts what it takes. It fails at a packet if it has an error.
type countingSink struct {
	packets, notes int
	longest        int // of the packets
	counts         wire.PacketStatistics
	err            error
}

func (c *countingSink) addInterface(*corev1.Pod, query, wire.PacketInterface) (int, error) {
	return 0, nil
}
func (c *countingSink) writePacket(p pcapng.Packet) error {
	c.packets++
	c.longest = max(c.longest, len(p.Data))
	return c.err
}
func (c *countingSink) writeStatistics(_ int, s wire.PacketStatistics) error {
	c.counts = s
	return nil
}
func (c *countingSink) writeNote(*corev1.Pod, string) error {
	c.notes++
	return nil
}
func (c *countingSink) flush() error { return nil }

// TestCaptureFrom checks how a capture ends: whole, or with an error that says why.
func TestCaptureFrom(t *testing.T) {
	exit := func(code int, text string) func(*bufio.Reader, io.Writer, io.Writer) error {
		return func(_ *bufio.Reader, _, stderr io.Writer) error {
			_, _ = io.WriteString(stderr, text)
			return &kube.CommandExitError{Code: code}
		}
	}
	write := func(stream []byte) func(*bufio.Reader, io.Writer, io.Writer) error {
		return func(_ *bufio.Reader, out, _ io.Writer) error {
			_, err := out.Write(stream)
			return err
		}
	}

	for name, c := range map[string]struct {
		answer func(*bufio.Reader, io.Writer, io.Writer) error
		want   string
	}{
		"whole":       {write(finish(records(3), 5, 2, 3)), ""},
		"lost":        {write(records(3)), "connection lost; what came before is complete"},
		"cut":         {write(records(3)[:100]), "connection lost"},
		"one missing": {write(finish(records(2), 3, 0, 3)), "the kernel counted 3 packets and dropped 0, the pod sent 3, but 2 came"},
		"uncounted":   {write(finish(records(3), 5, 1, 3)), "the kernel counted 5 packets and dropped 1"},
		"not allowed": {func(*bufio.Reader, io.Writer, io.Writer) error { return errors.New("not allowed to exec") }, "not allowed to exec"},
		"refused":     {exit(1, "kdiag: open a packet socket: operation not permitted\n"), "pod shop/web: open a packet socket: operation not permitted"},
		"killed":      {exit(137, ""), "pod shop/web: its container has ended"},
		"old image":   {exit(127, "kdiag: unknown command \"packets\"\n"), "unknown command"},
		"foreign":     {exit(127, "sh: /kdiag: not found\n"), "exit code 127"},
		"no name":     {write(wire.AppendPacket(nil, wire.CapturedPacket{})), "a packet of interface 0 came, which the pod has not named"},
		"twice":       {write(append(records(0), records(0)...)), "the pod named interface 0 twice"},
		"long name":   {write(named(strings.Repeat("e", 16), wire.LinkEthernet)), "an interface with 16 bytes; the limit is 15"},
		"link type":   {write(named("eth0", 147)), "link type 147, which was not asked for"},
		"too long":    {write([]byte{'P', 255, 0, 0, 0}), "the limit is"},
	} {
		err := captureFrom(t.Context(), &fakePod{c.answer}, query{snapLen: 100}, &countingSink{})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		hint := map[string]string{"old image": kube.HintOlderImage, "foreign": "kdiag:test is an image of this kdiag"}[name]
		if !strings.Contains(strings.Join(applets.Hints(err), " "), hint) {
			t.Errorf("%s: hints = %q, want %q", name, applets.Hints(err), hint)
		}
	}
}

// TestCaptureStops checks that a capture that is ended gets all that the pod still has, and that the
// pod learns what to leave out.
func TestCaptureStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var request string
	pod := &fakePod{func(lines *bufio.Reader, out, _ io.Writer) error {
		request, _ = lines.ReadString('\n')
		if _, err := out.Write(records(1)); err != nil {
			return err
		}
		cancel()
		if line, err := lines.ReadString('\n'); line != wire.StopPackets+"\n" {
			return errors.Join(errors.New("not stopped"), err)
		}

		_, err := out.Write(finish(wire.AppendPacket(nil, wire.CapturedPacket{}), 2, 0, 2))
		_, _ = lines.ReadString('\n') // until stdin ends
		return err
	}}

	out := &countingSink{}
	if err := captureFrom(ctx, pod, query{snapLen: 100}, out); err != nil || out.packets != 2 || out.counts.Received != 2 {
		t.Errorf("captureFrom = %v, with %d packets and %+v, want all 2", err, out.packets, out.counts)
	}
	if want := `"hiddenPorts":[4000]`; !strings.Contains(request, want) {
		t.Errorf("request = %s, want %s", request, want)
	}
}

// TestSinkFails checks that an output that fails ends the capture with its error.
func TestSinkFails(t *testing.T) {
	full := errors.New("no space left on device")
	pod := &fakePod{func(lines *bufio.Reader, out, _ io.Writer) error {
		_, err := out.Write(records(5))
		_, _ = io.Copy(io.Discard, lines)
		return err
	}}
	out := &countingSink{err: full}
	if err := captureFrom(t.Context(), pod, query{}, out); !errors.Is(err, full) || out.packets != 1 {
		t.Errorf("captureFrom = %v after %d packets, want %v after 1", err, out.packets, full)
	}
}

// TestStopComesAfterTheRequest ends captures before they begin, as Ctrl-C does while the managers'
// ports are looked up: the pod gets the request first all the same.
func TestStopComesAfterTheRequest(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	for range 200 {
		var first string
		pod := &fakePod{func(lines *bufio.Reader, out, _ io.Writer) error {
			for range 20 {
				runtime.Gosched() // both lines wait
			}
			first, _ = lines.ReadString('\n')
			_, err := out.Write(finish(records(1), 1, 0, 1))
			_, _ = io.Copy(io.Discard, lines)
			return err
		}}
		if err := captureFrom(ctx, pod, query{snapLen: 100}, &countingSink{}); err != nil || !strings.Contains(first, "snapLen") {
			t.Fatalf("captureFrom = %v; the pod's first line is %q, want the request", err, first)
		}
	}
}

// TestSlowEnd takes what a pod sends slowly after the capture was stopped, but not without end. Its
// clock is synctest's.
func TestSlowEnd(t *testing.T) {
	for packets, want := range map[int]error{6: nil, 1000: errLate, 0: errLate} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			pod := &fakePod{func(lines *bufio.Reader, out, _ io.Writer) error {
				go func() { _, _ = io.Copy(io.Discard, lines) }()
				_, err := out.Write(records(0))
				for range packets {
					time.Sleep(20 * time.Second)
					_, err = out.Write(wire.AppendPacket(nil, wire.CapturedPacket{}))
				}
				if packets == 0 {
					time.Sleep(time.Hour)
				}
				if err == nil {
					_, err = out.Write(finish(nil, uint64(packets), 0, uint64(packets)))
				}
				return err
			}}

			if err := captureFrom(ctx, pod, query{}, &countingSink{}); !errors.Is(err, want) {
				t.Errorf("a pod that sends %d packets slowly: %v, want %v", packets, err, want)
			}
			time.Sleep(10 * time.Hour) // the pod ends
		})
	}
}

// TestEndBeforeItBegins gives a pod up soon from which nothing comes, as one behind an API server that
// does not answer.
func TestEndBeforeItBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		pod := &fakePod{func(*bufio.Reader, io.Writer, io.Writer) error {
			time.Sleep(time.Hour)
			return nil
		}}
		if err := captureFrom(ctx, pod, query{}, &countingSink{}); !errors.Is(err, errNotBegun) {
			t.Errorf("captureFrom = %v, want %v", err, errNotBegun)
		}
		time.Sleep(2 * time.Hour) // the pod ends
	})
}

// TestNotesAreBounded has a pod that would fill the terminal with notes.
func TestNotesAreBounded(t *testing.T) {
	pod := &fakePod{func(_ *bufio.Reader, out, _ io.Writer) error {
		stream := records(0)
		for range 10 * maxNotes {
			stream = wire.AppendNote(stream, "pay attention")
		}
		_, err := out.Write(finish(stream, 0, 0, 0))
		return err
	}}
	out := &countingSink{}
	if err := captureFrom(t.Context(), pod, query{}, out); err != nil || out.notes != maxNotes {
		t.Errorf("captureFrom = %v, with %d notes, want %d", err, out.notes, maxNotes)
	}
}

// TestPacketsAreCut has a pod that sends more of a packet than it was asked for, as it does when a VLAN
// tag was put back: tcpdump reads no file with such a packet.
func TestPacketsAreCut(t *testing.T) {
	pod := &fakePod{func(_ *bufio.Reader, out, _ io.Writer) error {
		_, err := out.Write(finish(records(3), 3, 0, 3))
		return err
	}}
	out := &countingSink{}
	if err := captureFrom(t.Context(), pod, query{snapLen: 56}, out); err != nil || out.longest != 56 {
		t.Errorf("captureFrom = %v, with packets of %d bytes, want 56 at most", err, out.longest)
	}
}
