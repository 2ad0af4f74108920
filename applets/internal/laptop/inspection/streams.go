package inspection

import (
	"bytes"
	"context"
	"fmt"
)

// lineSplitter calls each with every line that is written to it, without its end.
// It keeps the first error and calls stop with it, since a writer cannot end the
// stream by itself.
type lineSplitter struct {
	most int
	each func(line []byte) error
	stop context.CancelCauseFunc

	buffer []byte
	err    error
}

func (l *lineSplitter) Write(p []byte) (int, error) {
	rest := p
	for l.err == nil {
		end := bytes.IndexByte(rest, '\n')
		part := rest
		if end >= 0 {
			part = rest[:end]
		}

		if len(l.buffer)+len(part) > l.most {
			l.err = fmt.Errorf("a line of more than %d bytes came from the pod", l.most)
			break
		}

		l.buffer = append(l.buffer, part...)
		if end < 0 {
			return len(p), nil
		}

		rest = rest[end+1:]
		l.err = l.each(l.buffer)
		l.buffer = l.buffer[:0]
	}

	l.stop(l.err)
	return 0, l.err
}
