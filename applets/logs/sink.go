package logs

import (
	"bufio"
	"io"
	"sync"
	"sync/atomic"
)

// sink is where log lines go, whole: one writer for all containers.
type sink struct {
	waiting atomic.Int32
	mu      sync.Mutex
	out     *bufio.Writer
}

func newSink(out io.Writer) *sink { return &sink{out: bufio.NewWriterSize(out, 64<<10)} }

// writeLines writes whole lines. They are on their way when no other write waits.
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
