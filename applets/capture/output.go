package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/packettext"
	"kdiag/applets/internal/laptop/pcapng"
	"kdiag/kube"
	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
)

// output is a sink that can be closed.
type output interface {
	sink
	// close writes what is left. It returns the first error of the output, as every later call does.
	close() error
	// discardIfEmpty removes what was made for a capture that never began.
	discardIfEmpty()
	// setNames takes the names of addresses, before the first interface is added.
	setNames(peers kube.Peers)
}

// openOutput opens what the options say. Its output waits for nobody for long once ctx has ended.
func (o options) openOutput(ctx context.Context, streams applets.Streams) (output, error) {
	stdout := &interruptible{ctx: ctx, to: streams.Out}
	switch {
	case o.wireshark:
		window, err := startWireshark(ctx)
		return &fileOutput{file: window, notes: streams.Err}, err
	case o.file == "":
		return &textOutput{out: stdout, notes: streams.Err, namesPods: o.all}, nil
	case o.file == "-":
		return &fileOutput{file: singleStream{stdout}, notes: streams.Err}, nil
	}

	release, err := awaitReader(ctx, o.file)
	if err != nil {
		return nil, err
	}
	defer release()

	files, err := openFiles(ctx, o.file, o.fileSize, o.fileCount)
	if err != nil {
		return nil, err
	}
	return &fileOutput{file: files, notes: streams.Err}, nil
}

// textOutput prints a line for each packet.
type textOutput struct {
	out, notes io.Writer
	// namesPods has each line name the pod.
	namesPods  bool
	interfaces []pcapng.Interface
	names      map[netip.Addr]string
	buffer     []byte
}

func (t *textOutput) addInterface(pod *corev1.Pod, _ query, i wire.PacketInterface) (int, error) {
	name := i.Name
	if t.namesPods {
		name = pod.Name + "/" + name
	}
	t.interfaces = append(t.interfaces, pcapng.Interface{Name: name, LinkType: i.LinkType})
	return len(t.interfaces) - 1, nil
}

// maxText is how much text waits to be written together.
const maxText = 64 << 10

func (t *textOutput) writePacket(p pcapng.Packet) error {
	t.buffer = packettext.Append(t.buffer, p, t.interfaces[p.Interface], t.names)
	if len(t.buffer) < maxText {
		return nil
	}
	return t.flush()
}

func (t *textOutput) writeStatistics(int, wire.PacketStatistics) error { return nil }

func (t *textOutput) writeNote(pod *corev1.Pod, text string) error {
	return printNote(t.notes, pod, text)
}

func (t *textOutput) flush() error {
	if len(t.buffer) == 0 {
		return nil
	}
	_, err := t.out.Write(t.buffer)
	t.buffer = t.buffer[:0]
	return err
}

func (t *textOutput) close() error    { return t.flush() }
func (t *textOutput) discardIfEmpty() {}

// printNote tells the user what a pod's kdiag says.
func printNote(out io.Writer, pod *corev1.Pod, text string) error {
	applets.Note(out, "pod %s: %s", pod.Name, text)
	return nil
}

// packetFile is where pcapng goes to: a stream, or files that follow each other.
type packetFile interface {
	io.Writer
	// isFull reports whether the next packet belongs into another file, when one has so many bytes.
	isFull(written int64) bool
	// next ends the file and begins another one.
	next() error
	close() error
	discardIfEmpty()
}

// singleStream is a stream that is left open.
type singleStream struct{ io.Writer }

func (singleStream) isFull(int64) bool { return false }
func (singleStream) next() error       { return nil }
func (singleStream) close() error      { return nil }
func (singleStream) discardIfEmpty()   {}

// fileOutput writes pcapng. Each file has all interfaces.
type fileOutput struct {
	file       packetFile
	notes      io.Writer
	writer     *pcapng.Writer
	interfaces []pcapng.Interface
	names      map[netip.Addr][]string
	counts     []wire.PacketStatistics
	// head is how long the file's beginning is: the names take more than a small file has.
	head   int64
	closed bool
	failed error // the first error
}

// fail keeps the first error.
func (f *fileOutput) fail(err error) error {
	if f.failed == nil {
		f.failed = err
	}
	return f.failed
}

func (f *fileOutput) addInterface(pod *corev1.Pod, q query, i wire.PacketInterface) (int, error) {
	if f.writer == nil {
		f.writer = f.newWriter()
	}
	f.addPodNames(pod)

	added := pcapng.Interface{
		Name:        pod.Name + "/" + wire.Printable(i.Name),
		Description: fmt.Sprintf("interface %s of pod %s in namespace %s", wire.Printable(i.Name), pod.Name, pod.Namespace),
		LinkType:    i.LinkType, SnapLen: q.snapLen, Filter: q.expression,
	}
	f.interfaces = append(f.interfaces, added)
	f.counts = append(f.counts, wire.PacketStatistics{})
	number, err := f.writer.AddInterface(added)
	return number, f.fail(err)
}

func (f *fileOutput) writePacket(p pcapng.Packet) error {
	if f.failed == nil && f.isFull() {
		if err := f.beginNext(); err != nil {
			return f.fail(err)
		}
	}
	return f.fail(f.writer.WritePacket(p))
}

// isFull reports whether the next packet belongs into another file. At least half of a file is packets.
func (f *fileOutput) isFull() bool {
	written := f.writer.Written()
	return f.file.isFull(written) && written > 2*f.head
}

// beginNext ends the file and begins another one, with the same interfaces.
func (f *fileOutput) beginNext() error {
	if err := f.endFile(); err != nil {
		return err
	}
	if err := f.file.next(); err != nil {
		return err
	}

	f.writer = f.newWriter()
	for _, each := range f.interfaces {
		if _, err := f.writer.AddInterface(each); err != nil {
			return err
		}
	}
	return nil
}

// endFile writes the statistics as they are, and all that is buffered.
func (f *fileOutput) endFile() error {
	for number, s := range f.counts {
		if s.Time.IsZero() {
			continue
		}
		if err := f.writer.WriteStatistics(number, s.Time, s.Received, s.Dropped); err != nil {
			return err
		}
	}
	return f.writer.Flush()
}

func (f *fileOutput) writeStatistics(number int, s wire.PacketStatistics) error {
	f.counts[number] = s
	return nil
}

func (f *fileOutput) writeNote(pod *corev1.Pod, text string) error {
	return printNote(f.notes, pod, text)
}

func (f *fileOutput) flush() error {
	if f.writer == nil {
		return nil
	}
	return f.fail(f.writer.Flush())
}

func (f *fileOutput) close() error {
	if f.closed {
		return f.failed
	}

	f.closed = true
	if f.writer != nil && f.failed == nil {
		_ = f.fail(f.endFile())
	}
	return f.fail(f.file.close())
}

func (f *fileOutput) discardIfEmpty() {
	_ = f.close()
	if f.writer == nil {
		f.file.discardIfEmpty()
	}
}

// counter is a sink that counts, and ends the capture when there is enough. Several pods may use it.
type counter struct {
	sink
	most   uint64 // 0 for no limit
	time   time.Duration
	enough context.CancelFunc

	mu      sync.Mutex
	packets uint64
	dropped map[int]uint64
	begun   bool
	failed  error // of the sink, the first
}

func (c *counter) addInterface(pod *corev1.Pod, q query, i wire.PacketInterface) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begin()
	number, err := c.sink.addInterface(pod, q, i)
	return number, c.noteFailure(err)
}

// begin has the time run out from the first interface on. The caller holds mu.
func (c *counter) begin() {
	if !c.begun && c.time > 0 {
		time.AfterFunc(c.time, c.enough)
	}
	c.begun = true
}

// noteFailure keeps the first error of the sink, which ends the capture of every pod. The caller
// holds mu.
func (c *counter) noteFailure(err error) error {
	if err != nil && c.failed == nil {
		c.failed = err
		c.enough()
	}
	return err
}

// failure returns the first error of the sink.
func (c *counter) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

func (c *counter) writePacket(p pcapng.Packet) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.most != 0 && c.packets == c.most {
		return nil
	}

	if err := c.noteFailure(c.sink.writePacket(p)); err != nil {
		return err
	}
	if c.packets++; c.packets == c.most {
		c.enough()
	}
	return nil
}

func (c *counter) writeStatistics(number int, s wire.PacketStatistics) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dropped == nil {
		c.dropped = map[int]uint64{}
	}
	c.dropped[number] = s.Dropped
	return c.sink.writeStatistics(number, s)
}

func (c *counter) writeNote(pod *corev1.Pod, text string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sink.writeNote(pod, text)
}

func (c *counter) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.noteFailure(c.sink.flush())
}

// report prints the counts, if a capture has begun, and returns the first of the errors. Nothing is
// printed to a user whose pipe has lost its reader, as in "kdiag capture web | head".
func (c *counter) report(out io.Writer, errs ...error) error {
	failure := firstError(errs)
	if isPipeClosed(failure) {
		return failure
	}

	if c.packets > 0 || c.dropped != nil {
		var dropped uint64
		for _, each := range c.dropped {
			dropped += each
		}
		noun := "packets"
		if c.packets == 1 {
			noun = "packet"
		}
		fmt.Fprintf(out, "%d %s captured, %d dropped by the kernel\n", c.packets, noun, dropped)
	}
	if errors.Is(failure, errUnread) {
		applets.Note(out, "nobody read the output: the last packets were not written")
	}
	return failure
}

// firstError returns the first error that is one.
func firstError(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// notingStart is a sink that says where the capture began.
type notingStart struct {
	sink
	out  io.Writer
	rung string
	// begun lists the interfaces that were not told yet.
	begun []string
	pod   *corev1.Pod
}

func (n *notingStart) addInterface(pod *corev1.Pod, q query, i wire.PacketInterface) (int, error) {
	n.begun, n.pod = append(n.begun, wire.Printable(i.Name)), pod
	return n.sink.addInterface(pod, q, i)
}

func (n *notingStart) flush() error {
	if len(n.begun) > 0 {
		fmt.Fprintf(n.out, "capturing from %s of pod %s/%s, %s\n", strings.Join(n.begun, ", "), n.pod.Namespace, n.pod.Name, n.rung)
		n.begun = nil
	}
	return n.sink.flush()
}

// describeRung says what a capture container was given.
func describeRung(p kube.Profile) string {
	switch p {
	case kube.ProfileRaw:
		return "with NET_RAW alone, which was added"
	case kube.ProfileRawDefault:
		return "with NET_RAW alone, which the runtime grants by default"
	}
	return strings.TrimSpace("profile " + string(p))
}
