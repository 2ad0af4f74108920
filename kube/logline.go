package kube

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"time"
)

// LogLine is one line of a container's log.
type LogLine struct {
	// Time is the runtime's, to the nanosecond. It is zero for text that has
	// none: the kubelet's own words, or the end of a line whose beginning lies
	// before the time that was asked for.
	Time time.Time
	// Text is without its newline. It is valid until the next line is read.
	Text []byte
	// Cut says that the line is longer than MaxLogLine and its end is missing.
	Cut bool
	// Open says that the log ended before the line did.
	Open bool
}

// MaxLogLine is how much of one line is kept, in bytes.
const MaxLogLine = 1 << 20

// LogReader splits a log that was asked for with timestamps into its lines.
type LogReader struct {
	from *bufio.Reader
	line []byte
}

// NewLogReader reads from a log; closing that is the caller's.
func NewLogReader(log io.Reader) *LogReader {
	return &LogReader{from: bufio.NewReaderSize(log, 16<<10)}
}

// ReadLine returns the next line, or the error that ended the log: io.EOF where
// its sender ended it. What there is of a line then comes first, as Open.
func (r *LogReader) ReadLine() (LogLine, error) {
	r.line = r.line[:0]
	cut := false
	for {
		piece, err := r.from.ReadSlice('\n')
		// A line's own prefix is not counted; it is short of 64 bytes.
		if room := MaxLogLine + 64 - len(r.line); len(piece) > room {
			piece, cut = piece[:room], true
		}

		r.line = append(r.line, piece...)
		switch {
		case err == nil:
			return parseLogLine(r.line, cut, false), nil
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case len(r.line) > 0:
			return parseLogLine(r.line, cut, true), nil
		}

		return LogLine{}, err
	}
}

// HasBuffered reports whether more of the log is here already.
func (r *LogReader) HasBuffered() bool { return r.from.Buffered() > 0 }

// parseLogLine takes off the timestamp that the kubelet puts before each line
// and a space after it (k8s.io/cri-client/pkg/logs).
func parseLogLine(line []byte, cut, open bool) LogLine {
	text := bytes.TrimSuffix(line, []byte("\n"))
	parsed := LogLine{Text: text, Cut: cut, Open: open}
	// "2006-01-02T15:04:05Z" is the shortest, "….999999999+00:00" the longest.
	if at := bytes.IndexByte(text[:min(len(text), 40)], ' '); at >= 20 {
		if stamp, err := time.Parse(time.RFC3339Nano, string(text[:at])); err == nil {
			parsed.Time, parsed.Text = stamp, text[at+1:]
		}
	}

	if len(parsed.Text) > MaxLogLine {
		parsed.Text, parsed.Cut = parsed.Text[:MaxLogLine], true
	}

	return parsed
}
