// Package filecopy copies trees of files over a pair of streams, such as those of an exec: a sender
// walks one tree, a receiver makes another. Both ends use it, on the laptop and in the pod; each
// brings its own Dir, which keeps everything within what was named.
package filecopy

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"kdiag/mux/wire"
)

// Frame is one frame from the other side. Its content may be kept until Release, or until the next
// Receive.
type Frame struct {
	Kind    byte
	Content []byte
	pooled  *[]byte
}

// FailureError is what the other side says of the end of everything.
type FailureError struct{ wire.FilesProblem }

func (e *FailureError) Error() string { return e.Text }

// Hint returns what the user may do next.
func (e *FailureError) Hint() string { return e.FilesProblem.Hint }

// ErrCut reports streams that ended too early.
var ErrCut = errors.New("connection lost before everything was copied")

// LinkOptions says what a Link does beside carrying frames.
type LinkOptions struct {
	// OwnRoom is how much this side takes before it must have been read; PeerRoom the other's.
	OwnRoom, PeerRoom int
	// Problem is called with what the other side says of single files, from a goroutine of the
	// link's own. It may be nil.
	Problem func(wire.FilesProblem)
}

// Link carries frames over two streams. It always reads what arrives, at most OwnRoom bytes ahead
// of who takes it, so that the connection never waits: who reads waits neither for who takes frames
// nor for who writes. One goroutine may send and another receive.
type Link struct {
	in      *bufio.Reader
	out     io.Writer
	options LinkOptions
	pool    sync.Pool
	// head and small are for the frame that arrives, and taken is what Receive returns next.
	head  [wire.FilesHeadSize]byte
	small [largeFrame]byte
	taken arrivals

	// mu guards what follows, and writing holds a side's writes apart.
	mu       sync.Mutex
	changed  sync.Cond // of room
	arrived  arrivals
	arrival  sync.Cond
	room     int   // what may be sent
	unread   int   // bytes that arrived, and that the other side was given no new room for
	returned int   // bytes of frames that were released, of which the other side was not told
	failed   error // once nothing more comes
	ended    chan struct{}

	writing sync.Mutex
	buffer  []byte // is to be sent
}

// flushAt is the size from which on what was gathered is sent.
const flushAt = 64 << 10

// NewLink makes a link. Its Start greets the other side. Without a stream to read, what arrives is
// written to the link's Input.
func NewLink(in io.Reader, out io.Writer, o LinkOptions) *Link {
	l := &Link{out: out, options: o, room: o.PeerRoom, ended: make(chan struct{})}
	l.changed.L, l.arrival.L = &l.mu, &l.mu
	if in != nil {
		l.in = bufio.NewReaderSize(in, flushAt)
	}
	l.pool.New = func() any { return new(make([]byte, 0, wire.MaxFilesFrame)) }
	return l
}

// Start reads in the background until the stream ends, and sends the greeting.
func (l *Link) Start() error {
	if l.in != nil {
		go l.readFrames()
	}
	return l.write([]byte(wire.FilesGreeting))
}

// readFrames reads until the stream ends or is wrong, and notes which.
func (l *Link) readFrames() {
	err := l.readAll()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = ErrCut
	}

	l.fail(err)
}

// fail notes that nothing more comes, and why.
func (l *Link) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = err
		close(l.ended)
	}
	l.changed.Broadcast()
	l.arrival.Broadcast()
}

// Ended is closed once nothing more comes.
func (l *Link) Ended() <-chan struct{} { return l.ended }

// Failure returns why nothing more comes, or nil.
func (l *Link) Failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// readAll reads the greeting and frames. It returns an error.
func (l *Link) readAll() error {
	greeting := make([]byte, len(wire.FilesGreeting))
	if _, err := io.ReadFull(l.in, greeting); err != nil {
		return err
	}
	if err := checkGreeting(greeting); err != nil {
		return err
	}

	for {
		if err := l.readFrame(); err != nil {
			return err
		}
	}
}

func checkGreeting(greeting []byte) error {
	if string(greeting) != wire.FilesGreeting {
		return fmt.Errorf("the other side is not this kdiag: it begins with %q", greeting)
	}
	return nil
}

// checkSize refuses a frame that is too long.
func checkSize(head []byte) (int, error) {
	size := binary.BigEndian.Uint32(head[1:])
	if size > wire.MaxFilesFrame {
		return 0, fmt.Errorf("a frame %q of %d bytes, more than %d", head[0], size, wire.MaxFilesFrame)
	}
	return int(size), nil
}

// readFrame reads one frame.
func (l *Link) readFrame() error {
	head := l.head[:]
	if err := l.readFull(head); err != nil {
		return err
	}
	size, err := checkSize(head)
	if err != nil {
		return err
	}

	frame := l.newFrame(head[0], size)
	if err := l.readFull(frame.Content); err != nil {
		return err
	}
	return l.takeFrame(frame)
}

// readFull fills p. Before it waits for the stream, who receives hears of all that is there.
func (l *Link) readFull(p []byte) error {
	if l.in.Buffered() < len(p) {
		l.arrival.Signal()
	}
	_, err := io.ReadFull(l.in, p)
	return err
}

// takeFrame adds a frame to those that wait if it is not for the link itself. Who receives does not
// hear of it yet.
func (l *Link) takeFrame(frame Frame) error {
	if frame.Kind == wire.FrameRoom {
		return l.addRoom(frame.Content)
	}
	if err := l.takeUp(len(frame.Content)); err != nil {
		return err
	}

	switch frame.Kind {
	case wire.FrameProblem, wire.FrameFailure:
		return l.readProblem(frame)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrived.add(frame)
	return l.failed
}

// newFrame makes room for a frame. That of a small one is there once.
func (l *Link) newFrame(kind byte, size int) Frame {
	if size < largeFrame {
		return Frame{Kind: kind, Content: l.small[:size]}
	}
	pooled := l.pool.Get().(*[]byte)
	return Frame{Kind: kind, Content: (*pooled)[:size], pooled: pooled}
}

// takeUp notes bytes that arrived. More than there was room for are an error.
func (l *Link) takeUp(size int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unread += size + wire.FilesHeadSize
	if l.unread > l.options.OwnRoom {
		return fmt.Errorf("the other side sent %d bytes, for which there was no room", l.unread)
	}
	return nil
}

// addRoom notes that the other side has room for more.
func (l *Link) addRoom(content []byte) error {
	if len(content) != 4 {
		return fmt.Errorf("a frame of room with %d bytes", len(content))
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	l.room += int(binary.BigEndian.Uint32(content))
	if l.room > l.options.PeerRoom {
		return fmt.Errorf("the other side has room for %d bytes, more than %d", l.room, l.options.PeerRoom)
	}
	l.changed.Broadcast()
	return nil
}

// readProblem hands on what the other side says, and returns a failure as an error.
func (l *Link) readProblem(frame Frame) error {
	defer l.Release(frame)
	var said wire.FilesProblem
	if err := json.Unmarshal(frame.Content, &said); err != nil {
		return fmt.Errorf("what the other side says: %w", err)
	}
	if frame.Kind == wire.FrameFailure {
		return &FailureError{said}
	}
	if l.options.Problem != nil {
		l.options.Problem(said)
	}
	return nil
}

// Receive returns the next frame, or why there is none. The caller releases it.
func (l *Link) Receive() (Frame, error) {
	if l.taken.isEmpty() {
		if err := l.takeArrived(); err != nil {
			return Frame{}, err
		}
	}
	return l.taken.take(), nil
}

// takeArrived waits for frames, and takes all that are there. What came before the end counts.
func (l *Link) takeArrived() error {
	l.taken.clear()
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.arrived.isEmpty() && l.failed == nil {
		l.arrival.Wait()
	}
	if l.arrived.isEmpty() {
		return l.failed
	}

	l.taken, l.arrived = l.arrived, l.taken
	return nil
}

// Release gives the memory of a frame back, and its room to the other side.
func (l *Link) Release(frame Frame) {
	if frame.pooled != nil {
		l.pool.Put(frame.pooled)
	}

	l.mu.Lock()
	l.returned += len(frame.Content) + wire.FilesHeadSize
	l.mu.Unlock()
	l.giveRoom()
}

// giveRoom tells the other side of room. It does not wait for who is writing, who does it
// afterwards: the other side may read nothing before it has got rid of what it sends.
func (l *Link) giveRoom() {
	for l.isRoomDue() && l.writing.TryLock() {
		if give := l.takeReturned(); give > 0 {
			head := appendHead(nil, wire.FrameRoom, 4)
			_, _ = l.out.Write(binary.BigEndian.AppendUint32(head, uint32(give))) // a broken stream is noticed by who reads
		}
		l.writing.Unlock()
	}
}

// isRoomDue reports whether the other side should hear of room.
func (l *Link) isRoomDue() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.returned >= l.options.OwnRoom/8
}

// takeReturned takes the room that the other side is told of.
func (l *Link) takeReturned() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	give := l.returned
	l.returned = 0
	l.unread -= give
	return give
}

func appendHead(to []byte, kind byte, size int) []byte {
	return binary.BigEndian.AppendUint32(append(to, kind), uint32(size))
}

// write writes at once.
func (l *Link) write(p []byte) error {
	l.writing.Lock()
	_, err := l.out.Write(p)
	l.writing.Unlock()

	l.giveRoom()
	return err
}

// Send gathers a frame, and sends what was gathered if that is enough.
func (l *Link) Send(kind byte, content []byte) error {
	l.buffer = append(appendHead(l.buffer, kind, len(content)), content...)
	if len(l.buffer) >= flushAt {
		return l.Flush()
	}
	return nil
}

// SendJSON sends a frame in JSON, and all before it.
func (l *Link) SendJSON(kind byte, value any) error {
	content, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if err := l.Send(kind, content); err != nil {
		return err
	}
	return l.Flush()
}

// SendProblem sends what is wrong, and all before it.
func (l *Link) SendProblem(kind byte, p wire.FilesProblem) error {
	return l.SendJSON(kind, p.Shorten())
}

// dataHead is what stands before the bytes of a data frame.
const dataHead = wire.FilesHeadSize + wire.FilesOffsetSize

// SendData sends data, which stands in p behind dataHead bytes.
func (l *Link) SendData(offset int64, p []byte) error {
	binary.BigEndian.PutUint64(appendHead(p[:0], wire.FrameData, len(p)-wire.FilesHeadSize)[wire.FilesHeadSize:dataHead], uint64(offset))
	if len(l.buffer)+len(p) < flushAt {
		l.buffer = append(l.buffer, p...)
		return nil
	}
	if err := l.Flush(); err != nil {
		return err
	}
	return l.writeInRoom(p)
}

// Flush sends what was gathered.
func (l *Link) Flush() error {
	p := l.buffer
	l.buffer = l.buffer[:0]
	return l.writeInRoom(p)
}

// writeInRoom writes whole frames as soon as the other side has room for all of them. In the middle
// of a frame nothing else could be written, and the other side may wait for room, too.
func (l *Link) writeInRoom(p []byte) error {
	if len(p) == 0 {
		return l.Failure()
	}
	if err := l.awaitRoom(len(p)); err != nil {
		return err
	}
	if err := l.write(p); err != nil {
		if failed := l.Failure(); failed != nil {
			return failed
		}
		return err
	}
	return l.Failure()
}

// awaitRoom waits for room, and takes it. It comes: what is sent at once is far less than what the
// other side has room for when it has taken all.
func (l *Link) awaitRoom(size int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.room < size && l.failed == nil {
		l.changed.Wait()
	}
	l.room -= size
	return l.failed
}
