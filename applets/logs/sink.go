package logs

import (
	"bufio"
	"io"
	"sync"
	"sync/atomic"
)

// sink writes the lines of all containers, each one whole.
type sink struct {
	waiting atomic.Int32
	mu      sync.Mutex
	out     *bufio.Writer
}

func newSink(out io.Writer) *sink { return &sink{out: bufio.NewWriterSize(out, 64<<10)} }

// writeLines writes whole lines. It flushes them unless another write is waiting.
func (s *sink) writeLines(lines []byte) error {
	s.waiting.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.out.Write(lines)
	if s.waiting.Add(-1) == 0 && err == nil {
		err = s.out.Flush()
	}
	return err
}
