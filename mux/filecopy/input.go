package filecopy

import (
	"sync"

	"kdiag/mux/wire"
)

// Input takes what arrives for a link that reads no stream itself: who has the bytes writes them,
// which spares the change from one goroutine to another.
type Input struct {
	link *Link

	mu      sync.Mutex
	greeted bool
	head    []byte
	frame   Frame
	// filled counts the bytes of the frame's content that are there; it is -1 between frames.
	filled int
}

// Input returns what arriving bytes are written to.
func (l *Link) Input() *Input { return &Input{link: l, filled: -1} }

// End says that no more bytes come.
func (i *Input) End() { i.link.fail(ErrCut) }

// Write takes bytes. Its error is the end of the link.
func (i *Input) Write(p []byte) (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	defer i.link.arrival.Signal()
	size := len(p)
	for len(p) > 0 {
		var err error
		if i.filled < 0 {
			p, err = i.takeHead(p)
		} else {
			p, err = i.takeContent(p)
		}
		if err != nil {
			i.link.fail(err)
			return 0, err
		}
	}

	return size, i.link.Failure()
}

// takeHead takes bytes of the greeting, or of a frame's head. It returns the rest.
func (i *Input) takeHead(p []byte) ([]byte, error) {
	want := wire.FilesHeadSize
	if !i.greeted {
		want = len(wire.FilesGreeting)
	}
	n := min(want-len(i.head), len(p))
	i.head = append(i.head, p[:n]...)
	if len(i.head) < want {
		return nil, nil
	}

	head := i.head
	i.head = i.head[:0]
	if !i.greeted {
		i.greeted = true
		return p[n:], checkGreeting(head)
	}
	size, err := checkSize(head)
	if err != nil {
		return nil, err
	}
	i.frame, i.filled = i.link.newFrame(head[0], size), 0
	return i.takeContent(p[n:])
}

// takeContent takes bytes of a frame's content, and returns the rest.
func (i *Input) takeContent(p []byte) ([]byte, error) {
	n := copy(i.frame.Content[i.filled:], p)
	i.filled += n
	if i.filled < len(i.frame.Content) {
		return nil, nil
	}
	i.filled = -1
	return p[n:], i.link.takeFrame(i.frame)
}
