package capture

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/pcapng"
	"kdiag/kube"
	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
)

// query says what is captured of a pod.
type query struct {
	interfaceName string
	snapLen       uint32
	// expression is the filter as text, filters the kernel's programs.
	expression string
	filters    []wire.PacketFilter
}

// cut cuts a packet to the snap length. A VLAN tag that was put back makes it longer; and tcpdump reads
// no file any further in which a packet is.
func (q query) cut(data []byte) []byte {
	if q.snapLen == 0 {
		return data
	}
	return data[:min(len(data), int(q.snapLen))]
}

// podHandle runs a capture in a pod. *containers.Capture is the real one.
type podHandle interface {
	Pod() *corev1.Pod
	Image() string
	ManagerPorts(ctx context.Context) []uint16
	DescribeKill(ctx context.Context) string
	Exec(ctx context.Context, e kube.ExecRequest) error
}

// sink takes what is captured. Only one goroutine may use it at a time.
type sink interface {
	// addInterface adds an interface of a pod, and returns its number for packets.
	addInterface(pod *corev1.Pod, q query, i wire.PacketInterface) (int, error)
	// writePacket takes a packet, whose data is only valid until it returns.
	writePacket(p pcapng.Packet) error
	// writeStatistics takes what the kernel has counted since the capture began.
	writeStatistics(number int, s wire.PacketStatistics) error
	// writeNote takes a note for the user.
	writeNote(pod *corev1.Pod, text string) error
	// flush is called when nothing more has come from the pod.
	flush() error
}

const (
	// endTime bounds the wait for the next of what the pod still has when a capture ends, and
	// wholeEndTime that for all of it: over a slow connection, full rings take minutes.
	endTime      = 30 * time.Second
	wholeEndTime = 5 * time.Minute
	// earlyEndTime bounds the wait for a pod from which nothing has come yet.
	earlyEndTime = 2 * time.Second
)

// captureFrom captures the packets of a pod until ctx ends, and hands them all to out. It returns nil
// only if out has every packet that the kernel took and did not count as dropped.
func captureFrom(ctx context.Context, pod podHandle, q query, out sink) error {
	request := wire.PacketsRequest{
		Interface: q.interfaceName, SnapLen: q.snapLen, Filters: q.filters, HiddenPorts: pod.ManagerPorts(ctx),
	}
	line, err := json.Marshal(request)
	if err != nil {
		return err
	}

	whole, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	s := newStream(pod, q, out, cancel)
	go func() {
		defer close(s.asked)
		s.order(append(line, '\n'))
	}()
	stopAsking := context.AfterFunc(ctx, s.stop)
	defer stopAsking()
	return s.run(whole)
}

// stream is one exec of "kdiag packets".
type stream struct {
	pod    podHandle
	query  query
	out    sink
	orders *io.PipeWriter
	stdin  *io.PipeReader
	// cancel ends the exec.
	cancel context.CancelCauseFunc
	// asked is closed when the pod has the request, or reads no more.
	asked chan struct{}
	once  sync.Once
	// late ends the exec if nothing comes after the capture was stopped; nil before.
	late atomic.Pointer[time.Timer]
	// begun says that something has come.
	begun atomic.Bool

	numbers map[uint16]*captured
	notes   int // how many have come
	ended   bool
	failed  error // of the sink, or of what came
}

// captured is what the laptop knows of an interface.
type captured struct {
	number int
	// packets counts those that came, counts is what the pod has counted.
	packets uint64
	counts  wire.PacketStatistics
}

func newStream(pod podHandle, q query, out sink, cancel context.CancelCauseFunc) *stream {
	s := &stream{pod: pod, query: q, out: out, cancel: cancel, asked: make(chan struct{}), numbers: map[uint16]*captured{}}
	s.stdin, s.orders = io.Pipe()
	return s
}

// order writes to the pod's stdin. It waits until the pod reads.
func (s *stream) order(line []byte) { _, _ = s.orders.Write(line) }

// errNotBegun says that a capture was ended before anything had come.
var errNotBegun = errors.New("the capture was ended before it began")

// errLate is why an exec ends whose pod does not end the capture.
var errLate = errors.New("the pod did not end the capture in time")

// stop asks the pod to end the capture, and ends the exec if it does not.
func (s *stream) stop() {
	s.once.Do(func() {
		end := func() { s.cancel(errLate) }
		first := endTime
		if !s.begun.Load() {
			first = earlyEndTime
		}
		s.late.Store(time.AfterFunc(first, end))
		time.AfterFunc(wholeEndTime, end)
		go func() {
			<-s.asked
			s.order([]byte(wire.StopPackets + "\n"))
		}()
	})
}

// run runs the exec and reads what comes.
func (s *stream) run(ctx context.Context) error {
	records, stdout := io.Pipe()

	read := make(chan struct{})
	go func() {
		defer close(read)
		s.failed = s.readRecords(records)
		// The pod waits for the end of its stdin.
		_ = s.orders.Close()
		_ = records.CloseWithError(io.ErrClosedPipe)
		if s.failed != nil && !isEnd(s.failed) {
			s.cancel(s.failed)
		}
	}()

	stderr := &containers.ErrorText{}
	err := s.pod.Exec(ctx, kube.ExecRequest{
		Command: []string{wire.Binary, wire.AppletPackets}, Stdin: s.stdin, Stdout: stdout, Stderr: stderr,
	})
	_ = stdout.Close()
	_ = s.stdin.CloseWithError(io.ErrClosedPipe)
	<-read
	return s.result(ctx, err, stderr)
}

// isEnd reports whether an error is that no more records come: the exec has ended.
func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// result says how the capture ended.
func (s *stream) result(ctx context.Context, err error, stderr *containers.ErrorText) error {
	doing := fmt.Sprintf("capture packets of pod %s/%s", s.pod.Pod().Namespace, s.pod.Pod().Name)
	var exit *kube.CommandExitError
	switch {
	case s.ended && s.failed == nil:
		return s.checkCounts(doing)
	case s.failed != nil && !isEnd(s.failed):
		return s.failed
	case errors.As(err, &exit) && exit.Code == applets.ExitSIGKILL:
		return fmt.Errorf("%s: %s", doing, s.pod.DescribeKill(context.WithoutCancel(ctx)))
	case errors.As(err, &exit):
		return s.explainExit(doing, exit, stderr)
	case err != nil && context.Cause(ctx) == nil:
		return err
	case errors.Is(context.Cause(ctx), errLate) && !s.begun.Load():
		return fmt.Errorf("%s: %w", doing, errNotBegun)
	case errors.Is(context.Cause(ctx), errLate):
		return fmt.Errorf("%s: %w", doing, errLate)
	}
	return fmt.Errorf("%s: connection lost; what came before is complete", doing)
}

// checkCounts compares what came with what the pod and its kernel have counted.
func (s *stream) checkCounts(doing string) error {
	for _, c := range s.numbers {
		if c.packets != c.counts.Sent || c.counts.Sent+c.counts.Dropped != c.counts.Received {
			return fmt.Errorf("%s: the kernel counted %d packets and dropped %d, the pod sent %d, but %d came",
				doing, c.counts.Received, c.counts.Dropped, c.counts.Sent, c.packets)
		}
	}
	return nil
}

// readRecords hands records to the sink until the last one.
func (s *stream) readRecords(in io.Reader) error {
	reader := wire.NewPacketReader(in)
	for {
		kind, err := reader.Next()
		if err == nil {
			s.begun.Store(true)
			if late := s.late.Load(); late != nil {
				late.Reset(endTime)
			}
			err = s.take(kind, reader)
		}
		if err == nil && (reader.Buffered() == 0 || s.ended) {
			err = s.out.flush()
		}
		if err != nil || s.ended {
			return err
		}
	}
}

// take hands one record to the sink.
func (s *stream) take(kind wire.PacketRecord, r *wire.PacketReader) error {
	switch kind {
	case wire.RecordInterface:
		return s.takeInterface(r.Interface)
	case wire.RecordPacket:
		c := s.numbers[r.Packet.Interface]
		if c == nil {
			return fmt.Errorf("a packet of interface %d came, which the pod has not named", r.Packet.Interface)
		}
		c.packets++
		return s.out.writePacket(pcapng.Packet{
			Interface: c.number, Time: r.Packet.Time, Length: int(r.Packet.Length), Data: s.query.cut(r.Packet.Data),
			Outgoing: r.Packet.Outgoing, Incoming: r.Packet.Incoming,
		})
	case wire.RecordStatistics:
		c := s.numbers[r.Statistics.Interface]
		if c == nil {
			return fmt.Errorf("statistics of interface %d came, which the pod has not named", r.Statistics.Interface)
		}
		c.counts = r.Statistics
		return s.out.writeStatistics(c.number, r.Statistics)
	case wire.RecordNote:
		if s.notes++; s.notes > maxNotes {
			return nil
		}
		return s.out.writeNote(s.pod.Pod(), r.Note)
	case wire.RecordEnd:
		s.ended = true
	}
	return nil
}

// maxNotes is how many notes a pod's user gets to see: no pod has that many.
const maxNotes = 256

// maxInterfaceName is how long a name can be (IFNAMSIZ of linux/if.h, without the zero).
const maxInterfaceName = 15

func (s *stream) takeInterface(i wire.PacketInterface) error {
	switch {
	case len(i.Name) > maxInterfaceName:
		return fmt.Errorf("the pod named an interface with %d bytes; the limit is %d", len(i.Name), maxInterfaceName)
	case i.LinkType != wire.LinkEthernet && i.LinkType != wire.LinkRaw:
		return fmt.Errorf("the pod sent an interface of link type %d, which was not asked for", i.LinkType)
	}
	if len(s.numbers) >= wire.MaxInterfaces || s.numbers[i.Number] != nil {
		return fmt.Errorf("the pod named interface %d twice, or more than %d", i.Number, wire.MaxInterfaces)
	}

	number, err := s.out.addInterface(s.pod.Pod(), s.query, i)
	s.numbers[i.Number] = &captured{number: number}
	return err
}

// explainExit makes an error of an exit code and of what was printed.
func (s *stream) explainExit(doing string, exit *kube.CommandExitError, stderr *containers.ErrorText) error {
	text, hint := stderr.Said()
	if wire.IsFromOlder(text) {
		return containers.NewOlderImageError(doing, s.pod.Image(), text, exit)
	}
	if exit.Code == applets.ExitUnknown || exit.Code == applets.ExitUsage {
		hint = fmt.Sprintf("check that %s is an image of this kdiag", s.pod.Image())
	}

	err := fmt.Errorf("%s: %s", doing, cmp.Or(text, exit.Error()))
	if hint == "" {
		return err
	}
	return applets.WithHint(err, "%s", hint)
}
